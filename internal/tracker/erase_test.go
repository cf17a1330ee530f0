package tracker

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestErase(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ctx := context.Background()
		ref, w := r.open(presence.Device{Platform: "ios"})
		if _, err := r.update(ref, presence.Status{Text: presence.Value{Kind: presence.KindText, Text: "gone fishing"}}); err != nil {
			t.Fatal(err)
		}
		old, ow := r.open(presence.Device{Platform: "web"})
		r.tr.LinkLost(old, ow)
		wait(10 * time.Second) // closed, could come back
		w.read(r)
		before := r.tr.Presence(bob)
		e, err := r.tr.Erase(ctx, bob)
		if err != nil || e.Sessions != 1 || e.At == 0 {
			t.Fatalf("Erase: got %+v, %v", e, err)
		}
		p := r.tr.Presence(bob)
		if len(p.Sessions) != 0 || p.LastSeen != 0 || p.LastSeenShown != 0 || p.Version <= before.Version || p.FloorShown != p.Version || p.Floor != p.Version {
			t.Errorf("erased, he has %+v", p)
		}
		if e := w.ended(); len(e) != 1 || e[0].Reason != presence.ReasonDropped {
			t.Errorf("his link ended with %+v", e)
		}
		for _, ref := range []Ref{ref, old} {
			if r.ear.goneOf(ref.Session) != 1 {
				t.Errorf("the listener was told %d times that a session is gone, want once", r.ear.goneOf(ref.Session))
			}
			if _, err := r.connect(ref, nil); err != errGone {
				t.Errorf("connect to his session: got %v, want gone", err)
			}
		}
		if again, err := r.tr.Erase(ctx, bob); err != nil || again.Sessions != 0 || again.At != e.At {
			t.Errorf("Erase again: got %+v, %v", again, err)
		}
		if never, err := r.tr.Erase(ctx, presence.User{App: app, ID: "nobody"}); err != nil || never != (Erased{}) {
			t.Errorf("Erase of nobody: got %+v, %v", never, err)
		}
		// Nothing of him is in what a start reads, but the time of it.
		for _, load := range []func([]byte){func(b []byte) {
			if bytes.Contains(b, []byte("fishing")) {
				t.Error("the checkpoint has his status")
			}
		}} {
			if _, err := r.mem.Load(ctx, func(_ int, _ uint64, b []byte) error { load(b); return nil }, func(b []byte) error { load(b); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		r.crash()
		r.start()
		if p := r.tr.Presence(bob); len(p.Sessions) != 0 || p.LastSeen != 0 {
			t.Errorf("after a crash he has %+v", p)
		}
		// He comes again as somebody new, and watchers see it.
		version := r.tr.Presence(bob).Version
		r.open(presence.Device{Platform: "ios"})
		if p := r.tr.Presence(bob); len(p.Sessions) != 1 || p.Version <= version {
			t.Errorf("after coming again: %+v", p)
		}
		if f, _ := r.folded(bob); f.Seq != 1 {
			t.Errorf("he has number %d, want to begin again", f.Seq)
		}
	})
}

// While the store does not answer nobody opens a session of him, and nothing is
// erased that could come back.
func TestEraseWhileTheStoreRefuses(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ctx := context.Background()
		ref, _ := r.open(presence.Device{})
		if _, err := r.tr.Close(ctx, ref, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		seen := r.tr.Presence(bob).LastSeen
		release := r.mem.Hold()
		done := make(chan error, 2)
		for range cap(done) {
			go func() { _, err := r.tr.Erase(ctx, bob); done <- err }()
		}
		wait(time.Second)
		_, err := r.tr.Make(ctx, MakeParams{User: bob})
		wantKind(t, "make meanwhile", err, fault.LogUnavailable)
		_, err = r.put("bot", presence.Busy, time.Minute)
		wantKind(t, "put meanwhile", err, fault.LogUnavailable)
		wait(10 * time.Second)
		for range cap(done) {
			wantKind(t, "Erase", <-done, fault.LogUnavailable)
		}
		if p := r.tr.Presence(bob); p.LastSeen != seen {
			t.Errorf("before it is stored he was last seen at %v, want %v", p.LastSeen, seen)
		}
		release()
		wait(time.Second)
		if p := r.tr.Presence(bob); p.LastSeen != 0 {
			t.Errorf("after it is stored: %+v", p)
		}
		if _, err := r.tr.Erase(ctx, bob); err != nil {
			t.Errorf("Erase again: %v", err)
		}
		r.open(presence.Device{})
		r.mem.Refuse(errFull)
		_, err = r.tr.Erase(ctx, bob)
		wantKind(t, "Erase while it refuses", err, fault.LogUnavailable)
		r.mem.Recover()
		wait(10 * time.Second)
		r.open(presence.Device{}) // it is over: he may come again
	})
}

// When the hour is over nothing is left of him, and a watcher that knew him
// follows who comes by the same name.
func TestErasedIsForgotten(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		r.update(ref, presence.Status{Show: presence.Away})
		if _, err := r.tr.Erase(context.Background(), bob); err != nil {
			t.Fatal(err)
		}
		version := r.tr.Presence(bob).Version
		sh := r.tr.shard(bob)
		sh.mu.Lock()
		sh.users[bob].folded.Erased -= presence.Time(presence.KeepClosed / time.Millisecond) // an hour of ticks takes long
		sh.save.changed = true                                                               // as by another user of the shard
		sh.mu.Unlock()
		wait(time.Minute)
		sh.mu.Lock()
		_, there := sh.users[bob]
		sh.mu.Unlock()
		if there {
			t.Error("he is still in the table")
		}
		r.open(presence.Device{})
		if p := r.tr.Presence(bob); p.Version <= version || p.FloorShown < version {
			t.Errorf("he comes again at version %d, floor %d; watchers know %d", p.Version, p.FloorShown, version)
		}
	})
}

// Who was last seen before the clock was set back is erased all the same.
func TestEraseAfterTheClockWasSetBack(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, w := r.open(presence.Device{Platform: "ios"})
		r.tr.LinkLost(ref, w)
		wait(10 * time.Minute)
		sh := r.tr.shard(bob)
		sh.mu.Lock()
		u := sh.users[bob]
		hour := presence.Time(time.Hour / time.Millisecond)
		u.folded.LastSeen, u.folded.LastSeenShown, u.seen, u.shown = u.folded.LastSeen+hour, u.folded.LastSeenShown+hour, u.seen+hour, u.shown+hour
		for i := range u.folded.Sessions {
			u.folded.Sessions[i].OpenedAt += hour
			u.folded.Sessions[i].ClosedAt += hour
		}
		u.folded.Absent = []presence.Absence{{Platform: "ios", At: u.folded.Absent[0].At + hour}}
		left := u.folded.Sessions[0].ClosedAt
		sh.mu.Unlock()
		e, err := r.tr.Erase(context.Background(), bob)
		if err != nil || e.At < left {
			t.Errorf("Erase: got %+v, %v, want it to void what was until %d", e, err, left)
		}
		if p := r.tr.Presence(bob); p.LastSeen != 0 || p.LastSeenShown != 0 || len(p.Absent) != 0 {
			t.Errorf("erased, he has %+v", p)
		}
		if f, _ := r.folded(bob); len(f.Sessions) != 0 {
			t.Errorf("of his sessions there is still %+v", f.Sessions)
		}
	})
}

// stubborn keeps a checkpoint, but does not always let old notes go.
type stubborn struct {
	*storetest.Memory
	refuse   atomic.Bool
	advances atomic.Int64
}

// Advance fails while it is told to.
func (s *stubborn) Advance(ctx context.Context, through, note uint64) error {
	if s.refuse.Load() {
		return errFull
	}
	s.advances.Add(1)
	return s.Memory.Advance(ctx, through, note)
}

// An erasure that could not drop the old notes is not done; the repeat drops
// them although nothing has changed since.
func TestEraseDropsOldNotes(t *testing.T) {
	s := &stubborn{Memory: storetest.NewMemory()}
	in(t, func(c *Config) { c.Checkpoints = s }, func(t *testing.T, r *rig) {
		r.open(presence.Device{})
		wait(time.Second)
		s.refuse.Store(true)
		_, err := r.tr.Erase(context.Background(), bob)
		wantKind(t, "Erase", err, fault.LogUnavailable)
		s.refuse.Store(false)
		before := s.advances.Load()
		if _, err := r.tr.Erase(context.Background(), bob); err != nil {
			t.Errorf("Erase again: %v", err)
		}
		if s.advances.Load() == before {
			t.Error("the old notes stay")
		}
	})
}
