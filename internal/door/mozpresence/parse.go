package mozpresence

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/mailbox"
)

// deviceFrame is a frame of a device: the README's (email, assertion, status), or
// the prototype's (status, user).
type deviceFrame struct {
	Email     string `json:"email"`
	User      string `json:"user"`
	Assertion string `json:"assertion"`
	Status    string `json:"status"`
	Device    string `json:"device"`
}

// name is who the frame says to speak of.
func (f *deviceFrame) name() string {
	if f.Email != "" {
		return f.Email
	}
	return f.User
}

// publisherFrame is a frame of a publisher.
type publisherFrame struct {
	Key    string `json:"key"`
	Token  string `json:"token"` // the same, in the prototype's words
	Action string `json:"action"`
	note
	Target    string `json:"target"`
	ActionURL string `json:"action_url"`
}

// note is a notification as a publisher sends it. UID and url are words of
// earlier versions of the document.
type note struct {
	ID      string   `json:"id"`
	UserID  string   `json:"userid"`
	UID     string   `json:"uid"`
	Message string   `json:"message"`
	Source  string   `json:"source"`
	URL     string   `json:"url"`
	TTL     *float64 `json:"ttl"` // seconds
}

// item is a note of a POST, where action is the notification's own.
type item struct {
	note
	Action string `json:"action"`
}

// errNoObject is what is wrong with a frame that is none.
const errNoObject = "the frame is not one JSON object"

// parse reads one JSON object. Its refusal says what is wrong with it.
func parse(b []byte, v any) *refusal {
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return refuse(errJSON, errNoObject)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return refuse(errJSON, "%s", whatIsWrong(err))
	}
	return nil
}

// whatIsWrong says it without repeating what was sent.
func whatIsWrong(err error) string {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		field := mismatch.Field[strings.LastIndexByte(mismatch.Field, '.')+1:]
		return field + ": a value of another kind than the document has"
	}
	return "not JSON; keys and texts have double quotes"
}

// parseItems reads the body of a POST: a list, or one item.
func parseItems(b []byte) (items []item, _ *refusal) {
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '{' {
		items = make([]item, 1)
		return items, parse(b, &items[0])
	}
	if len(trimmed) == 0 || trimmed[0] != '[' {
		return nil, refuse(errJSON, "the body is not a JSON list of notifications")
	}
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil, refuse(errJSON, "the body is not JSON; keys and texts have double quotes")
	}
	if len(raw) == 0 {
		return nil, refuse(errEmpty, "the list is empty")
	}
	if len(raw) > mailbox.MaxItems {
		return nil, refuse(errTooLong, "the list has %d items; at most %d are allowed", len(raw), mailbox.MaxItems)
	}
	items = make([]item, len(raw))
	for i := range raw {
		if r := parse(raw[i], &items[i]); r != nil {
			return nil, refuse(r.no, "item %d: %s", i, strings.Replace(r.text, errNoObject, "not a JSON object", 1))
		}
	}
	return items, nil
}

// userid is whom it is for.
func (n *note) userid() string {
	if n.UserID != "" {
		return n.UserID
	}
	return n.UID
}

// check says what is wrong with a notification and its action.
func (n *note) check(action string) *refusal {
	for _, one := range []struct{ key, text string }{{"message", n.Message}, {"action", action}, {"source", n.Source}} {
		if chars := utf8.RuneCountInString(one.text); chars > mailbox.MaxText {
			return refuse(errTooLong, "%s has %d characters; at most %d are allowed", one.key, chars, mailbox.MaxText)
		}
	}
	switch {
	case len(n.ID) > mailbox.MaxID:
		return refuse(errTooLong, "id has %d bytes; at most %d are allowed", len(n.ID), mailbox.MaxID)
	case n.Message == "":
		return refuse(errJSON, "message is missing")
	case n.userid() == "":
		return refuse(errJSON, "userid is missing")
	case n.TTL != nil && (*n.TTL < 0 || *n.TTL > mailbox.LongestTTL.Seconds()):
		return refuse(errJSON, "ttl is not a number of seconds from 0 to %d", int(mailbox.LongestTTL.Seconds()))
	}
	return nil
}

// ttl is how long it is worth telling, 0 for ever.
func (n *note) ttl(preset time.Duration) time.Duration {
	if n.TTL == nil {
		return preset
	}
	if *n.TTL == 0 {
		return 0
	}
	return max(time.Duration(*n.TTL*float64(time.Second)), time.Millisecond)
}

// action is the notification's own in a POST: url is its former name.
func (it *item) action() string {
	if it.Action != "" {
		return it.Action
	}
	return it.URL
}
