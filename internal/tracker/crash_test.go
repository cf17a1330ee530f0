package tracker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A clean stop forgets no note but the newest, which says when the node was
// alive: that is the last seen of whoever does not come back.
func TestLastSeenOverACleanStop(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		r.open(presence.Device{})
		wait(20 * time.Second)
		at := presence.At(time.Now())
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.mem = r.mem.Reopen()
		wait(time.Minute)
		r.start()
		if got := sees(r.tr.Presence(bob), false); len(got) != 1 {
			t.Errorf("before restart_grace others see %q, want the session", got)
		}
		wait(31 * time.Second)
		p := r.tr.Presence(bob)
		if got := p.Seen(false); got < at.Add(-time.Second) || got > at || p.Available(false) != presence.Unavailable {
			t.Errorf("after restart_grace: %v, last seen %v; want unavailable, within a second before %v", p.Available(false), got.Time(), at.Time())
		}
	})
}

// Whoever comes back after restart_grace, within the resume window, has his
// watches all the same.
func TestBackAfterRestartGrace(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		r.lists.set(ref.Session, "alice", "carol")
		r.lists.follow(ref.Session, true)
		r.tr.WatchesChanged(ref)
		wait(2 * time.Second)
		r.crash()
		r.start()
		wait(40 * time.Second)
		if r.phase(ref) != presence.PhaseClosed {
			t.Fatalf("phase: got %v, want closed", r.phase(ref))
		}
		c, err := r.tr.Connect(t.Context(), ref, ConnectParams{Link: &wire{}})
		if err != nil || !c.Resumed || !c.Unclean || !c.RestoredFriends || !slices.Equal(c.Restored, []presence.UserID{"alice", "carol"}) {
			t.Errorf("Connect: got %+v, %v, want it resumed with its watches and friends", c, err)
		}
	})
}

// The watch list of a session that has just come back is not in the hub yet when
// the checkpoint asks: what was restored stands in for it.
func TestCrashAgainBeforeTheWatchesAreBack(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		r.lists.set(ref.Session, "alice")
		r.lists.follow(ref.Session, true)
		r.tr.WatchesChanged(ref)
		wait(2 * time.Second)
		r.crash()
		r.start()
		if _, err := r.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.update(ref, presence.Status{Show: presence.Busy}); err != nil { // a note without the list
			t.Fatal(err)
		}
		wait(2 * time.Second) // a note is written, and the door did not restore yet
		r.crash()
		r.start()
		c, err := r.tr.Connect(t.Context(), ref, ConnectParams{Link: &wire{}})
		if err != nil || !c.RestoredFriends || !slices.Equal(c.Restored, []presence.UserID{"alice"}) {
			t.Errorf("Connect: got %+v, %v, want alice and the friends restored", c, err)
		}
		r.lists.set(ref.Session) // restored, and then unsubscribed
		r.tr.WatchesChanged(ref)
		wait(2 * time.Second)
		r.crash()
		r.start()
		if c, err := r.tr.Connect(t.Context(), ref, ConnectParams{Link: &wire{}}); err != nil || len(c.Restored) != 0 || c.RestoredFriends {
			t.Errorf("Connect: got %+v, %v, want nothing restored", c, err)
		}
	})
}

// A session that no note tells of cannot be resumed whole: its device begins
// anew at once.
func TestCrashBeforeTheFirstNote(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		wait(100 * time.Millisecond)
		ref := r.make(presence.Device{})
		if _, err := r.connect(ref, &presence.Status{Show: presence.Away}); err != nil {
			t.Fatal(err)
		}
		r.crash()
		r.start()
		if got := sees(r.tr.Presence(bob), false); !slices.Equal(got, []string{"away"}) {
			t.Errorf("others see %q, want the status it opened with", got)
		}
		if _, err := r.connect(ref, nil); err != errGone {
			t.Errorf("Connect: got %v, want %v", err, errGone)
		}
		if got := sees(r.tr.Presence(bob), false); len(got) != 0 || r.ear.goneOf(ref.Session) != 0 {
			t.Errorf("after it others see %q, gone %d times; want nothing, not yet", got, r.ear.goneOf(ref.Session))
		}
		if _, err := r.connect(ref, nil); err != errGone {
			t.Errorf("Connect again: got %v, want %v", err, errGone)
		}
	})
}

// Numbers that watchers saw do not come back with another status, although the
// last second's were not written down.
func TestRevisionsOverACrash(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		wait(2 * time.Second)
		newest := uint64(0)
		for i := range 150 {
			if u, err := r.update(ref, presence.Status{Text: presence.Value{Kind: presence.KindText, Text: fmt.Sprint(i)}}); err == nil {
				newest = u.Revision
			}
			if i == 75 {
				wait(800 * time.Millisecond)
			}
		}
		r.crash()
		r.start()
		if got := r.tr.Presence(bob).Sessions[0].Shown.Revision; got <= newest {
			t.Errorf("revision after a crash: got %d, want more than %d", got, newest)
		}
		before := r.tr.Presence(bob).Sessions[0].Shown.Revision
		if _, err := r.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		if u, err := r.update(ref, presence.Status{Show: presence.Busy}); err != nil || u.Revision <= before {
			t.Errorf("after the first update: got %+v, %v, want more than %d", u, err, before)
		}
	})
}

// gapped is a log that does not reach back as far as the checkpoint needs.
type gapped struct{ store.Log }

func (g gapped) Replay(ctx context.Context, from uint64, f func(uint64, []presence.Record) error) (uint64, error) {
	if from != 0 {
		return from, store.ErrGap
	}
	return g.Log.Replay(ctx, 0, f)
}

func TestStartOverAGap(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		ref, _ := r.open(presence.Device{})
		wait(time.Minute) // shards are out
		r.tr.Close(t.Context(), ref, presence.ReasonLogout)
		keep, _ := r.open(presence.Device{})
		wait(2 * time.Second)
		r.crash()
		r.cfg.Log = gapped{r.mem}
		r.start()
		if got := sees(r.tr.Presence(bob), false); len(got) != 1 || r.phase(keep) != presence.PhaseLost {
			t.Errorf("others see %q, the open one is %v; want one, lost", got, r.phase(keep))
		}
		r.cfg.Log = nil
	})
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, spoil := range map[string]func(r *rig){
			"a shard of the future": func(r *rig) { r.mem.SaveShard(t.Context(), 3, 1, []byte{99}) },
			"a note of the future":  func(r *rig) { r.mem.SaveNote(t.Context(), []byte{99}) },
			"a shard too many":      func(r *rig) { r.mem.SaveShard(t.Context(), Shards, 1, []byte{store.ShardVersion, 0}) },
			"a store that ended":    func(r *rig) { r.mem.Stop() },
		} {
			r := newRig(t, nil)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			spoil(r)
			cfg := r.cfg
			cfg.Log, cfg.Checkpoints, cfg.Wheel = r.mem, r.mem, r.wheel
			tr := New(cfg)
			if err := tr.Start(t.Context()); err == nil {
				t.Errorf("%s: Start gave no error, want one", name)
			}
			if err := tr.Stop(t.Context()); err != nil {
				t.Errorf("%s: Stop: %v", name, err)
			}
		}
	})
}
