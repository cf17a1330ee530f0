package tracker

import (
	"context"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// users counts the users in the table.
func (r *rig) users() (n int) {
	for i := range r.tr.shards {
		sh := &r.tr.shards[i]
		sh.mu.Lock()
		n += len(sh.users)
		sh.mu.Unlock()
	}
	return n
}

func TestMadeAndNeverConnected(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		var refs []Ref
		for _, id := range []presence.UserID{"bob", "carol", "dave"} {
			m, err := r.tr.Make(t.Context(), MakeParams{User: presence.User{App: app, ID: id}})
			if err != nil {
				t.Fatal(err)
			}
			if want := presence.At(time.Now().Add(time.Minute)); m.ConnectBefore != want {
				t.Errorf("connect before: got %v, want %v", m.ConnectBefore, want)
			}
			refs = append(refs, m.Ref)
		}
		_, err := r.update(refs[0], presence.Status{})
		wantKind(t, "Update", err, fault.SessionNotConnected)
		_, err = r.tr.Heartbeat(t.Context(), refs[0])
		wantKind(t, "Heartbeat", err, fault.SessionNotConnected)
		if _, err := r.tr.Close(t.Context(), refs[1], presence.ReasonLogout); err != nil {
			t.Error(err)
		}
		wait(time.Minute + time.Second)
		for i, ref := range refs {
			if n := r.ear.goneOf(ref.Session); n != 1 {
				t.Errorf("session %d: gone %d times, want once", i, n)
			}
		}
		if n := r.users(); n != 0 || len(r.mem.Records()) != 0 || r.ear.heard() != 0 {
			t.Errorf("left over: %d users, %d records, %d pictures; want nothing", n, len(r.mem.Records()), r.ear.heard())
		}
	})
}

func TestLimitOfSessions(t *testing.T) {
	few := func(c *Config) { c.Policies[app] = Policy{SessionsPerUser: 2} }
	in(t, few, func(t *testing.T, r *rig) {
		first, w := r.open(presence.Device{})
		r.make(presence.Device{ID: "d2"})
		_, err := r.tr.Make(t.Context(), MakeParams{User: bob})
		wantKind(t, "a third", err, fault.LimitSessions)
		if _, err := r.tr.Make(t.Context(), MakeParams{User: bob, Device: presence.Device{ID: "d2"}}); err != nil {
			t.Errorf("the same device again: got %v, want no error", err)
		}
		// Closed sessions do not count, but may not come back over the limit.
		r.tr.LinkLost(first, w)
		wait(7 * time.Second)
		second, _ := r.open(presence.Device{})
		_, err = r.connect(first, nil)
		wantKind(t, "back over the limit", err, fault.LimitSessions)
		if _, err := r.tr.Close(t.Context(), second, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		if _, err := r.connect(first, nil); err != nil {
			t.Errorf("back within the limit: got %v, want no error", err)
		}
	})
}

func TestRefusedMakeLeavesNothing(t *testing.T) {
	none := func(c *Config) { c.Policies[app] = Policy{OpensPerSecond: 1} }
	in(t, none, func(t *testing.T, r *rig) {
		r.make(presence.Device{})
		_, err := r.tr.Make(t.Context(), MakeParams{User: presence.User{App: app, ID: "carol"}})
		wantKind(t, "over the app's limit", err, fault.RateLimited)
		if n := r.users(); n != 1 {
			t.Errorf("users: got %d, want 1", n)
		}
		wait(time.Second)
		r.make(presence.Device{})
	})
}

func TestIdempotencyKey(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		make := func(key string) Made {
			m, err := r.tr.Make(context.Background(), MakeParams{User: bob, IdempotencyKey: key})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		first := make("k")
		if again := make("k"); again != first {
			t.Errorf("the same key: got %+v, want %+v", again, first)
		}
		if other := make("l"); other.Ref == first.Ref {
			t.Error("another key gave the same session")
		}
		if _, err := r.connect(first.Ref, nil); err != nil {
			t.Fatal(err)
		}
		if after := make("k"); after.Ref == first.Ref {
			t.Error("the same key gave a session that is connected already")
		}
	})
}

// The place of a user in the checkpoint must never change: these are written
// down, not computed.
func TestShardIndexIsStable(t *testing.T) {
	t.Parallel()
	tr := New(Config{})
	for name, want := range map[presence.User]int{
		{App: "demo", ID: "bob"}: 557, {App: "demo", ID: "alice"}: 210, {App: "demob", ID: "ob"}: 601, {App: "x", ID: "jürgen@example.com"}: 467,
	} {
		if got := tr.shardIndex(name); got != want {
			t.Errorf("%v: got %d, want %d", name, got, want)
		}
	}
}
