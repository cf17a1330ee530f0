package isonline

import (
	"runtime"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// stuckEvery is how often the flushers are looked at: if streams wait and none
// was taken since, all flushers sit in sends to peers that do not read, and one
// more is needed.
const stuckEvery = 20 * time.Millisecond

// flushers send for all streams of the door: one goroutine per core, woken by
// the first stream that has something, which then takes stream after stream
// without another switch. While it is busy, changes gather on the streams that
// wait, and leave together in one write.
//
// A send blocks while its peer does not read and its quota is used up. Such a
// flusher is replaced at one of the next looks and goes when it comes free.
type flushers struct {
	wheel *wheel.Wheel
	base  int // how many to keep

	mu         sync.Mutex // guards all below
	work       sync.Cond  // signalled when a stream waits, or stop was called
	head, tail *stream    // streams that wait, chained by stream.next
	count      int        // flushers
	parked     int        // of them, waiting for work
	taken      uint64     // streams ever taken from the queue
	stopped    bool
	gone       sync.WaitGroup

	lastTaken uint64 // what taken was at the last look
	look      wheel.Timer
}

func newFlushers(w *wheel.Wheel) *flushers {
	f := &flushers{wheel: w, base: runtime.GOMAXPROCS(0)}
	f.work.L = &f.mu
	f.look.Fire = f.relieve
	return f
}

// add puts a stream in line. The stream is in it once at most: see stream.wake.
func (f *flushers) add(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	s.next = nil
	if f.tail == nil {
		f.head = s
	} else {
		f.tail.next = s
	}
	f.tail = s
	switch {
	case f.parked > 0:
		f.work.Signal()
	case f.count < f.base:
		f.hire()
	}
}

// hire starts one more flusher. The lock is held.
func (f *flushers) hire() {
	if f.count == 0 {
		f.wheel.Set(&f.look, stuckEvery)
	}
	f.count++
	f.gone.Add(1)
	go f.run()
}

func (f *flushers) run() {
	defer f.gone.Done()
	for s := f.take(); s != nil; s = f.take() {
		if s.flush() {
			f.add(s)
		}
	}
}

// take returns the next stream, or nil when this flusher should end.
func (f *flushers) take() *stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	for waited := false; ; {
		switch {
		case f.stopped:
			f.count--
			return nil
		case f.head != nil && waited:
			// Let the changes that are being made now be made first: they cost
			// little and then share this flusher's writes.
			f.mu.Unlock()
			runtime.Gosched()
			f.mu.Lock()
			waited = false
			continue
		case f.head != nil:
			s := f.head
			if f.head, s.next = s.next, nil; f.head == nil {
				f.tail = nil
			}
			f.taken++
			return s
		case f.parked >= f.base:
			// Those that are stuck do not count: were this one to go because of
			// them, every next change would wait for a look.
			f.count--
			return nil
		}
		f.parked++
		f.work.Wait()
		f.parked--
		waited = true
	}
}

// relieve starts another flusher when all are stuck. It runs on the wheel.
func (f *flushers) relieve() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	if f.head != nil && f.parked == 0 && f.taken == f.lastTaken {
		for range f.base { // who is in line may be stuck as well
			f.hire()
		}
	}
	f.lastTaken = f.taken
	f.wheel.Set(&f.look, stuckEvery)
}

// stop ends all flushers and waits for them. Their streams must have ended, so
// that no send blocks.
func (f *flushers) stop() {
	f.mu.Lock()
	f.stopped = true
	f.wheel.Clear(&f.look)
	f.work.Broadcast()
	f.mu.Unlock()
	f.gone.Wait()
}
