package roster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// twoNodes runs f with two rosters on one store.
func twoNodes(t *testing.T, app AppConfig, f func(t *testing.T, a, b *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newRig(t, app)
		b := &rig{t: t, store: a.store, apps: a.apps, shared: true}
		b.present.here, b.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
		b.start()
		f(t, a, b)
		a.stop()
		b.stop()
		synctest.Wait()
	})
}

// tell tells a roster what stands in the store of a user.
func (r *rig) tell(kind store.RosterKind, user presence.UserID) {
	r.t.Helper()
	v := must[store.Roster](r.t)(r.store.LoadRoster(context.Background(), kind, demo(user)))
	c := store.RosterChange{App: "demo", Mark: store.UserMark(demo(user)), Roster: v}
	if v.Value == nil {
		c.User = presence.User{} // nobody's name stays where nothing is kept
	}
	r.Stored(kind, c)
	synctest.Wait()
}

func TestBlockAtAnotherNode(t *testing.T) {
	t.Parallel()
	twoNodes(t, AppConfig{}, func(t *testing.T, a, b *rig) {
		must[bool](t)(a.Block(context.Background(), demo("alice"), "bob"))
		b.wantSight("bob", "alice", true, 0, 0)
		b.tell(store.RosterBlocks, "alice")
		b.wantHeard("sight of bob: [alice]")
		b.wantSight("bob", "alice", false, presence.At(time.Now()), 0)
		// What it did itself it is told of as well, and nothing comes of it.
		a.heard.take()
		a.tell(store.RosterBlocks, "alice")
		a.wantHeard()
		must[bool](t)(b.Unblock(context.Background(), demo("alice"), "bob"))
		b.wantHeard("sight of bob: [alice]")
		a.tell(store.RosterBlocks, "alice")
		a.wantHeard("sight of bob: [alice]")
		a.wantSight("bob", "alice", true, 0, 0)
	})
}

func TestListAtAnotherNode(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]Visibility{"everyone": Everyone, "friends": Friends} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			twoNodes(t, AppConfig{Visibility: v}, func(t *testing.T, a, b *rig) {
				var followed []presence.UserID
				if err := b.Hold(context.Background(), demo("alice"), presence.SessionID{1}); err != nil {
					t.Fatal(err)
				}
				if err := b.Follow(context.Background(), demo("alice"), func(l []presence.UserID) error { followed = l; return nil }); err != nil || len(followed) != 0 {
					t.Fatalf("got %v, %v, want an empty list", followed, err)
				}
				a.add("alice", "bob")
				b.tell(store.RosterList, "alice")
				want := []string{"friends of alice: +[bob] -[]"}
				if v == Friends {
					want = append([]string{"sight of alice: [bob]"}, want...)
				}
				b.wantHeard(want...)
				b.tell(store.RosterList, "alice") // doubled
				b.wantHeard()
				b.wantFriends("alice", "bob")
			})
		})
	}
}

// TestPushAtAnotherNode: what a backend pushes to one node is read by the other.
func TestPushAtAnotherNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &backend{lists: map[presence.UserID][]presence.UserID{"alice": {"bob"}}}
		rigs := []*rig{{}, {}}
		for i, r := range rigs {
			*r = rig{t: t, store: storetest.NewMemory(), shared: true, apps: map[presence.AppID]AppConfig{"demo": {Source: source}}}
			r.present.here, r.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
			r.pushed = func(u presence.User) { rigs[1-i].Reread(u) }
			r.start()
			if err := r.Hold(context.Background(), demo("alice"), presence.SessionID{byte(i)}); err != nil {
				t.Fatal(err)
			}
			if err := r.Follow(context.Background(), demo("alice"), func([]presence.UserID) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		source.set("alice", "bob", "carol")
		if err := rigs[0].Push(context.Background(), demo("alice"), []presence.UserID{"carol"}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		rigs[1].wantHeard("friends of alice: +[carol] -[]", "sight of alice: all")
		source.set("alice", "carol")
		rigs[1].Invalidate(demo("alice"))
		synctest.Wait()
		rigs[0].wantHeard("friends of alice: +[carol] -[]", "friends of alice: +[] -[bob]", "sight of alice: all")
		for _, r := range rigs {
			r.stop()
		}
		synctest.Wait()
	})
}

// TestMissed: who was not told of anything knows all after Missed.
func TestMissed(t *testing.T) {
	t.Parallel()
	watch := rapidtest.Observe(t, rapidtest.Limit)
	synctest.Test(t, func(t *testing.T) {
		watch.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			a := &rig{t: t, store: storetest.NewMemory(), shared: true, apps: map[presence.AppID]AppConfig{"demo": {Visibility: Friends}}}
			a.present.here, a.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
			b := &rig{t: t, store: a.store, shared: true, apps: a.apps}
			b.present.here, b.present.seen = map[presence.UserID]bool{}, map[presence.UserID]presence.Time{}
			a.start()
			b.start()
			defer func() { a.stop(); b.stop(); synctest.Wait() }()
			users := []presence.UserID{"alice", "bob", "carol"}
			for _, u := range users {
				if err := b.Hold(context.Background(), demo(u), presence.SessionID{byte(u[0])}); err != nil {
					t.Fatal(err)
				}
			}
			for range rapid.IntRange(1, 12).Draw(rt, "changes") {
				u, o := rapid.SampledFrom(users).Draw(rt, "user"), rapid.SampledFrom(users).Draw(rt, "other")
				if u == o {
					continue
				}
				node := rapid.SampledFrom([]*rig{a, b}).Draw(rt, "node")
				var err error
				switch rapid.IntRange(0, 3).Draw(rt, "what") {
				case 0:
					_, err = node.Add(context.Background(), demo(u), o, false)
				case 1:
					_, err = node.Remove(context.Background(), demo(u), o, false)
				case 2:
					_, err = node.Block(context.Background(), demo(u), o)
				case 3:
					_, err = node.Unblock(context.Background(), demo(u), o)
				}
				if err != nil {
					rt.Fatal(err)
				}
			}
			a.Missed()
			b.Missed()
			synctest.Wait()
			for _, u := range users {
				for _, o := range users {
					var seen [2]bool
					for i, node := range []*rig{a, b} {
						seen[i] = true
						if s := node.Sight(demo(u)); i == 1 && s != nil {
							seen[i], _, _ = s.Of(o)
						} else if i == 0 {
							if err := node.Hold(context.Background(), demo(u), presence.SessionID{byte(u[0])}); err != nil {
								rt.Fatal(err)
							}
							if s := node.Sight(demo(u)); s != nil {
								seen[i], _, _ = s.Of(o)
							}
						}
					}
					if seen[0] != seen[1] {
						rt.Errorf("%s sees %s: %v at one node, %v at the other", u, o, seen[0], seen[1])
					}
				}
			}
		})
	})
}
