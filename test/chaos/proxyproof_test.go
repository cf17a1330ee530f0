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

// says is what the other end gets of a line within a moment: "" is nothing.
func (p *peer) says(other *peer, line string) string {
	fmt.Fprintln(p, line)
	return other.hears()
}

func (p *peer) hears() string {
	select {
	case line, open := <-p.lines:
		if !open {
			return "end"
		}
		return line
	case <-time.After(echoWait):
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

// join dials; there is no server end when nothing came through.
func (c *cable) join() (client, server *peer) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr())
	if err != nil {
		c.t.Fatal(err)
	}
	client = newPeer(c.t, conn)
	select {
	case s := <-c.accepted:
		server = newPeer(c.t, s)
	case <-time.After(echoWait):
	}
	return client, server
}

func (c *cable) expect(when, got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%s: got %q, want %q", when, got, want)
	}
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
	c.expect("whole, up", client.says(server, "1"), "1")
	c.expect("whole, down", server.says(client, "2"), "2")
	c.hold(up)
	c.expect("up held", client.says(server, "3"), "")
	c.expect("up held, down", server.says(client, "4"), "4")
	if _, s := c.join(); s != nil {
		t.Error("up held: a new connection came through")
	}
	c.heal()
	c.expect("up let go: what was held", server.hears(), "3")
	newPeer(t, <-c.accepted) // the one that waited
	c.hold(down)
	c.expect("down held", server.says(client, "5"), "")
	c.expect("down held, up", client.says(server, "6"), "6")
	server.Close()
	c.expect("down held, the end", client.hears(), "")
	c.heal()
	c.expect("down let go: what was held", client.hears(), "5")
	c.expect("down let go: the end", client.hears(), "end")
}

func testReset(t *testing.T) {
	c := newCable(t)
	client, server := c.join()
	c.orphan()
	c.expect("orphaned, where it was dialled", client.hears(), "end")
	c.expect("orphaned, at the target", server.hears(), "")
	other, there := c.join()
	c.expect("beside an orphan", other.says(there, "7"), "7")
	c.heal()
	c.expect("an orphan at heal", server.hears(), "end")
	c.expect("beside it at heal", other.says(there, "8"), "8")
	c.reset(true)
	c.expect("reset, where it was dialled", other.hears(), "end")
	c.expect("reset, at the target", there.hears(), "end")
	if conn, err := net.Dial("tcp", c.addr()); err == nil {
		c.expect("deaf, a new one", newPeer(t, conn).hears(), "end")
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
