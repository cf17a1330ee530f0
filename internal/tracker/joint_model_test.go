package tracker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// jointStep is one step of a random history of the joint model.
type jointStep struct {
	Kind string
	A, B int
	D    time.Duration
}

var jointKinds = []string{
	"device", "lose link", "lose link", "update", "wait", "wait", "wait", "wait", "kill", "election", "election", "start",
	"cut", "cut", "cut one way", "alone", "alone", "alone", "alone and pause", "mend", "faults", "hold", "pause",
	"bye", "bye", "bye", "vanish", "vanish", "hide", "hide", "stop", "word", "say behind", "say behind", "update",
}

// jointUsers are who has devices.
var jointUsers = []presence.UserID{"u0", "u1", "u2", "u3", "u4", "u5"}

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
	// late: an opening of it was refused that may be stored later, and is undone then.
	late bool
	// leaves: it says goodbye until that is answered, or is gone without a word.
	leaves bool
	bye    bool // it says so
	hidden bool
	turns  int // how often it hid, and showed itself
	public presence.PublicID
	shown  map[*member]bool
	story  []string

	ear     *ledger // of one that watches; nil: it does not
	anew    bool    // it has no session, and makes one
	refused error   // why it is nowhere

	patience     time.Time              // at a node that stands still: until when
	words, acked int                    // said on links, and answered
	vanished     map[*member]presenceOf // not nil: it left a node that stood still, for good
	said         sayings
}

// answered is what came of asking.
type answered struct {
	d      *jointDevice
	one    jointDevice // as it is since
	at     *member
	wire   *wire
	resync bool
	err    error
	what   jointAsked
	word   int
	status *presence.Status
}

// jointAsked is what was asked.
type jointAsked uint8

const (
	asksConnect jointAsked = iota
	asksBye
	asksUpdate
	asksWord
	asksLate // on a link that was left
)

type jointModel struct {
	*joint
	dice     *rand.Rand
	devices  []*jointDevice
	answers  chan answered
	paused   *member
	still    []*member // they are stopped
	loose    bool      // no device is judged
	cutOff   *member
	parted   bool // two nodes did not hear each other since one was hurt
	hold     func()
	held     time.Time // until when the log takes nothing
	trouble  string
	statuses int
	quits    quitting
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
		count = 2
	}
	if n, err := strconv.Atoi(os.Getenv("PORCHLIGHT_JOINT")); err == nil {
		count = n
	}
	history := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) jointStep {
		return jointStep{
			rapid.SampledFrom(jointKinds).Draw(t, "kind"), rapid.IntRange(0, 5).Draw(t, "a"), rapid.IntRange(0, 5).Draw(t, "b"),
			rapid.SampledFrom([]time.Duration{50 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 5 * time.Second, 11 * time.Second}).Draw(t, "d"),
		}
	}), 3, 20)
	watch := rapidtest.Observe(t, 3*rapidtest.Limit)
	for range count {
		seed := rand.IntN(1 << 30)
		if n, err := strconv.Atoi(os.Getenv("PORCHLIGHT_JOINT_SEED")); err == nil {
			seed = n
		}
		steps := history.Example(seed)
		watch.Play(fmt.Sprint("PORCHLIGHT_JOINT=1 PORCHLIGHT_JOINT_SEED=", seed), func() {
			synctest.Test(t, func(t *testing.T) {
				if trouble := playJoint(t, uint64(seed), steps); trouble != "" {
					t.Fatalf("history %d: %s\n%#v", seed, trouble, steps)
				}
			})
		})
	}
}

func playJoint(t *testing.T, seed uint64, steps []jointStep) string {
	j := newJoint(t, seed, presence.AllowAll, jointUsers...)
	defer j.end()
	m := &jointModel{joint: j, dice: rand.New(rand.NewPCG(seed, 1)), answers: make(chan answered, 100), hold: func() {}}
	m.quits = newQuitting(seed, steps)
	for i := range 6 {
		m.play(jointStep{Kind: "device", A: i, B: i})
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
			if n.spy.twice[d.public] && d.turns == 0 && !d.late {
				m.fail("at %s a watcher was told twice of the end of %v of %s\n\t%s\n%s", n.name, d.public, d.ref.User.ID, n.spy.last(" "+string(d.ref.User.ID)), m.standing(d))
			}
			switch open := n.phase(d.ref).Open(); {
			case d.leaves && open:
				m.fail("in the end %s shows %s of %s still, who left (%s)", n.name, d.ref.Session.String()[:4], d.ref.User.ID, m.standing(d))
			case !d.doubt && !open:
				m.fail("in the end %s does not show %s of %s", n.name, d.ref.Session.String()[:4], d.ref.User.ID)
			case !d.doubt && n.spy.openings[d.public] > 1+d.turns:
				m.fail("at %s a watcher was told %d times that %v of %s opened", n.name, n.spy.openings[d.public], d.public, d.ref.User.ID)
			}
		}
	}
	for _, d := range m.devices {
		m.holds(d)
	}
	m.compare()
	return m.trouble
}

// compare holds what all nodes answer, and their watchers know, against each other.
func (m *jointModel) compare() {
	seen := map[presence.UserID][2]presence.Time{}
	for _, name := range []string{"a", "b", "c"} {
		s := m.all[name].spy
		for _, wrong := range s.agrees() {
			m.fail("in the end at %s %s\n\t%s", name, wrong, s.last(wrong))
		}
		for id, at := range s.asked {
			if old, ok := seen[id]; ok && old != at {
				m.fail("in the end %s says of %s that he was last seen at %v, another %v", name, id, at, old)
			}
			seen[id] = at
		}
	}
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
	for _, n := range m.all {
		if n == m.paused || n.spy == nil {
			continue
		}
		n.spy.look(time.Now().Format("05.000"))
		for _, wrong := range n.spy.wrong {
			m.fail("at %s %s\n\t%s", n.name, wrong, n.spy.last(wrong))
		}
	}
	now := time.Now()
	for _, d := range m.devices {
		if d.at != nil && m.all[d.at.name] != d.at {
			d.doubt = d.doubt || now.Sub(d.since) < 2*time.Second
			d.said.parted(nil)
			d.at, d.next = nil, now.Add(time.Duration(m.dice.IntN(1500))*time.Millisecond)
		}
		m.quit(d)
		m.haunts(d)
		if m.loose && m.stands(d.at) {
			continue
		}
		if d.at != nil && len(d.wire.ended()) > 0 {
			m.lose(d)
		}
		if d.at != nil && d.ear != nil {
			d.ear.take(0)
		}
		// Also of one that this model let ask nobody, as it started a node.
		d.doubt = d.doubt || now.Sub(d.asked) > 4*time.Second && !d.busy && d.at == nil
		if d.at != nil {
			d.asked = now
		} else if !d.busy && now.After(d.next) && (!d.leaves || d.bye) {
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
	text := fmt.Sprintf("it asked %v ago, asks %v", time.Since(d.asked), d.busy)
	if d.at != nil {
		text = "connected at " + d.at.name + " since " + time.Since(d.since).String()
	}
	for _, name := range []string{"a", "b", "c"} {
		n := m.all[name]
		if n == nil || n == m.paused {
			continue
		}
		sh := n.tr.shard(d.ref.User)
		sh.mu.Lock()
		if u := sh.peek(d.ref.User); u != nil {
			if s := u.session(d.ref.Session); s != nil {
				text += fmt.Sprintf("\n\t%s (%d): phase %v epoch %v foreign %v pending %v held %v reason %v", name, n.c.Self(), s.phase, s.epoch, s.foreign, s.pending != nil, s.held, s.truth.Reason)
			}
			if f := u.folded.Session(d.ref.Session); f != nil {
				text += fmt.Sprintf(", in the log phase %d epoch %v %v closed at %v", f.Phase, f.Epoch, f.Reason, f.ClosedAt)
			}
		}
		sh.mu.Unlock()
	}
	return text + "; at " + time.Now().Format("05.000") + ":\n\t" + strings.Join(d.story[max(0, len(d.story)-20):], "\n\t")
}

func (d *jointDevice) note(format string, args ...any) {
	d.story = append(d.story, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// lose is the end of a link.
func (m *jointModel) lose(d *jointDevice) {
	if d.ear != nil {
		d.ear.take(m.dice.IntN(4))
		d.ear.tell("lost %s", d.at.name)
		d.ear.watcher.Detach(d.ear.stream)
	}
	d.at.tr.LinkLost(d.ref, d.wire)
	d.said.parted(d.at)
	d.note("lost its link at %s, which had told it %+v", d.at.name, d.wire.ended())
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
	if m.asksInVain(d) {
		return
	}
	n, w := m.pick(m.dice.IntN(3)), &wire{}
	maker := n
	if m.loose && d.anew && m.dice.IntN(2) == 0 {
		maker = m.pick(m.dice.IntN(3))
	}
	if d.busy = true; n.c.Joined() {
		d.asked = time.Now()
	}
	d.note("asks %s, which takes part %v", n.name, n.c.Joined())
	if d.bye {
		m.say(d, n)
		return
	}
	one := *d
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		resync, err := m.comes(ctx, &one, maker, n, w)
		m.answers <- answered{d: d, one: one, at: n, wire: w, resync: resync, err: err, what: asksConnect}
	}()
}

// say has a device say goodbye at a node.
func (m *jointModel) say(d *jointDevice, n *member) {
	d.busy = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 12*time.Second)
		defer cancel()
		_, err := n.tr.Close(ctx, d.ref, presence.ReasonLogout)
		m.answers <- answered{d: d, at: n, err: err, what: asksBye}
	}()
}

func (m *jointModel) answer(a answered) {
	d := a.d
	d.note("is answered by %s (asked what %d): %v", a.at.name, a.what, a.err)
	if a.what == asksWord || a.what == asksLate {
		m.written(&a)
		return
	}
	if a.what == asksUpdate {
		d.said.acknowledged(&a)
		if fault.KindOf(a.err) == fault.SessionGone && !d.doubt && d.wire == a.wire && len(a.wire.ended()) == 0 {
			m.fail("%s says that %s of %s is gone, which is connected there", a.at.name, d.ref.Session.String()[:4], d.ref.User.ID)
		}
		return
	}
	d.busy, d.refused = false, a.err
	d.late = d.late || a.what == asksConnect && fault.KindOf(a.err) == fault.LogUnavailable
	if a.what == asksConnect && d.anew && !a.one.anew {
		d.ref, d.maker, d.anew, d.hidden = a.one.ref, a.one.maker, false, false
	}
	switch {
	case a.what == asksBye:
		d.bye = a.err != nil
		d.next = time.Now().Add(time.Second)
		return
	case d.leaves:
		if a.err == nil {
			a.at.tr.LinkLost(d.ref, a.wire)
		}
		return
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
		d.said.moved()
		if d.at, d.wire, d.since = a.at, a.wire, time.Now(); m.quits.on {
			m.word(d)
		}
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
