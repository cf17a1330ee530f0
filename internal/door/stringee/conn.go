package stringee

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// stage is how far a connection is.
type stage uint8

const (
	fresh    stage = iota // not authenticated
	coming                // its authen is being done
	open                  // it carries a session
	departed              // nothing follows
)

// conn is one connection: the link of its session, and its subscription's reader.
type conn struct {
	door   *Door
	sock   *socket.Conn
	addr   string      // ip:port of the peer
	origin string      // of a foreign page; "" is none
	from   admit.Place // counted in door.from
	pace   admit.Pace  // only Message uses it
	timer  wheel.Timer // until it is open: the end of its time; then: the next ping

	// Set by the authen, before the stage is open.
	ref    tracker.Ref
	public presence.PublicID
	access token.Access
	every  time.Duration       // between two pings
	sub    *topic.Subscription // nil: it asked for no topics
	kin    kin                 // only Fill uses it

	mu    sync.Mutex // guards all below
	stage stage
	end   tracker.End // the first that the tracker said
	ping  bool        // one is due
}

// kin is what the connection told of its user's other clients.
type kin struct {
	version uint32 // of the picture that was looked at last
	told    []client
}

var (
	_ tracker.Link = (*conn)(nil)
	_ tracker.Deaf = (*conn)(nil)
	_ socket.Door  = (*conn)(nil)
)

// LastRead is when the connection last gave a sign of life.
func (c *conn) LastRead() time.Duration { return c.sock.LastRead() }

// Deaf implements tracker.Deaf.
func (c *conn) Deaf() bool { return c.sock.Deaf() }

// Shared reports that nobody shares it.
func (c *conn) Shared() bool { return false }

// End makes the connection end; the first end counts. It does so when it is its
// turn to be written, for locks of the tracker may be held here.
func (c *conn) End(e tracker.End) {
	c.mu.Lock()
	if c.end.Cause == 0 {
		c.end = e
	}
	c.mu.Unlock()
	c.sock.Wake()
}

func (c *conn) at() stage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage
}

// move changes the stage, unless the connection has departed.
func (c *conn) move(to stage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage == departed {
		return false
	}
	if c.stage != open && to == open {
		c.door.standing.Add(1)
	}
	if c.stage == open && to != open {
		c.door.standing.Add(-1)
	}
	c.stage = to
	return true
}

// Close codes of this door, beside those of RFC 6455. The client looks at none:
// unless an answer to its authen said otherwise, it comes again.
const (
	closeSlow        = 4413
	closeReplaced    = 4409
	closeEnded       = 4410
	closeTooMany     = 4429
	closeNoAuthen    = 4408
	closeRefused     = 4401
	closeUnavailable = 4503
)

// leave ends the connection. What was answered before still goes out.
func (c *conn) leave(code int, reason string) {
	if c.move(departed) {
		c.sock.Close(code, reason)
		c.door.called("connection", reason, noTime)
	}
}

// late fires when the connection did not authenticate in time, and later when a
// ping is due.
func (c *conn) fire() {
	switch c.at() {
	case fresh, coming:
		c.leave(closeNoAuthen, "NO_AUTHEN")
	case open:
		c.mu.Lock()
		c.ping = true
		c.mu.Unlock()
		c.sock.Wake()
		c.door.cfg.Wheel.Set(&c.timer, c.every)
	}
}

// Closed is the end: the session's link is lost, unless the tracker or another
// connection has it. The client has no word for leaving (it closes its socket for
// other reasons, too), so the grace begins.
func (c *conn) Closed(_ *socket.Conn, why error) {
	was := c.at()
	c.move(departed)
	c.door.cfg.Wheel.Clear(&c.timer)
	c.door.from.Leave(c.from)
	if c.sub != nil {
		c.sub.Close()
	}
	if c.ref.User.ID != "" {
		c.door.users.leave(c.ref.User, c)
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
		return "SLOW"
	case errors.As(why, &closed) && !closed.Remote:
		return "PROTOCOL"
	}
	return "LINK_LOST"
}

// answer sends one frame.
func (c *conn) answer(service int64, body any) {
	c.sock.Send(appendFrame(nil, service, body))
}

// Message takes a frame of the client. What is no frame at all ends the
// connection; all else is answered, and changes nothing when it is bad.
func (c *conn) Message(_ *socket.Conn, kind socket.Kind, b []byte) {
	began := time.Now()
	var r request
	defer c.door.recovered("message", func() {
		c.reply(&r, refuse(codeInternal, internalMessage))
		c.leave(socket.CodeInternal, "INTERNAL")
	})
	ok, end := c.pace.Admit(c.door.cfg.Wheel.Now(), len(b))
	if end {
		c.leave(closeTooMany, "RATE_LIMITED")
		return
	}
	var err error
	if r, err = parse(b); kind != socket.Text || err != nil {
		c.leave(socket.CodePolicy, "FRAME_INVALID")
		return
	}
	var no *refusal
	switch {
	case !ok:
		no = refuse(codeTooMany, "more than %d frames in a second, a long one counting for each 4 KiB", admit.FramesRefused)
	case r.service == servicePing: // the answer to ours: it was read, and that counts
	case r.service == serviceAuthen:
		no = c.authenticate(&r)
	case c.at() != open:
		no = refuse(codeAuth, "authenticate first, with service %d", serviceAuthen)
	case r.service == serviceAttribute:
		no = c.change(&r)
	default:
		no = refuse(codeNotFound, "there is no service %d here", r.service)
	}
	code := codeOK
	if no != nil {
		code = no.code
		c.reply(&r, no)
	}
	c.door.called(nameOf(r.service), strconv.Itoa(code), time.Since(began))
}

// reply answers a request that failed, if it wants an answer. An authen that would
// work in a moment gets none: the client never comes again after one, but does after
// a connection that ends.
func (c *conn) reply(r *request, no *refusal) {
	if r.service == serviceAuthen && no.passing() {
		c.leave(closeUnavailable, "UNAVAILABLE")
		return
	}
	if r.id != nil {
		c.answer(r.service, plain{RequestID: r.id, R: no.code, Message: no.message})
	}
	if r.service == serviceAuthen && c.at() != open {
		c.leave(closeRefused, "REFUSED_"+strconv.Itoa(no.code))
	}
}

// change sets an attribute of the user. The token was good when the connection
// began, and the client has no way to bring another: it counts until the
// connection ends, unless it is revoked.
func (c *conn) change(r *request) *refusal {
	var q change
	if no := read(r.body, &q); no != nil {
		return no
	}
	if len(q.Value) == 0 {
		return refuse(codeBad, "value is missing; it may be any JSON")
	}
	d := c.door
	still := c.access
	still.Expires = time.Now().Add(time.Second)
	if err := d.cfg.Gate.Still(still, time.Now()); err != nil {
		return d.refusalOf("changeAttribute", err, nil)
	}
	c.sock.MayBlock()
	_, err := d.cfg.Gate.SetAttributes(d.ctx, c.ref, c, []topic.Attribute{{Name: q.Attribute, Value: q.Value}})
	if err != nil {
		return d.refusalOf("changeAttribute", err, func(path string) string { return oneWord(path) })
	}
	if r.id != nil {
		c.answer(r.service, plain{RequestID: r.id, Message: success})
	}
	return nil
}
