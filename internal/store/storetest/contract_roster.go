package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func demoUser(id string) presence.User {
	return presence.User{App: "demo", ID: presence.UserID(id)}
}

// oddUsers have names that an engine could trip over; no two are the same user.
func oddUsers() []presence.User {
	long := strings.Repeat("long name, ", 12)[:presence.MaxUserID]
	users := []presence.User{{App: "other", ID: "alice"}}
	for _, id := range []string{
		"alice", "Alice", "alice ", "a.b", "*", ">", "a.>", "~x", "_", "ünï", "日本", strings.Repeat("x", 48), strings.Repeat("x", 49),
		long, long[:127], long[:127] + "!",
	} {
		users = append(users, demoUser(id))
	}
	return users
}

// mustSaveRoster saves a value over whatever is there.
func mustSaveRoster(t testing.TB, s store.Rosters, kind store.RosterKind, user presence.User, value string) store.Roster {
	t.Helper()
	r, err := s.LoadRoster(context.Background(), kind, user)
	if err != nil {
		t.Fatalf("LoadRoster of %q: got %v, want no error", user, err)
	}
	r.Value = []byte(value)
	if r.Revision, err = s.SaveRoster(context.Background(), kind, r); err != nil {
		t.Fatalf("SaveRoster of %q: got %v, want no error", user, err)
	}
	return r
}

// wantRoster compares one stored value; "" means none.
func wantRoster(t testing.TB, s store.Rosters, kind store.RosterKind, user presence.User, want string) store.Roster {
	t.Helper()
	r, err := s.LoadRoster(context.Background(), kind, user)
	if err != nil || string(r.Value) != want || r.User != user || want == "" && r.Value != nil {
		t.Errorf("LoadRoster of kind %d of %q: got %.40q of %q, %v, want %.40q", kind, user, r.Value, r.User, err, want)
	}
	return r
}

// scanned is what a scan gives, by user.
func scanned(t testing.TB, s store.Rosters, kind store.RosterKind, app presence.AppID) map[presence.User]string {
	t.Helper()
	all := map[presence.User]string{}
	err := s.ScanRosters(context.Background(), kind, app, func(r store.Roster) error {
		if r.Revision == 0 {
			t.Errorf("the scan gave %q without a revision", r.User)
		}
		all[r.User] = string(r.Value)
		return nil
	})
	if err != nil {
		t.Errorf("ScanRosters: got %v, want no error", err)
	}
	return all
}

func rosterValues(t *testing.T, b *bench) {
	s := b.store()
	kinds := []store.RosterKind{store.RosterList, store.RosterBlocks, store.RosterRevoked}
	for round := range 3 {
		for _, kind := range kinds {
			for i, user := range oddUsers() {
				if round > 0 {
					wantRoster(t, s, kind, user, fmt.Sprint(kind, i, round-1))
				}
				mustSaveRoster(t, s, kind, user, fmt.Sprint(kind, i, round))
			}
		}
		s = b.store()
	}
	for i, user := range oddUsers() {
		mustSaveRoster(t, s, store.RosterList, user, "")
		wantRoster(t, s, store.RosterList, user, "")
		wantRoster(t, s, store.RosterBlocks, user, fmt.Sprint(store.RosterBlocks, i, 2))
	}
	s = b.store()
	for _, user := range oddUsers() {
		wantRoster(t, s, store.RosterList, user, "")
	}
	mustSaveRoster(t, s, store.RosterList, demoUser("alice"), "back")
	wantRoster(t, b.store(), store.RosterList, demoUser("alice"), "back")
}

func rosterRevisions(t *testing.T, b *bench) {
	s, ctx, alice := b.store(), context.Background(), demoUser("alice")
	save := func(revision uint64, value string) (uint64, error) {
		return s.SaveRoster(ctx, store.RosterList, store.Roster{User: alice, Value: []byte(value), Revision: revision})
	}
	refused := func(when string, revision uint64, value string) {
		t.Helper()
		if _, err := save(revision, value); !errors.Is(err, store.ErrMoved) || !errors.Is(err, store.ErrRefused) {
			t.Errorf("%s: got %v, want ErrMoved and ErrRefused", when, err)
		}
	}
	first, err := save(0, "one")
	if err != nil || first == 0 {
		t.Fatalf("first save: got revision %d, %v, want one", first, err)
	}
	refused("as if there were none", 0, "two")
	second, err := save(first, "two")
	if err != nil || second == first || second == 0 {
		t.Fatalf("second save: got revision %d, %v, want a new one", second, err)
	}
	refused("over an older revision", first, "three")
	refused("away with an older revision", first, "")
	s = b.store()
	if r := wantRoster(t, s, store.RosterList, alice, "two"); r.Revision != second {
		t.Errorf("opened again: got revision %d, want %d", r.Revision, second)
	}
	if _, err := save(second, ""); err != nil {
		t.Fatal(err)
	}
	refused("over what was taken away", second, "three")
	s = b.store()
	if _, err := save(wantRoster(t, s, store.RosterList, alice, "").Revision, "anew"); err != nil {
		t.Errorf("save after it was taken away: got %v, want no error", err)
	}
	wantRoster(t, s, store.RosterList, alice, "anew")
}

func rosterBigValues(t *testing.T, b *bench) {
	noise := make([]byte, store.MaxRosterValue+1)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(noise)
	s, ctx, alice := b.store(), context.Background(), demoUser("alice")
	_, err := s.SaveRoster(ctx, store.RosterList, store.Roster{User: alice, Value: noise})
	if !errors.Is(err, store.ErrRefused) {
		t.Errorf("a value above the limit: got %v, want ErrRefused", err)
	}
	for _, user := range []presence.User{{App: "demo"}, {ID: "alice"}} {
		if _, err := s.SaveRoster(ctx, store.RosterList, store.Roster{User: user, Value: noise[:1]}); !errors.Is(err, store.ErrRefused) {
			t.Errorf("a user %q without a name: got %v, want ErrRefused", user, err)
		}
	}
	if _, err := s.SaveRoster(ctx, store.RosterList, store.Roster{User: alice, Value: noise[:store.MaxRosterValue]}); err != nil {
		t.Fatalf("the largest value: got %v, want no error", err)
	}
	s = b.store()
	if r, err := s.LoadRoster(ctx, store.RosterList, alice); err != nil || !bytes.Equal(r.Value, noise[:store.MaxRosterValue]) {
		t.Errorf("the largest value: got %d bytes, %v, want it back", len(r.Value), err)
	}
}

func rosterScan(t *testing.T, b *bench) {
	s := b.store()
	if got := scanned(t, s, store.RosterList, ""); len(got) > 0 {
		t.Errorf("an empty store: got %v, want nothing", got)
	}
	want, blocks := map[presence.User]string{}, map[presence.User]string{}
	for i, user := range oddUsers() {
		mustSaveRoster(t, s, store.RosterList, user, "old")
		want[user] = fmt.Sprint("list ", i)
		mustSaveRoster(t, s, store.RosterList, user, want[user])
		if i%2 == 0 {
			blocks[user] = fmt.Sprint("blocks ", i)
			mustSaveRoster(t, s, store.RosterBlocks, user, blocks[user])
		}
	}
	mustSaveRoster(t, s, store.RosterList, demoUser("alice"), "")
	delete(want, demoUser("alice"))
	for range 2 {
		if diff := cmp.Diff(want, scanned(t, s, store.RosterList, "")); diff != "" {
			t.Errorf("lists differ (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(blocks, scanned(t, s, store.RosterBlocks, "")); diff != "" {
			t.Errorf("blocks differ (-want +got):\n%s", diff)
		}
		other := presence.User{App: "other", ID: "alice"}
		if diff := cmp.Diff(map[presence.User]string{other: want[other]}, scanned(t, s, store.RosterList, "other")); diff != "" {
			t.Errorf("lists of one app differ (-want +got):\n%s", diff)
		}
		s = b.store()
	}
	enough, count := errors.New("enough"), 0
	err := s.ScanRosters(context.Background(), store.RosterList, "", func(store.Roster) error { count++; return enough })
	if !errors.Is(err, enough) || count != 1 {
		t.Errorf("error of the first: got %v after %d calls, want it after 1", err, count)
	}
}

// rosterScanBesideSaves: whom a scan has not met yet is saved, which must not
// hide him from it; others are taken away, which must not keep it waiting.
func rosterScanBesideSaves(t *testing.T, b *bench) {
	s := b.store()
	const users = 300
	name := func(i int) presence.User { return demoUser(fmt.Sprint("user ", i)) }
	for i := range users {
		mustSaveRoster(t, s, store.RosterList, name(i), "old")
	}
	seen := map[presence.User]string{}
	err := s.ScanRosters(context.Background(), store.RosterList, "demo", func(r store.Roster) error {
		if len(seen) == 0 {
			for i := range users {
				switch i % 3 {
				case 1:
					mustSaveRoster(t, s, store.RosterList, name(i), "new")
				case 2:
					mustSaveRoster(t, s, store.RosterList, name(i), "")
				}
			}
		}
		seen[r.User] = string(r.Value)
		return nil
	})
	if err != nil {
		t.Fatalf("ScanRosters: got %v, want no error", err)
	}
	for i := range users {
		if got, want := seen[name(i)], []string{"old", "new", seen[name(i)]}[i%3]; got != want {
			t.Errorf("user %d: the scan gave %q last, want %q", i, got, want)
		}
	}
}
