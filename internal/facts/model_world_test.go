package facts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// world plays a node: it writes records as trackers do, checkpoints behind, and
// has bases made and the log cut at any moment.
type world struct {
	*rig
	t        *rapid.T
	users    []presence.User
	sessions map[string]*played
	log      []presence.Record // of all messages
	places   []Position        // of each in log
	state    map[presence.User]*presence.Folded
	wrote    map[int]uint64 // through of each shard
	good     uint64         // of all shards
}

type played struct {
	user    presence.User
	id      presence.SessionID
	counter uint32
	rev     uint64
	open    bool
	device  presence.Device
}

func newWorld(t *rapid.T) *world {
	w := &world{
		rig: newRig(Config{Ring: rapid.SampledFrom([]int{1, 5, 1000}).Draw(t, "ring")}), t: t,
		sessions: map[string]*played{}, state: map[presence.User]*presence.Folded{}, wrote: map[int]uint64{},
	}
	if rapid.Bool().Draw(t, "scrub late") {
		w.ScrubLate()
	}
	for i := range 4 {
		w.users = append(w.users, user(fmt.Sprint("user-", i)))
	}
	w.users = append(w.users, presence.User{App: "other", ID: "user-0"})
	return w
}

// record draws what somebody claims next.
func (w *world) record() presence.Record {
	t := w.t
	w.now = w.now.Add(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 20 * time.Minute, 2 * time.Hour}).Draw(t, "pause"))
	u := rapid.SampledFrom(w.users).Draw(t, "user")
	n := rapid.IntRange(0, 2).Draw(t, "session")
	name := fmt.Sprint(u, n)
	s := w.sessions[name]
	if s == nil {
		s = &played{user: u, id: presence.SessionID{byte(len(w.sessions) + 1)}, device: presence.Device{Platform: []string{"web", "ios"}[n%2], ID: "d"}}
		w.sessions[name] = s
	}
	r := presence.Record{
		User: u, Session: s.id, Public: presence.PublicID(s.id), Time: w.now, Device: s.device,
		Policy: rapid.SampledFrom([]presence.MultiDevice{presence.AllowAll, presence.Single}).Draw(t, "policy"),
	}
	kinds := []presence.RecordKind{presence.RecordOpened}
	if s.open {
		kinds = []presence.RecordKind{presence.RecordClosed, presence.RecordHidden, presence.RecordShown, presence.RecordCustom, presence.RecordMoved, presence.RecordOpened}
	}
	switch r.Kind = rapid.SampledFrom(kinds).Draw(t, "kind"); r.Kind {
	case presence.RecordOpened, presence.RecordMoved:
		s.counter++
		s.open = true
		r.Invisible = rapid.Bool().Draw(t, "invisible")
	case presence.RecordClosed:
		s.open = false
		r.Reason, r.LastSeen = presence.ReasonLeft, w.now-1
	}
	s.rev++
	r.Revision = s.rev
	r.Epoch = presence.Epoch{Counter: s.counter, Incarnation: 1}
	if rapid.IntRange(0, 19).Draw(t, "erase") == 0 {
		r = presence.Record{Kind: presence.RecordErased, User: u, Time: w.now}
		for _, s := range w.sessions {
			s.open = s.open && s.user != u
		}
		w.now++
	}
	return r
}

// say appends a message of some records, now and then with one of before again.
func (w *world) say() {
	var rs []presence.Record
	for range rapid.IntRange(1, 3).Draw(w.t, "records") {
		rs = append(rs, w.record())
		if n := len(w.log); n > 0 && rapid.IntRange(0, 5).Draw(w.t, "again") == 0 {
			if again := w.log[max(0, n-rapid.IntRange(1, 5).Draw(w.t, "of"))]; w.now.Sub(again.Time) < 10*time.Minute {
				rs = append(rs, again)
			}
		}
	}
	seq := w.append(w.t, rs...)
	for i := range rs {
		w.log = append(w.log, rs[i])
		w.places = append(w.places, Position{Sequence: seq, Index: uint32(i)})
		u := w.state[rs[i].User]
		if u == nil {
			u = &presence.Folded{}
			w.state[rs[i].User] = u
		}
		u.Apply(&rs[i], nil)
	}
}

// save writes shards as the tracker does: the state may hold more than what
// through says.
func (w *world) save() {
	ctx := context.Background()
	last := w.last()
	shards := map[int][]presence.User{}
	for u := range w.state {
		shards[store.Shard(u)] = append(shards[store.Shard(u)], u)
	}
	for _, n := range slices.Sorted(maps.Keys(shards)) {
		users := shards[n]
		w.wrote[n] = max(w.wrote[n], w.good) // before, it was empty
		if rapid.IntRange(0, 3).Draw(w.t, "skip") == 0 {
			continue
		}
		slices.SortFunc(users, func(a, b presence.User) int { return cmpUser(a, b) })
		var body []byte
		count := 0
		for _, name := range users {
			u := w.state[name]
			if u.Forget(w.now); u.Seq == 0 && len(u.Sessions) == 0 && u.Erased == 0 {
				continue
			}
			count++
			body = presence.AppendFolded(body, name, u)
		}
		through := max(w.wrote[n], w.recent(last, rapid.IntRange(0, 2).Draw(w.t, "behind")))
		if err := w.SaveShard(ctx, n, through, append(store.AppendShard(nil, count), body...)); err != nil {
			w.t.Fatalf("SaveShard: %v", err)
		}
		w.wrote[n] = through
	}
	good := last
	for n := range shards {
		good = min(good, w.wrote[n])
	}
	if w.good = good; good > 0 {
		if err := w.Advance(ctx, good, 0); err != nil {
			w.t.Fatalf("Advance: %v", err)
		}
	}
}

// recent goes some messages back, but not by long: a shard is written at once.
func (w *world) recent(last uint64, messages int) uint64 {
	for i := len(w.log) - 1; i >= 0 && messages > 0; i-- {
		if w.places[i].Sequence != last || w.now.Sub(w.log[i].Time) > 10*time.Minute {
			break
		}
		if i == 0 || w.places[i-1].Sequence != last {
			last, messages = last-1, messages-1
		}
	}
	return last
}

func cmpUser(a, b presence.User) int {
	if a.App != b.App {
		return slices.Compare([]byte(a.App), []byte(b.App))
	}
	return slices.Compare([]byte(a.ID), []byte(b.ID))
}

func (w *world) last() uint64 {
	_, next, _ := w.Ends(context.Background())
	return next - 1
}

// step does one of what may happen.
func (w *world) step() {
	switch rapid.IntRange(0, 10).Draw(w.t, "step") {
	case 10:
		w.Scrub()
	case 0, 1:
		w.save()
	case 2:
		if _, err := w.SaveBase(context.Background()); err != nil && !errors.Is(err, store.ErrNoCheckpoint) {
			w.t.Fatalf("SaveBase: %v", err)
		}
	case 3:
		if rapid.IntRange(0, 3).Draw(w.t, "cut") == 0 {
			w.Forget(w.last() - min(w.last(), uint64(rapid.IntRange(0, 20).Draw(w.t, "keep"))))
		}
	default:
		w.say()
	}
}
