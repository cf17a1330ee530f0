package tracker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// TestCutOffWhileItComesBack: a node that is cut off at the moment in which it takes
// part again stays cut off.
func TestCutOffWhileItComesBack(t *testing.T) {
	inNodes(t, 1, nil, func(t *testing.T, c *nodes) {
		tr := c.all[0].tr
		for i := range 3000 {
			tr.Frozen()
			tr.Joined(tr.Incarnation())
			for range i % 60 {
				runtime.Gosched()
			}
			tr.Frozen()
			wait(10 * time.Millisecond)
			if !tr.peers.frozen.Load() {
				t.Fatalf("try %d: time goes on", i)
			}
			tr.Joined(tr.Incarnation())
			wait(10 * time.Millisecond)
			if tr.peers.frozen.Load() {
				t.Fatalf("try %d: time stands still", i)
			}
		}
	})
}

// endless is a log whose end cannot be told for a while.
type endless struct {
	store.Reading
	down  atomic.Bool
	asked atomic.Int32
}

func (e *endless) Ends(ctx context.Context) (first, next uint64, err error) {
	if e.asked.Add(1); e.down.Load() {
		return 0, 0, errors.New("no leader")
	}
	return e.Reading.Ends(ctx)
}

// TestComingBackWaitsForTheLog, and asks for its end no more often than it must.
func TestComingBackWaitsForTheLog(t *testing.T) {
	inNodes(t, 1, nil, func(t *testing.T, c *nodes) {
		tr := c.all[0].tr
		log := &endless{Reading: tr.peers.Reading}
		log.down.Store(true)
		tr.peers.Reading = log
		tr.Isolated()
		tr.Joined(tr.Incarnation())
		wait(10 * time.Second)
		if n := log.asked.Load(); n < 10 || n > 60 || !tr.peers.frozen.Load() {
			t.Errorf("asked %d times, frozen %v, want some 50, true", n, tr.peers.frozen.Load())
		}
		log.down.Store(false)
		wait(time.Second)
		if tr.peers.frozen.Load() {
			t.Error("the log was read, and time stands still")
		}
	})
}

// lockedBuffer is a log's text.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write is io.Writer's.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// TestWhatCannotBeReadIsSaidOnce in a while.
func TestWhatCannotBeReadIsSaidOnce(t *testing.T) {
	text := &lockedBuffer{}
	logger := func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(text, nil)) }
	inNodes(t, 1, logger, func(t *testing.T, c *nodes) {
		tr := c.all[0].tr
		said := func() int {
			text.mu.Lock()
			defer text.mu.Unlock()
			return strings.Count(text.b.String(), "what this one cannot read")
		}
		strange := [][]byte{{toldVersion + 1, 0}, {toldVersion + 1, 0}}
		for range 100 {
			tr.Apply(77, 3, strange)
		}
		if n := said(); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		wait(unreadEvery)
		tr.Apply(77, 3, strange)
		if n := said(); n != 2 || !strings.Contains(text.b.String(), "since=200") {
			t.Errorf("said %d times, want twice, with a count:\n%s", n, text.b.String())
		}
	})
}

// TestNoSweepAfterStop: nothing goes on when a tracker has stopped.
func TestNoSweepAfterStop(t *testing.T) {
	inNodes(t, 1, nil, func(t *testing.T, c *nodes) {
		tr := c.all[0].tr
		if err := tr.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		tr.sweep() // one that had begun
		rested := tr.peers.resting.Load()
		tr.draining.Store(false) // or none would do anything
		wait(5 * sweepEvery)
		if n := tr.peers.resting.Load() - rested; n != 0 {
			t.Errorf("%d sweeps after Stop", n)
		}
	})
}
