package stringee

import (
	"errors"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// drainAtOnce is how many messages one look at the subscription takes; the longest
// are 6 KiB.
const drainAtOnce = 8

// Fill writes what waits: a ping, the user's other clients that came or went, and
// the messages of topics.
func (c *conn) Fill(_ *socket.Conn, out *socket.Out) (more bool) {
	defer c.door.recovered("fill", func() { c.leave(socket.CodeInternal, "INTERNAL") })
	c.mu.Lock()
	stage, end, ping := c.stage, c.end, c.ping
	if stage == open {
		c.ping = false
	}
	c.mu.Unlock()
	switch {
	case stage != open:
		return false // the welcome comes first
	case end.Cause != 0:
		c.part(end)
		return false
	case ping:
		out.Text(func(b []byte) []byte { return append(b, pingFrame...) })
	}
	c.meet(out)
	if c.sub == nil {
		return false
	}
	return c.drain(out)
}

// part ends the connection as the tracker said.
func (c *conn) part(e tracker.End) {
	switch e.Cause {
	case tracker.CauseReplaced:
		c.leave(closeReplaced, fault.ReplacedStream.String())
	case tracker.CauseDraining:
		c.door.sentAway.Add(1)
		c.leave(socket.CodeGoingAway, fault.Draining.String())
	default:
		c.leave(closeEnded, "SESSION_CLOSED")
	}
}

// meet tells of the user's other clients that came or went since.
func (c *conn) meet(out *socket.Out) {
	p := c.door.cfg.Tracker.Presence(c.ref.User)
	if p.Version == c.kin.version {
		return
	}
	now := clientsOf(p)
	c.differ(out, disconnected, c.kin.told, now)
	c.differ(out, connected, now, c.kin.told)
	c.kin = kin{p.Version, now}
}

// differ tells of those that are in one list and not in the other.
func (c *conn) differ(out *socket.Out, status string, in, notIn []client) {
	for _, o := range in {
		if slices.ContainsFunc(notIn, func(p client) bool { return p.session == o.session }) {
			continue
		}
		out.Text(func(b []byte) []byte {
			return appendFrame(b, serviceOtherClient, other{status, o.ID, o.Browser, string(c.ref.User.ID)})
		})
	}
}

// drain writes messages of topics.
func (c *conn) drain(out *socket.Out) (more bool) {
	lent, ok := c.door.messages.Get().(*[]*topic.Message)
	if !ok {
		room := make([]*topic.Message, 0, drainAtOnce)
		lent = &room
	}
	defer c.door.messages.Put(lent)
	for more = true; more && !out.Full(); {
		list, rest, err := c.sub.Drain((*lent)[:0], drainAtOnce)
		if errors.Is(err, topic.ErrSlow) {
			c.leave(closeSlow, fault.SlowConsumer.String())
			return false
		}
		for _, m := range list {
			body := m.Body(c.door)
			out.Text(func(b []byte) []byte { return append(b, body...) })
		}
		clear(list)
		more = rest
	}
	return more
}

var _ topic.Encoder = (*Door)(nil)

// available reports whether others see the user online.
func available(p *presence.Presence) bool { return p.Available(false) != presence.Unavailable }
