package hub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// machineLimit is what each device may watch: fewer than there are users.
const machineLimit = 4

var machineUsers = []presence.UserID{"a", "b", "c", "d", "e"}

// machine is a world, some devices that watch it, and what is on its way
// between the two.
type machine struct {
	t       *rapid.T
	world   *world
	devices []*device
	wakes   []*int // how often each stream was woken since its last empty drain
	ever    []bool // it ever had a stream
	held    []*presence.Presence
	lists   map[presence.UserID]map[presence.UserID]bool // friends
	count   int
}

// Whatever changes, is watched, breaks, is lost and comes back: in the end each
// device's picture is the truth of its side, and on the way nothing is told
// twice, out of order, of whom nobody watches, or of what is hidden.
func TestWatchersConverge(t *testing.T) {
	t.Parallel()
	for range 20 { // a hundred runs each; the rarer bugs need about five hundred
		rapid.Check(t, converge)
	}
}

func converge(t *rapid.T) {
	m := &machine{t: t, world: newWorld(), lists: map[presence.UserID]map[presence.UserID]bool{}}
	for i, id := range []presence.UserID{"a", "b", "watcher", "watcher"} {
		w := m.world.join(byte(i+1), Params{User: named(id), Locale: "en", Limit: machineLimit})
		m.devices = append(m.devices, newDevice(named(id), w))
	}
	n := len(m.devices)
	m.wakes, m.ever = make([]*int, n), make([]bool, n)
	if rapid.IntRange(0, 3).Draw(t, "begin anew") != 0 {
		m.underWay()
	}
	t.Repeat(map[string]func(*rapid.T){
		"open": m.open, "update": m.update, "turn": m.turn, "close": m.close, "bury": m.bury,
		"tell": m.tell, "watch": m.watch, "watch many": m.watchMany, "unwatch": m.unwatch,
		"drain": m.drain, "arrive": m.arrive, "connect": m.connect, "cut": m.cut,
		"take over": m.takeOver, "future": m.future,
		"watch friends": m.watchFriends, "unwatch friends": m.unwatchFriends, "befriend": m.befriend, "veil": m.veil,
		"": m.bounded,
	})
	m.settle()
	for i := range m.devices {
		m.world.hub.Gone(presence.SessionID{byte(i + 1)})
	}
	if c := m.world.hub.Counts(); c != (Counts{Sent: c.Sent}) {
		t.Fatalf("after all are gone: %+v, want nothing", c)
	}
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) user() presence.UserID {
	return rapid.SampledFrom(machineUsers).Draw(m.t, "user")
}

func (m *machine) device() int {
	return rapid.IntRange(0, len(m.devices)-1).Draw(m.t, "device")
}

// changed lets the hub hear of a picture, now or later.
func (m *machine) changed(p *presence.Presence) {
	if rapid.IntRange(0, 3).Draw(m.t, "hold back") == 0 {
		m.held = append(m.held, p)
		return
	}
	m.world.tell(p)
}

// pick draws one of a user's sessions for which want holds.
func (m *machine) pick(u presence.UserID, want func(*stay) bool) (presence.PublicID, bool) {
	list := m.world.publics(u, want)
	if len(list) == 0 {
		return presence.PublicID{}, false
	}
	return rapid.SampledFrom(list).Draw(m.t, "session"), true
}

func (m *machine) say() presence.Status {
	m.count++
	return saying(m.count)
}

func (m *machine) open(*rapid.T) {
	u := m.user()
	public, again := m.pick(u, func(s *stay) bool { return !s.open() })
	if !again || rapid.Bool().Draw(m.t, "new") {
		if len(m.world.publics(u, func(*stay) bool { return true })) >= 4 {
			return
		}
		m.count++
		public = number(m.count)
	}
	status := m.say()
	status.Invisible = rapid.IntRange(0, 3).Draw(m.t, "invisible") == 0
	m.changed(m.world.opens(u, public, &status))
}

func (m *machine) update(*rapid.T) {
	u := m.user()
	if public, ok := m.pick(u, (*stay).open); ok {
		status := m.say()
		status.Invisible = slices.Contains(m.world.publics(u, (*stay).hidden), public)
		m.changed(m.world.updates(u, public, status))
	}
}

func (m *machine) turn(*rapid.T) {
	u := m.user()
	if public, ok := m.pick(u, (*stay).open); ok {
		status := m.say()
		status.Invisible = !slices.Contains(m.world.publics(u, (*stay).hidden), public)
		m.changed(m.world.updates(u, public, status))
	}
}

func (m *machine) close(*rapid.T) {
	u := m.user()
	if public, ok := m.pick(u, (*stay).open); ok {
		m.changed(m.world.closes(u, public))
	}
}

// bury forgets a close, and a change shows that it is forgotten. Whoever may
// still lose frames that told of it can only begin anew: what the hub relies on
// is that a tombstone outlives every resume.
func (m *machine) bury(*rapid.T) {
	u := m.user()
	public, ok := m.pick(u, func(s *stay) bool { return !s.open() })
	if !ok {
		return
	}
	for i, d := range m.devices {
		for d.stream != 0 && d.repeats() && m.drainOf(i, 5) {
		}
		m.must(d.arrive(len(d.way)))
		lost := d.last == nil || *d.last < d.sent
		d.late = d.late || d.stream == 0 && (lost || d.repeats())
	}
	m.world.buries(u, public)
	m.count++
	status := m.say()
	m.world.tell(m.world.opens(u, number(m.count), &status))
}

func (m *machine) tell(*rapid.T) {
	if len(m.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(m.t, "which")
	m.world.tell(m.held[i])
	m.held = slices.Delete(m.held, i, i+1)
}

func (m *machine) watch(*rapid.T) { m.ask(m.device(), []presence.UserID{m.user()}, ScopeUser) }

func (m *machine) watchMany(*rapid.T) {
	m.ask(m.device(), rapid.SliceOfN(rapid.SampledFrom(machineUsers), 0, 6).Draw(m.t, "users"), ScopeAll)
}

func (m *machine) ask(i int, users []presence.UserID, scope Scope) {
	d := m.devices[i]
	want := len(d.watched)
	for _, u := range distinct(users) {
		if !d.watched[u] {
			want++
		}
	}
	err := d.watch(users, scope)
	if want > machineLimit {
		if fault.KindOf(err) != fault.LimitSubscriptions {
			m.t.Fatalf("watch %v besides %v: got %v, want LimitSubscriptions", users, d.watched, err)
		}
		return
	}
	m.must(err)
}

func (m *machine) unwatch(*rapid.T) {
	i := m.device()
	m.must(m.devices[i].unwatch(m.user(), m.ever[i]))
}

func (m *machine) drain(*rapid.T) {
	i := m.device()
	if m.devices[i].stream != 0 {
		m.drainOf(i, rapid.IntRange(1, 5).Draw(m.t, "limit"))
	}
}

func (m *machine) drainOf(i, limit int) (more bool) {
	more, err := m.devices[i].drain(limit)
	m.must(err)
	if !more {
		*m.wakes[i] = 0
	}
	return more
}

func (m *machine) arrive(*rapid.T) {
	d := m.devices[m.device()]
	m.must(d.arrive(rapid.IntRange(0, len(d.way)).Draw(m.t, "arrive")))
}

func (m *machine) cut(*rapid.T) {
	i := m.device()
	d := m.devices[i]
	if d.stream == 0 {
		return
	}
	if rapid.Bool().Draw(m.t, "noticed") {
		d.watcher.Detach(d.stream)
		if frames, more := d.watcher.Drain(d.stream, nil, 100); len(frames) > 0 || more {
			m.t.Fatalf("a stream that was given up still gets %d frames", len(frames))
		}
	}
	m.must(d.cut(rapid.IntRange(0, len(d.way)).Draw(m.t, "arrive")))
}

func (m *machine) connect(*rapid.T) {
	if i := m.device(); m.devices[i].stream == 0 {
		m.attach(i)
	}
}

// takeOver connects while the former stream still stands.
func (m *machine) takeOver(*rapid.T) {
	i := m.device()
	d := m.devices[i]
	if d.stream == 0 {
		return
	}
	old := d.stream
	m.must(d.arrive(rapid.IntRange(0, len(d.way)).Draw(m.t, "arrive")))
	m.attach(i)
	if frames, more := d.watcher.Drain(old, nil, 100); len(frames) > 0 || more {
		m.t.Fatalf("the stream that was replaced still gets %d frames", len(frames))
	}
	d.watcher.Detach(old) // it must not take the new one's wake
}

func (m *machine) attach(i int) {
	d := m.devices[i]
	after := d.last
	if d.late || rapid.IntRange(0, 4).Draw(m.t, "anew") == 0 {
		after = nil
	}
	m.ever[i] = true
	wakes := new(int)
	m.must(d.connect(func() { *wakes++ }, after))
	m.wakes[i] = wakes
}

// future claims a number that was never given.
func (m *machine) future(*rapid.T) {
	i := m.device()
	if !m.ever[i] {
		return
	}
	d := m.devices[i]
	beyond := d.sent + uint64(rapid.IntRange(1, 100).Draw(m.t, "beyond"))
	for _, err := range []error{d.watcher.CanResume(&beyond), m.attachError(d, &beyond)} {
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.ResumeFromFuture {
			m.t.Fatalf("attach after %d of %d: got %v, want ResumeFromFuture", beyond, d.sent, err)
		}
	}
}

func (m *machine) attachError(d *device, after *uint64) error {
	_, err := d.watcher.Attach(&mirror{}, func() { m.t.Fatal("a refused stream was woken") }, after)
	return err
}

// bounded runs after each step: what waits is no more than what is watched, and
// nobody is woken twice.
func (m *machine) bounded(*rapid.T) {
	for i, d := range m.devices {
		q := &d.watcher.queue
		q.mu.Lock()
		waiting, room, marks := q.left(), len(q.edges), len(q.marks)
		q.mu.Unlock()
		most := len(d.all()) + len(d.parted)
		if waiting > most || room > 4*len(machineUsers)+2*keepRoom {
			m.t.Fatalf("device %d: %d entries wait in room for %d, but it watches %v and %v", i, waiting, room, d.watched, d.friends)
		}
		if marks > len(d.done)+sum(d.ended) {
			m.t.Fatalf("device %d: %d marks wait, but %d were asked for", i, marks, len(d.done)+sum(d.ended))
		}
		if d.stream == 0 {
			continue
		}
		if *m.wakes[i] > 1 {
			m.t.Fatalf("device %d was woken %d times between two empty drains", i, *m.wakes[i])
		}
		if waiting+marks > 0 && *m.wakes[i] == 0 && !q.rousing() {
			m.t.Fatalf("device %d: something waits and nobody was woken", i)
		}
	}
}

// rousing reports that a drain is owed anyway: the last one left something.
func (q *queue) rousing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.asleep
}

func sum(of map[presence.UserID]int) (n int) {
	for _, v := range of {
		n += v
	}
	return n
}

// settle ends all faults: what is under way arrives, and everybody knows all.
func (m *machine) settle() {
	for _, p := range m.held {
		m.world.tell(p)
	}
	m.held = nil
	for i, d := range m.devices {
		if d.stream == 0 {
			m.attach(i)
		}
		for n := 0; m.drainOf(i, 3); n++ {
			if n > 1000 {
				m.t.Fatalf("device %d: no end of frames", i)
			}
		}
		m.must(d.arrive(len(d.way)))
		if got, want := d.holds(), d.should(m.world); got != want {
			m.t.Fatalf("device %d (%s) holds\n%s\nwant\n%s", i, d.user.ID, indent(got), indent(want))
		}
		if len(d.done) > 0 || sum(d.ended) > 0 {
			m.t.Fatalf("device %d: marks that never came: %+v, ended %v", i, d.done, d.ended)
		}
	}
}

func indent(s string) string {
	return strings.TrimRight(fmt.Sprintf("  %s", strings.ReplaceAll(s, "\n", "\n  ")), " ")
}
