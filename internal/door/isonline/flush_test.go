package isonline

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// pipe is a transport of a stream whose reader can be stuck: the one thing that
// real connections would make a test wait for.
type pipe struct {
	ctx   context.Context
	stuck chan struct{} // nil: reads at once; else: reads when it is closed
	inner atomic.Int64  // sends that are inside
	mu    sync.Mutex    // guards sent and at
	sent  int
	at    time.Time // of the last send that went through
}

// Context is the call's.
func (p *pipe) Context() context.Context { return p.ctx }

// SendMsg waits for the reader.
func (p *pipe) SendMsg(any) error {
	if p.inner.Add(1) > 1 {
		panic("two sends on one stream at once")
	}
	defer p.inner.Add(-1)
	if p.stuck != nil {
		select {
		case <-p.stuck:
		case <-p.ctx.Done():
			return io.ErrClosedPipe
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	p.at = time.Now()
	return nil
}

func (p *pipe) count() (int, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.at
}

// crew is a door without a server, and streams on pipes.
type crew struct {
	t      *testing.T
	door   *Door
	hub    *hub.Hub
	faces  *faces
	ctx    context.Context
	cancel context.CancelFunc
	n      byte
}

// faces is a hub.Source of one user who is always there, in ever new versions.
type faces struct {
	mu      sync.Mutex // guards version
	version uint32
}

// Presence is the newest picture.
func (f *faces) Presence(u presence.User) *presence.Presence {
	f.mu.Lock()
	defer f.mu.Unlock()
	face := presence.Face{Opened: 1, Changed: f.version, Revision: uint64(f.version)}
	return &presence.Presence{User: u, Version: f.version, Sessions: []*presence.View{{Device: &presence.Device{}, True: face, Shown: face}}}
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	w := wheel.New(nil)
	w.Start()
	c := &crew{t: t, faces: &faces{version: 1}}
	c.hub = hub.New(c.faces, nil)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.door = &Door{cfg: Config{Wheel: w}, enc: &encoder{}, flushers: newFlushers(w)}
	t.Cleanup(func() {
		c.cancel() // streams end before their flushers
		c.door.flushers.stop()
		w.Stop()
	})
	<-time.After(time.Millisecond)
	return c
}

// stream makes a stream that watches alice.
func (c *crew) stream(stuck chan struct{}) (*stream, *pipe) {
	c.t.Helper()
	c.n++
	w := c.hub.Join(presence.SessionID{c.n}, hub.Params{User: presence.User{App: "demo", ID: "bob"}, Limit: 1})
	p := &pipe{ctx: c.ctx, stuck: stuck}
	s := &stream{door: c.door, watcher: w, out: p, ended: make(chan tracker.End, 1)}
	s.state.Store(busy)
	a, err := w.Attach(c.door.enc, s.wake, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	s.attachment = a.Stream
	s.state.Store(idle)
	if _, err := w.Watch([]presence.UserID{"alice"}, hub.ScopeNone); err != nil {
		c.t.Fatal(err)
	}
	return s, p
}

// change tells all who watch alice.
func (c *crew) change() {
	c.faces.mu.Lock()
	c.faces.version++
	c.faces.mu.Unlock()
	c.hub.Changed(c.faces.Presence(presence.User{App: "demo", ID: "alice"}))
}

// However many streams do not read, the others wait for one look of the
// flushers at most, and once another flusher is there, not even for that.
func TestStuckStreamsDelayNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		base := c.door.flushers.base
		stuck := make(chan struct{})
		var deaf []*pipe
		for range base + 3 {
			_, p := c.stream(stuck)
			deaf = append(deaf, p)
		}
		wait(time.Second) // all of them hold a flusher
		_, reads := c.stream(nil)
		wait(4 * stuckEvery)
		if n, _ := reads.count(); n != 1 {
			t.Fatalf("who reads got %d messages while others do not, want its snapshot", n)
		}
		for range 50 {
			began := time.Now()
			c.change()
			wait(5 * time.Millisecond)
			if _, at := reads.count(); !at.Equal(began) {
				t.Fatalf("a change reached who reads after %v, want at once", at.Sub(began))
			}
		}
		close(stuck)
		wait(time.Second)
		for i, p := range deaf {
			if n, _ := p.count(); n != 2 {
				t.Errorf("stream %d, stuck until now, got %d messages, want the snapshot and the newest change", i, n)
			}
		}
		f := c.door.flushers
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.count > base {
			t.Errorf("%d flushers stay when nobody is stuck any more, want %d", f.count, base)
		}
	})
}

// What comes while a stream is being sent to is sent after it, and each stream
// has one sender at a time.
func TestNoChangeIsForgottenBetweenFlushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		const streams, changers, changes = 20, 4, 500
		pipes := make([]*pipe, streams)
		all := make([]*stream, streams)
		for i := range pipes {
			all[i], pipes[i] = c.stream(nil)
		}
		var wg sync.WaitGroup
		for range changers {
			wg.Go(func() {
				for range changes {
					c.change()
				}
			})
		}
		wg.Wait()
		wait(time.Second)
		for i, s := range all {
			if frames, more := s.watcher.Drain(s.attachment, nil, 10); len(frames) > 0 || more {
				t.Errorf("stream %d: %d messages were left behind", i, len(frames))
			}
			if got := s.state.Load(); got != idle {
				t.Errorf("stream %d is in state %d when all is quiet, want idle", i, got)
			}
		}
	})
}

// A stream that is put in line while a flusher is at it is looked at again.
func TestWakeWhileBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t)
		gate := make(chan struct{})
		s, p := c.stream(gate)
		synctest.Wait() // inside the first send
		if got := s.state.Load(); got != busy {
			t.Fatalf("the stream is in state %d while it is sent to, want busy", got)
		}
		for range 3 {
			c.change()
		}
		close(gate)
		synctest.Wait()
		if n, _ := p.count(); n != 2 {
			t.Errorf("got %d messages, want the snapshot and the newest of three changes", n)
		}
	})
}

// The flushers stop with streams in line, stuck ones included once their calls
// ended, and take nothing afterwards. Goroutines left behind fail the bubble.
func TestFlushersStop(t *testing.T) {
	t.Parallel()
	for name, streams := range map[string]int{"never used": 0, "used": 3, "with stuck streams": -5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCrew(t)
				var stuck chan struct{}
				if streams < 0 {
					streams, stuck = -streams, make(chan struct{})
				}
				for range streams {
					c.stream(stuck)
				}
				wait(10 * stuckEvery)
				c.cancel()
				c.door.flushers.stop()
				c.door.flushers.stop() // a second time is allowed
				s, p := c.stream(nil)
				c.door.flushers.add(s)
				wait(time.Second)
				if n, _ := p.count(); n > 0 {
					t.Errorf("%d messages were sent after stop", n)
				}
			})
		})
	}
}

// A crowd of streams that do not read must not hold up the rest for longer than
// it takes to look at each once.
func BenchmarkFlush(b *testing.B) {
	for _, streams := range []int{1, 100} {
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			w := wheel.New(nil)
			w.Start()
			defer w.Stop()
			src := &faces{version: 1}
			h := hub.New(src, nil)
			d := &Door{cfg: Config{Wheel: w}, enc: &encoder{}, flushers: newFlushers(w)}
			defer d.flushers.stop()
			var sent sync.WaitGroup
			for i := range streams {
				watcher := h.Join(presence.SessionID{byte(i)}, hub.Params{User: presence.User{App: "demo", ID: "bob"}, Limit: 1})
				s := &stream{door: d, watcher: watcher, out: &counter{done: &sent}}
				a, _ := watcher.Attach(d.enc, s.wake, nil)
				s.attachment = a.Stream
				sent.Add(1)
				watcher.Watch([]presence.UserID{"alice"}, hub.ScopeNone)
			}
			sent.Wait()
			b.ReportAllocs()
			for b.Loop() {
				sent.Add(streams)
				src.mu.Lock()
				src.version++
				src.mu.Unlock()
				h.Changed(src.Presence(presence.User{App: "demo", ID: "alice"}))
				sent.Wait()
			}
		})
	}
}

// counter is a transport that takes everything at once.
type counter struct {
	done *sync.WaitGroup
}

// Context is of no use here.
func (c *counter) Context() context.Context { return nil }

// SendMsg counts.
func (c *counter) SendMsg(any) error { c.done.Done(); return nil }
