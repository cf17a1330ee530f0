package socket

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the kernel may be asked to watch a connection for. It tells once, and then
// watches no more until it is asked again.
const (
	watchRead  uint8 = 1 << iota // bytes, or the end
	watchWrite                   // room for bytes
)

// unsentMost is how much of what was written the kernel may hold that is not on its
// way yet. Without it a peer that stops reading would fill a send buffer of some
// megabytes with statuses that are old when it reads again.
const unsentMost = 32 << 10

// poller learns from the kernel which connections can be read or written. It is
// an epoll instance that itself is watched by the Go scheduler's own, so that it
// takes no thread, and a wake-up of the scheduler serves both.
type poller struct {
	table table
	loop  *Loop
	fd    int      // the epoll instance,
	file  *os.File // which this closes
	raw   syscall.RawConn
	gone  sync.WaitGroup
	words sync.Pool // of *word

	events [128]unix.EpollEvent // of the poller's goroutine, and so are these:
	count  int
	found  [128]*Conn
	poll   func(fd uintptr) bool
}

// place gives c to a poller if it is plain TCP.
func (l *Loop) place(c *Conn) {
	if l.cfg.Goroutines {
		return
	}
	if c.link != net.Conn(c.counted) && c.link != c.counted.Conn { // something is between: TLS
		return
	}
	tcp, ok := c.counted.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	p, err := l.nextPoller()
	if err != nil {
		l.cfg.Logger.Error("no epoll instance; the connection takes a goroutine", "error", err)
		return
	}
	c.raw, c.poll = raw, p
}

// nextPoller takes the pollers in turn; the first call makes them. They are not made
// earlier, for a goroutine that waits for the kernel stops the clock of tests.
func (l *Loop) nextPoller() (*poller, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pollers) < runtime.GOMAXPROCS(0) {
		p, err := newPoller(l)
		if err != nil {
			return nil, err
		}
		l.pollers = append(l.pollers, p)
		return p, nil
	}
	l.turn++
	return l.pollers[l.turn%len(l.pollers)], nil
}

func newPoller(l *Loop) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the scheduler would not watch it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{loop: l, fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("epoll instance: %w", err)
	}
	p.poll = p.once
	p.gone.Add(1)
	go p.run()
	return p, nil
}

func (p *poller) stop() {
	p.file.Close()
	p.gone.Wait()
}

func (p *poller) run() {
	defer p.gone.Done()
	for p.raw.Read(p.poll) == nil {
		p.table.mu.Lock()
		for i := range p.events[:p.count] {
			e := &p.events[i]
			p.found[i] = p.table.find(number(uint32(e.Fd)) | number(uint32(e.Pad))<<32)
		}
		p.table.mu.Unlock()
		for i, c := range p.found[:p.count] {
			if c != nil {
				c.event(p.events[i].Events)
			}
		}
		clear(p.found[:p.count])
	}
}

// once asks for events without waiting; false means that there are none.
func (p *poller) once(fd uintptr) bool {
	for {
		n, err := unix.EpollWait(int(fd), p.events[:], 0)
		if err == unix.EINTR {
			continue
		}
		p.count = max(n, 0)
		return n != 0
	}
}

// event is what the kernel has to say about c. It does not block.
func (c *Conn) event(events uint32) {
	const broken = unix.EPOLLHUP | unix.EPOLLERR
	c.mu.Lock()
	c.armed = 0
	start := events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 && !c.reads
	c.reads = c.reads || start
	c.mu.Unlock()
	if events&(unix.EPOLLOUT|broken) != 0 && c.turn.CompareAndSwap(blocked, waiting) {
		c.loop.writers.add(c)
	}
	if start {
		c.loop.readers.add(c)
	}
	if !start || c.turn.Load() == blocked {
		c.poll.arm(c)
	}
}

// arm makes the kernel watch for what c waits for now.
func (p *poller) arm(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var want uint8
	if !c.reads {
		want |= watchRead
	}
	if c.turn.Load() == blocked {
		want |= watchWrite
	}
	if c.phase == ended || want == 0 || want == c.armed {
		return
	}
	c.armed = want
	p.control(c, unix.EPOLL_CTL_MOD)
}

// readOn is called when a reader is done with c.
func (p *poller) readOn(c *Conn) {
	c.mu.Lock()
	switch o := c.out; {
	case c.in == nil || c.in.later == nil:
		c.reads = false
	case c.phase == open && o != nil && len(o.answers) >= fewAnswers:
		o.waits = true
	default:
		p.loop.readers.add(c)
	}
	c.mu.Unlock()
	p.arm(c)
}

// begin takes on a connection with the bytes that came with its handshake.
func (p *poller) begin(c *Conn, early []byte) {
	c.mu.Lock()
	if c.phase == ended {
		c.mu.Unlock()
		return
	}
	if len(early) > 0 {
		c.in = &partial{later: early}
	} else {
		c.reads, c.armed = false, watchRead
	}
	p.control(c, unix.EPOLL_CTL_ADD)
	c.mu.Unlock()
	if len(early) > 0 {
		p.loop.readers.add(c)
	}
}

// control tells the kernel what c.armed says. The lock of c is held, so that c's
// number and what is watched for go together.
func (p *poller) control(c *Conn, op int) {
	k, ok := p.words.Get().(*word)
	if !ok {
		k = &word{}
		k.say = k.once
	}
	k.epoll, k.op = p.fd, op
	k.event = unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(uint32(c.number)), Pad: int32(uint32(c.number >> 32))}
	if c.armed&watchRead != 0 {
		k.event.Events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if c.armed&watchWrite != 0 {
		k.event.Events |= unix.EPOLLOUT
	}
	if err := c.raw.Control(k.say); err == nil && k.err != nil {
		p.loop.cfg.Logger.Error("the kernel does not watch a connection", "error", os.NewSyscallError("epoll_ctl", k.err))
	}
	p.words.Put(k)
}

// word is one thing to tell the kernel about a socket. It is lent, so that none
// allocates.
type word struct {
	epoll, op int
	event     unix.EpollEvent
	err       error
	say       func(fd uintptr)
}

func (k *word) once(fd uintptr) {
	if k.op == unix.EPOLL_CTL_ADD {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentMost) // an old kernel has it not
	}
	k.err = unix.EpollCtl(k.epoll, k.op, int(fd), &k.event)
}
