package live

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/door/doortest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// eachMode runs a test over loopback in both modes of the socket.
func eachMode(t *testing.T, f func(t *testing.T, n *node)) {
	for name, goroutines := range map[string]bool{"epoll": false, "goroutine": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			n := newNodeOn(t, doortest.New(t, doortest.Config{}), Config{Goroutines: goroutines}, narrow{l})
			n.tcp = l.Addr().String()
			defer n.stop()
			f(t, n)
		})
	}
}

// narrow is a listener whose connections hold little in the kernel, so that a
// reader that stops is soon felt. (The reader's side cannot be narrow: with less
// room than a segment of loopback the kernel waits ever longer.)
type narrow struct{ net.Listener }

const narrowBuffer = 8 << 10

// Accept implements net.Listener.
func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(narrowBuffer)
	}
	return c, err
}

// crowd is users who are online and change.
type crowd struct {
	t    *testing.T
	n    *node
	refs []tracker.Ref
	says []string // the last status of each
}

// aliveLink is a link that always gives a sign of life.
type aliveLink struct {
	quietLink
	n *node
}

// LastRead implements tracker.Link.
func (l aliveLink) LastRead() time.Duration { return l.n.Wheel.Now() }

func newCrowd(t *testing.T, n *node, size int) *crowd {
	c := &crowd{t: t, n: n, says: make([]string, size)}
	for i := range size {
		user := presence.User{App: doortest.App, ID: presence.UserID(fmt.Sprintf("user%04d", i))}
		made, err := n.Tracker.Make(t.Context(), tracker.MakeParams{User: user})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Tracker.Connect(t.Context(), made.Ref, tracker.ConnectParams{Link: aliveLink{n: n}}); err != nil {
			t.Fatal(err)
		}
		c.refs = append(c.refs, made.Ref)
	}
	return c
}

// change makes user i say what he never said.
func (c *crowd) change(i, n int) {
	c.says[i] = fmt.Sprintf("status %d of user %d, and some more words to fill a line of usual length", n, i)
	s := &presence.Status{Text: presence.Value{Kind: presence.KindText, Text: c.says[i]}}
	if _, err := c.n.Tracker.Update(c.t.Context(), c.refs[i], func(*presence.Status) (*presence.Status, error) { return s, nil }); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crowd) watch() string {
	list := ""
	for i := range c.refs {
		list += fmt.Sprintf(`,"user%04d"`, i)
	}
	return `[` + list[1:] + `]`
}

// watcher is a device that reads by itself.
type watcher struct {
	*device
	last   uint64
	told   int
	knows  map[string]string // what it was told last of each user
	frames int
}

func (n *node) watcher(user string, watch string) *watcher {
	p, answer := n.handshake(Path)
	if p == nil {
		n.t.Fatal(answer.Status)
	}
	w := &watcher{device: &device{peer: p}, knows: map[string]string{}}
	p.Say(`{"t":"hello","token":%q,"watch":%s}`, n.JWT(user), watch)
	if err := p.Next(); err != nil {
		n.t.Fatal(err)
	}
	read(n.t, p.Take()[0], &w.welcome)
	n.Log.Secret(w.welcome.Resume)
	w.last = w.welcome.Q
	return w
}

// next reads one frame and notes what it says.
func (w *watcher) next() error {
	w.Conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if err := w.Next(); err != nil {
		return fmt.Errorf("after %d notifications: %w", w.told, err)
	}
	for _, f := range w.Take() {
		var b batch
		if err := json.Unmarshal([]byte(f), &b); err != nil {
			return err
		}
		if first := b.Q - uint64(len(b.N)) + 1; first != w.last+1 {
			return fmt.Errorf("numbers %d to %d follow %d", first, b.Q, w.last)
		}
		w.last = b.Q
		w.frames++
		for _, one := range b.N {
			if w.told++; one.S != nil {
				w.knows[one.U] = one.S.Text
			}
		}
	}
	return nil
}

// catchUp reads until the watcher knows what all say.
func (w *watcher) catchUp(c *crowd) {
	w.n.t.Helper()
	for {
		missing := 0
		for i, says := range c.says {
			if w.knows[fmt.Sprintf("user%04d", i)] != says {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		if err := w.next(); err != nil {
			w.n.t.Fatal(err)
		}
	}
}

// R7: ten thousand random changes against one stuck and one slow reader: both end
// with the right last status, in both modes, and know it in order.
func TestSlowReadersEndOnTheTruth(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, n *node) {
		const changes, users = 10_000, 1000
		c := newCrowd(t, n, users)
		stuck, slow := n.watcher("stuck", c.watch()), n.watcher("slow", c.watch())
		stuck.catchUp(c)
		var over atomic.Bool
		read := make(chan struct{})
		go func() {
			defer close(read)
			pause := time.NewTicker(2 * time.Millisecond)
			defer pause.Stop()
			for !over.Load() {
				if err := slow.next(); err != nil {
					t.Error(err)
					return
				}
				<-pause.C
			}
		}()
		random := rand.New(rand.NewPCG(7, 7))
		for i := range changes {
			c.change(random.IntN(users), i)
			if i%50 == 0 {
				<-time.After(time.Millisecond)
			}
		}
		over.Store(true)
		c.change(0, changes) // so that the slow reader has something to wake up for
		<-read
		slow.catchUp(c)
		before := stuck.told
		stuck.catchUp(c)
		if got := stuck.told - before; got >= changes {
			t.Errorf("the stuck reader was told %d times of %d changes, so it was not stuck", got, changes)
		}
		t.Logf("R7: %d changes: the stuck reader was told of %d, the slow one of %d in %d frames; both end on the last status of %d users",
			changes, stuck.told-before, slow.told, slow.frames, users)
	})
}

// A watcher that stops reading costs at most what one write holds, whatever
// happens, and is cut after its time.
func TestStuckReadersCost(t *testing.T) {
	if testing.Short() {
		t.Skip("looks at the memory of the process, so nothing may run beside it")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := newNodeOn(t, doortest.New(t, doortest.Config{}), Config{}, narrow{l})
	n.tcp = l.Addr().String()
	defer n.stop()
	const stuck, users = 40, 400
	c := newCrowd(t, n, users)
	var all []*watcher
	for i := range stuck {
		w := n.watcher(fmt.Sprintf("stuck%02d", i), c.watch())
		w.catchUp(c)
		all = append(all, w)
	}
	for i := range users {
		c.change(i, 0)
	}
	for _, w := range all {
		w.catchUp(c)
	}
	before := heap()
	for round := range 8 {
		for i := range users {
			c.change(i, 1+round)
		}
		<-time.After(10 * time.Millisecond)
	}
	<-time.After(200 * time.Millisecond)
	each := (heap() - before) / stuck
	t.Logf("a watcher of %d users that stopped reading costs %.1f KB", users, float64(each)/1024)
	if each > 64<<10 {
		t.Errorf("a stuck reader costs %d bytes, want at most 64 KB", each)
	}
	for _, w := range all {
		w.catchUp(c)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Hellos that wait for the store hold up nobody else, in either mode.
func TestHellosThatWaitHoldUpNobody(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, n *node) {
		alice := n.watcher("alice", `["x"]`)
		if err := alice.next(); err != nil {
			t.Fatal(err)
		}
		release := n.Store.Hold()
		var waiting []*peer
		for i := range 4 * runtime.GOMAXPROCS(0) {
			p, _ := n.handshake(Path)
			p.Say(`{"t":"hello","token":%q}`, n.JWT(fmt.Sprintf("late%d", i)))
			waiting = append(waiting, p)
		}
		slowest := time.Duration(0)
		for i := range 50 {
			began := time.Now()
			alice.Say(`{"t":"set","id":%d,"status":{"text":"%d"}}`, i, i)
			alice.Conn.SetReadDeadline(began.Add(20 * time.Second)) // a call that is held up is never answered
			if err := alice.Next(); err != nil {
				t.Fatalf("call %d while others wait: %v", i, err)
			}
			slowest = max(slowest, time.Since(began))
		}
		release()
		for _, p := range waiting {
			p.Conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			if err := p.Next(); err != nil {
				t.Fatal(err)
			}
			var w welcomeFrame
			read(t, p.Take()[0], &w)
			n.Log.Secret(w.Resume)
		}
		t.Logf("the slowest of 50 calls took %v while %d hellos waited for the store", slowest.Round(10*time.Microsecond), len(waiting))
	})
}

// A device may ask for a lot at once: while its answers wait no more of its frames
// are read, and who reads them is not taken for stuck.
func TestManyLongAnswersAtOnce(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, n *node) {
		const asks = 40
		c := newCrowd(t, n, 200)
		for i := range c.refs {
			c.change(i, 0)
		}
		w := n.watcher("alice", `["x"]`)
		if err := w.next(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := range asks {
				if w.Send(fmt.Sprintf(`{"t":"get","id":%d,"users":%s,"sessions":true}`, i, c.watch())) != nil {
					return
				}
			}
		}()
		size := 0
		for i := range asks {
			w.Conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			if err := w.Next(); err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			for _, f := range w.Take() {
				if size += len(f); !strings.HasPrefix(f, fmt.Sprintf(`{"t":"ok","id":%d,`, i)) {
					t.Fatalf("in place of answer %d came %.80s", i, f)
				}
			}
		}
		t.Logf("%d answers of %d KB", asks, size/asks/1024)
	})
}
