package socket

import (
	"runtime"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// stuckEvery is how often a line is looked at: if connections wait and none was
// taken since, all workers wait for something in a door that did not say so, and
// more are needed.
const stuckEvery = 20 * time.Millisecond

// The two lines.
const (
	byReader = iota
	byWriter
)

// line is connections that wait for a worker: one per core, woken by the first
// connection, which then takes one after the other without another switch. While
// they are busy, changes gather on the connections that wait, and leave together
// in one write.
//
// A worker whose door waits for something is replaced, and goes when it comes
// free.
type line struct {
	loop *Loop
	kind int // byReader or byWriter
	keep int // how many workers are kept
	most int

	mu         sync.Mutex // guards all below
	work       sync.Cond  // signalled when a connection waits, or stop was called
	head, tail *Conn      // chained by next[kind]
	count      int        // workers
	parked     int        // of them, waiting for work
	away       int        // of them, in a door that waits for something
	taken      uint64     // connections ever taken
	stopped    bool
	gone       sync.WaitGroup

	lastTaken uint64 // what taken was at the last look
	look      wheel.Timer
}

func newLine(l *Loop, kind, most int) *line {
	n := &line{loop: l, kind: kind, keep: runtime.GOMAXPROCS(0), most: most}
	n.work.L = &n.mu
	n.look.Fire = n.relieve
	return n
}

// add puts c in line, in which it is not.
func (n *line) add(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	c.next[n.kind] = nil
	if n.tail == nil {
		n.head = c
	} else {
		n.tail.next[n.kind] = c
	}
	n.tail = c
	n.need()
}

// need finds a worker for the head of the line. The lock is held.
func (n *line) need() {
	switch {
	case n.parked > 0:
		n.work.Signal()
	case n.count-n.away < n.keep && n.count < n.most:
		n.hire()
	}
}

// hire starts one more worker. The lock is held.
func (n *line) hire() {
	if n.count == 0 {
		n.loop.cfg.Wheel.Set(&n.look, stuckEvery)
	}
	n.count++
	n.gone.Add(1)
	go n.run()
}

func (n *line) run() {
	defer n.gone.Done()
	w := newWorker(n)
	for c := n.take(w); c != nil; c = n.take(w) {
		if n.kind == byReader {
			w.read(c)
		} else {
			w.writeTurn(c)
		}
	}
}

// take returns the next connection, or nil when this worker should end.
func (n *line) take(w *worker) *Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w.away {
		w.away = false
		n.away--
	}
	for waited := false; ; {
		switch {
		case n.stopped:
			n.count--
			return nil
		case n.head != nil && waited:
			// Let the changes that are being made now be made first: they cost
			// little and then share this worker's writes.
			n.mu.Unlock()
			runtime.Gosched()
			n.mu.Lock()
			waited = false
			continue
		case n.head != nil:
			c := n.head
			if n.head, c.next[n.kind] = c.next[n.kind], nil; n.head == nil {
				n.tail = nil
			}
			n.taken++
			return c
		case n.parked >= n.keep:
			n.count--
			return nil
		}
		n.parked++
		n.work.Wait()
		n.parked--
		waited = n.kind == byWriter
	}
}

// goAway says that w is about to wait for something.
func (n *line) goAway(w *worker) {
	if w.away {
		return
	}
	w.away = true
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away++
	if n.head != nil && !n.stopped {
		n.need()
	}
}

// relieve starts more workers when all are stuck. It runs on the wheel.
func (n *line) relieve() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	if n.head != nil && n.parked == 0 && n.taken == n.lastTaken {
		for range min(n.keep, n.most-n.count) { // who is in line may be stuck as well
			n.hire()
		}
	}
	n.lastTaken = n.taken
	n.loop.cfg.Wheel.Set(&n.look, stuckEvery)
}

// stop ends all workers, and waits for them when their connections have ended.
func (n *line) stop(wait bool) {
	n.mu.Lock()
	n.stopped = true
	n.loop.cfg.Wheel.Clear(&n.look)
	n.work.Broadcast()
	n.mu.Unlock()
	if wait {
		n.gone.Wait()
	}
}
