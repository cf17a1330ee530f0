package tracker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// jointStep is one step of a random history of the joint model.
type jointStep struct {
	Kind string
	A, B int
	D    time.Duration
}

var jointKinds = []string{
	"device", "lose link", "lose link", "update", "wait", "wait", "wait", "wait", "kill", "election", "election", "start",
	"cut", "cut", "cut one way", "alone", "mend", "faults", "hold", "pause",
}

// jointDevice is a device that always wants to be there: when its link is gone it
// asks, again and again, at any node.
type jointDevice struct {
	ref   Ref
	maker uint64
	at    *member // nil: nowhere
	wire  *wire
	since time.Time // of the link
	asked time.Time // when it last had a link, or asked a node that takes part
	next  time.Time // when it asks again
	busy  bool      // it is asking
	// doubt: it could ask nobody for too long, or its node died before it could have
	// told of it; then its session may end.
	doubt bool
	shown map[*member]bool

	ear     *ledger // of one that watches; nil: it does not
	anew    bool    // it has no session, and makes one
	hidden  bool
	refused error // why it is nowhere
}

// answered is what came of asking.
type answered struct {
	d      *jointDevice
	at     *member
	wire   *wire
	resync bool
	err    error
}

type jointModel struct {
	*joint
	dice     *rand.Rand
	devices  []*jointDevice
	answers  chan answered
	paused   *member
	still    []*member // they are stopped
	loose    bool      // no device is judged
	cutOff   *member
	hold     func()
	held     time.Time // until when the log takes nothing
	trouble  string
	statuses int
}

// TestJointModel plays random histories of three nodes with the cluster between
// them, and of devices that want to be there all the time. No node that showed one
// of them may show it gone, whatever happens to nodes, links, the quorum and the log
// (R3, R8, R9), and in the end all nodes show all of them (R6). A history takes a
// second under the race detector: few are played, others each time; -rapid.checks
// does not count here, PORCHLIGHT_JOINT does.
func TestJointModel(t *testing.T) {
	t.Parallel()
	count := 15
	if testing.Short() {
		count = 4
	}
	if n, err := strconv.Atoi(os.Getenv("PORCHLIGHT_JOINT")); err == nil {
		count = n
	}
	history := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) jointStep {
		return jointStep{
			rapid.SampledFrom(jointKinds).Draw(t, "kind"), rapid.IntRange(0, 5).Draw(t, "a"), rapid.IntRange(0, 5).Draw(t, "b"),
			rapid.SampledFrom([]time.Duration{50 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 5 * time.Second, 11 * time.Second}).Draw(t, "d"),
		}
	}), 3, 12)
	for range count {
		seed := rand.IntN(1 << 30)
		steps := history.Example(seed)
		synctest.Test(t, func(t *testing.T) {
			if trouble := playJoint(t, uint64(seed), steps); trouble != "" {
				t.Fatalf("history %d: %s\n%+v", seed, trouble, steps)
			}
		})
	}
}

func playJoint(t *testing.T, seed uint64, steps []jointStep) string {
	j := newJoint(t, seed, presence.AllowAll)
	defer j.end()
	m := &jointModel{joint: j, dice: rand.New(rand.NewPCG(seed, 1)), answers: make(chan answered, 100), hold: func() {}}
	for i := range 6 {
		m.play(jointStep{Kind: "device", A: i, B: i / 2})
	}
	for i, s := range steps {
		m.play(s)
		if m.trouble != "" {
			return fmt.Sprintf("step %d, %+v: %s", i, s, m.trouble)
		}
	}
	m.hold()
	j.heal()
	m.cutOff = nil
	for _, name := range []string{"a", "b", "c"} {
		m.begin(name)
	}
	m.pass(15 * time.Second)
	for _, d := range m.devices {
		for _, n := range j.all {
			if !d.doubt && !n.phase(d.ref).Open() {
				m.fail("in the end %s does not show %s of %s", n.name, d.ref.Session.String()[:4], d.ref.User.ID)
			}
		}
	}
	return m.trouble
}

func (m *jointModel) fail(format string, args ...any) {
	if m.trouble == "" {
		m.trouble = fmt.Sprintf(format, args...)
	}
}

// pass lets time pass, in which devices do what they do.
func (m *jointModel) pass(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until) && m.trouble == ""; {
		wait(min(100*time.Millisecond, time.Until(until)))
		m.turn()
	}
}

// turn is a moment of all devices, and of those who watch them.
func (m *jointModel) turn() {
	for some := true; some; {
		select {
		case a := <-m.answers:
			m.answer(a)
		default:
			some = false
		}
	}
	now := time.Now()
	for _, d := range m.devices {
		if d.at != nil && m.all[d.at.name] != d.at {
			d.doubt = d.doubt || now.Sub(d.since) < 2*time.Second
			d.at, d.next = nil, now.Add(time.Duration(m.dice.IntN(1500))*time.Millisecond)
		}
		if m.loose && m.stands(d.at) {
			continue
		}
		if d.at != nil && len(d.wire.ended()) > 0 {
			m.lose(d)
		}
		if d.at != nil && d.ear != nil {
			d.ear.take(0)
		}
		if d.at != nil {
			d.asked = now
		} else if !d.busy && now.After(d.next) {
			m.ask(d)
		}
		d.doubt = d.doubt || now.Sub(d.asked) > 4*time.Second && !d.busy
		for _, n := range m.all {
			switch open := n.phase(d.ref).Open(); {
			case n == m.paused || d.doubt:
			case open:
				d.shown[n] = true
			case d.shown[n]:
				m.fail("%s does not show %s of %s any more (%s)", n.name, d.ref.Session.String()[:4], d.ref.User.ID, m.standing(d))
			}
		}
	}
}

func (m *jointModel) standing(d *jointDevice) string {
	if d.at != nil {
		return "connected at " + d.at.name + " since " + time.Since(d.since).String()
	}
	return fmt.Sprintf("it asked %v ago, asks %v", time.Since(d.asked), d.busy)
}

// lose is the end of a link.
func (m *jointModel) lose(d *jointDevice) {
	if d.ear != nil {
		d.ear.take(m.dice.IntN(4))
		d.ear.tell("lost %s", d.at.name)
		d.ear.watcher.Detach(d.ear.stream)
	}
	d.at.tr.LinkLost(d.ref, d.wire)
	d.at, d.next = nil, time.Now().Add(time.Duration(m.dice.IntN(1500))*time.Millisecond)
}

// stands reports whether a node stands still.
func (m *jointModel) stands(n *member) bool {
	return n != nil && (n == m.paused || slices.Contains(m.still, n))
}

// pick is a node that runs and does not stand still.
func (m *jointModel) pick(a int) *member {
	for i := range 3 {
		if n := m.all[string(rune('a'+(a+i)%3))]; n != nil && !m.stands(n) {
			return n
		}
	}
	return nil
}

func (m *jointModel) ask(d *jointDevice) {
	n, w := m.pick(m.dice.IntN(3)), &wire{}
	maker := n
	if m.loose && d.anew && m.dice.IntN(2) == 0 {
		maker = m.pick(m.dice.IntN(3))
	}
	if d.busy = true; n.c.Joined() {
		d.asked = time.Now()
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		resync, err := m.comes(ctx, d, maker, n, w)
		m.answers <- answered{d, n, w, resync, err}
	}()
}

func (m *jointModel) answer(a answered) {
	d := a.d
	d.busy, d.refused = false, a.err
	switch {
	case a.err == nil && m.loose && m.all[a.at.name] != a.at:
		d.next = time.Now()
	case a.err == nil && m.loose && m.dice.IntN(8) == 0: // the answer is lost
		d.at, d.wire = a.at, a.wire
		if d.ear != nil {
			d.ear.tell("at %s, not answered", a.at.name)
			d.ear.watcher.Next(d.ear.stream)
			d.ear.take(1 << 20)
		}
		m.lose(d)
	case a.err == nil && d.ear != nil:
		d.begun(a.at, a.resync)
		fallthrough
	case a.err == nil:
		d.at, d.wire, d.since = a.at, a.wire, time.Now()
	case m.loose && isGone(a.err):
		d.anew = true
	case fault.KindOf(a.err) == fault.SessionGone && !d.doubt && m.all[a.at.name] == a.at:
		m.fail("%s refused %s of %s for good (%s)", a.at.name, d.ref.Session.String()[:4], d.ref.User.ID, m.standing(d))
	default:
		d.next = time.Now().Add(time.Second)
	}
	if a.at.c.Joined() {
		d.asked = time.Now()
	}
}

// whole reports whether all three nodes are well, so that one may be not.
func (m *jointModel) whole() bool {
	return len(m.all) == 3 && m.paused == nil && len(m.still) == 0 && m.cutOff == nil
}

// begin starts a node that does not run.
func (m *jointModel) begin(name string) {
	if m.all[name] == nil {
		m.pass(time.Until(m.held) + 2*time.Second) // it needs the quorum, and devices would wait for it
		m.start(name)
	}
}

func (m *jointModel) play(s jointStep) {
	n := m.pick(s.A)
	switch s.Kind {
	case "device":
		made, err := n.tr.Make(context.Background(), MakeParams{User: presence.User{App: app, ID: presence.UserID(fmt.Sprint("u", s.B%3))}, Device: presence.Device{Platform: "ios"}})
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w := &wire{}
		if _, err := n.tr.Connect(ctx, made.Ref, ConnectParams{Link: w}); err == nil {
			m.devices = append(m.devices, &jointDevice{ref: made.Ref, maker: n.c.Self(), at: n, wire: w, since: time.Now(), asked: time.Now(), shown: map[*member]bool{}})
		}
	case "lose link":
		if len(m.devices) > 0 && m.devices[s.B%len(m.devices)].at != nil && !m.stands(m.devices[s.B%len(m.devices)].at) {
			m.lose(m.devices[s.B%len(m.devices)])
		}
	case "update":
		if len(m.devices) > 0 {
			if d := m.devices[s.B%len(m.devices)]; d.at != nil && !m.stands(d.at) {
				m.statuses++
				_, _ = d.at.update(d.ref, presence.Status{Show: presence.Show(m.statuses % 3), Invisible: d.hidden})
			}
		}
	case "wait":
		m.pass(s.D)
	case "start":
		m.begin(string(rune('a' + s.A%3)))
	default:
		m.hurt(s, n)
	}
	m.pass(50 * time.Millisecond)
}

// hurt plays a fault. One node is hurt at a time.
func (m *jointModel) hurt(s jointStep, n *member) {
	a, b := string(rune('a'+s.A%3)), string(rune('a'+(s.A+1+s.B%2)%3))
	switch s.Kind {
	case "cut one way", "cut":
		if m.cutOff != nil || time.Now().Before(m.held) {
			return // whose node is out of reach needs the log to come elsewhere
		}
		if m.net.Cut(a, b); s.Kind == "cut" {
			m.net.Cut(b, a)
		}
	case "mend":
		m.cutOff = nil
		m.heal()
	case "faults":
		m.net.SetFaults(clustertest.Faults{Loss: float64(s.A%3) * 0.03, Double: 0.05, Delay: time.Duration(s.B%10) * time.Millisecond, Jitter: time.Duration(s.A) * time.Millisecond / 2})
	case "hold":
		m.holdFor(min(s.D, 6*time.Second))
	case "kill", "election", "alone", "pause":
		m.net.Heal()
		if !m.whole() {
			return
		}
		m.pass(2 * time.Second) // the last fault is forgotten
		switch s.Kind {
		case "kill":
			n.kill()
		case "election":
			n.kill()
			m.quorum.SetDown(true)
			d := 3*time.Second + min(s.D, 6*time.Second)
			m.holdFor(d)
			time.AfterFunc(d, m.quorum.Heal)
		case "alone":
			m.cutOff = n
			n.cut()
		case "pause":
			m.paused = n
			n.pause(min(s.D, 5*time.Second), m.turn)
			m.paused = nil
		}
	}
}

// holdFor lets the log take nothing for a while.
func (m *jointModel) holdFor(d time.Duration) {
	m.net.Heal()
	m.hold()
	m.hold, m.held = m.mem.Hold(), time.Now().Add(d)
	time.AfterFunc(d, m.hold)
}
