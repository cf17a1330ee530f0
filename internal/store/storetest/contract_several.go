package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// soon bounds what a test waits for that another node did.
const soon = 30 * time.Second

// watchRosters returns the changes that come, after the watch stands.
func watchRosters(ctx context.Context, t testing.TB, s store.Rosters, kind store.RosterKind) (changes <-chan store.RosterChange, ended <-chan error) {
	t.Helper()
	all, end, stands := make(chan store.RosterChange, 1000), make(chan error, 1), make(chan struct{})
	go func() {
		first := true
		end <- s.WatchRosters(ctx, kind, func(c store.RosterChange) error {
			if first {
				if c.Mark != 0 || c.Revision != 0 {
					t.Errorf("WatchRosters: got %+v first, want the zero change", c)
				}
				first = false
				close(stands)
				return nil
			}
			all <- c
			return nil
		})
	}()
	select {
	case <-stands:
	case <-time.After(soon):
		t.Fatal("WatchRosters: it does not stand")
	}
	return all, end
}

// next waits for one thing.
func next[T any](t testing.TB, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(soon):
		t.Fatalf("%s did not come", what)
	}
	return v
}

// rosterWatch: what is saved comes, in order, with whose it is, and nothing else.
func rosterWatch(t *testing.T, b *bench) {
	s := b.store()
	mustSaveRoster(t, s, store.RosterList, demoUser("before"), "before")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes, ended := watchRosters(ctx, t, s, store.RosterList)
	for _, user := range oddUsers() {
		mustSaveRoster(t, s, store.RosterBlocks, user, "of another kind")
		want := mustSaveRoster(t, s, store.RosterList, user, "value of "+string(user.ID))
		got := next(t, "a change", changes)
		if diff := cmp.Diff(store.RosterChange{App: user.App, Mark: store.UserMark(user), Roster: want}, got); diff != "" {
			t.Errorf("change of %q (-want +got):\n%s", user.ID, diff)
		}
	}
	alice := demoUser("alice")
	taken := mustSaveRoster(t, s, store.RosterList, alice, "")
	got := next(t, "a value taken away", changes)
	if diff := cmp.Diff(store.RosterChange{App: "demo", Mark: store.UserMark(alice), Roster: store.Roster{Revision: taken.Revision}}, got); diff != "" {
		t.Errorf("a value taken away (-want +got):\n%s", diff)
	}
	cancel()
	if err := next(t, "the end", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("WatchRosters: got %v, want the context's error", err)
	}
	if len(changes) > 0 {
		t.Errorf("one more change: got %+v, want none", <-changes)
	}
	enough := errors.New("enough")
	if err := s.WatchRosters(context.Background(), store.RosterList, func(store.RosterChange) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a callback's error: got %v, want it back", err)
	}
}

// liveness: the newest incarnation of a name lives, and only it.
func liveness(t *testing.T, b *bench) {
	s, ctx := b.store(), context.Background()
	members := func(when string, want map[string]uint64) (renewals map[string]uint64) {
		t.Helper()
		all, err := s.Members(ctx)
		if err != nil {
			t.Fatalf("%s: Members: got %v, want no error", when, err)
		}
		got := map[string]uint64{}
		renewals = map[string]uint64{}
		for _, l := range all {
			got[l.Name], renewals[l.Name] = l.Incarnation, l.Renewal
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: members (-want +got):\n%s", when, diff)
		}
		return renewals
	}
	renew := func(name string, incarnation uint64) {
		t.Helper()
		if err := s.Renew(ctx, name, incarnation); err != nil {
			t.Fatalf("Renew %q as %d: got %v, want no error", name, incarnation, err)
		}
	}
	members("nobody yet", map[string]uint64{})
	renew("a", 3)
	renew("node b.*", 4)
	first := members("two", map[string]uint64{"a": 3, "node b.*": 4})
	renew("a", 3)
	second := members("renewed", map[string]uint64{"a": 3, "node b.*": 4})
	if first["a"] == second["a"] || first["node b.*"] != second["node b.*"] {
		t.Errorf("renewals: got %v, then %v, want another of a alone", first, second)
	}
	s = b.store()
	renew("a", 7)
	if err := s.Renew(ctx, "a", 3); !errors.Is(err, store.ErrReplaced) {
		t.Errorf("Renew of an older incarnation: got %v, want ErrReplaced", err)
	}
	renew("a", 7)
	if err := s.Leave(ctx, "a", 3); err != nil {
		t.Errorf("Leave of an older incarnation: got %v, want no error", err)
	}
	members("the newer stays", map[string]uint64{"a": 7, "node b.*": 4})
	for range 2 {
		if err := s.Leave(ctx, "a", 7); err != nil {
			t.Errorf("Leave: got %v, want no error", err)
		}
	}
	members("one left", map[string]uint64{"node b.*": 4})
	renew("a", 8)
	members("and came again", map[string]uint64{"a": 8, "node b.*": 4})
	for range 30 { // while a renewal is under way
		renewed := make(chan error, 1)
		go func() { renewed <- s.Renew(ctx, "a", 8) }()
		if err := s.Leave(ctx, "a", 8); err != nil {
			t.Fatalf("Leave beside Renew: got %v, want no error", err)
		}
		if err := <-renewed; err != nil {
			t.Fatalf("Renew beside Leave: got %v, want no error", err)
		}
	}
}

// Several proves what holds among the stores of several nodes. open opens one
// more on the same streams each time.
func Several(t *testing.T, open func(t testing.TB) store.Store) {
	t.Helper()
	a, b := open(t), open(t)
	t.Run("values", func(t *testing.T) { severalValues(t, a, b) })
	t.Run("log", func(t *testing.T) { severalLog(t, a, b) })
	t.Run("checkpoint", func(t *testing.T) { severalCheckpoint(t, a, b) })
}

// severalValues: what one saves the other reads at once, hears of, and cannot
// overwrite without knowing it.
func severalValues(t *testing.T, a, b store.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes, _ := watchRosters(ctx, t, b, store.RosterList)
	for i := range 50 { // a replica that lags would be caught now and then
		alice := demoUser("alice")
		saved := mustSaveRoster(t, a, store.RosterList, alice, string(rune('A'+i)))
		read := wantRoster(t, b, store.RosterList, alice, string(saved.Value))
		if got := next(t, "another node's change", changes); got.User != alice || got.Revision != saved.Revision {
			t.Fatalf("change: got %+v, want %+v", got, saved)
		}
		if _, err := b.SaveRoster(ctx, store.RosterList, store.Roster{User: alice, Value: []byte("x"), Revision: read.Revision - 1}); !errors.Is(err, store.ErrMoved) {
			t.Fatalf("SaveRoster over an unread value: got %v, want ErrMoved", err)
		}
	}
	seen := map[uint64]bool{}
	for range 20 {
		for _, s := range []store.Store{a, b} {
			n, err := s.Next(ctx, "incarnation")
			if err != nil || seen[n] {
				t.Fatalf("Next: got %d, %v, want one that nobody got", n, err)
			}
			seen[n] = true
		}
	}
	if err := a.Renew(ctx, "same name", 1); err != nil {
		t.Fatal(err)
	}
	if err := b.Renew(ctx, "same name", 2); err != nil {
		t.Fatal(err)
	}
	if err := a.Renew(ctx, "same name", 1); !errors.Is(err, store.ErrReplaced) {
		t.Errorf("Renew beside a newer incarnation on another node: got %v, want ErrReplaced", err)
	}
}

// severalLog: both append, both follow, and both see the same; an erasure is
// obeyed by both.
func severalLog(t *testing.T, a, b store.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	_, from, err := a.Ends(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ofA, _ := follow(ctx, a, from)
	ofB, _ := follow(ctx, b, from)
	byA, byB := mustAppend(t, a, "of a", Records(1, 3)), mustAppend(t, b, "of b", Records(2, 3))
	if again := mustAppend(t, b, "of a", Records(1, 3)); again != byA || !byA.Before(byB) {
		t.Errorf("positions: got %v and %v, again %v, want two in order and the first again", byA, byB, again)
	}
	for name, came := range map[string]<-chan message{"a": ofA, "b": ofB} {
		for _, want := range []store.Position{byA, byB} {
			if m := next(t, "a message", came); m.Sequence != want.Sequence {
				t.Errorf("follower on %s: got message %d, want %d", name, m.Sequence, want.Sequence)
			}
		}
	}
	erased := presence.Record{Kind: presence.RecordErased, User: demoUser("gone"), Time: 1_700_000_000_000}
	pos := mustAppend(t, a, "erased", []presence.Record{erased})
	found := false
	if _, err := b.Erasures(ctx, 0, func(e store.Erasure) error {
		found = found || e.Sequence == pos.Sequence && e.User == store.UserMark(erased.User)
		return nil
	}); err != nil || !found {
		t.Errorf("another node's erasure: got found %v, %v, want it at once", found, err)
	}
}

// severalCheckpoint: of two who save a shard, or say how far all are good, the
// one who is behind is refused; bases are everybody's.
func severalCheckpoint(t *testing.T, a, b store.Store) {
	ctx := context.Background()
	_, next, err := a.Ends(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := next - 1
	for i, s := range []store.Store{a, b, a, b} {
		if err := s.SaveShard(ctx, 7, last, shardState(7, uint64(i))); err != nil {
			t.Fatalf("SaveShard %d: got %v, want no error", i, err)
		}
	}
	if err := a.SaveShard(ctx, 7, last-1, []byte("older")); !errors.Is(err, store.ErrMoved) || !errors.Is(err, store.ErrBehind) {
		t.Errorf("SaveShard of an older state than another node's: got %v, want ErrMoved and ErrBehind", err)
	}
	if err := a.Advance(ctx, last, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Advance(ctx, last-1, 0); !errors.Is(err, store.ErrMoved) {
		t.Errorf("Advance behind another node's: got %v, want ErrMoved", err)
	}
	base, err := b.SaveBase(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := a.Bases(ctx); err != nil || len(all) != 1 || all[0] != base {
		t.Errorf("another node's base: got %v, %v, want %v", all, err, base)
	}
	if got := readBase(t, a, base.Position, 7, 7); got[7] == "" {
		t.Errorf("another node's base: got %v, want shard 7", got)
	}
	if err := a.DropBase(ctx, base.Position); err != nil {
		t.Error(err)
	}
	if all, err := b.Bases(ctx); err != nil || len(all) != 0 {
		t.Errorf("a base that another node dropped: got %v, %v, want none", all, err)
	}
}
