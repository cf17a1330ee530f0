package socket

import (
	"encoding/binary"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// Conn is one connection. All methods may be called from any goroutine, and from
// within the door's own methods.
//
// There are as many of these as there are people online, so what an idle
// connection does not need hangs on out and in, which are nil then.
type Conn struct {
	loop     *Loop
	door     Door
	link     net.Conn        // what is closed in the end; TLS if there is any
	counted  *listen.Conn    // beneath it
	raw      syscall.RawConn // of the socket, in epoll mode
	poll     *poller         // nil in goroutine mode
	protocol string
	number   number // in the loop's table
	ping     moment // a length of time; 0: none
	silence  moment // the same
	pinged   moment // last; the sweep's
	most     int32  // bytes of a message

	turn  atomic.Int32  // whose turn it is to write, see turn.go
	since atomic.Uint32 // moment at which the write began that has not ended; 0: none
	begun atomic.Uint32 // moment at which a message began that is not whole; 0: none
	deaf  atomic.Uint32 // moment until which the peer is not heard for sure; 0: none
	next  [2]*Conn      // in the lines of readers and writers; guarded by them
	by    *worker       // that reads now, in epoll mode; only it uses this

	in *partial // the reader's

	mu     sync.Mutex // guards all below
	out    *outbox
	users  int8 // who reads or writes now, and keeps Closed from being called
	phase  phase
	armed  uint8 // epoll mode: what the kernel watches for
	reads  bool  // epoll mode: a reader is on it, in line, or waits for answers to go
	closed bool  // the door was told
}

// phase is how far a connection is with ending.
type phase uint8

const (
	open    phase = iota
	closing       // a close frame is on its way or was sent: no message follows
	ended         // the socket is closed
)

// outbox is what the connection itself has to send, and how it ends.
type outbox struct {
	answers []byte // framed: Send, pings, pongs and the close frame, in order
	rest    []byte // of a write that the peer did not take; the writer's

	waits bool          // a reader goes on when the answers are gone
	room  chan struct{} // the same in goroutine mode: closed then

	closeBy moment // when it is cut although the peer did not answer the close frame
	heard   bool   // the peer's close frame came
	refused bool   // the peer broke the protocol: nothing that it says counts
	sent    bool   // our close frame is with the kernel
	why     error  // the first reason to end
}

// moment is a time of the wheel in its ticks, or a length of time in them.
type moment = uint32

func momentOf(d time.Duration) moment { return moment((d + wheel.Tick - 1) / wheel.Tick) }

// now is never 0, which means that there is none.
func (c *Conn) now() moment { return max(1, momentOf(c.loop.cfg.Wheel.Now())) }

// Protocol is the sub-protocol that was agreed on, or "".
func (c *Conn) Protocol() string { return c.protocol }

// RemoteAddr is the address of the peer, or of its client when it is a trusted
// proxy that speaks the PROXY protocol. What forwarding headers say is in the
// request of the handshake.
func (c *Conn) RemoteAddr() net.Addr { return c.counted.RemoteAddr() }

// LastRead is when the last byte came from the peer, pings and pongs included,
// on the wheel's clock.
func (c *Conn) LastRead() time.Duration { return c.counted.LastRead() }

// hearing is how long it takes at most until what came while the door waited is read.
const hearing = time.Second

// Deaf reports that the peer may have said something that was not read, since the door
// waits for something or just did (MayBlock): its silence means nothing then.
func (c *Conn) Deaf() bool { return c.deaf.Load() > c.now() }

// heed ends the deafness of a door that waited.
func (c *Conn) heed() {
	if c.deaf.Load() == ^moment(0) {
		c.deaf.Store(c.now() + momentOf(hearing))
	}
}

// Send queues one text message, in front of whatever the door appends to an Out
// after it. It is for answers: b is copied. While 16 KB of them wait for the peer no message of it
// is read; if a door goes on beyond 64 KB all the same, the connection is cut as slow.
// After Close it does nothing. It never blocks.
func (c *Conn) Send(b []byte) { c.own(ws.OpText, b) }

// SendBinary is Send for a binary message.
func (c *Conn) SendBinary(b []byte) { c.own(ws.OpBinary, b) }

// own queues a frame of the connection itself.
func (c *Conn) own(op ws.OpCode, b []byte) {
	c.mu.Lock()
	if c.phase != open {
		c.mu.Unlock()
		return
	}
	o := c.box()
	if len(o.answers) > maxAnswers {
		c.mu.Unlock()
		c.cut(ErrSlow)
		return
	}
	o.answers = appendFrame(o.answers, op, b)
	c.mu.Unlock()
	c.Wake()
}

// box is the outbox. The lock is held.
func (c *Conn) box() *outbox {
	if c.out == nil {
		c.out = &outbox{}
	}
	return c.out
}

// Close ends the connection with a close frame, after what was given to Send; the door
// is not asked to Fill any more, and gets no more messages. A peer that does not
// answer within CloseLimit is cut. The first Close counts. code is one of RFC
// 6455's or from 3000 to 4999; a reason over 123 bytes is shortened.
func (c *Conn) Close(code int, reason string) { c.shut(&CloseError{Code: code, Reason: reason}) }

// shut sends a close frame because of why; further calls do nothing but note
// what the peer said.
func (c *Conn) shut(why *CloseError) (first bool) {
	c.mu.Lock()
	if c.phase == ended {
		c.mu.Unlock()
		return false
	}
	o := c.box()
	o.heard = o.heard || why.Remote
	if first = c.phase == open; first {
		c.phase = closing
		o.why = why
		o.answers = appendFrame(o.answers, ws.OpClose, closeBody(why))
		o.closeBy = c.now() + momentOf(c.loop.cfg.CloseLimit)
	}
	finished := o.heard && o.sent
	c.mu.Unlock()
	if first {
		c.loop.lookAt(c, o.closeBy)
		c.Wake()
	} else if finished {
		c.cut(why)
	}
	return first
}

// refuse closes a connection whose peer broke the rules: what else it says is
// not listened to.
func (c *Conn) refuse(why *CloseError) {
	c.shut(why)
	c.mu.Lock()
	c.box().refused = true
	c.mu.Unlock()
}

// closeBody is the payload of a close frame; an answer repeats the code.
func closeBody(why *CloseError) []byte {
	if why.Code == CodeNone {
		return nil
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(why.Code))
	if why.Remote {
		return b
	}
	reason := why.Reason
	for len(reason) > ws.MaxControlFramePayloadSize-2 {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	return append(b, reason...)
}

// cut closes the socket. The door is told when nobody is in its methods. It
// does not block; the first reason counts.
func (c *Conn) cut(why error) {
	c.mu.Lock()
	if c.phase == ended {
		c.mu.Unlock()
		return
	}
	c.phase = ended
	if o := c.box(); o.why == nil {
		o.why = why
	}
	c.goOn()
	c.mu.Unlock()
	c.counted.Close() // beneath TLS, whose own goodbye could wait for the peer
	c.loop.retire(c)
}

// acquire keeps the door's Closed from being called until release; false means
// that the connection has ended.
func (c *Conn) acquire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == ended {
		return false
	}
	c.users++
	return true
}

// release is the opposite of acquire. Whoever comes last tells the door.
func (c *Conn) release() {
	c.mu.Lock()
	c.users--
	c.mu.Unlock()
	c.finish()
}

// finish tells the door of the end when there is one and nobody is in its
// methods. It runs where a door may be called, never on the wheel.
func (c *Conn) finish() {
	c.mu.Lock()
	if c.phase != ended || c.users > 0 || c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	why := c.out.why
	c.mu.Unlock()
	c.link.Close() // the counted connection is closed; this is for what TLS holds
	c.loop.forget(c)
	defer c.loop.gone.Done()
	defer c.guard()
	c.door.Closed(c, why)
}

// guard is deferred where the door is called: a panic there ends this connection
// and not those of all others.
func (c *Conn) guard() {
	if p := recover(); p != nil {
		c.loop.cfg.Logger.Error("panic", "protocol", c.protocol, "panic", p, "stack", string(debug.Stack()))
		c.Close(CodeInternal, "internal error")
	}
}

// message is the sink's.
func (c *Conn) message(kind Kind, b []byte) (more bool) {
	c.mu.Lock()
	listening := c.phase == open
	c.mu.Unlock()
	if listening {
		c.tell(kind, b)
	}
	if c.crowded() && c.by != nil { // answers can go out at once
		c.letGo(c.by)
		c.turn.CompareAndSwap(idle, held)
	}
	return !c.crowded()
}

func (c *Conn) tell(kind Kind, b []byte) {
	defer c.heed()
	defer c.guard()
	c.door.Message(c, kind, b)
}

// crowded reports whether so many answers wait that no more should be asked for.
func (c *Conn) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase == open && c.out != nil && len(c.out.answers) >= fewAnswers
}

// control is the sink's.
func (c *Conn) control(op ws.OpCode, b []byte) *CloseError {
	switch op {
	case ws.OpPing:
		c.own(ws.OpPong, b)
	case ws.OpClose:
		said, bad := parseClose(b)
		if bad != nil {
			return bad
		}
		c.shut(said)
	}
	return nil
}

// take is what the reader does with bytes that came. What it returns is to be
// taken later, when the answers to what came before are gone.
func (c *Conn) take(f *frames, b []byte) (later []byte) {
	c.mu.Lock()
	deaf := c.phase == ended || c.out != nil && (c.out.refused || c.out.heard)
	c.mu.Unlock()
	if deaf {
		c.in = nil
		return nil
	}
	f.max, f.to, f.kept = int(c.most), c, c.in
	later, bad := f.feed(b)
	c.in, f.kept, f.to = f.kept, nil, nil
	if bad != nil {
		c.in = nil
		c.refuse(bad)
	}
	switch {
	case c.in == nil:
		c.begun.Store(0)
	case c.begun.Load() == 0:
		c.begun.Store(c.now())
	}
	return later
}

// goOn lets a reader go on that waits for the answers to be gone. The lock is
// held.
func (c *Conn) goOn() {
	o := c.out
	if o == nil || !o.waits {
		return
	}
	o.waits = false
	if o.room != nil {
		close(o.room)
		o.room = nil
	} else {
		c.loop.readers.add(c)
	}
}

// lost is the end of reading: the peer's, or the network's.
func (c *Conn) lost(err error) {
	if err == nil {
		err = io.EOF
	}
	c.cut(err)
}
