package topic

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Limits of what is taken.
const (
	MaxName       = 64      // bytes of an attribute's name
	MaxValue      = 4 << 10 // bytes of a value, without needless spaces
	MaxAttributes = 64      // of one user, without the reserved ones
	MaxTopic      = 256     // bytes of a topic's name
	MaxTopics     = 100     // of one subscription
	MaxMappings   = 100     // of one device
	MaxCallID     = 128     // bytes of a call's id
	MaxCallUsers  = 100     // participants of one call
)

// The attributes that nobody sets, and the topic that every call is told in.
const (
	OnlineStatus  = "onlineStatus"
	Call          = "call"
	AllCallStatus = "ALL_CALL_STATUS"
)

// Attribute is a named value of a user.
type Attribute struct {
	Name  string
	Value json.RawMessage // any JSON; nil takes the attribute away
	At    presence.Time   // when it was set last; Set does not look at it
}

// Mapping says that an attribute is published to a topic. One attribute may
// have several.
type Mapping struct{ Attribute, Topic string }

// Record is what is kept of a user.
type Record struct {
	User presence.User
	// Revision grows with each change of the user's record; 0: nothing was ever
	// kept of him.
	Revision   uint64
	Attributes []Attribute // in the order in which they were first set, without the reserved ones
	// Call is the user's call attribute as it was set last; its Value is nil when
	// he never had a call, and "Ended" when none runs any more.
	Call Attribute
	// Calls is how many calls of the user run.
	Calls int
	// Map is where his attributes are published now, each mapping once.
	Map []Mapping
}

// Find returns the named attribute, and whether there is one.
func (r *Record) Find(name string) (Attribute, bool) {
	if name == Call {
		return r.Call, r.Call.Value != nil
	}
	i := slices.IndexFunc(r.Attributes, func(a Attribute) bool { return a.Name == name })
	if i < 0 {
		return Attribute{}, false
	}
	return r.Attributes[i], true
}

// record is a user's value in the store.
type record struct {
	attributes []Attribute
	call       Attribute // Value nil: never
	calls      []call
	maps       []deviceMap // never two with the same mappings
}

// deviceMap is the map that some devices of a user came with.
type deviceMap struct {
	since    presence.Time // when the last of them came
	mappings []Mapping
	// sessions are the devices. They are named only while there are several maps:
	// of the only one it does not matter whose it is.
	sessions []presence.PublicID
}

// Reserved reports whether nobody may set an attribute of that name.
func Reserved(name string) bool { return name == OnlineStatus || name == Call }

// CheckName refuses what cannot be an attribute's name, and the reserved ones. at
// says where it stands, as the interface spells it.
func CheckName(at, name string) error {
	switch {
	case !validText(name, MaxName):
		return fault.Invalid(at, "must be 1 to %d bytes of UTF-8 without control characters", MaxName)
	case name == OnlineStatus:
		return fault.Invalid(at, "%s follows the user's presence and cannot be set", OnlineStatus)
	case name == Call:
		return fault.Invalid(at, "%s follows the user's calls and cannot be set", Call)
	}
	return nil
}

// CheckTopic refuses what cannot be a topic's name.
func CheckTopic(at, name string) error {
	if !validText(name, MaxTopic) {
		return fault.Invalid(at, "must be 1 to %d bytes of UTF-8 without control characters", MaxTopic)
	}
	return nil
}

// CheckMap refuses mappings that SetMap would not take.
func CheckMap(at string, mappings []Mapping) error {
	if len(mappings) > MaxMappings {
		return fault.Invalid(at, "has %d entries, at most %d are allowed", len(mappings), MaxMappings)
	}
	for _, m := range mappings {
		if !validText(m.Attribute, MaxName) {
			return fault.Invalid(at, "an attribute must be 1 to %d bytes of UTF-8 without control characters", MaxName)
		}
		if err := CheckTopic(at, m.Topic); err != nil {
			return err
		}
	}
	return nil
}

// CheckTopics refuses names that Subscribe would not take.
func CheckTopics(at string, topics []string) error {
	if len(topics) > MaxTopics {
		return fault.Invalid(at, "has %d topics, at most %d are allowed", len(topics), MaxTopics)
	}
	for _, name := range topics {
		if err := CheckTopic(at, name); err != nil {
			return err
		}
	}
	return nil
}

func validText(s string, most int) bool {
	if len(s) == 0 || len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return true
}

// tidy checks a value and returns it without needless spaces, in memory of its
// own.
func tidy(at string, value json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	if !utf8.Valid(value) || json.Compact(&b, value) != nil {
		return nil, fault.Invalid(at, "must be JSON in UTF-8")
	}
	if b.Len() > MaxValue {
		return nil, fault.Invalid(at, "has %d bytes, at most %d are allowed", b.Len(), MaxValue)
	}
	return b.Bytes(), nil
}

// show returns the record as callers see it; p is the user's picture.
func (r *record) show(user presence.User, revision uint64, p *presence.Presence) Record {
	now := presence.At(time.Now())
	shown := Record{User: user, Revision: revision, Attributes: r.attributes, Call: r.call, Calls: r.running(now), Map: r.mapped(p)}
	if shown.Call.Value != nil && shown.Calls == 0 {
		shown.Call.Value = Ended.value()
	}
	return shown
}
