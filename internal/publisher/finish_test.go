package publisher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func names(t *testing.T, s store.Names) (n int) {
	t.Helper()
	if err := s.ScanNames(t.Context(), store.NameGrant, func(store.Named) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// crashing is a store of a process that is killed after so many writes.
type crashing struct {
	*storetest.Memory
	writes int
}

var errKilled = errors.New("killed")

func (c *crashing) save() error {
	if c.writes--; c.writes < 0 {
		return errKilled
	}
	return nil
}

func (c *crashing) SaveName(ctx context.Context, kind store.NameKind, n store.Named) (uint64, error) {
	if err := c.save(); err != nil {
		return 0, err
	}
	return c.Memory.SaveName(ctx, kind, n)
}

func (c *crashing) SaveRoster(ctx context.Context, kind store.RosterKind, r store.Roster) (uint64, error) {
	if err := c.save(); err != nil {
		return 0, err
	}
	return c.Memory.SaveRoster(ctx, kind, r)
}

// A revocation, or an erasure, that a crash cut anywhere is finished by the next
// start, though nobody reads the user's grants: or it never began.
func TestRevocationIsFinished(t *testing.T) {
	t.Parallel()
	for _, erase := range []bool{false, true} {
		unfinished := 0
		for writes := 0; ; writes++ {
			g := newRig(t, storetest.NewMemory())
			id, _ := g.active(t)
			grant, _ := g.Grant(t.Context(), alice, id, "")
			dying, err := publisher.New(publisher.Config{Store: &crashing{g.store, writes}})
			if err != nil {
				t.Fatal(err)
			}
			told := false
			dying.Listen(func(_ context.Context, c publisher.Change) { told = told || c.Kind == publisher.Revoked })
			if erase {
				err = dying.Erase(t.Context(), alice)
			} else {
				_, _, err = dying.Revoke(t.Context(), alice, id)
			}
			v, _ := g.store.LoadRoster(t.Context(), store.RosterGrants, alice)
			began := !strings.Contains(string(v.Value), grant.UID) || strings.Contains(string(v.Value), "revoked")
			next := newRig(t, g.store)
			done, failed := next.Finish(t.Context())
			if failed != nil {
				t.Fatalf("killed after %d writes: Finish: %v", writes, failed)
			}
			unfinished += done
			told = told || len(next.heard) > 0
			q, _ := next.Queue(t.Context(), id)
			if v, _ = g.store.LoadRoster(t.Context(), store.RosterGrants, alice); began && (len(q.Dead) != 1 || names(t, g.store) != 0 || !told || v.Value != nil) {
				t.Errorf("erase %v, killed after %d writes: queue %+v, %d uids, told %v, folder %s; want it finished", erase, writes, q, names(t, g.store), told, v.Value)
			}
			if _, err := next.Lookup(t.Context(), id, grant.UID); errors.Is(err, publisher.ErrNoGrant) != began {
				t.Errorf("erase %v, killed after %d writes: Lookup: got %v, want it dead: %v", erase, writes, err, began)
			}
			if err == nil && began && writes > 8 {
				break
			}
		}
		if unfinished == 0 {
			t.Error("no crash left anything")
		}
	}
}

// What Finish is not needed for is cleared away when it is old: until then another
// node may be at it.
func TestNotesOfRevocations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, storetest.NewMemory())
		id, _ := g.active(t)
		notes := func() (n int) {
			g.store.ScanNames(t.Context(), store.NameRevoking, func(store.Named) error { n++; return nil })
			return n
		}
		for range 2 {
			g.Grant(t.Context(), alice, id, "")
			g.Revoke(t.Context(), alice, id)
			g.Erase(t.Context(), alice)
		}
		if n := notes(); n != 0 {
			t.Errorf("%d notes are left of what was finished", n)
		}
		g.Grant(t.Context(), alice, id, "")
		dying, _ := publisher.New(publisher.Config{Store: &crashing{g.store, 1}})
		dying.Revoke(t.Context(), alice, id)
		for _, left := range []int{1, 0} {
			if done, err := g.Finish(t.Context()); done != 0 || err != nil || notes() != left {
				t.Errorf("got %d, %v, %d notes, want %d", done, err, notes(), left)
			}
			<-time.After(2 * time.Minute)
		}
		if all, _ := g.Grants(t.Context(), alice); len(all) != 1 {
			t.Errorf("grants: got %v, want the one whose revocation never began", all)
		}
	})
}

func TestErasedAndRemoved(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory())
	id, key := g.active(t)
	for _, u := range []presence.User{alice, bob} {
		if _, err := g.Grant(t.Context(), u, id, string(u.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Erase(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if all, _ := g.Grants(t.Context(), alice); len(all) > 0 || names(t, g.store) != 1 {
		t.Errorf("erased: grants %v, %d uids", all, names(t, g.store))
	}
	if _, err := g.Check(t.Context(), id, key); err != nil {
		t.Errorf("the publisher of another: got %v, want it as it was", err)
	}
	if err := g.Erase(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Get(t.Context(), id); !errors.Is(err, publisher.ErrNone) {
		t.Errorf("the publisher of who was erased: got %v, want ErrNone", err)
	}
	if all, _ := g.Grants(t.Context(), bob); len(all) > 0 || names(t, g.store) != 0 {
		t.Errorf("its grants: got %v, %d uids, want none", all, names(t, g.store))
	}
	left := 0
	for _, u := range []presence.User{alice, bob, owner} {
		if v, _ := g.store.LoadRoster(t.Context(), store.RosterGrants, u); v.Value != nil {
			left++
		}
	}
	if left > 0 {
		t.Errorf("%d users' values are left", left)
	}
}
