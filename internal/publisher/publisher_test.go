package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/publisher"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

var (
	owner = presence.User{App: "demo", ID: "developer"}
	alice = presence.User{App: "demo", ID: "alice"}
	bob   = presence.User{App: "demo", ID: "bob"}
	form  = publisher.Registration{Domain: "chat.example.com", Name: "ChatRoom", Description: "rooms", Email: "dev@example.com"}
)

type rig struct {
	*publisher.Registry
	store *storetest.Memory
	heard []publisher.Change
}

func newRig(t *testing.T, s *storetest.Memory) *rig {
	t.Helper()
	g := &rig{store: s}
	reg, err := publisher.New(publisher.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	g.Registry = reg
	reg.Listen(func(_ context.Context, c publisher.Change) { g.heard = append(g.heard, c) })
	return g
}

// active registers a publisher and takes it to its API key.
func (g *rig) active(t *testing.T) (id, key string) {
	t.Helper()
	p, err := g.Register(t.Context(), owner, form)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Prove(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if key, _, err = g.Activate(t.Context(), p.ID, 0); err != nil {
		t.Fatal(err)
	}
	return p.ID, key
}

func TestFromRegistrationToKey(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory())
	p, err := g.Register(t.Context(), owner, form)
	if err != nil {
		t.Fatal(err)
	}
	if !publisher.ValidID(p.ID) || len(p.Proof) != publisher.KeyLength || p.State != publisher.Registered || p.App != "demo" || p.Owner != "developer" {
		t.Errorf("registered: got %+v", p)
	}
	if _, _, err := g.Activate(t.Context(), p.ID, 0); !errors.Is(err, publisher.ErrNotProven) {
		t.Errorf("activated without a proof: got %v, want ErrNotProven", err)
	}
	if _, err := g.Check(t.Context(), p.ID, ""); !errors.Is(err, publisher.ErrNotActive) {
		t.Errorf("no key yet: got %v, want ErrNotActive", err)
	}
	if p.Proves([]byte(p.Proof[1:])) || !p.Proves([]byte(p.Proof+"\r\n")) {
		t.Error("the proof is the text that is served, and no other")
	}
	if _, err := g.Prove(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	first, _, err := g.Activate(t.Context(), p.ID, 0)
	if err != nil || len(first) != publisher.KeyLength {
		t.Fatalf("Activate: got a key of %d characters, %v, want %d", len(first), err, publisher.KeyLength)
	}
	other := newRig(t, g.store) // another node
	for _, r := range []*rig{g, other} {
		if got, err := r.Check(t.Context(), p.ID, first); err != nil || got.Name != "ChatRoom" {
			t.Errorf("Check: got %v, %v, want the publisher", got, err)
		}
	}
	second, _, _ := g.Activate(t.Context(), p.ID, 0)
	if _, _, err := g.Activate(t.Context(), p.ID, p.Revision()); !errors.Is(err, publisher.ErrMoved) {
		t.Errorf("activated as it was once: got %v, want ErrMoved", err)
	}
	for key, want := range map[string]error{first: publisher.ErrKey, second: nil, "": publisher.ErrKey, second[1:] + "A": publisher.ErrKey} {
		if _, err := g.Check(t.Context(), p.ID, key); !errors.Is(err, want) {
			t.Errorf("after another activation: got %v, want %v", err, want)
		}
	}
	if _, err := g.Deactivate(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Check(t.Context(), p.ID, second); !errors.Is(err, publisher.ErrNotActive) {
		t.Errorf("deactivated: got %v, want ErrNotActive", err)
	}
	got, err := g.Owned(t.Context(), owner)
	if err != nil || len(got) != 1 || got[0].ID != p.ID || got[0].State != publisher.Proven {
		t.Errorf("Owned: got %v, %v, want the one, proven", got, err)
	}
	for _, id := range []string{"", "nobody", strings.Repeat("a", publisher.IDLength)} {
		if _, err := g.Get(t.Context(), id); !errors.Is(err, publisher.ErrNone) {
			t.Errorf("Get %q: got %v, want ErrNone", id, err)
		}
	}
}

// Keys are stored as hashes and printed by nobody.
func TestKeysStaySecret(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory())
	id, key := g.active(t)
	p, _ := g.Check(t.Context(), id, key)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if s := fmt.Sprintf(verb, p); strings.Contains(s, p.Proof) || strings.Contains(s, key) {
			t.Errorf("%s shows a key: %.80s", verb, s)
		}
	}
	n, err := g.store.LoadName(t.Context(), store.NamePublisher, id)
	if err != nil || strings.Contains(string(n.Value), key) || !strings.Contains(string(n.Value), "key_hash") {
		t.Errorf("stored: %v; want a hash and no key", err)
	}
}

func TestRegistrationsAreChecked(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory())
	long := strings.Repeat("é", publisher.MaxName)
	for _, domain := range []string{"example.com", "a.b-c.example", "localhost:8080", "192.0.2.7", "EXAMPLE.com", "xn--bcher-kva.example"} {
		if _, err := (publisher.Registration{Domain: domain, Name: long, Email: "a@b"}).Check(); err != nil {
			t.Errorf("domain %q: got %v, want no error", domain, err)
		}
	}
	for path, bad := range map[string]publisher.Registration{
		"domain":      {Domain: "https://example.com", Name: "n", Email: "a@b"},
		"domain ":     {Domain: "example.com/path", Name: "n", Email: "a@b"},
		"domain  ":    {Domain: "example.com:0", Name: "n", Email: "a@b"},
		"domain   ":   {Domain: "user@example.com", Name: "n", Email: "a@b"},
		"domain    ":  {Domain: "", Name: "n", Email: "a@b"},
		"domain     ": {Domain: "bücher.example", Name: "n", Email: "a@b"},
		"name":        {Domain: "example.com", Name: long + "é", Email: "a@b"},
		"name ":       {Domain: "example.com", Name: "a\nb", Email: "a@b"},
		"email":       {Domain: "example.com", Name: "n", Email: "nobody"},
		"email ":      {Domain: "example.com", Name: "n", Email: "a@b, c@d"},
		"description": {Domain: "example.com", Name: "n", Email: "a@b", Description: strings.Repeat("x", publisher.MaxDescription+1)},
	} {
		_, err := g.Register(t.Context(), owner, bad)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.FieldInvalid || len(f.Fields) != 1 || f.Fields[0].Path != strings.TrimSpace(path) {
			t.Errorf("%s: got %v, want FIELD_INVALID of it alone", path, err)
		}
	}
	if all, err := g.Owned(t.Context(), owner); len(all) > 0 || err != nil {
		t.Errorf("bad registrations left %v, %v", all, err)
	}
	for range publisher.MaxOwned {
		if _, err := g.Register(t.Context(), owner, form); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Register(t.Context(), owner, form); !errors.Is(err, publisher.ErrTooMany) {
		t.Errorf("one too many: got %v, want ErrTooMany", err)
	}
}

func TestGrantsComeAndGo(t *testing.T) {
	t.Parallel()
	g := newRig(t, storetest.NewMemory())
	id, _ := g.active(t)
	other, _ := g.active(t)
	g.heard = nil
	first, err := g.Grant(t.Context(), alice, id, "alice at work")
	if err != nil || !publisher.ValidUID(first.UID) || first.Label != "alice at work" {
		t.Fatalf("Grant: got %+v, %v", first, err)
	}
	again, err := g.Grant(t.Context(), alice, id, "else")
	if err != nil || again != first {
		t.Errorf("granted again: got %+v, %v, want it as it is", again, err)
	}
	elsewhere, _ := g.Grant(t.Context(), alice, other, "")
	if elsewhere.UID == first.UID {
		t.Error("two publishers share a uid")
	}
	if got, err := g.Lookup(t.Context(), id, first.UID); err != nil || got != first {
		t.Errorf("Lookup: got %+v, %v, want the grant", got, err)
	}
	if _, err := g.Lookup(t.Context(), other, first.UID); !errors.Is(err, publisher.ErrNoGrant) {
		t.Errorf("Lookup of another publisher's: got %v, want ErrNoGrant", err)
	}
	if all, err := g.Grants(t.Context(), alice); len(all) != 2 || all[0] != first || err != nil {
		t.Errorf("Grants: got %v, %v, want both", all, err)
	}
	gone, was, err := g.Revoke(t.Context(), alice, id)
	if !was || gone != first || err != nil {
		t.Errorf("Revoke: got %+v, %v, %v, want the grant", gone, was, err)
	}
	if _, was, err := g.Revoke(t.Context(), alice, id); was || err != nil {
		t.Errorf("Revoke again: got %v, %v, want nothing", was, err)
	}
	for _, uid := range []string{first.UID, strings.Repeat("a", publisher.UIDLength), "", "alice"} {
		if _, err := g.Lookup(t.Context(), id, uid); !errors.Is(err, publisher.ErrNoGrant) {
			t.Errorf("Lookup of %q: got %v, want ErrNoGrant", uid, err)
		}
	}
	if q, err := g.Queue(t.Context(), id); err != nil || len(q.Dead) != 1 || q.Dead[0].UID != first.UID {
		t.Errorf("Queue: got %+v, %v, want the dead uid", q, err)
	}
	fresh, err := g.Grant(t.Context(), alice, id, "")
	if err != nil || fresh.UID == first.UID {
		t.Errorf("a new grant: got %+v, %v, want a new uid", fresh, err)
	}
	kinds := []publisher.Kind{}
	for _, c := range g.heard {
		kinds = append(kinds, c.Kind)
	}
	if fmt.Sprint(kinds) != fmt.Sprint([]publisher.Kind{publisher.Granted, publisher.Granted, publisher.Revoked, publisher.Granted}) {
		t.Errorf("listeners heard %v", g.heard)
	}
	if _, err := g.Grant(t.Context(), presence.User{App: "other", ID: "alice"}, id, ""); !errors.Is(err, publisher.ErrNone) {
		t.Errorf("a user of another app: got %v, want ErrNone", err)
	}
	if n := names(t, g.store); n != 2 {
		t.Errorf("%d uids are stored, want 2", n)
	}
}

// A change at one node counts at another at once when it is told, and after
// a second when not.
func TestAnotherNodeChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, storetest.NewMemory())
		id, key := g.active(t)
		other := newRig(t, g.store)
		for _, told := range []bool{true, false} {
			grant, _ := g.Grant(t.Context(), alice, id, "")
			if _, err := other.Lookup(t.Context(), id, grant.UID); err != nil {
				t.Fatalf("Lookup: got %v, want the grant", err)
			}
			g.heard = nil
			if _, _, err := g.Revoke(t.Context(), alice, id); err != nil {
				t.Fatal(err)
			}
			if told {
				other.Heard(t.Context(), g.heard[0])
			} else {
				<-time.After(time.Second)
			}
			if _, err := other.Lookup(t.Context(), id, grant.UID); !errors.Is(err, publisher.ErrNoGrant) {
				t.Errorf("told %v: got %v, want ErrNoGrant", told, err)
			}
			<-time.After(time.Second)
		}
		if _, err := other.Check(t.Context(), id, key); err != nil {
			t.Fatal(err)
		}
		g.Deactivate(t.Context(), id)
		<-time.After(time.Second)
		if _, err := other.Check(t.Context(), id, key); !errors.Is(err, publisher.ErrNotActive) {
			t.Errorf("deactivated elsewhere: got %v, want ErrNotActive", err)
		}
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, storetest.NewMemory())
		id, key := g.active(t)
		<-time.After(time.Second)
		g.store.RefuseRosters(errors.New("disk full"))
		_, _, activate := g.Activate(t.Context(), id, 0)
		_, grant := g.Grant(t.Context(), alice, id, "")
		_, check := g.Check(t.Context(), id, key)
		for what, err := range map[string]error{"Activate": activate, "Grant": grant, "Check": check} {
			if fault.KindOf(err) != fault.LogUnavailable {
				t.Errorf("%s: got %v, want LOG_UNAVAILABLE", what, err)
			}
		}
		g.store.RefuseRosters(nil)
		if _, err := g.Check(t.Context(), id, key); err != nil {
			t.Errorf("after it: got %v, want no error", err)
		}
	})
}

func FuzzStored(f *testing.F) {
	f.Add([]byte("\x01{}"), "aaaaaaaaaaaaaaaaaaaaaaaa")
	f.Add([]byte("\x01"+`{"app":"demo","owner":"a","state":3,"key_hash":"AAAA"}`), "aaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, b []byte, id string) {
		m := storetest.NewMemory()
		if _, err := m.SaveName(t.Context(), store.NamePublisher, store.Named{Name: id, Value: b}); err != nil {
			return
		}
		m.SaveName(t.Context(), store.NameQueue, store.Named{Name: id, Value: b})
		m.SaveRoster(t.Context(), store.RosterGrants, store.Roster{User: alice, Value: b})
		g := newRig(t, m)
		g.Check(t.Context(), id, "x")
		g.Queue(t.Context(), id)
		g.Grants(t.Context(), alice)
	})
}
