package revoke_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/revoke"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

var alice = presence.User{App: "demo", ID: "alice"}

func started(t *testing.T, s store.Rosters) *revoke.Revocations {
	t.Helper()
	r := revoke.New(s, slog.New(slog.DiscardHandler))
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.NewMemory()
		r := started(t, s)
		before := time.Now()
		if err := r.Check(alice, before); err != nil {
			t.Fatalf("nothing is revoked: %v", err)
		}
		if got := r.Before(alice); got != 0 {
			t.Errorf("nothing is revoked: got before %v", got)
		}
		<-time.After(1500 * time.Millisecond)
		at, err := r.Revoke(t.Context(), alice)
		if err != nil || at != presence.At(time.Now()) {
			t.Fatalf("got %v, %v, want this moment", at, err)
		}
		for name, r := range map[string]*revoke.Revocations{"at once": r, "after a restart": started(t, s)} {
			if got := r.Before(alice); got != at || r.Before(presence.User{App: "demo", ID: "bob"}) != 0 {
				t.Errorf("%s: revoked before %v, want %v, and nothing of bob", name, got, at)
			}
			for _, c := range []struct {
				name   string
				user   presence.User
				issued time.Time
				void   bool
			}{
				{"of before", alice, before, true},
				{"of the same second", alice, at.Time().Truncate(time.Second), true},
				{"without a time", alice, time.Time{}, true},
				{"of a second later", alice, at.Time().Truncate(time.Second).Add(time.Second), false},
				{"of another user", presence.User{App: "demo", ID: "bob"}, before, false},
				{"of another app", presence.User{App: "other", ID: "alice"}, before, false},
			} {
				err := r.Check(c.user, c.issued)
				if c.void != (fault.KindOf(err) == fault.JWTExpired) || !c.void && err != nil {
					t.Errorf("%s, a token %s: got %v, want it void: %v", name, c.name, err, c.void)
				}
			}
		}
		// A later one covers the earlier, and erasing takes it away for good.
		<-time.After(time.Minute)
		if _, err := r.Revoke(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(alice, at.Time().Add(time.Second)); fault.KindOf(err) != fault.JWTExpired {
			t.Errorf("after a second revocation: got %v, want void", err)
		}
		for range 2 {
			if err := r.Forget(t.Context(), alice); err != nil {
				t.Fatal(err)
			}
		}
		for name, r := range map[string]*revoke.Revocations{"at once": r, "after a restart": started(t, s)} {
			if err := r.Check(alice, before); err != nil {
				t.Errorf("forgotten, %s: %v", name, err)
			}
		}
	})
}

// TestStoreRefuses: what is not stored is not so.
func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	s := storetest.NewMemory()
	r := started(t, s)
	s.RefuseRosters(store.ErrRefused)
	if _, err := r.Revoke(t.Context(), alice); fault.KindOf(err) != fault.LogUnavailable {
		t.Errorf("got %v, want LOG_UNAVAILABLE", err)
	}
	if err := r.Check(alice, time.Unix(1, 0)); err != nil {
		t.Errorf("a revocation that was refused holds: %v", err)
	}
	s.RefuseRosters(nil)
	if _, err := r.Revoke(t.Context(), alice); err != nil {
		t.Error(err)
	}
}

// TestUnknownForm: what this version cannot read is said, not skipped.
func TestUnknownForm(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]byte{"newer": {9, 1}, "cut": {1}, "long": {1, 1, 1}, "never": {1, 0}} {
		s := storetest.NewMemory()
		if _, err := s.SaveRoster(t.Context(), store.RosterRevoked, store.Roster{User: alice, Value: value}); err != nil {
			t.Fatal(err)
		}
		if err := revoke.New(s, slog.New(slog.DiscardHandler)).Start(t.Context()); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

// TestStoredElsewhere: what another node revokes counts here.
func TestStoredElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.NewMemory()
		here, there := started(t, s), started(t, s)
		before := time.Now()
		<-time.After(2 * time.Second)
		if _, err := there.Revoke(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		tell := func() {
			v, err := s.LoadRoster(t.Context(), store.RosterRevoked, alice)
			if err != nil {
				t.Fatal(err)
			}
			c := store.RosterChange{App: "demo", Mark: store.UserMark(alice), Roster: v}
			if v.Value == nil {
				c.User = presence.User{}
			}
			here.Stored(c)
		}
		tell()
		if here.Check(alice, before) == nil {
			t.Error("a token of before counts here")
		}
		here.Stored(store.RosterChange{App: "demo", Mark: store.UserMark(alice), Roster: store.Roster{User: alice, Value: []byte("rubbish")}})
		if here.Check(alice, before) == nil {
			t.Error("a token of before counts here, after what cannot be read")
		}
		if err := there.Forget(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		tell()
		if err := here.Check(alice, before); err != nil {
			t.Errorf("it was taken back: %v", err)
		}
	})
}
