package hub

import (
	"fmt"
	"slices"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// The friends are subscribed to whole, told of, and then their mark comes; asked
// again, the mark alone.
func TestWatchFriends(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("bob", number(1), nil)
	v := w.join(1, Params{User: named("alice")})
	s := &seat{watcher: v}
	for i, want := range []bool{false, true} {
		if already, err := v.WatchFriends([]presence.UserID{"bob", "carol", "bob"}); err != nil || already != want {
			t.Errorf("time %d: already %v, %v, want %v", i+1, already, err, want)
		}
	}
	s.connect(nil)
	s.want(t, "friends", "connected false false",
		fmt.Sprintf("bob 1 online: %v r1 since 1700000000001 updated 1700000000001 on web says <nil>", number(1)),
		"carol 0 offline, last seen 0", "mark {Scope:2 Reason:0 User: Users:2}", "mark {Scope:2 Reason:0 User: Users:2}")
	if users, friends := v.Watches(); len(users) != 0 || !friends {
		t.Errorf("watches: got %v and friends %v, want the friends alone", users, friends)
	}
	w.hub.FriendsChanged(named("alice"), []presence.UserID{"dave"}, []presence.UserID{"bob", "nobody"})
	s.want(t, "changed", "mark {Scope:4 Reason:1 User:bob Users:0}", "dave 0 offline, last seen 0")
	w.hub.FriendsChanged(named("somebody"), []presence.UserID{"erin"}, nil)
	w.tell(w.opens("bob", number(2), nil))
	s.want(t, "not hers")
	for _, want := range []bool{true, false} {
		if was := v.UnwatchFriends(); was != want {
			t.Errorf("unwatch: was %v, want %v", was, want)
		}
	}
	s.want(t, "unwatched", "mark {Scope:4 Reason:0 User:carol Users:0}", "mark {Scope:4 Reason:0 User:dave Users:0}")
	w.hub.Gone(presence.SessionID{1})
	if _, err := v.WatchFriends(nil); fault.KindOf(err) != fault.SessionGone {
		t.Errorf("after the end: got %v, want SessionGone", err)
	}
}

// Who is watched by name and as a friend is told of once, and stays watched
// until both reasons are gone; each request gives a snapshot.
func TestWatchedForBothReasons(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.join(1, Params{User: named("alice"), Limit: 1})
	s := &seat{watcher: v}
	s.connect(nil)
	v.Watch([]presence.UserID{"bob"}, ScopeNone)
	s.want(t, "by name", "connected false false", "bob 0 offline, last seen 0")
	v.WatchFriends([]presence.UserID{"bob"})
	s.want(t, "as a friend too", "bob 0 offline, last seen 0", "mark {Scope:2 Reason:0 User: Users:1}")
	w.tell(w.opens("bob", number(1), nil))
	line := fmt.Sprintf("online: %v r1 since 1700000000001 updated 1700000000001 on web says <nil>", number(1))
	s.want(t, "once", "bob 2 "+line)
	if was, still := v.Unwatch("bob"); !was || !still {
		t.Errorf("unwatch: was %v, still %v, want both", was, still)
	}
	if was, still := v.Unwatch("bob"); was || !still {
		t.Errorf("unwatch again: was %v, still %v, want only the latter", was, still)
	}
	if already, err := v.Watch([]presence.UserID{"bob"}, ScopeNone); len(already) > 0 || err != nil {
		t.Errorf("watch again: already %v, %v", already, err)
	}
	s.want(t, "by name again", "bob 1 "+line)
	w.hub.FriendsChanged(named("alice"), nil, []presence.UserID{"bob"})
	w.hub.FriendsChanged(named("alice"), []presence.UserID{"bob"}, nil)
	s.want(t, "unfriended and back")
	w.hub.FriendsChanged(named("alice"), nil, []presence.UserID{"bob"})
	w.tell(w.closes("bob", number(1)))
	s.want(t, "still by name", fmt.Sprintf("bob 4 offline, last seen 1700000000002: %v r1 since 1700000000001 updated 1700000000001 closed 1700000000002 reason %d",
		number(1), presence.ReasonLogout))
}

// Who asks for somebody for a second reason is told of him as he is: of his
// closes once.
func TestAskedAgainForOneWhoLeft(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.opens("target", number(1), nil)
	s := seated(w)
	w.tell(w.closes("target", number(1)))
	s.drain()
	s.heard = nil
	s.watcher.WatchFriends([]presence.UserID{"target"})
	s.want(t, "asked again", "target 0 offline, last seen 1700000000002", "mark {Scope:2 Reason:0 User: Users:1}")
}

// A device that may have lost the end of a friendship starts over, until it says
// that it has not.
func TestLostEndOfFriendship(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.join(1, Params{User: named("alice")})
	s := &seat{watcher: v}
	v.WatchFriends([]presence.UserID{"bob", "carol"})
	s.connect(nil)
	s.drain()
	has := s.sent
	w.hub.FriendsChanged(named("alice"), nil, []presence.UserID{"bob"})
	s.drain()
	for range 2 {
		s.heard = nil
		s.connect(&has)
		s.want(t, "lost", "connected true true", "carol 0 offline, last seen 0", "mark {Scope:3 Reason:0 User: Users:1}")
	}
	has = s.sent
	s.connect(&has)
	s.want(t, "all there", "connected true false")
}

// A list that cannot be read yet is owed, and its subscription stands all the
// same.
func TestFriendsOwed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := w.join(1, Params{User: named("alice")})
	owes := func(want bool) {
		t.Helper()
		_, friends := v.Watches()
		if got := v.OwesFriends(); got != want || !friends {
			t.Errorf("owes %v, follows %v, want %v and true", got, friends, want)
		}
	}
	v.WatchFriendsLater()
	owes(true)
	w.hub.FriendsChanged(named("alice"), []presence.UserID{"bob"}, nil)
	owes(true)
	v.WatchFriends([]presence.UserID{"carol"}) // without bob: he left again
	owes(false)
	v.WatchFriendsLater()
	owes(false)
	if c := w.hub.Counts(); c.Edges != 1 {
		t.Errorf("%d edges, want that to carol", c.Edges)
	}
	if !v.UnwatchFriends() || v.OwesFriends() {
		t.Error("unwatching what was owed: it was not there, or still is")
	}
}

// The sessions of one user come and go in any order, and each hears of changes
// while it is there.
func TestSessionsOfOneUser(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var all []*Watcher
	for i := range 4 {
		v := w.join(byte(i+1), Params{User: named("alice")})
		v.WatchFriends(nil)
		all = append(all, v)
	}
	for n, i := range []int{1, 3, 0} {
		w.hub.Gone(presence.SessionID{byte(i + 1)})
		w.hub.Gone(presence.SessionID{byte(i + 1)})
		if got := len(w.hub.watchersOf(named("alice"))); got != 3-n {
			t.Fatalf("%d watchers of alice, want %d", got, 3-n)
		}
	}
	w.hub.FriendsChanged(named("alice"), []presence.UserID{"bob"}, nil)
	if list := w.hub.watchersOf(named("alice")); !slices.Equal(list, all[2:3]) {
		t.Error("the one that is left is not the one that stayed")
	}
	if c := w.hub.Counts(); c.Edges != 1 || c.Watchers != 1 {
		t.Errorf("got %+v, want one watcher with an edge to bob", c)
	}
}

// A list of ten thousand costs no more than it must, whoever else is watched.
func BenchmarkWatchFriends(b *testing.B) {
	for _, friends := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("friends=%d", friends), func(b *testing.B) {
			w, ids := crowd(friends)
			b.ReportAllocs()
			for b.Loop() {
				v := w.hub.Join(presence.SessionID{1}, Params{User: named("bob"), Limit: friends})
				v.Watch(ids[:friends/2], ScopeNone)
				v.WatchFriends(ids)
				w.hub.Gone(presence.SessionID{1})
			}
		})
	}
}
