package chaos

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// peer is one end of a connection in the test of the cable.
type peer struct {
	net.Conn
	lines chan string // what comes; closed at the end
}

func newPeer(t *testing.T, c net.Conn) *peer {
	t.Helper()
	p := &peer{c, make(chan string, 100)}
	t.Cleanup(func() { c.Close() })
	go func() {
		defer close(p.lines)
		for all := bufio.NewScanner(c); all.Scan(); {
			p.lines <- all.Text()
		}
	}()
	return p
}

// longWait is how long something is waited for that has to come.
const longWait = 20 * time.Second

// hears is the next line that comes: "end" when the connection ends, "" when nothing
// came in that time.
func (p *peer) hears(within time.Duration) string {
	select {
	case line, open := <-p.lines:
		if !open {
			return "end"
		}
		return line
	case <-time.After(within):
		return ""
	}
}

// cable is a proxy with its target.
type cable struct {
	*proxy
	t        *testing.T
	accepted chan net.Conn
}

func newCable(t *testing.T) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &cable{newProxy(t, l.Addr().String()), t, make(chan net.Conn, 10)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.accepted <- conn
		}
	}()
	return c
}

// join dials, and returns when the cable carries the connection.
func (c *cable) join() (client, server *peer) {
	c.t.Helper()
	client = c.dial()
	select {
	case s := <-c.accepted:
		server = newPeer(c.t, s)
	case <-time.After(longWait):
		c.t.Fatal("a connection did not come through")
	}
	c.says("joined", client, server, "hello")
	return client, server
}

func (c *cable) dial() *peer {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr())
	if err != nil {
		c.t.Fatal(err)
	}
	return newPeer(c.t, conn)
}

// hears expects a line, the end, or for a moment nothing: "".
func (c *cable) hears(when string, p *peer, want string) {
	c.t.Helper()
	within := longWait
	if want == "" {
		within = echoWait
	}
	if got := p.hears(within); got != want {
		c.t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

// says expects that a line comes to the other end.
func (c *cable) says(when string, from, to *peer, line string) {
	c.t.Helper()
	fmt.Fprintln(from, line)
	c.hears(when, to, line)
}

// saysInVain expects that it does not.
func (c *cable) saysInVain(when string, from, to *peer, line string) {
	c.t.Helper()
	fmt.Fprintln(from, line)
	c.hears(when, to, "")
}

// TestProxy shows that a cable of our own does what it is told, and that all is
// well after heal.
func TestProxy(t *testing.T) {
	t.Parallel()
	t.Run("held", testHeld)
	t.Run("orphaned and reset", testReset)
	t.Run("slow", testSlow)
}

func testHeld(t *testing.T) {
	c := newCable(t)
	client, server := c.join()
	c.says("whole, up", client, server, "1")
	c.says("whole, down", server, client, "2")
	c.hold(up)
	c.saysInVain("up held", client, server, "3")
	c.says("up held, down", server, client, "4")
	c.dial()
	select {
	case <-c.accepted:
		t.Error("up held: a new connection came through")
	case <-time.After(echoWait):
	}
	c.heal()
	c.hears("up let go: what was held", server, "3")
	newPeer(t, <-c.accepted) // the one that waited
	c.hold(down)
	c.saysInVain("down held", server, client, "5")
	c.says("down held, up", client, server, "6")
	server.Close()
	c.hears("down held, the end", client, "")
	c.heal()
	c.hears("down let go: what was held", client, "5")
	c.hears("down let go: the end", client, "end")
}

func testReset(t *testing.T) {
	c := newCable(t)
	client, server := c.join()
	c.orphan()
	c.hears("orphaned, where it was dialled", client, "end")
	c.hears("orphaned, at the target", server, "")
	other, there := c.join()
	c.says("beside an orphan", other, there, "7")
	c.heal()
	c.hears("an orphan at heal", server, "end")
	c.says("beside it at heal", other, there, "8")
	c.reset(true)
	c.hears("reset, where it was dialled", other, "end")
	c.hears("reset, at the target", there, "end")
	if conn, err := net.Dial("tcp", c.addr()); err == nil { // else it was ended sooner still
		c.hears("deaf, a new one", newPeer(t, conn), "end")
	}
}

func testSlow(t *testing.T) {
	c := newCable(t)
	client, server := c.join()
	c.slow(100)
	began := time.Now()
	fmt.Fprintf(client, "%0200d\n", 0)
	<-server.lines
	if took := time.Since(began); took < time.Second {
		t.Errorf("200 bytes at 100 a second took %v", took)
	}
}
