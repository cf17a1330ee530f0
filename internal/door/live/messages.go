package live

import (
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/mailbox"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
)

// messagesAtOnce is how many live notifications one write holds.
const messagesAtOnce = 50

// taking is a connection that takes live notifications. Only Fill uses it once the
// connection is open.
type taking struct {
	*mailbox.Taker
	unsaid bool // some were written out, which the mailbox has not heard
}

// takeMessages begins to take a user's live notifications.
func (c *conn) takeMessages(user presence.User) {
	c.messages = &taking{Taker: c.door.cfg.Mailboxes.Attach(c.door.ctx, user, c.sock.Wake)}
}

// drainMessages writes live notifications, and wants to be asked again when they
// have left: only then may they leave the mailbox.
func (c *conn) drainMessages(out *socket.Out) (more bool) {
	t := c.messages
	if t.unsaid {
		t.unsaid = false
		t.Wrote()
	}
	list, _, err := t.Take(nil, messagesAtOnce)
	if err != nil {
		if c.move(departed) {
			c.part(out, goodbye{
				reason: fault.SlowConsumer.String(), message: "live notifications were missed, for this connection reads too slowly; connect again and resume the session", kept: true,
			})
		}
		return false
	}
	if len(list) == 0 {
		return false
	}
	out.Text(func(b []byte) []byte { return appendMessages(b, list) })
	t.unsaid = true
	return true
}

// appendMessages appends {"t":"m","m":[…]}.
func appendMessages(b []byte, list []mailbox.Message) []byte {
	b = append(b, `{"t":"m","m":[`...)
	for i := range list {
		m := &list[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"id":`...), m.ID)
		b = appendField(b, "publisher", m.Publisher)
		b = appendField(b, "source", m.Source)
		b = appendField(b, "message", m.Text)
		b = appendField(b, "action", m.Action)
		b = appendTime(b, "at", m.At)
		b = append(appendTime(b, "until", m.Expires), '}')
	}
	return append(b, "]}"...)
}
