package tracker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// counting is a checkpoint that counts and can fail.
type counting struct {
	mem *storetest.Memory // of the tracker that runs

	mu     sync.Mutex // guards all below
	notes  int
	shards int
	fail   error
}

func (c *counting) count(n *int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
	return c.fail
}

func (c *counting) setFailure(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *counting) took() (notes, shards int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	notes, shards = c.notes, c.shards
	c.notes, c.shards = 0, 0
	return notes, shards
}

func (c *counting) SaveShard(ctx context.Context, n int, through uint64, b []byte) error {
	if err := c.count(&c.shards); err != nil {
		return err
	}
	return c.mem.SaveShard(ctx, n, through, b)
}

func (c *counting) SaveNote(ctx context.Context, b []byte) (uint64, error) {
	if err := c.count(&c.notes); err != nil {
		return 0, err
	}
	return c.mem.SaveNote(ctx, b)
}

func (c *counting) Advance(ctx context.Context, through, note uint64) error {
	return c.mem.Advance(ctx, through, note)
}

func (c *counting) Load(ctx context.Context, shard func(int, uint64, []byte) error, note func([]byte) error) (uint64, error) {
	return c.mem.Load(ctx, shard, note)
}

// inCounting is in with a checkpoint that counts.
func inCounting(t *testing.T, f func(t *testing.T, r *rig, c *counting)) {
	t.Helper()
	c := &counting{}
	in(t, func(cfg *Config) { cfg.Checkpoints = c }, func(t *testing.T, r *rig) { f(t, r, c) })
}

var _ store.Checkpoints = (*counting)(nil)

func TestQuietNodeWritesNothing(t *testing.T) {
	inCounting(t, func(t *testing.T, r *rig, c *counting) {
		ref, _ := r.open(presence.Device{})
		wait(10 * time.Second)
		if notes, _ := c.took(); notes < 19 || notes > 22 {
			t.Errorf("with a session open for 10 s: %d notes, want one each half second", notes)
		}
		if _, err := r.tr.Close(t.Context(), ref, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		r.make(presence.Device{})
		wait(time.Minute)
		c.took()
		wait(10 * time.Minute)
		if notes, shards := c.took(); notes != 0 || shards != 0 {
			t.Errorf("with nobody there for 10 min: %d notes and %d shards written, want none", notes, shards)
		}
	})
}

// many is what session i watches: more than half a message of notes.
func many(i int) (users []presence.UserID) {
	for n := range 3000 {
		users = append(users, presence.UserID(fmt.Sprintf("friend %d of session %d, %s", n, i, strings.Repeat("x", 80))))
	}
	return users
}

// Every session that waited when the checkpoint could not be written is written
// once it can, not only the first.
func TestNotesAfterAFailure(t *testing.T) {
	inCounting(t, func(t *testing.T, r *rig, c *counting) {
		c.setFailure(errors.New("no space"))
		var refs []Ref
		for i := range 5 {
			ref, _ := r.open(presence.Device{})
			r.lists.set(ref.Session, many(i)...)
			if _, err := r.update(ref, presence.Status{Show: presence.Busy}); err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		wait(5 * time.Second)
		c.setFailure(nil)
		wait(2 * time.Second)
		r.crash()
		r.start()
		if got := sees(r.tr.Presence(bob), false); !slices.Equal(got, []string{"busy", "busy", "busy", "busy", "busy"}) {
			t.Errorf("after a crash others see %q, want five busy sessions", got)
		}
		for i, ref := range refs {
			c, err := r.tr.Connect(t.Context(), ref, ConnectParams{Link: &wire{}})
			if err != nil || !slices.Equal(c.Restored, many(i)) || !c.Unclean {
				t.Errorf("session %d: got %d watches, %v, want it back with %d", i, len(c.Restored), err, len(many(i)))
			}
		}
	})
}

// A session that opens while its shard is being written is in neither the shard
// nor an older note; its own note must not be dropped with those.
func TestOpenedWhileItsShardIsWritten(t *testing.T) {
	in(t, nil, func(t *testing.T, r *rig) {
		first, _ := r.open(presence.Device{})
		other, far := presence.User{App: app}, presence.User{App: app, ID: "carol"}
		for i := 0; r.tr.shardIndex(other) != r.tr.shardIndex(bob); i++ {
			other.ID = presence.UserID(fmt.Sprint("user", i))
		}
		m, err := r.tr.Make(t.Context(), MakeParams{User: other})
		if err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second) // the notes are out: the next question is for the shard
		asked := false
		r.lists.mu.Lock()
		r.lists.hook = func() {
			asked = true
			if _, err := r.tr.Connect(context.Background(), m.Ref, ConnectParams{Link: &wire{}}); err != nil {
				t.Errorf("Connect: %v", err)
			}
			r.lists.set(m.Ref.Session, "alice")
		}
		r.lists.mu.Unlock()
		wait(shardEvery)
		if !asked {
			t.Fatal("the shard was not written, so this proves nothing")
		}
		// Another shard goes out, and with it all notes that are in shards.
		if m, err = r.tr.Make(t.Context(), MakeParams{User: far}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.tr.Connect(t.Context(), m.Ref, ConnectParams{Link: &wire{}}); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		r.crash()
		r.start()
		for _, ref := range []Ref{first, m.Ref} {
			if _, err := r.connect(ref, nil); err != nil {
				t.Errorf("%v after a crash: %v", ref.User.ID, err)
			}
		}
		for _, s := range r.tr.shard(other).users[other].sessions {
			if !s.kept.noted || !slices.Equal(s.few().restored, []presence.UserID{"alice"}) {
				t.Errorf("the one that opened meanwhile: noted %v, watches %v; want its note, with alice", s.kept.noted, s.few().restored)
			}
		}
	})
}

// A note of a new status leaves the list out; the list of the note before it
// stands, also when that one is in a shard by now, and a new list replaces it.
func TestListsAreKeptWithNewStatuses(t *testing.T) {
	for name, whole := range map[string]time.Duration{"in a note": 0, "in a shard": shardEvery + 5*time.Second} {
		t.Run(name, func(t *testing.T) {
			in(t, nil, func(t *testing.T, r *rig) {
				ref, w := r.open(presence.Device{})
				watch := func(users ...presence.UserID) {
					r.lists.set(ref.Session, users...)
					r.tr.WatchesChanged(ref)
					wait(2 * time.Second)
				}
				update := func(s presence.Show) {
					if _, err := r.update(ref, presence.Status{Show: s}); err != nil {
						t.Fatal(err)
					}
					wait(2 * time.Second)
				}
				want := func(s presence.Show, users ...presence.UserID) {
					t.Helper()
					r.crash()
					r.start()
					got := r.tr.shard(bob).users[bob].sessions[0]
					if !got.kept.noted || !slices.Equal(got.few().restored, users) || got.status.Show != s {
						t.Errorf("after a crash: noted %v, watches %v, %v; want %v and %v", got.kept.noted, got.few().restored, got.status, users, s)
					}
				}
				watch("alice", "carol")
				for range 2 {
					wait(whole / 2)
					w.read(r)
				}
				update(presence.Busy)
				update(presence.Away)
				want(presence.Away, "alice", "carol")

				if _, err := r.connect(ref, nil); err != nil {
					t.Fatal(err)
				}
				watch("dave")
				update(presence.Busy)
				want(presence.Busy, "dave")
			})
		})
	}
}

// A user who changes after a long quiet time does not move the checkpoint back
// to where his shard was written last.
func TestTheCheckpointNeverGoesBack(t *testing.T) {
	c := &moving{Memory: storetest.NewMemory()}
	in(t, func(cfg *Config) { cfg.Checkpoints = c }, func(t *testing.T, r *rig) {
		come := func(id presence.UserID) {
			t.Helper()
			m, err := r.tr.Make(t.Context(), MakeParams{User: presence.User{App: app, ID: id}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.tr.Connect(t.Context(), m.Ref, ConnectParams{Link: &wire{}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, restarted := range []bool{false, true} {
			for i := range 3 * shardsATime { // more shards than go out at once, which were never written
				come(presence.UserID(fmt.Sprint("crowd", i, restarted)))
			}
			for i := range 12 { // in a shard each
				come(presence.UserID(fmt.Sprint("user", i)))
				wait(11 * time.Second)
			}
			come("user0") // his shard was written, and is not due now
			for i := range 12 {
				come(presence.UserID(fmt.Sprint("somebody", i, restarted)))
				wait(4 * time.Second)
			}
			if moves, failed := c.took(); moves < 5 || failed != nil {
				t.Errorf("restarted %v: the checkpoint moved %d times and then said %v, want many and no error", restarted, moves, failed)
			}
			r.crash()
			r.start()
		}
	})
}

// moving counts how often a checkpoint moved, and keeps what went wrong.
type moving struct {
	*storetest.Memory

	mu     sync.Mutex // guards all below
	moves  int
	failed error
}

func (m *moving) Advance(ctx context.Context, through, note uint64) error {
	err := m.Memory.Advance(ctx, through, note)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moves++
	m.failed = errors.Join(m.failed, err)
	return err
}

func (m *moving) took() (moves int, failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	moves, failed = m.moves, m.failed
	m.moves, m.failed = 0, nil
	return moves, failed
}

// TestGroupsThatFailSayWhyOnce: groups fail together, as the store is one.
func TestGroupsThatFailSayWhyOnce(t *testing.T) {
	t.Parallel()
	none, no := errors.New("no answer"), []error{nil, nil}
	if err := oneReason(no); err != nil {
		t.Errorf("none failed: got %v", err)
	}
	if err := oneReason([]error{nil, none}); err != none {
		t.Errorf("one failed: got %v, want it as it is", err)
	}
	if err := oneReason([]error{none, nil, none, none}); !errors.Is(err, none) || err.Error() != "no answer (and 2 groups more)" {
		t.Errorf("three failed: got %v", err)
	}
}
