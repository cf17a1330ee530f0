package roster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestFollowersConverge: whatever a source and the sessions do, who follows
// knows in the end what the source says, and sees it too.
func TestFollowersConverge(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]Visibility{"everyone": Everyone, "friends": Friends} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watch := rapidtest.Observe(t, rapidtest.Limit)
			synctest.Test(t, func(t *testing.T) {
				for range 10 {
					watch.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { followersConverge(t, rt, v) })
				}
			})
		})
	}
}

func followersConverge(t *testing.T, rt *rapid.T, v Visibility) {
	users := []presence.UserID{"alice", "bob", "carol", "dave"}
	b := &backend{lists: map[presence.UserID][]presence.UserID{}}
	told := &told{lists: map[presence.UserID][]presence.UserID{}}
	r := &rig{t: t, store: storetest.NewMemory(), listener: told, cache: 200, apps: map[presence.AppID]AppConfig{"demo": {Visibility: v, MaxFriends: 5, Source: b}}}
	r.present.here, r.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
	r.start()
	defer func() { r.stop() }()
	follows := map[presence.UserID]bool{} // told.mu guards it, too
	user := func(t *rapid.T) presence.UserID { return rapid.SampledFrom(users).Draw(t, "user") }
	id := func(u presence.UserID) presence.SessionID { return presence.SessionID{byte(slices.Index(users, u))} }
	use := func(u presence.UserID) func([]presence.UserID) error {
		return func(list []presence.UserID) error {
			told.mu.Lock()
			defer told.mu.Unlock()
			told.lists[u], follows[u] = slices.Clone(list), true
			return nil
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"list": func(t *rapid.T) {
			u := user(t)
			b.set(u, distinct(rapid.SliceOf(rapid.SampledFrom(users)).Draw(t, "list"), u)...)
		},
		"push": func(t *rapid.T) {
			u, friend := user(t), user(t)
			if u == friend {
				return
			}
			b.set(u, append(without(b.lists[u], []presence.UserID{friend}), friend)...)
			_ = r.Push(context.Background(), demo(u), []presence.UserID{friend}, nil)
		},
		"invalidate": func(t *rapid.T) { r.Invalidate(demo(user(t))) },
		"down":       func(*rapid.T) { b.fail(errDown) },
		"up":         func(*rapid.T) { b.fail(nil) },
		"lose":       func(t *rapid.T) { r.store.LoseRosters(1, rapid.Bool().Draw(t, "stored")) },
		"pass": func(t *rapid.T) {
			pass(time.Duration(rapid.IntRange(1, 70).Draw(t, "seconds")) * time.Second)
		},
		"follow": func(t *rapid.T) {
			u := user(t)
			if r.Hold(context.Background(), demo(u), id(u)) == nil {
				_ = r.Follow(context.Background(), demo(u), use(u))
			}
		},
		"rejoin": func(t *rapid.T) { u := user(t); r.Rejoin(demo(u), id(u), use(u)) },
		"gone": func(t *rapid.T) {
			u := user(t)
			r.Gone(id(u))
			synctest.Wait() // he may be given a list at this moment
			told.mu.Lock()
			defer told.mu.Unlock()
			follows[u] = false
		},
		"restart": func(*rapid.T) {
			r.restart()
			told.mu.Lock()
			defer told.mu.Unlock()
			clear(follows)
		},
	})
	b.fail(nil)
	r.store.Recover()
	pass(5 * time.Minute)
	told.mu.Lock()
	defer told.mu.Unlock()
	for _, u := range users {
		if follows[u] && !sameSet(told.lists[u], b.lists[u]) {
			rt.Errorf("friends of %s: who follows knows %v, and the source says %v", u, told.lists[u], b.lists[u])
		}
		for _, target := range users {
			want := v == Everyone || u == target || slices.Contains(b.lists[u], target)
			if !follows[u] {
				continue
			}
			visible := true
			if s := r.Sight(demo(u)); s != nil {
				visible, _, _ = s.Of(target)
			}
			if visible != want {
				rt.Errorf("%s sees %s: got %v, want %v", u, target, visible, want)
			}
		}
	}
}
