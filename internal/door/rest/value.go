package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Stamp is a time on the wire: RFC 3339, UTC, milliseconds. The zero value is
// left out.
type Stamp presence.Time

const stampLayout = "2006-01-02T15:04:05.000Z07:00"

// MarshalText writes the time.
func (s Stamp) MarshalText() ([]byte, error) {
	return []byte(presence.Time(s).Time().Format(stampLayout)), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Stamp) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339, string(b))
	*s = Stamp(presence.At(t))
	return err
}

// Schema describes it.
func (Stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-05-04T10:20:30.400Z"}}
}

// Value is a value of a property, or a text: JSON's own kinds and, as an object,
// a reference into the catalogue of messages.
type Value struct{ presence.Value }

// Ref is a reference into the catalogue of messages.
type Ref struct {
	Token    string           `json:"token" doc:"Names the message." example:"playing_on_map"`
	Args     map[string]Value `json:"args,omitempty" doc:"What the message's placeholders stand for."`
	Fallback string           `json:"fallback,omitempty" doc:"Shown where no catalogue has the message." example:"Playing"`
}

const valueSchema = "Value"

// wantValue is what a caller is told of something else.
const wantValue = `want a text, a number, true or false, or a reference such as {"token": "match.playing", "args": {}, "fallback": ""}`

// Schema describes it, once for all values.
func (Value) Schema(r huma.Registry) *huma.Schema {
	if r.Map()[valueSchema] == nil {
		s := &huma.Schema{Description: "A text, a number, true or false, or a reference into the catalogue of messages. A number without fraction or exponent is an integer of 64 bits."}
		r.Map()[valueSchema] = s
		s.OneOf = []*huma.Schema{
			{Type: huma.TypeString}, {Type: huma.TypeNumber}, {Type: huma.TypeBoolean}, r.Schema(reflect.TypeFor[Ref](), true, ""),
		}
		s.PrecomputeMessages()
	}
	return &huma.Schema{Ref: "#/components/schemas/" + valueSchema}
}

// MarshalJSON writes the value.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Kind {
	case presence.KindText:
		return json.Marshal(v.Text)
	case presence.KindInteger:
		return strconv.AppendInt(nil, v.Integer, 10), nil
	case presence.KindNumber:
		if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
			return []byte("null"), nil // JSON has no such numbers
		}
		b := strconv.AppendFloat(nil, v.Number, 'g', -1, 64)
		if !strings.ContainsAny(string(b), ".e") {
			b = append(b, ".0"...)
		}
		return b, nil
	case presence.KindFlag:
		return strconv.AppendBool(nil, v.Flag), nil
	case presence.KindRef:
		return json.Marshal(Ref{Token: v.Ref.Token, Args: valuesOf(v.Ref.Args), Fallback: v.Ref.Fallback})
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads a value.
func (v *Value) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		v.Kind = presence.KindText
		return json.Unmarshal(b, &v.Text)
	case 't', 'f':
		v.Kind = presence.KindFlag
		return json.Unmarshal(b, &v.Flag)
	case '{':
		// Each level is read anew by the ones around it, so what nests too deep is
		// refused before.
		if deeper(b, 2*(presence.MaxRefDepth+1)) {
			return fmt.Errorf("references nest deeper than %d", presence.MaxRefDepth)
		}
		var r Ref
		if err := json.Unmarshal(b, &r); err != nil {
			return err
		}
		v.Kind, v.Ref = presence.KindRef, &presence.Ref{Token: r.Token, Args: propertiesOf(r.Args), Fallback: r.Fallback}
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err == nil {
		v.Kind, v.Integer = presence.KindInteger, n
		return nil
	}
	if errors.Is(err, strconv.ErrRange) { // as a number it would become another one
		return errors.New("an integer has 64 bits; write a longer one as a text")
	}
	v.Kind = presence.KindNumber
	return json.Unmarshal(b, &v.Number)
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
		case c == '{':
			if depth++; depth > most {
				return true
			}
		case c == '}':
			depth--
		}
	}
	return false
}

// propertiesOf makes properties of a JSON object, in the order of their keys.
func propertiesOf(m map[string]Value) (ps []presence.Property) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, presence.Property{Key: k, Value: m[k].Value})
	}
	return ps
}

func valuesOf(ps []presence.Property) map[string]Value {
	if len(ps) == 0 {
		return nil
	}
	m := make(map[string]Value, len(ps))
	for _, p := range ps {
		m[p.Key] = Value{p.Value}
	}
	return m
}

// Status is what a session says of its user.
type Status struct {
	Status     string           `json:"status,omitempty" enum:"online,away,busy" default:"online" doc:"Readiness." example:"busy"`
	RichText   *Value           `json:"rich_text,omitempty" doc:"A text for people, up to 256 characters, or a reference into the catalogue of messages."`
	Properties map[string]Value `json:"properties,omitempty" doc:"Up to 32 named values." example:"{\"map\":\"Dust\",\"score\":7}"`
	Invisible  bool             `json:"invisible,omitempty" doc:"Others see the session as offline."`
}

// statusText names the shows on the wire.
func statusText(s presence.Show) string { return s.String() }

// statusFrom reads a status that a request has at path.
func statusFrom(path string, in *Status) (*presence.Status, error) {
	s := &presence.Status{Invisible: in.Invisible, Properties: propertiesOf(in.Properties)}
	switch in.Status {
	case "", presence.Online.String():
	case presence.Away.String():
		s.Show = presence.Away
	case presence.Busy.String():
		s.Show = presence.Busy
	default:
		return nil, fault.Invalid(path+".status", "unknown status %.40q; use online, away or busy", in.Status)
	}
	if t := in.RichText; t != nil && (t.Kind != presence.KindText || t.Text != "") {
		if t.Kind != presence.KindText && t.Kind != presence.KindRef {
			return nil, fault.Invalid(path+".rich_text", "a text or a reference is needed")
		}
		s.Text = t.Value
	}
	if broken := s.Check(); len(broken) > 0 {
		e := &fault.Error{Kind: fault.FieldInvalid}
		for _, v := range broken {
			at := path
			if v.Path != "" {
				at = fmt.Sprintf("%s.%s", path, v.Path)
			}
			e.Fields = append(e.Fields, fault.Field{Path: at, Rule: v.Rule})
		}
		return nil, e
	}
	return s, nil
}

// statusOfSession tells what a session says.
func (o *Session) tell(s *presence.Status) {
	if s == nil {
		s = &presence.Status{}
	}
	o.Status = statusText(s.Show)
	if s.Text.Kind != presence.KindNone {
		o.RichText = &Value{s.Text}
	}
	o.Properties = valuesOf(s.Properties)
}
