package client

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

// TopicMessage is a change of an attribute of a user, told in a topic.
type TopicMessage struct {
	Topic  string
	User   string
	Name   string          // of the attribute
	Value  json.RawMessage // null when it was taken away
	At     time.Time
	InCall bool // a call of the user runs
	// Missed says that messages were left out, because they were taken too slowly
	// or the link was down; nothing else is set. Session.Attributes has what is
	// true now.
	Missed bool
}

// topics gives topic messages to the program.
type topics struct {
	tell func(TopicMessage)
	mu   sync.Mutex // held while tell runs: one at a time
}

func (t *topics) take(m *liveMessage) {
	if t.tell == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Missed {
		t.tell(TopicMessage{Missed: true})
	}
	for _, one := range m.M {
		t.tell(TopicMessage{Topic: one.Topic, User: one.U, Name: one.Name, Value: one.Value, At: at(one.At), InCall: one.InCall})
	}
}

// liveSetting is an attribute to be set.
type liveSetting struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// liveAttribute is one that was read.
type liveAttribute struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
	At    float64         `json:"at"`
}

// attributesCall makes a call that only the live door has.
func (s *Session) attributesCall(ctx context.Context, req liveRequest) (answer liveMessage, err error) {
	door, ok := s.client.door.(*liveDoor)
	if !ok {
		return answer, invalid("addr", "attributes are at the live door; use an address of ws:// or wss://")
	}
	s.mu.Lock()
	token := s.link.token
	s.mu.Unlock()
	req.T = "attributes"
	err = s.tell(token, func() error {
		answer, err = door.call(ctx, token, req)
		return err
	})
	return answer, err
}

// Attributes asks for a user's attributes, "" for the session's own user's. Of
// one whom he may not see there are none. Only at the live door, and only while
// the link is up.
func (s *Session) Attributes(ctx context.Context, user string) ([]Attribute, error) {
	answer, err := s.attributesCall(ctx, liveRequest{User: user})
	if err != nil {
		return nil, err
	}
	list := make([]Attribute, len(answer.Attributes))
	for i, a := range answer.Attributes {
		list[i] = Attribute{Name: a.Name, Value: a.Value, At: at(a.At)}
	}
	return list, nil
}

// SetAttributes sets attributes of the session's own user, and takes away those
// whose Value is nil: all of them or, after an error, none. What changed is
// stored and told in the topics that his access token maps it to. Only at the
// live door, and only while the link is up.
func (s *Session) SetAttributes(ctx context.Context, list ...Attribute) (changed int, err error) {
	var req liveRequest
	for _, a := range list {
		if a.Value == nil {
			req.Remove = append(req.Remove, a.Name)
		} else {
			req.Set = append(req.Set, liveSetting{a.Name, a.Value})
		}
	}
	if len(list) == 0 {
		return 0, nil
	}
	answer, err := s.attributesCall(ctx, req)
	return answer.Changed, err
}
