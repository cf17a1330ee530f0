package socket

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// sweepEvery is how often the table is looked through, and how exact the limits
// on peers are.
const sweepEvery = time.Second

// lookEvery is how often each connection is looked at, whatever was expected of
// it: for a write that began meanwhile, for instance.
const lookEvery = 5 * time.Second

// Loop serves the connections of a server. Make it with New.
type Loop struct {
	cfg     Config
	readers *line
	writers *line
	lent    sync.Pool // of *Out
	apart   table     // connections in goroutine mode
	sweeper wheel.Timer

	mu      sync.Mutex // guards all below
	running bool
	pollers []*poller // made with the first connection that needs one
	turn    int       // whose is the next connection
	gone    sync.WaitGroup
}

// New returns a Loop that has not started.
func New(cfg Config) *Loop {
	l := &Loop{cfg: cfg.withPresets()}
	l.readers = newLine(l, byReader, max(l.cfg.Workers, runtime.GOMAXPROCS(0)))
	l.writers = newLine(l, byWriter, 16*runtime.GOMAXPROCS(0))
	l.sweeper.Fire = l.sweep
	return l
}

// Start begins to accept connections. A Loop starts once.
func (l *Loop) Start(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		l.running = true
		l.cfg.Wheel.Set(&l.sweeper, sweepEvery)
	}
	return nil
}

// Stop refuses newcomers, closes all connections with code 1001, gives their
// peers until ctx ends to answer (CloseLimit at most), cuts the others, and waits
// for the doors' last calls.
func (l *Loop) Stop(ctx context.Context) error {
	l.mu.Lock()
	was := l.running
	l.running = false
	l.mu.Unlock()
	if !was {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		l.gone.Wait()
		close(gone)
	}()
	l.each(func(c *Conn) { c.Close(CodeGoingAway, goingAway) })
	patience := time.NewTimer(l.cfg.CloseLimit)
	defer patience.Stop()
	var err error
	select {
	case <-gone:
	case <-patience.C:
	case <-ctx.Done():
	}
	l.each(func(c *Conn) { c.cut(ErrSlow) })
	select {
	case <-gone:
	case <-ctx.Done():
		select {
		case <-gone:
		case <-time.After(lastWord):
			err = errors.New("socket: a connection's last call did not return")
		}
	}
	l.cfg.Wheel.Clear(&l.sweeper)
	l.mu.Lock()
	pollers := l.pollers
	l.pollers = nil
	l.mu.Unlock()
	for _, p := range pollers {
		p.stop()
	}
	l.readers.stop(err == nil)
	l.writers.stop(err == nil)
	return err
}

const goingAway = "the server is going away"

// lastWord is what doors still get to end when the time for a Stop is used up.
const lastWord = 500 * time.Millisecond

// Open is how many connections there are.
func (l *Loop) Open() int {
	n := 0
	for _, t := range l.tables() {
		n += t.len()
	}
	return n
}

func (l *Loop) tables() []*table {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*table, 0, len(l.pollers)+1)
	for _, p := range l.pollers {
		all = append(all, &p.table)
	}
	return append(all, &l.apart)
}

func (l *Loop) each(visit func(c *Conn)) {
	for _, t := range l.tables() {
		for _, c := range t.all(nil) {
			visit(c)
		}
	}
}

// enter counts a connection that is about to be made; false means that the loop
// does not run.
func (l *Loop) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		l.gone.Add(1)
	}
	return l.running
}

func (l *Loop) runs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// retire sees to it that somebody finishes c, whose socket is closed.
func (l *Loop) retire(c *Conn) {
	if c.poll == nil {
		return // its reader does
	}
	c.mu.Lock()
	there := c.reads
	c.reads = true
	c.mu.Unlock()
	if !there {
		l.readers.add(c)
	}
}

func (l *Loop) lend() *Out {
	if out, ok := l.lent.Get().(*Out); ok {
		return out
	}
	return &Out{buf: make([]byte, 0, lentSize)}
}

func (l *Loop) giveBack(out *Out) {
	if cap(out.buf) <= mostKept {
		out.buf = out.buf[:0]
		l.lent.Put(out)
	}
}
