package roster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// world is a roster beside a model of it that has no store, no locks and no
// cache: lists, blocks, and what was frozen.
type world struct {
	*rig
	rt    *rapid.T
	app   AppConfig
	users []presence.UserID

	lists  map[presence.UserID][]presence.UserID
	blocks map[presence.UserID][]presence.UserID // whom each blocks
	frozen map[[2]presence.UserID]veil           // watcher, blocker
	former map[[2]presence.UserID]veil           // watcher, former friend
	went   map[presence.UserID][]presence.UserID // of former friends, the oldest first
	held   map[presence.UserID]bool
	mirror mirror
}

// mirror is what somebody knows who only listens.
type mirror struct {
	mu    sync.Mutex // guards all below
	lists map[presence.UserID]map[presence.UserID]bool
	sees  map[[2]presence.UserID]string
	world *world
}

func (m *mirror) FriendsChanged(user presence.User, added, removed []presence.UserID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lists[user.ID] == nil {
		m.lists[user.ID] = map[presence.UserID]bool{}
	}
	for _, id := range removed {
		if !m.lists[user.ID][id] {
			m.world.rt.Errorf("the listener heard that %s left %s's list, on which he was not", id, user.ID)
		}
		delete(m.lists[user.ID], id)
	}
	for _, id := range added {
		if m.lists[user.ID][id] {
			m.world.rt.Errorf("the listener heard that %s came to %s's list, on which he was", id, user.ID)
		}
		m.lists[user.ID][id] = true
	}
}

func (m *mirror) SightChanged(user presence.User, targets []presence.UserID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if targets == nil {
		targets = m.world.users
	}
	for _, id := range targets {
		m.sees[[2]presence.UserID{user.ID, id}] = m.world.real(user.ID, id)
	}
}

// real is what the roster says that user sees of target.
func (w *world) real(user, target presence.UserID) string {
	visible, since, seen := true, presence.Time(0), presence.Time(0)
	if s := w.Sight(demo(user)); s != nil {
		visible, since, seen = s.Of(target)
	}
	return fmt.Sprint(visible, since, seen)
}

// sees is what the model says of it.
func (w *world) sees(user, target presence.UserID) (bool, veil) {
	if v, ok := w.frozen[[2]presence.UserID{user, target}]; ok {
		return false, v
	}
	if user == target || w.app.Visibility == Everyone || slices.Contains(w.lists[user], target) {
		return true, veil{}
	}
	return false, w.former[[2]presence.UserID{user, target}]
}

func (w *world) freeze(user, target presence.UserID) veil {
	if visible, v := w.sees(user, target); !visible {
		return v
	}
	now := presence.At(time.Now())
	if w.present.here[target] {
		return veil{now, now}
	}
	return veil{now, w.present.seen[target]}
}

// setList changes a list of the model.
func (w *world) setList(user presence.UserID, friends []presence.UserID) {
	added, removed := difference(w.lists[user], friends)
	frozen := map[[2]presence.UserID]veil{}
	for _, id := range removed {
		frozen[[2]presence.UserID{user, id}] = w.freeze(user, id)
	}
	w.lists[user] = friends
	touched := slices.Concat(added, removed)
	for _, id := range touched {
		delete(w.former, [2]presence.UserID{user, id})
	}
	w.went[user] = without(w.went[user], touched)
	if w.app.Visibility != Friends {
		return
	}
	maps.Copy(w.former, frozen)
	w.went[user] = append(w.went[user], removed...)
	for len(w.went[user]) > w.app.MaxFriends {
		delete(w.former, [2]presence.UserID{user, w.went[user][0]})
		w.went[user] = w.went[user][1:]
	}
}

func (w *world) user(name string) presence.UserID { return rapid.SampledFrom(w.users).Draw(w.rt, name) }

// sometimesLose has the next writes answered with nothing.
func (w *world) sometimesLose(t *rapid.T) {
	if lost := rapid.IntRange(-6, 3).Draw(t, "lost"); lost > 0 {
		for range lost {
			w.store.LoseRosters(1, rapid.Bool().Draw(t, "stored"))
		}
	}
}

// until calls f until its result is known.
func (w *world) until(t *rapid.T, f func() error) (err error) {
	defer w.store.Recover()
	for range 10 {
		if err = f(); fault.KindOf(err) != fault.FriendsUnavailable || err == nil {
			return err
		}
	}
	t.Fatalf("after ten tries: got %v, want a result", err)
	return err
}

func (w *world) pairs(t *rapid.T, add bool) {
	a, b, both := w.user("user"), w.user("friend"), rapid.Bool().Draw(t, "both")
	w.sometimesLose(t)
	err := w.until(t, func() (err error) {
		if add {
			_, err = w.Add(context.Background(), demo(a), b, both)
		} else {
			_, err = w.Remove(context.Background(), demo(a), b, both)
		}
		return err
	})
	next := map[presence.UserID][]presence.UserID{a: w.lists[a]}
	full := false
	for user, other := range map[presence.UserID]presence.UserID{a: b, b: a} {
		switch has := slices.Contains(w.lists[user], other); {
		case user == b && !both || has == add:
		case add:
			next[user] = append(slices.Clone(w.lists[user]), other)
			full = full || len(next[user]) > w.app.MaxFriends
		default:
			next[user] = without(w.lists[user], []presence.UserID{other})
		}
	}
	want := fault.Internal // none
	switch {
	case a == b:
		want = fault.FieldInvalid
	case full:
		want = fault.LimitFriends
	}
	if want != fault.Internal {
		if fault.KindOf(err) != want {
			t.Errorf("%s and %s: got %v, want %v", a, b, err, want)
		}
		return
	}
	if err != nil {
		t.Errorf("%s and %s: got %v, want no error", a, b, err)
	}
	for user, list := range next {
		w.setList(user, list)
	}
}

func (w *world) replace(t *rapid.T) {
	user := w.user("user")
	list := rapid.SliceOfN(rapid.SampledFrom(w.users), 0, 5).Draw(t, "list")
	w.sometimesLose(t)
	err := w.until(t, func() error { _, _, err := w.Replace(context.Background(), demo(user), list); return err })
	set := distinct(list, "")
	switch kind := fault.KindOf(err); {
	case slices.Contains(list, user):
		if kind != fault.FieldInvalid {
			t.Errorf("a list with its user: got %v, want FIELD_INVALID", err)
		}
	case len(set) > w.app.MaxFriends && len(set) > len(w.lists[user]):
		if kind != fault.LimitFriends {
			t.Errorf("a list of %d: got %v, want LIMIT_FRIENDS", len(set), err)
		}
	case err != nil:
		t.Errorf("Replace: got %v, want no error", err)
	default:
		w.setList(user, set)
	}
}

func (w *world) block(t *rapid.T) {
	user, other := w.user("user"), w.user("other")
	has := slices.Contains(w.blocks[user], other)
	v := w.freeze(other, user)
	w.sometimesLose(t)
	err := w.until(t, func() error { _, err := w.Block(context.Background(), demo(user), other); return err })
	switch kind := fault.KindOf(err); {
	case user == other:
		if kind != fault.FieldInvalid {
			t.Errorf("a block of oneself: got %v, want FIELD_INVALID", err)
		}
	case !has && len(w.blocks[user]) >= w.app.MaxFriends:
		if kind != fault.LimitFriends {
			t.Errorf("a block too many: got %v, want LIMIT_FRIENDS", err)
		}
	case err != nil:
		t.Errorf("Block: got %v, want no error", err)
	case !has:
		w.blocks[user] = append(slices.Clone(w.blocks[user]), other)
		w.frozen[[2]presence.UserID{other, user}] = v
	}
}

func (w *world) unblock(t *rapid.T) {
	user, other := w.user("user"), w.user("other")
	if user == other {
		return
	}
	w.sometimesLose(t)
	if err := w.until(t, func() error { _, err := w.Unblock(context.Background(), demo(user), other); return err }); err != nil {
		t.Errorf("Unblock: got %v, want no error", err)
	}
	w.blocks[user] = without(w.blocks[user], []presence.UserID{other})
	delete(w.frozen, [2]presence.UserID{other, user})
}

func (w *world) erase(t *rapid.T) {
	user := w.user("user")
	w.sometimesLose(t)
	if err := w.until(t, func() error { return w.Erase(context.Background(), demo(user)) }); err != nil {
		t.Errorf("Erase: got %v, want no error", err)
	}
	w.lists[user], w.blocks[user], w.went[user] = nil, nil, nil
	gone := []presence.UserID{user}
	for _, id := range w.users {
		w.went[id] = without(w.went[id], gone)
		w.lists[id], w.blocks[id] = without(w.lists[id], gone), without(w.blocks[id], gone)
		for _, pair := range [][2]presence.UserID{{user, id}, {id, user}} {
			delete(w.frozen, pair)
			delete(w.former, pair)
		}
	}
}

// session lets a user's only session come or go.
func (w *world) session(t *rapid.T) {
	i := rapid.IntRange(0, len(w.users)-1).Draw(t, "user")
	user := w.users[i]
	if w.held[user] {
		w.Gone(presence.SessionID{byte(i)})
		delete(w.held, user)
		return
	}
	if err := w.Hold(context.Background(), demo(user), presence.SessionID{byte(i)}); err != nil {
		t.Errorf("Hold: got %v, want no error", err)
	}
	w.held[user] = true
	w.mirror.SightChanged(demo(user), nil) // who comes looks for himself
}

func (w *world) again(t *rapid.T) {
	w.restart()
	clear(w.held)
}

func (w *world) move(t *rapid.T) {
	user := w.user("user")
	if rapid.Bool().Draw(t, "comes") {
		w.present.comes(user)
	} else {
		w.present.goes(presence.At(time.Now()), user)
	}
	<-time.After(time.Duration(rapid.IntRange(1, 5000).Draw(t, "ms")) * time.Millisecond)
}

// change lets everybody see everybody, or only friends each other.
func (w *world) change(*rapid.T) {
	w.app.Visibility = Friends - w.app.Visibility
	w.apps["demo"] = w.app
	w.SetApps(w.apps)
}

// check compares everything.
func (w *world) check(t *rapid.T) {
	synctest.Wait()
	for _, user := range w.users {
		if rapid.IntRange(0, 3).Draw(t, "look") == 0 { // not always: it changes what is cached
			got, err := w.Friends(context.Background(), demo(user))
			if err != nil || !slices.Equal(got, w.lists[user]) {
				t.Errorf("friends of %s: got %v, %v, want %v", user, got, err, w.lists[user])
			}
			got, err = w.Blocks(context.Background(), demo(user))
			if err != nil || !slices.Equal(got, w.blocks[user]) {
				t.Errorf("blocks of %s: got %v, %v, want %v", user, got, err, w.blocks[user])
			}
		}
		if heard := slices.Sorted(maps.Keys(w.mirror.lists[user])); !slices.Equal(heard, slices.Sorted(slices.Values(w.lists[user]))) {
			t.Errorf("friends of %s: who listens knows %v, want %v", user, heard, w.lists[user])
		}
		if !w.held[user] {
			continue
		}
		for _, target := range w.users {
			visible, v := w.sees(user, target)
			want, got := fmt.Sprint(visible, v.since, v.seen), w.real(user, target)
			if got != want || w.mirror.sees[[2]presence.UserID{user, target}] != want {
				t.Errorf("%s sees %s: got %s, and who listens knows %s, want %s", user, target, got, w.mirror.sees[[2]presence.UserID{user, target}], want)
			}
		}
	}
}

func newWorld(t *testing.T, rt *rapid.T, v Visibility) *world {
	w := &world{
		rt: rt, app: AppConfig{Visibility: v, MaxFriends: 3}, users: []presence.UserID{"alice", "bob", "carol", "dave", "erin"},
		lists: map[presence.UserID][]presence.UserID{}, blocks: map[presence.UserID][]presence.UserID{},
		frozen: map[[2]presence.UserID]veil{}, former: map[[2]presence.UserID]veil{}, went: map[presence.UserID][]presence.UserID{}, held: map[presence.UserID]bool{},
	}
	w.mirror = mirror{lists: map[presence.UserID]map[presence.UserID]bool{}, sees: map[[2]presence.UserID]string{}, world: w}
	w.rig = &rig{t: t, store: storetest.NewMemory(), apps: map[presence.AppID]AppConfig{"demo": w.app}, listener: &w.mirror, cache: 1}
	w.present.here, w.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
	w.start()
	return w
}

// TestModel plays random histories, with writes whose result is not known and
// restarts, against the model.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]Visibility{"everyone": Everyone, "friends": Friends} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watch := rapidtest.Observe(t, rapidtest.Limit)
			synctest.Test(t, func(t *testing.T) {
				for range 30 { // a hundred runs each, or twenty if short
					// A *testing.T has a deadline outside the bubble.
					watch.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
						w := newWorld(t, rt, v)
						defer w.stop()
						rt.Repeat(map[string]func(*rapid.T){
							"add":     func(t *rapid.T) { w.rt = t; w.pairs(t, true) },
							"remove":  func(t *rapid.T) { w.rt = t; w.pairs(t, false) },
							"replace": func(t *rapid.T) { w.rt = t; w.replace(t) },
							"block":   func(t *rapid.T) { w.rt = t; w.block(t) },
							"unblock": func(t *rapid.T) { w.rt = t; w.unblock(t) },
							"erase":   func(t *rapid.T) { w.rt = t; w.erase(t) },
							"change":  w.change,
							"session": w.session,
							"restart": w.again,
							"move":    func(t *rapid.T) { w.rt = t; w.move(t) },
							"":        w.check,
						})
					})
				}
			})
		})
	}
}
