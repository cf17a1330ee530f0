package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unique"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// status is STATUS on the wire: what a session says of its user.
type status struct {
	Show       string                     `json:"show"`
	Text       json.RawMessage            `json:"text"`
	Properties map[string]json.RawMessage `json:"properties"`
	Invisible  *bool                      `json:"invisible"`
}

// ref is a reference into the catalogue of messages.
type ref struct {
	Token    string                     `json:"token"`
	Args     map[string]json.RawMessage `json:"args"`
	Fallback string                     `json:"fallback"`
}

// statusAt is where a status stands in every frame.
const statusAt = "status"

// shows are the words of a status; the empty one is the default.
var shows = map[string]presence.Show{
	"": presence.Online, presence.Online.String(): presence.Online, presence.Away.String(): presence.Away, presence.Busy.String(): presence.Busy,
}

// whole reads it as a whole status; what it leaves out is as in the default. A
// nil s is the default.
func (s *status) whole() (*presence.Status, error) {
	if s == nil {
		s = &status{}
	}
	show, ok := shows[s.Show]
	if !ok {
		return nil, fault.Invalid(statusAt+".show", "unknown status %.40q; use online, away or busy", s.Show)
	}
	out := &presence.Status{Show: show, Invisible: s.Invisible != nil && *s.Invisible}
	var err error
	if out.Text, err = textOf(statusAt+".text", s.Text); err != nil {
		return nil, err
	}
	if out.Properties, err = propertiesOf(statusAt+".properties", s.Properties, 0); err != nil {
		return nil, err
	}
	return out, check(out)
}

// patch reads a frame as a change of some of a status.
func (r *request) patch() (*presence.Patch, error) {
	if n := len(r.Clear); n > presence.MaxProperties {
		return nil, fault.Invalid("clear", "%d keys; at most %d are allowed", n, presence.MaxProperties)
	}
	part, err := r.Status.whole()
	if err != nil {
		return nil, err
	}
	p := &presence.Patch{Text: part.Text, ClearText: r.ClearText, Clear: r.Clear, Properties: part.Properties}
	if r.Status != nil {
		p.Invisible = r.Status.Invisible
		if r.Status.Show != "" {
			p.Show = &part.Show
		}
	}
	return p, nil
}

// check refuses a status that is over a bound.
func check(s *presence.Status) error {
	broken := s.Check()
	if len(broken) == 0 {
		return nil
	}
	e := &fault.Error{Kind: fault.FieldInvalid}
	for _, v := range broken {
		e.Fields = append(e.Fields, fault.Field{Path: pathOf(v.Path), Rule: v.Rule})
	}
	return e
}

// pathOf is a path of the core's rules in the words of this dialect.
func pathOf(core string) string {
	switch {
	case core == "":
		return statusAt
	case strings.HasPrefix(core, "rich_text"):
		core = "text" + strings.TrimPrefix(core, "rich_text")
	case core == "status":
		core = "show"
	}
	return statusAt + "." + core
}

// none reports that a value was left out.
func none(b json.RawMessage) bool { return len(b) == 0 || string(b) == "null" }

func textOf(path string, b json.RawMessage) (presence.Value, error) {
	if none(b) {
		return presence.Value{}, nil
	}
	v, err := valueOf(path, b, 0)
	switch {
	case err != nil:
		return v, err
	case v.Kind == presence.KindText && v.Text == "":
		return presence.Value{}, nil
	case v.Kind != presence.KindText && v.Kind != presence.KindRef:
		return v, fault.Invalid(path, "want a text or a reference such as %s", refExample)
	}
	return v, nil
}

// refExample is shown to whoever sent something else.
const refExample = `{"token": "match.playing", "args": {}, "fallback": ""}`

// propertiesOf reads an object in the order of its keys, of which there is one copy
// in memory, whoever sends them.
func propertiesOf(path string, m map[string]json.RawMessage, depth int) ([]presence.Property, error) {
	if len(m) == 0 {
		return nil, nil
	}
	if len(m) > presence.MaxProperties {
		return nil, fault.Invalid(path, "%d entries; at most %d are allowed", len(m), presence.MaxProperties)
	}
	list := make([]presence.Property, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		v, err := valueOf(fmt.Sprintf("%s[%.64q]", path, key), m[key], depth)
		if err != nil {
			return nil, err
		}
		list = append(list, presence.Property{Key: unique.Make(key).Value(), Value: v})
	}
	return list, nil
}

// valueOf reads a value: JSON's own kinds and, as an object, a reference. A number
// without fraction and exponent is an integer and stays one.
func valueOf(path string, b json.RawMessage, depth int) (v presence.Value, err error) {
	if none(b) {
		return v, fault.Invalid(path, "want a text, a number, true or false, or a reference; to take a property away use clear in a patch")
	}
	switch b[0] {
	case '"':
		v.Kind = presence.KindText
		err = json.Unmarshal(b, &v.Text)
	case 't', 'f':
		v.Kind = presence.KindFlag
		err = json.Unmarshal(b, &v.Flag)
	case '{':
		return refOf(path, b, depth)
	case '[':
		return v, fault.Invalid(path, "a list is no value; want a text, a number, true or false, or a reference such as %s", refExample)
	default:
		return numberOf(path, b)
	}
	if err != nil { // the frame as a whole was read before, so there is nothing left to be wrong
		err = fault.Invalid(path, "not a value")
	}
	return v, err
}

func numberOf(path string, b json.RawMessage) (v presence.Value, err error) {
	v.Kind = presence.KindInteger
	v.Integer, err = strconv.ParseInt(string(b), 10, 64)
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, strconv.ErrRange): // as a number it would become another one
		return v, fault.Invalid(path, "an integer has 64 bits; write a longer one as a text")
	}
	v = presence.Value{Kind: presence.KindNumber}
	if v.Number, err = strconv.ParseFloat(string(b), 64); err != nil {
		return v, fault.Invalid(path, "a number has 64 bits (IEEE 754); this one does not fit")
	}
	return v, nil
}

// refOf reads a reference. Each level is read anew by the ones around it, so what
// nests too deep is refused before.
func refOf(path string, b json.RawMessage, depth int) (v presence.Value, err error) {
	if depth >= presence.MaxRefDepth || depth == 0 && deeper(b, 2*(presence.MaxRefDepth+1)) {
		return v, fault.Invalid(path, "references nest deeper than %d", presence.MaxRefDepth)
	}
	var r ref
	if err := json.Unmarshal(b, &r); err != nil {
		return v, fault.Invalid(path, "want a reference such as %s", refExample)
	}
	args, err := propertiesOf(path+".args", r.Args, depth+1)
	if err != nil {
		return v, err
	}
	return presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: r.Token, Args: args, Fallback: r.Fallback}}, nil
}

// deeper reports whether objects nest deeper than most in valid JSON.
func deeper(b []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
