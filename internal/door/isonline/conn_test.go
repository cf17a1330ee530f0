package isonline

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// ledger is a pool that knows what it has lent.
type ledger struct {
	mu   sync.Mutex // guards all below
	lent int
	gets int
	got  chan struct{} // a token for each Put
}

func newLedger() *ledger { return &ledger{got: make(chan struct{}, 100)} }

// Get lends a buffer.
func (l *ledger) Get(n int) *[]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lent++
	l.gets++
	b := make([]byte, n)
	return &b
}

// Put takes one back.
func (l *ledger) Put(*[]byte) {
	l.mu.Lock()
	l.lent--
	l.mu.Unlock()
	l.got <- struct{}{}
}

func (l *ledger) out() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lent
}

var _ mem.BufferPool = (*ledger)(nil)

// loopback is a counted connection over real sockets and its far end.
func loopback(t *testing.T) (*conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := counted(near)
	t.Cleanup(func() { c.Close(); far.Close() })
	return c, far.(*net.TCPConn)
}

func counted(raw net.Conn) *conn {
	var looks atomic.Int64 // a clock that moves with each look
	return &conn{Conn: listen.Count(raw, func() time.Duration { return time.Duration(looks.Add(1)) })}
}

type readResult struct {
	text string
	n    int
	err  error
	held bool // a buffer came with it
}

func readOnReady(c *conn, pool mem.BufferPool) readResult {
	buf, n, err := c.ReadOnReady(1024, pool)
	r := readResult{n: n, err: err, held: buf != nil}
	if buf != nil {
		r.text = string((*buf)[:n])
		pool.Put(buf)
	}
	return r
}

// A connection that waits holds no buffer; bytes come as they are sent, and are
// a sign of life.
func TestReadOnReadyLendsNothingWhileIdle(t *testing.T) {
	t.Parallel()
	c, far := loopback(t)
	pool := newLedger()
	for _, want := range []string{"one", "two"} {
		before := c.LastRead()
		result := make(chan readResult, 1)
		go func() { result <- readOnReady(c, pool) }()
		if want == "one" {
			// The first try finds nothing, so its buffer goes back.
			within(t, pool.got, "the buffer of a read that found nothing goes back")
			if n := pool.out(); n != 0 {
				t.Errorf("%d buffers are lent while the connection is idle, want none", n)
			}
			if c.LastRead() != before {
				t.Error("waiting counted as a sign of life")
			}
		}
		if _, err := far.Write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		r := within(t, result, "bytes")
		if r.text != want || r.err != nil {
			t.Errorf("got %q and %v, want %q", r.text, r.err, want)
		}
		if c.LastRead() <= before {
			t.Error("bytes did not count as a sign of life")
		}
	}
	if n := pool.out(); n != 0 {
		t.Errorf("%d buffers are lent after all, want none", n)
	}
}

// within waits for a value, but not for ever: these are real sockets.
func within[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("30s passed without: %s", what)
		panic("unreachable")
	}
}

// Whatever ends a connection, the reader is told and no buffer stays lent.
func TestReadOnReadyEnds(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		end  func(c *conn, far *net.TCPConn)
		is   func(error) bool
	}{
		{"far end closes", func(_ *conn, far *net.TCPConn) { far.Close() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"far end resets", func(_ *conn, far *net.TCPConn) { far.SetLinger(0); far.Close() }, func(err error) bool { return err != nil && !errors.Is(err, io.EOF) }},
		{"near end closes", func(c *conn, _ *net.TCPConn) { c.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		{"deadline", func(c *conn, _ *net.TCPConn) { c.SetReadDeadline(time.Unix(1, 0)) }, func(err error) bool {
			var e net.Error
			return errors.As(err, &e) && e.Timeout()
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, far := loopback(t)
			pool := newLedger()
			before := c.LastRead()
			result := make(chan readResult, 1)
			go func() { result <- readOnReady(c, pool) }()
			within(t, pool.got, "the first try")
			row.end(c, far)
			r := within(t, result, "the end")
			if !row.is(r.err) || r.n != 0 {
				t.Errorf("got %d bytes and %v", r.n, r.err)
			}
			if n := pool.out(); n != 0 {
				t.Errorf("%d buffers stay lent, want none", n)
			}
			if c.LastRead() != before {
				t.Error("the end counted as a sign of life")
			}
		})
	}
}

// More than a buffer holds comes in several reads, and nothing of it is lost.
func TestReadOnReadyInPieces(t *testing.T) {
	t.Parallel()
	c, far := loopback(t)
	pool := newLedger()
	sent := make([]byte, 10_000)
	for i := range sent {
		sent[i] = byte('a' + i%26)
	}
	if _, err := far.Write(sent); err != nil {
		t.Fatal(err)
	}
	far.CloseWrite()
	got := ""
	for {
		r := readOnReady(c, pool)
		<-pool.got
		got += r.text
		if r.err != nil {
			break
		}
		if r.n > 1024 {
			t.Fatalf("a read gave %d bytes into a buffer of 1024", r.n)
		}
	}
	if got != string(sent) {
		t.Errorf("got %d bytes, want the %d that were sent", len(got), len(sent))
	}
}

// Networks in memory have no socket: the same reads work without.
func TestReadOnReadyWithoutSocket(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	c := counted(near)
	pool := newLedger()
	go func() {
		far.Write([]byte("hello"))
		far.Close()
	}()
	before := c.LastRead()
	if r := readOnReady(c, pool); r.text != "hello" || r.err != nil || c.LastRead() <= before {
		t.Errorf("got %q, %v, last read %v", r.text, r.err, c.LastRead())
	}
	before = c.LastRead()
	if r := readOnReady(c, pool); !errors.Is(r.err, io.EOF) || r.n != 0 || c.LastRead() != before {
		t.Errorf("after the end: got %d bytes, %v, last read %v", r.n, r.err, c.LastRead())
	}
	if n := pool.out(); n != 0 {
		t.Errorf("%d buffers stay lent, want none", n)
	}
	c.Close()
}

// A connection is shared once it carried sessions of two users at a time, and
// stays so: bytes on it prove nothing of one of them.
func TestSharedConnections(t *testing.T) {
	t.Parallel()
	alice, bob := presence.User{App: "demo", ID: "alice"}, presence.User{App: "demo", ID: "bob"}
	twin := presence.User{App: "other", ID: "alice"}
	for _, row := range []struct {
		name   string
		act    func(c *conn)
		shared bool
		alone  bool
	}{
		{"nobody", func(*conn) {}, false, true},
		{"one", func(c *conn) { c.carry(alice) }, false, true},
		{"two of one user", func(c *conn) { c.carry(alice); c.carry(alice) }, false, false},
		{"one after the other", func(c *conn) { c.carry(alice); c.release(); c.carry(bob) }, false, true},
		{"two users", func(c *conn) { c.carry(alice); c.carry(bob) }, true, false},
		{"the same id in two apps", func(c *conn) { c.carry(alice); c.carry(twin) }, true, false},
		{"two users, one of whom left", func(c *conn) { c.carry(alice); c.carry(bob); c.release() }, true, true},
	} {
		c := counted(nil)
		row.act(c)
		if c.isShared() != row.shared || c.alone() != row.alone {
			t.Errorf("%s: shared %v, alone %v; want %v, %v", row.name, c.isShared(), c.alone(), row.shared, row.alone)
		}
	}
}
