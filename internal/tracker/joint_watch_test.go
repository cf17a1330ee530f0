package tracker

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// ledger is what a device was told of whom it watches, added up.
type ledger struct {
	picture map[presence.UserID]portrait
	last    uint64 // number of the last message that it has
	watcher *hub.Watcher
	stream  uint64
	// careless: it comes back without a number at times.
	careless bool
	story    []string
}

// portrait is one user as somebody sees him.
type portrait struct {
	online   bool
	sessions map[presence.PublicID]presence.Show
	seen     presence.Time // last, of one who is offline
}

// verbatim is the dialect of a ledger: the notification itself.
type verbatim struct{}

func (verbatim) Encode(n *hub.Notification) hub.Body {
	one := *n
	return &one
}

func (verbatim) Locale(presence.AppID, string) string { return "" }

func (l *ledger) tell(format string, args ...any) {
	l.story = append(l.story, fmt.Sprintf("%s ", time.Now().Format("04:05.000"))+fmt.Sprintf(format, args...))
}

// take reads messages, but not the last ones, which the link loses.
func (l *ledger) take(lost int) {
	frames, _ := l.watcher.Drain(l.stream, nil, 1<<20)
	for _, f := range frames[:max(0, len(frames)-lost)] {
		l.last = f.Sequence
		if f.Mark == nil {
			l.hear(f.Body.(*hub.Notification))
		}
	}
}

func (l *ledger) hear(n *hub.Notification) {
	id := n.Presence.User.ID
	p, ok := l.picture[id]
	if !ok {
		p.sessions = map[presence.PublicID]presence.Show{}
	}
	if p.online, p.seen = n.Available, 0; !n.Available {
		p.seen = n.Presence.Seen(false)
	}
	switch {
	case n.View == nil && !n.Available:
		l.tell("%s: nobody, seen %s", id, p.seen.Time().Format("04:05.000"))
		clear(p.sessions)
	case n.View == nil:
	case n.Kind == hub.KindClosed:
		l.tell("%s: %.4s closed %v, seen %s", id, n.View.Public, n.View.Shown.Reason, p.seen.Time().Format("04:05.000"))
		delete(p.sessions, n.View.Public)
	default:
		l.tell("%s: %.4s %v %v", id, n.View.Public, n.Kind, stated(n.View.Status))
		p.sessions[n.View.Public] = stated(n.View.Status)
	}
	l.picture[id] = p
}

func stated(s *presence.Status) presence.Show {
	if s == nil {
		return 0
	}
	return s.Show
}

// pictureAt is what a query of a node shows of a user.
func (m *member) pictureAt(id presence.UserID) portrait {
	p := m.tr.Presence(presence.User{App: app, ID: id})
	n := portrait{online: p.Available(false) != presence.Unavailable, sessions: map[presence.PublicID]presence.Show{}}
	if !n.online {
		n.seen = p.Seen(false)
	}
	for _, v := range p.Sessions {
		if v.Shown.Open() {
			n.sessions[v.Public] = stated(v.Status)
		}
	}
	return n
}

// differ says in what two pictures of a user differ, "" in nothing.
func (n portrait) differ(o portrait) string {
	if n.online == o.online && n.seen == o.seen && maps.Equal(n.sessions, o.sessions) {
		return ""
	}
	return n.String() + " beside " + o.String()
}

func (n portrait) String() string {
	var all []string
	for id, show := range n.sessions {
		all = append(all, fmt.Sprintf("%.4s %v", id, show))
	}
	slices.Sort(all)
	return fmt.Sprintf("online %v %v seen %s", n.online, all, n.seen.Time().Format("04:05.000"))
}

// watchedUsers are those of the model's devices.
var watchedUsers = []presence.UserID{"u0", "u1", "u2", "u3"}

// enter connects a device that watches, as package admit does for the doors.
func (d *jointDevice) enter(ctx context.Context, n *member, w *wire) (resync bool, err error) {
	if _, err := n.tr.CheckResume(ctx, d.ref); err != nil {
		return false, err
	}
	watcher := n.hub.Join(d.ref.Session, hub.Params{User: d.ref.User, Limit: 100})
	if !n.tr.Alive(d.ref) {
		n.hub.Gone(d.ref.Session)
		return false, errGone
	}
	var after *uint64
	if d.ear.last > 0 && !d.ear.careless {
		last := d.ear.last
		after = &last
	}
	if err := watcher.CanResume(after); err != nil {
		return false, err
	}
	c, err := n.tr.Connect(ctx, d.ref, ConnectParams{Link: w, Addr: "192.0.2.1:1", Maker: d.maker})
	if err != nil {
		return false, err
	}
	if len(c.Restored) > 0 {
		if err := watcher.Restore(c.Restored, hub.ScopeNone); err != nil {
			return false, err
		}
		n.tr.WatchesChanged(d.ref)
	}
	if !c.Resumed {
		after = nil
	}
	a, err := watcher.Attach(verbatim{}, func() {}, after)
	if err != nil {
		return false, err
	}
	d.ear.watcher, d.ear.stream = watcher, a.Stream
	return a.Resync || c.Unclean || c.Resumed && after == nil, nil
}

// begun is what a device makes of the first message of its link.
func (d *jointDevice) begun(n *member, resync bool) {
	l := d.ear
	l.last, l.careless = l.watcher.Next(l.stream), len(l.story)%3 == 0
	if l.tell("at %s, resync %v", n.name, resync); resync {
		clear(l.picture)
		if _, err := l.watcher.Watch(watchedUsers, hub.ScopeAll); err == nil {
			n.tr.WatchesChanged(d.ref)
		}
	}
}

var watchKinds = []string{
	"device", "device", "lose link", "lose link", "update", "hide", "hide", "close", "forget", "wait", "wait", "wait",
	"two killed", "two killed", "two stopped", "kill", "start", "alone", "mend", "pause", "hold", "late",
	"cut", "cut", "cut one way", "faults", "stop", "stop",
}

// uncut are the kinds without those of cuts and of long stops, in which the histories were found that
// are played again.
var uncut = watchKinds[:22]

// watchModel is a joint model of which only those who watch are judged.
type watchModel struct {
	*jointModel
	over    time.Time // when the quorum is back; zero: it is there
	restart bool
}

// TestJointWatchers plays random histories of nodes, among them deaths and stops of
// most of them, with devices that come and go, hide and show, and some that watch
// them all and come back at any node. At rest what each was told, last seen with it, is what a query
// shows, at all nodes (R6).
func TestJointWatchers(t *testing.T) {
	t.Parallel()
	count := 5
	if testing.Short() {
		count = 1
	}
	if n, err := strconv.Atoi(os.Getenv("PORCHLIGHT_JOINT")); err == nil {
		count = n
	}
	seeds := make([]int, count)
	for i := range seeds {
		seeds[i] = rand.IntN(1 << 30)
	}
	if n, err := strconv.Atoi(os.Getenv("PORCHLIGHT_JOINT_SEED")); err == nil {
		seeds = []int{n}
	}
	for _, seed := range seeds {
		playSeed(t, watchKinds, seed)
	}
}

// Histories that failed once.
func TestJointWatchersAgain(t *testing.T) {
	t.Parallel()
	for i, seed := range []int{
		232629118,            // what was opened too late, and had gone on by the time that its node read so, closed there
		562910935, 265283066, // a device that did not hear that it must begin anew was not told so again
		35403150, 676305159, // who was away when a session hid was not told, once a node without its former faces had it
		298735834, 869237583, // what was opened too late and given up was refused for two minutes, not for good
	} {
		if testing.Short() && i%3 > 0 {
			continue // one takes some seconds under the race detector
		}
		playSeed(t, uncut, seed)
	}
}

func playSeed(t *testing.T, kinds []string, seed int) {
	t.Helper()
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) jointStep {
		return jointStep{
			rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.IntRange(0, 11).Draw(t, "a"), rapid.IntRange(0, 11).Draw(t, "b"),
			rapid.SampledFrom([]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 5 * time.Second, 11 * time.Second}).Draw(t, "d"),
		}
	}), 6, 30).Example(seed)
	rapidtest.Observe(t, 3*rapidtest.Limit).Play(fmt.Sprint("PORCHLIGHT_JOINT_SEED=", seed), func() {
		synctest.Test(t, func(t *testing.T) {
			if trouble := playWatch(t, uint64(seed), steps); trouble != "" {
				t.Errorf("history %d: %s\n%+v", seed, trouble, steps)
			}
		})
	})
}

func playWatch(t *testing.T, seed uint64, steps []jointStep) string {
	j := newJoint(t, seed, presence.AllowAll)
	defer j.end()
	m := &watchModel{jointModel: &jointModel{joint: j, dice: rand.New(rand.NewPCG(seed, 1)), answers: make(chan answered, 100), hold: func() {}, loose: true, quits: newQuitting(seed, steps)}}
	for i := range 8 {
		m.device(watchedUsers[i%len(watchedUsers)], nil)
	}
	for _, id := range []presence.UserID{"w0", "w1", "w2"} {
		m.device(id, &ledger{picture: map[presence.UserID]portrait{}})
	}
	m.pass(2 * time.Second)
	for _, s := range steps {
		m.step(s)
	}
	m.settle()
	m.pass(25 * time.Second)
	for range 50 {
		if m.trouble = m.compare(); m.trouble == "" {
			break
		}
		m.pass(100 * time.Millisecond)
	}
	return m.trouble
}

// device makes a device, which will come; with an ear it watches everybody.
func (m *watchModel) device(id presence.UserID, ear *ledger) {
	m.devices = append(m.devices, &jointDevice{
		ref: Ref{User: presence.User{App: app, ID: id}}, anew: true, doubt: true, asked: time.Now(), shown: map[*member]bool{}, ear: ear,
	})
}

// settle ends all faults.
func (m *watchModel) settle() {
	if !m.over.IsZero() {
		m.pass(time.Until(m.over))
		m.recover()
	}
	m.hold()
	j := m.joint
	j.heal()
	m.cutOff = nil
	for _, n := range m.all {
		n.store.late.Store(false)
	}
	for _, name := range []string{"a", "b", "c"} {
		m.begin(name)
	}
}

// recover ends the loss of the quorum.
func (m *watchModel) recover() {
	m.over = time.Time{}
	m.still = nil
	m.quorum.Heal()
	m.hold()
	if m.restart {
		for _, name := range []string{"a", "b", "c"} {
			m.begin(name)
		}
	}
}

func (m *watchModel) step(s jointStep) {
	if !m.over.IsZero() && time.Now().After(m.over) {
		m.recover()
	}
	n := m.pick(s.A)
	var d *jointDevice
	if some := slices.DeleteFunc(slices.Clone(m.devices), func(d *jointDevice) bool { return d.ear != nil || d.at == nil }); len(some) > 0 {
		d = some[s.B%len(some)]
	}
	switch s.Kind {
	case "hide":
		if d != nil && !m.stands(d.at) {
			d.hidden = !d.hidden
			go d.at.hide(d.ref, d.hidden)
		}
	case "close":
		if d != nil && !m.stands(n) {
			m.leave(d)
			ref := d.ref
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				defer cancel()
				_, _ = n.tr.Close(ctx, ref, presence.ReasonLogout)
			}()
		}
	case "forget":
		if d != nil {
			m.lose(d)
			m.leave(d)
		}
	case "late":
		n.store.late.Store(true)
		time.AfterFunc(s.D, func() { n.store.late.Store(false) })
	case "two killed", "two stopped":
		m.loseMost(s)
	case "device":
		m.device(watchedUsers[s.B%len(watchedUsers)], nil)
	case "wait", "lose link", "update":
		m.play(s)
	case "start", "kill", "alone", "pause", "hold", "mend", "cut", "cut one way", "faults", "stop":
		if m.over.IsZero() {
			m.play(s)
		}
	}
	m.pass(10 * time.Millisecond * time.Duration(1+s.B))
}

// loseMost kills or stops two nodes; what the third has not read of the log by then
// it reads when they are back.
func (m *watchModel) loseMost(s jointStep) {
	if !m.over.IsZero() || !m.whole() || time.Now().Before(m.held) {
		return
	}
	var two []*member
	for i := range 2 {
		two = append(two, m.all[string(rune('a'+(s.A+i)%3))])
	}
	d := max(3*time.Second, s.D)
	m.over, m.restart = time.Now().Add(d), s.Kind == "two killed"
	if left := m.all[string(rune('a'+(s.A+2)%3))]; s.B%3 > 0 {
		left.store.late.Store(true)
		m.pass(50 * time.Millisecond)
		time.AfterFunc(d+time.Duration(m.dice.IntN(4))*time.Second, func() { left.store.late.Store(false) })
	}
	m.net.Heal()
	m.quorum.SetDown(true)
	m.hold()
	m.hold, m.held = m.mem.Hold(), m.over
	for _, n := range two {
		if m.restart {
			n.kill()
		} else {
			n.freeze(d)
			m.still = append(m.still, n)
		}
	}
}

// leave takes a device out of the model: it never comes back.
func (m *watchModel) leave(d *jointDevice) {
	m.devices = slices.DeleteFunc(m.devices, func(o *jointDevice) bool { return o == d })
}

// hide hides or shows a session that is there.
func (m *member) hide(ref Ref, hidden bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_, _ = m.tr.Update(ctx, ref, func(old *presence.Status) (*presence.Status, error) {
		return &presence.Status{Show: old.Show, Invisible: hidden}, nil
	})
}

// compare holds all pictures against each other.
func (m *watchModel) compare() string {
	first := m.all["a"]
	for _, id := range watchedUsers {
		want := first.pictureAt(id)
		for _, name := range []string{"b", "c"} {
			if d := m.all[name].pictureAt(id).differ(want); d != "" {
				return fmt.Sprintf("%s beside a, of %s: %s", name, id, d)
			}
		}
		for _, d := range m.devices {
			if d.at == nil {
				return fmt.Sprintf("%s is nowhere: %v", d.ref.User.ID, d.refused)
			}
			if d.ear == nil {
				continue
			}
			if diff := d.ear.picture[id].differ(want); diff != "" {
				return fmt.Sprintf("%s at %s was told of %s: %s\n%q\n%s", d.ref.User.ID, d.at.name, id, diff, d.ear.story, d.at.faces(id))
			}
		}
	}
	return ""
}

// comes is how a device of this model asks: one whose session is gone makes another.
// maker is where.
func (m *jointModel) comes(ctx context.Context, d *jointDevice, maker, n *member, w *wire) (resync bool, err error) {
	if d.anew {
		made, err := maker.tr.Make(ctx, MakeParams{User: d.ref.User, Device: presence.Device{Platform: "ios"}})
		if err != nil {
			return false, err
		}
		d.ref, d.maker, d.anew, d.hidden = made.Ref, made.Epoch.Incarnation, false, false
		if d.ear != nil {
			d.ear.last, d.ear.picture = 0, map[presence.UserID]portrait{}
			d.ear.tell("a new session at %s", maker.name)
			w := maker.hub.Join(d.ref.Session, hub.Params{User: d.ref.User, Limit: 100})
			_, _ = w.Watch(watchedUsers, hub.ScopeAll)
			maker.tr.WatchesChanged(d.ref)
		}
	}
	if err := n.tr.Look(ctx, d.ref, d.maker); err != nil {
		return false, err
	}
	if d.ear != nil {
		resync, err = d.enter(ctx, n, w)
		if fault.KindOf(err) == fault.ResumeFromFuture {
			d.ear.last = 0 // it must come without a number
		}
		return resync, err
	}
	_, err = n.tr.Connect(ctx, d.ref, ConnectParams{Link: w, Addr: "192.0.2.1:1", Maker: d.maker})
	return false, err
}

// isGone reports whether a device must make another session.
func isGone(err error) bool { return fault.KindOf(err) == fault.SessionGone }

// faces is what a node knows of a user's sessions.
func (m *member) faces(id presence.UserID) (text string) {
	p := m.tr.Presence(presence.User{App: app, ID: id})
	for _, v := range p.Sessions {
		text += fmt.Sprintf("  %.4s shown %+v\n", v.Public, v.Shown)
	}
	return fmt.Sprintf("version %d, floors %d %d\n%s", p.Version, p.Floor, p.FloorShown, text)
}
