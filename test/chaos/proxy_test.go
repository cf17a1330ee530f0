package chaos

import (
	"cmp"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// way is one of the two directions of a proxy.
type way int

const (
	up   way = iota // towards the target
	down            // towards who dialled
)

// proxy is a network cable of our own: it carries connections to a target until
// it is told to harm them. It needs no rights.
type proxy struct {
	listener net.Listener
	target   string
	dialer   net.Dialer
	last     atomic.Int64 // when bytes last went to the target, in Unix ns

	mu     sync.Mutex // guards all below
	turned chan struct{}
	held   [2]bool // by way: what comes waits, as before a dead cable; nobody is told
	deaf   bool    // who dials is reset
	rate   int     // bytes a second each way; 0: as they come
	pipes  map[*pipe]bool
	closed bool
	work   sync.WaitGroup
}

// pipe is one connection through a proxy; its ends are TCP.
type pipe struct {
	ends   [2]net.Conn // by the way that leads there
	orphan bool        // the target was not told that the other end is gone
}

// newProxy listens on loopback until the test ends.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	return newProxyAt(t, "", target)
}

// newProxyAt listens on a host, and dials from there; "" is loopback, and dials
// from where the system likes.
func newProxyAt(t *testing.T, host, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(host, "127.0.0.1"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, turned: make(chan struct{}), pipes: map[*pipe]bool{}}
	p.dialer.Timeout = patience
	if host != "" {
		p.dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(host)}
	}
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) close() {
	p.listener.Close()
	p.turn(func() {
		p.closed = true
		for c := range p.pipes {
			c.close()
		}
	})
	p.work.Wait()
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// turn changes what happens to bytes.
func (p *proxy) turn(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.turned)
	p.turned = make(chan struct{})
}

// hold loses no byte and lets none through: a peer hears nothing, and gets all of
// it when the way is let go, as TCP sends again what a dead cable lost.
func (p *proxy) hold(w way) { p.turn(func() { p.held[w] = true }) }

// freeze stops all bytes and returns when the target last got some.
func (p *proxy) freeze() time.Time {
	p.turn(func() { p.held = [2]bool{true, true} })
	return time.Unix(0, p.last.Load())
}

// reset ends all connections at both ends; deaf resets new ones as well.
func (p *proxy) reset(deaf bool) {
	p.turn(func() {
		p.deaf = deaf
		for c := range p.pipes {
			c.close()
		}
	})
}

// orphan ends all connections at the end that dialled; the target is told nothing
// until heal. New ones are carried.
func (p *proxy) orphan() {
	p.turn(func() {
		for c := range p.pipes {
			c.orphan = true
			reset(c.ends[down])
		}
	})
}

// slow lets so many bytes a second through each way of each connection.
func (p *proxy) slow(rate int) { p.turn(func() { p.rate = rate }) }

// heal makes the cable whole.
func (p *proxy) heal() {
	p.turn(func() {
		p.held, p.deaf, p.rate = [2]bool{}, false, 0
		for c := range p.pipes {
			if c.orphan {
				c.close()
			}
		}
	})
}

func (c *pipe) close() {
	for _, end := range c.ends {
		reset(end)
	}
}

// reset closes without a goodbye.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.join(from) })
	}
}

// join carries one connection until it ends. It is made when both ways are open,
// as a first packet and its answer must come through.
func (p *proxy) join(from net.Conn) {
	deaf := false
	if !p.await(func() bool { deaf = p.deaf; return deaf || !p.held[up] && !p.held[down] }) || deaf {
		reset(from)
		return
	}
	to, err := p.dialer.Dial("tcp", p.target)
	if err != nil {
		reset(from)
		return
	}
	c := &pipe{ends: [2]net.Conn{up: to, down: from}}
	p.mu.Lock()
	ok := !p.closed && !p.deaf
	p.pipes[c] = true
	p.mu.Unlock()
	if !ok {
		c.close()
	}
	var both sync.WaitGroup
	both.Go(func() { p.carry(c, up) })
	both.Go(func() { p.carry(c, down) })
	both.Wait()
	c.close()
	p.mu.Lock()
	delete(p.pipes, c)
	p.mu.Unlock()
}

// await waits until a condition holds, which is asked under the lock; false means
// that the proxy ended.
func (p *proxy) await(ok func() bool) bool {
	for {
		p.mu.Lock()
		holds, closed, turned := ok(), p.closed, p.turned
		p.mu.Unlock()
		if closed || holds {
			return !closed
		}
		<-turned
	}
}

// carry moves bytes one way until one of the ends ends.
func (p *proxy) carry(c *pipe, w way) {
	from, to := c.ends[1-w], c.ends[w]
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b[:p.share()])
		if !p.await(func() bool { return !p.held[w] && !c.orphan }) {
			return
		}
		if n > 0 {
			p.brake(n)
			if w == up {
				p.last.Store(time.Now().UnixNano())
			}
			if _, e := to.Write(b[:n]); e != nil {
				err = e
			}
		}
		if err != nil {
			p.part(c, err)
			return
		}
	}
}

// part ends a pipe as its end did: with a goodbye or without.
func (p *proxy) part(c *pipe, err error) {
	var op *net.OpError
	switch {
	case errors.Is(err, net.ErrClosed): // it was ended already
		return
	case errors.As(err, &op):
		c.close()
		return
	}
	for _, end := range c.ends {
		_ = end.Close()
	}
}

// share is the most that is read at once: a tenth of a second of a slow cable.
func (p *proxy) share() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return 32 << 10
	}
	return min(32<<10, max(1, p.rate/10))
}

// brake waits as long as a slow cable takes for so many bytes.
func (p *proxy) brake(n int) {
	p.mu.Lock()
	rate, turned := p.rate, p.turned
	p.mu.Unlock()
	if rate > 0 {
		pause(turned, time.Duration(n)*time.Second/time.Duration(rate))
	}
}
