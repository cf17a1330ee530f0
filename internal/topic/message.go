package topic

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Message is a change of an attribute in one topic. It is shared among all
// subscribers: nothing may change it.
type Message struct {
	App       presence.AppID
	Topic     string
	User      presence.UserID
	Attribute string
	Value     json.RawMessage // null when the attribute was taken away
	At        presence.Time
	CallEnded bool // no call of the user runs
	// Revision orders the messages of one attribute of one user. It is 0 for
	// OnlineStatus.
	Revision uint64

	forms atomic.Pointer[form]
}

// Encoder writes messages in a door's dialect. Encoders are compared by
// identity: use one per door.
type Encoder interface {
	Encode(m *Message) []byte
}

// form is what one encoder made of a message.
type form struct {
	encoder Encoder
	body    []byte
	next    *form
}

// Body is the message in enc's dialect, encoded once for all subscribers (or a
// few times, when several ask first). It is shared: read only.
func (m *Message) Body(enc Encoder) []byte {
	first := m.forms.Load()
	for f := first; f != nil; f = f.next {
		if f.encoder == enc {
			return f.body
		}
	}
	made := &form{enc, enc.Encode(m), first}
	m.forms.CompareAndSwap(first, made) // else somebody else's stays
	return made.body
}

const messageVersion = 1

var errMessage = errors.New("topic: a message of another version, or damaged")

// AppendMessage writes a message for another node.
func AppendMessage(dst []byte, m *Message) []byte {
	ended := uint64(0)
	if m.CallEnded {
		ended = 1
	}
	dst = append(dst, messageVersion)
	for _, s := range []string{string(m.App), m.Topic, string(m.User), m.Attribute, string(m.Value)} {
		dst = presence.AppendText(dst, s)
	}
	return presence.AppendNumber(presence.AppendNumber(appendTime(dst, m.At), ended), m.Revision)
}

// ParseMessage reads what AppendMessage wrote.
func ParseMessage(b []byte) (*Message, error) {
	if len(b) == 0 || b[0] != messageVersion {
		return nil, errMessage
	}
	in := &reader{rest: b[1:]}
	m := &Message{
		App: presence.AppID(in.text()), Topic: in.text(), User: presence.UserID(in.text()), Attribute: in.text(), Value: json.RawMessage(in.text()),
		At: in.time(), CallEnded: in.number() == 1, Revision: in.number(),
	}
	if in.bad || len(in.rest) > 0 || !presence.ValidAppID(string(m.App)) || !presence.ValidUserID(string(m.User)) || !json.Valid(m.Value) {
		return nil, errMessage
	}
	return m, nil
}

// publish tells the user's topics of one attribute. His turn is held.
func (t *Topics) publish(r *Record, a Attribute) {
	if a.Value == nil {
		a.Value = json.RawMessage("null")
	}
	tell := func(topic string) {
		m := &Message{
			App: r.User.App, Topic: topic, User: r.User.ID, Attribute: a.Name, Value: a.Value, At: a.At,
			CallEnded: r.Calls == 0, Revision: r.Revision,
		}
		t.Deliver(m)
		if t.cfg.Tell != nil {
			t.cfg.Tell(m)
		}
	}
	all := a.Name == Call
	for _, m := range r.Map {
		if m.Attribute == a.Name {
			tell(m.Topic)
			all = all && m.Topic != AllCallStatus
		}
	}
	if all {
		tell(AllCallStatus)
	}
}

// order knows the newest revisions that were told lately, so that what was
// overtaken on the way from another node is left out. It forgets: two halves
// take turns.
type order struct {
	seed maphash.Seed
	mu   sync.Mutex // guards all below
	now  map[uint64]uint64
	then map[uint64]uint64
}

// orderSize is how many attributes each half of an order knows.
const orderSize = 16 << 10

// passes reports whether a message is no older than what was told of the
// attribute. Two attributes that share a hash may make it leave one out, once
// in 2^64.
func (o *order) passes(m *Message) bool {
	key := maphash.Comparable(o.seed, struct {
		app       presence.AppID
		user      presence.UserID
		attribute string
	}{m.App, m.User, m.Attribute})
	o.mu.Lock()
	defer o.mu.Unlock()
	last, ok := o.now[key]
	if !ok {
		last = o.then[key]
		if o.now == nil || len(o.now) >= orderSize {
			o.now, o.then = map[uint64]uint64{}, o.now
		}
	}
	if m.Revision < last {
		return false
	}
	o.now[key] = m.Revision
	return true
}
