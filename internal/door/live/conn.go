package live

import (
	"errors"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// stage is how far a connection is.
type stage uint8

const (
	fresh    stage = iota // no hello yet
	greeted               // its hello is being done
	open                  // it carries a session
	leaving               // the device said bye, and the store has not answered yet
	departed              // goodbye was said: nothing follows
)

// conn is one connection: the link of its session, and its watcher's reader.
// There are as many as people online, so it holds nothing that an idle one does
// not need.
type conn struct {
	door  *Door
	sock  *socket.Conn
	greet *greeting   // nil once the hello is done
	from  admit.Place //  counted in door.from
	pace  admit.Pace  // only Message uses it

	// Set by the hello, before the stage is open.
	ref             tracker.Ref
	public          presence.PublicID
	locale          string // of the device
	watcher         *hub.Watcher
	attachment      uint64
	issued, expires int64 // of the access token, Unix time in seconds; issued 0: it does not say

	rest *[]hub.Frame // drained and not sent; nil: nothing. Only Fill uses it

	messages *taking // nil: the device did not ask for live notifications

	mu     sync.Mutex // guards all below
	topics *listening // nil: the device did not ask for any
	stage  stage
	end    tracker.End // the first that the tracker said
}

var (
	_ tracker.Link = (*conn)(nil)
	_ tracker.Deaf = (*conn)(nil)
	_ socket.Door  = (*conn)(nil)
)

// LastRead is when the connection last gave a sign of life: any byte, pongs
// included.
func (c *conn) LastRead() time.Duration { return c.sock.LastRead() }

// Deaf implements tracker.Deaf.
func (c *conn) Deaf() bool { return c.sock.Deaf() }

// Shared reports that nobody shares it.
func (c *conn) Shared() bool { return false }

// End makes the connection end; the first end counts. It says so when it is its
// turn to be written, for locks of the tracker may be held here.
func (c *conn) End(e tracker.End) {
	c.mu.Lock()
	if c.end.Cause == 0 {
		c.end = e
	}
	c.mu.Unlock()
	c.sock.Wake()
}

// at is the stage, and move changes it unless the connection has departed.
func (c *conn) at() stage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage
}

func (c *conn) move(to stage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage == departed {
		return false
	}
	c.set(to)
	return true
}

// set changes the stage. The lock is held.
func (c *conn) set(to stage) {
	carries := func(s stage) bool { return s == open || s == leaving }
	switch was := carries(c.stage); {
	case !was && carries(to):
		c.door.standing.Add(1)
	case was && !carries(to):
		c.door.standing.Add(-1)
	}
	c.stage = to
}

// refuse says goodbye out of turn and ends the connection.
func (c *conn) refuse(g goodbye) {
	if c.move(departed) {
		c.say(g)
	}
}

func (c *conn) say(g goodbye) {
	c.answer(func(b []byte) []byte { return g.append(b) })
	c.sock.Close(codeOf(g.reason), g.reason)
	c.door.called("connection", g.reason, noTime)
}

// noHello ends a connection that said nothing in time.
func (c *conn) noHello() {
	c.mu.Lock()
	late := c.stage == fresh
	if late {
		c.set(departed)
	}
	c.mu.Unlock()
	if late {
		c.say(goodbye{reason: noHello, message: "no hello came within " + HelloLimit.String()})
	}
}

// Closed is the end: the session's link is lost, unless the tracker or another
// connection has it.
func (c *conn) Closed(_ *socket.Conn, why error) {
	c.mu.Lock()
	was, topics := c.stage, c.topics
	c.set(departed)
	c.topics = nil
	c.mu.Unlock()
	topics.close()
	c.door.from.Leave(c.from)
	if c.greet != nil {
		c.door.fresh.remove(c)
	}
	if c.watcher != nil {
		c.watcher.Detach(c.attachment)
	}
	if c.messages != nil {
		c.messages.Close()
	}
	if c.ref.User.ID != "" {
		c.door.cfg.Tracker.LinkLost(c.ref, c)
	}
	if was != departed { // else it was told of with its reason
		c.door.called("connection", codeOfEnd(why), noTime)
	}
}

// codeOfEnd names the end of a connection that we did not end.
func codeOfEnd(why error) string {
	var closed *socket.CloseError
	switch {
	case errors.Is(why, socket.ErrSlow):
		return fault.SlowConsumer.String()
	case errors.As(why, &closed) && !closed.Remote:
		return "PROTOCOL"
	}
	return "LINK_LOST"
}

// access is the access token as far as it is remembered.
func (c *conn) access() token.Access {
	a := token.Access{App: c.ref.User.App, User: c.ref.User.ID, Expires: time.Unix(c.expires, 0)}
	if c.issued != 0 {
		a.IssuedAt = time.Unix(c.issued, 0)
	}
	return a
}

// trust remembers an access token.
func (c *conn) trust(a token.Access) {
	c.issued, c.expires = 0, a.Expires.Unix()
	if !a.IssuedAt.IsZero() {
		c.issued = a.IssuedAt.Unix()
	}
}

// now is the wall clock, for what people read.
func now() presence.Time { return presence.At(time.Now()) }

// answer sends one frame.
func (c *conn) answer(frame func(b []byte) []byte) {
	lent, ok := c.door.answers.Get().(*[]byte)
	if !ok {
		room := make([]byte, 0, 512)
		lent = &room
	}
	b := frame((*lent)[:0])
	c.sock.Send(b)
	if cap(b) <= mostLent {
		*lent = b[:0]
		c.door.answers.Put(lent)
	}
}

// mostLent is the longest buffer that is kept for the next answer.
const mostLent = 16 << 10
