package tracker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// fuzz is how late a deadline may fire, or a sign of life be read: two ticks, or
// a look at a session on which an operation was pending.
const fuzz = 150 * time.Millisecond

// model is what the tracker should do, told by the clock alone.
type model struct {
	r       *rig
	policy  Policy
	users   []*modelUser
	gone    map[presence.SessionID]int
	alive   time.Time // when the former run ended
	busy    *modelSession
	made    int
	trouble string
}

type modelUser struct {
	name              presence.User
	sessions          []*modelSession
	remembered        []*modelSession // their resume window is over, their close is not forgotten
	seen, shown       time.Time
	slack             time.Duration // how much earlier both may be
	wasSeen, wasShown presence.Time
	version           uint32
}

type modelSession struct {
	name      string
	ref       Ref
	public    presence.PublicID
	user      *modelUser
	device    presence.Device
	phase     presence.Phase
	reason    presence.Reason // why it closed
	told      presence.Reason // the same, as the picture has it
	unsure    bool            // two deadlines came so close that either may be the reason
	show      presence.Show
	hidden    bool
	everShown bool
	link      *wire
	read      time.Time // on link
	heard     time.Time
	until     time.Time // deadline unless live
	since     time.Time
	heartbeat bool
	fromDisk  bool
	ttl       time.Duration // a server set it
	lost      time.Time     // fromDisk: when its node's run ended
	watches   []presence.UserID
	friends   bool // it follows them
	revision  map[bool]uint64
}

func newModel(r *rig, p Policy) *model {
	m := &model{r: r, policy: p, gone: map[presence.SessionID]int{}}
	for _, id := range []presence.UserID{"bob", "carol"} {
		m.users = append(m.users, &modelUser{name: presence.User{App: app, ID: id}})
	}
	return m
}

func (m *model) fail(format string, args ...any) {
	if m.trouble == "" {
		m.trouble = fmt.Sprintf(format, args...)
	}
}

func (s *modelSession) isOpen() bool { return s.phase.Open() }

func (s *modelSession) view(p *presence.Presence) *presence.View {
	for _, v := range p.Sessions {
		if v.Public == s.public {
			return v
		}
	}
	return nil
}

// sign is the last sign of life.
func (s *modelSession) sign() time.Time {
	if s.link != nil && !s.heartbeat && s.read.After(s.heard) {
		return s.read
	}
	return s.heard
}

// due is when time ends the session's phase.
func (m *model) due(s *modelSession) time.Time {
	if s.phase == presence.PhaseLive && s.ttl == 0 {
		return s.sign().Add(m.policy.HeartbeatTimeout)
	}
	return s.until
}

// wait lets time pass, here and there.
func (m *model) wait(d time.Duration) {
	wait(d)
	m.advance()
}

// settle waits until no deadline is so close that it may or may not have fired.
func (m *model) settle() {
	for again := true; again; {
		m.advance()
		again = false
		for _, u := range m.users {
			for _, s := range u.sessions {
				if left := time.Until(m.due(s)); s != m.busy && left <= fuzz {
					again = true
				}
			}
		}
		if again {
			wait(fuzz)
		}
	}
	wait(fuzz) // what the last deadlines did has happened
	m.advance()
}

// advance ends the phases that are over.
func (m *model) advance() {
	for {
		var first *modelSession
		for _, u := range m.users {
			for _, s := range u.sessions {
				if s != m.busy && !m.due(s).After(time.Now()) && (first == nil || m.due(s).Before(m.due(first))) {
					first = s
				}
			}
		}
		if first == nil {
			return
		}
		m.expire(first)
	}
}

func (m *model) expire(s *modelSession) {
	at := m.due(s)
	switch {
	case s.phase == presence.PhaseCreated:
		m.forget(s, true)
	case s.isOpen() && s.ttl > 0:
		m.close(s, presence.ReasonTimedOut, s.heard, at)
	case s.phase == presence.PhaseLive:
		m.close(s, presence.ReasonTimedOut, s.sign(), at)
	case s.phase == presence.PhaseLost && s.fromDisk:
		s.user.slack = time.Second + fuzz // the alive note is written once a second
		m.close(s, presence.ReasonNodeLost, later(s.lost, s.since), at)
	case s.phase == presence.PhaseLost:
		timeout := s.heard.Add(m.policy.HeartbeatTimeout)
		reason := presence.ReasonLinkLost
		if !at.Before(timeout) {
			reason = presence.ReasonTimedOut
		}
		s.unsure = timeout.Sub(at).Abs() < fuzz
		m.close(s, reason, s.heard, at)
	default:
		s.until = at.Add(m.policy.memory())
		s.user.remembered = append(s.user.remembered, s)
		m.forget(s, s.reason.Resumable())
	}
}

// close ends an open session at the given time.
func (m *model) close(s *modelSession, reason presence.Reason, seen, at time.Time) {
	s.phase, s.reason, s.told, s.until, s.link = presence.PhaseClosed, reason, reason, at.Add(m.policy.ResumeWindow), nil
	m.see(s, seen)
	if !reason.Resumable() {
		m.gone[s.ref.Session]++
	}
}

// see moves the user's last seen on, for others too unless s is hidden.
func (m *model) see(s *modelSession, at time.Time) {
	s.user.seen = later(s.user.seen, at)
	if !s.hidden {
		s.user.shown = later(s.user.shown, at)
	}
}

func (m *model) forget(s *modelSession, told bool) {
	s.user.sessions = slices.DeleteFunc(s.user.sessions, func(o *modelSession) bool { return o == s })
	if told {
		m.gone[s.ref.Session]++
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// outage makes the store misbehave and returns what ends that.
func (m *model) outage(kind string) (end func()) {
	switch kind {
	case "refuse":
		m.r.mem.Refuse(errFull)
	case "hold":
		return m.r.mem.Hold()
	case "lost but stored":
		m.r.mem.Lose(1, true)
	case "lost":
		m.r.mem.Lose(1, false)
	}
	return m.r.mem.Recover
}

// during runs call while the store does what o says, and returns its error and
// whether the store has what it claimed in the end.
func (m *model) during(o op, s *modelSession, call func() error) (stored bool, err error) {
	m.busy = s
	end := m.outage(o.Outage)
	err = call()
	end()
	wait(fuzz)
	m.advance()
	failed := err != nil && fault.KindOf(err) == fault.LogUnavailable
	switch o.Outage {
	case "refuse":
		stored = false
	case "hold":
		stored = true
	default:
		stored = err == nil
	}
	if want := o.Outage == "refuse" || o.Outage == "hold"; failed != want {
		m.fail("%s: got %v, want LogUnavailable: %v", o.Outage, err, want)
	}
	return stored, err
}

// calm ends a store operation: parked records get through.
func (m *model) calm() {
	m.busy = nil
	wait(6 * time.Second)
	m.advance()
}

// restart ends the node and starts it again.
func (m *model) restart(crash bool) {
	m.wait(2 * time.Second) // within a second everything is written down
	m.settle()
	m.alive = time.Now()
	if crash {
		m.r.crash()
	} else {
		if err := m.r.stop(); err != nil {
			m.fail("Stop: %v", err)
		}
		m.r.mem = m.r.mem.Reopen()
		m.r.lists.clear()
	}
	clear(m.gone)
	wait(time.Second)
	m.r.start()
	for _, u := range m.users {
		u.version, u.remembered = 0, nil
		u.sessions = slices.DeleteFunc(u.sessions, func(s *modelSession) bool { return !s.isOpen() })
		for _, s := range u.sessions {
			if !s.fromDisk {
				s.lost = m.alive // a second restart does not make it lost later
			}
			s.phase, s.fromDisk, s.link, s.heartbeat = presence.PhaseLost, true, nil, false
			if s.ttl > 0 {
				s.phase = presence.PhaseLive
			} else {
				s.until = time.Now().Add(m.r.tr.cfg.RestartGrace)
			}
			s.everShown = !s.hidden // what was shown and then hidden is forgotten
		}
	}
}

// connectTo takes up a session on a new link.
func (m *model) connectTo(s *modelSession, initial *presence.Status) (*wire, Connected, error) {
	w := &wire{}
	w.read(m.r)
	c, err := m.r.tr.Connect(context.Background(), s.ref, ConnectParams{Link: w, Initial: initial, Addr: "192.0.2.1:1"})
	return w, c, err
}
