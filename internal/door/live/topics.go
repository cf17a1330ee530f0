package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/socket"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// Bounds of one frame of topic messages, and of what one write holds of them, so
// that notifications get their turn.
const (
	topicsInFrame = 12 << 10
	topicsAtOnce  = mostAtOnce / 2
)

// listening is a connection that asked for topics.
type listening struct {
	access token.Access // names the topics
	*topic.Subscription
}

// attributeWords set one attribute.
type attributeWords struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// listen subscribes to the topics of an access token, in place of those before;
// none are no topics.
func (c *conn) listen(a token.Access) error {
	s, err := c.door.cfg.Gate.Subscribe(a, c.sock.Wake)
	if err != nil {
		return err
	}
	next := &listening{a, s}
	c.mu.Lock()
	old := c.topics
	c.topics = next
	c.mu.Unlock()
	old.close()
	c.sock.Wake()
	return nil
}

// close ends a subscription, if there is one.
func (l *listening) close() {
	if l != nil && l.Subscription != nil {
		l.Close()
	}
}

// retopic takes what a fresh access token says of topics, if it says something
// else than the one before it.
func (c *conn) retopic(a token.Access) error {
	if err := c.door.cfg.Gate.Publishes(c.door.ctx, a, c.public); err != nil {
		return err
	}
	c.mu.Lock()
	before := c.topics
	c.mu.Unlock()
	if before == nil || slices.Equal(subscribed(before.access), subscribed(a)) {
		return nil
	}
	return c.listen(a)
}

// subscribed are the topics that an access token names.
func subscribed(a token.Access) []string {
	if a.Topics == nil {
		return nil
	}
	return a.Topics.Subscribe
}

// drainTopics writes the topic messages that wait.
func (c *conn) drainTopics(out *socket.Out, l *listening) (more bool) {
	if l.Subscription == nil {
		return false
	}
	var room [1]*topic.Message
	list, more, err := l.Drain(room[:0], 1)
	for err == nil && len(list) > 0 {
		out.Text(func(b []byte) []byte {
			begin := len(b)
			b = append(b, `{"t":"topic","m":[`...)
			for first := true; len(list) > 0; first = false {
				if !first {
					b = append(b, ',')
				}
				b = append(b, list[0].Body(topicWords{})...)
				if list = list[:0]; more && len(b)-begin < topicsInFrame {
					list, more, err = l.Drain(room[:0], 1)
				}
			}
			return append(b, "]}"...)
		})
		if !more || err != nil || out.Len() >= topicsAtOnce {
			break
		}
		list, more, err = l.Drain(room[:0], 1)
	}
	if err != nil {
		return c.missed(out, l)
	}
	return more
}

// missed tells a device that reads too slowly that messages were left out, and
// subscribes anew.
func (c *conn) missed(out *socket.Out, l *listening) (more bool) {
	c.mu.Lock()
	current := c.topics == l
	c.mu.Unlock()
	if !current {
		return true // replaced meanwhile
	}
	if c.listen(l.access) == nil {
		out.Text(func(b []byte) []byte { return append(b, `{"t":"topic","missed":true}`...) })
	}
	return true
}

// topicWords writes topic messages.
type topicWords struct{}

var _ topic.Encoder = topicWords{}

// Encode implements topic.Encoder.
func (topicWords) Encode(m *topic.Message) []byte {
	b := append(make([]byte, 0, 96+len(m.Value)+len(m.Topic)), `{"topic":`...)
	b = appendText(b, m.Topic)
	b = appendField(b, "u", string(m.User))
	b = appendField(b, "name", m.Attribute)
	b = append(append(b, `,"value":`...), m.Value...)
	b = appendTime(b, "at", m.At)
	if !m.CallEnded {
		b = append(b, `,"in_call":true`...)
	}
	return append(b, '}')
}

// attributes reads a user's attributes, or sets the device's own user's.
func (c *conn) attributes(r *request) (answered, error) {
	c.sock.MayBlock()
	d := c.door
	if len(r.Set)+len(r.Remove) > 0 {
		if r.User != "" && presence.UserID(r.User) != c.ref.User.ID {
			return nil, fault.Invalid("user", "a device sets attributes of its own user only")
		}
		list := make([]topic.Attribute, 0, len(r.Set)+len(r.Remove))
		for i, a := range r.Set {
			if a.Value == nil {
				return nil, fault.Invalid(fmt.Sprintf("set[%d].value", i), "it is missing; any JSON will do, and remove takes attributes away")
			}
			list = append(list, topic.Attribute{Name: a.Name, Value: a.Value})
		}
		for _, name := range r.Remove {
			list = append(list, topic.Attribute{Name: name})
		}
		n, err := d.cfg.Gate.SetAttributes(d.ctx, c.ref, c, list)
		return func(b []byte) []byte { return appendInt(b, "changed", int64(n)) }, inSet(err, len(r.Set))
	}
	who := c.ref.User.ID
	if r.User != "" {
		if who = presence.UserID(r.User); !presence.ValidUserID(r.User) {
			return nil, fault.Invalid("user", "a user id is 1 to %d bytes of UTF-8 without control characters", presence.MaxUserID)
		}
	}
	got, err := d.cfg.Gate.Attributes(d.ctx, c.ref.User, who)
	return func(b []byte) []byte { return appendAttributes(b, &got) }, err
}

// inSet says where in the frame a fault of topic.Topics.Set is: the first so many
// attributes stood in set, the others in remove.
func inSet(err error, set int) error {
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Fields) == 0 {
		return err
	}
	moved := *f
	moved.Fields = nil
	for _, v := range f.Fields {
		var i int
		if n, _ := fmt.Sscanf(v.Path, "attributes[%d]", &i); n == 1 {
			rest := v.Path[len(fmt.Sprintf("attributes[%d]", i)):]
			if v.Path = fmt.Sprintf("set[%d]%s", i, rest); i >= set {
				v.Path = fmt.Sprintf("remove[%d]", i-set)
			}
		} else {
			v.Path = "set"
		}
		moved.Fields = append(moved.Fields, v)
	}
	return &moved
}

// appendAttributes appends what is kept of a user.
func appendAttributes(b []byte, r *topic.Record) []byte {
	b = append(b, `,"attributes":[`...)
	list := r.Attributes
	if r.Call.Value != nil {
		list = append(slices.Clip(list), r.Call)
	}
	for i, a := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendText(b, a.Name)
		b = append(append(b, `,"value":`...), a.Value...)
		b = append(appendTime(b, "at", a.At), '}')
	}
	return append(b, ']')
}
