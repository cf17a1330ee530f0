// Package rapidtest plays random histories so that one that does not end says
// which it was: rapid tells the seed of a history that fails, but of one that hangs
// nothing is left when the time of all tests is over.
package rapidtest

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Limit is what a history may take: a hundred times what one takes that ends.
const Limit = time.Minute

// Check is rapid.Check with a limit for each history. In a package that uses it,
// all checks must be made so: the seed is drawn here and handed to rapid in its flag.
func Check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	Observe(t, Limit).Check(t, property)
}

// Watch ends the process, with the stacks of all goroutines, when a history takes
// too long.
type Watch struct {
	t   *testing.T
	now atomic.Pointer[string] // how to play again what is played; nil: nothing is
}

// Observe makes a watch for the histories of a test, one after the other. It must
// be made outside any bubble, where time is real; its methods may be used inside.
func Observe(t *testing.T, limit time.Duration) *Watch {
	w := &Watch{t: t}
	done, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(done); <-over })
	go func() {
		defer close(over)
		w.look(limit, done)
	}()
	return w
}

// look counts looks, not time: while the machine stands still, nobody looks.
func (w *Watch) look(limit time.Duration, done <-chan struct{}) {
	const looks = 60
	ticks := time.NewTicker(limit / looks)
	defer ticks.Stop()
	var last *string
	for seen := 0; ; {
		select {
		case <-done:
			return
		case <-ticks.C:
		}
		now := w.now.Load()
		if seen++; now != last {
			last, seen = now, 0
		}
		if now != nil && seen >= looks {
			debug.SetTraceback("all")
			panic(fmt.Sprintf("%s: a history does not end in %v; to play it again: %s", w.t.Name(), limit, *now))
		}
	}
}

// Play plays a history; again is how to play just that one. It says so where the
// history ends the test, as a bubble does that has failed: rapid comes no more to
// tell the seed.
func (w *Watch) Play(again string, history func()) {
	w.now.Store(&again)
	ended := false
	defer func() {
		w.now.Store(nil)
		if !ended && bytes.Contains(debug.Stack(), []byte("runtime.Goexit(")) {
			w.t.Logf("to play it again: %s", again)
		}
	}()
	history()
	ended = true
}

// Check is rapid.Check, its histories watched.
func (w *Watch) Check(t rapid.TB, property func(*rapid.T)) {
	t.Helper()
	seed, begun := beginning.draw()
	defer begun()
	n, one := uint64(0), "-rapid.checks=1"
	if testing.Short() { // rapid makes a fifth of it, and some play fewer steps
		one = "-short -rapid.checks=5"
	}
	rapid.Check(t, func(rt *rapid.T) {
		begun()
		seed += n // as rapid counts
		n++
		w.Play(fmt.Sprintf("-run='^%s$' %s -rapid.seed=%d", w.t.Name(), one, seed), func() { property(rt) })
	})
}

// beginning is one for the process, as rapid's flag is.
var beginning = &turns{}

// turns lets one check begin at a time: rapid reads its seed when it begins.
type turns struct{ mu sync.Mutex }

// draw sets rapid's seed, if nobody gave one, until the check has begun.
func (b *turns) draw() (seed uint64, begun func()) {
	b.mu.Lock()
	given := flag.Lookup("rapid.seed").Value.String()
	seed, err := strconv.ParseUint(given, 10, 64)
	if err == nil && seed == 0 {
		seed = 1 + rand.Uint64N(1<<62)
		err = flag.Set("rapid.seed", strconv.FormatUint(seed, 10))
	}
	if err != nil {
		panic(err)
	}
	return seed, sync.OnceFunc(func() {
		_ = flag.Set("rapid.seed", given)
		b.mu.Unlock()
	})
}
