package client

import (
	"fmt"
	"maps"
	"math"
	"unicode/utf8"
)

// Show is how ready a session says its user is.
type Show string

// The shows.
const (
	Online Show = "online" // what an empty Show means
	Away   Show = "away"
	Busy   Show = "busy"
)

// Status is all that a session says about itself. The zero value is online
// without a word.
type Status struct {
	Show Show
	Text string // shown as it is; at most 256 characters
	// Template takes the place of Text: an entry of the product's catalogue,
	// which each watcher reads in its own language.
	Template *Ref
	// Properties are named values: a string, bool, integer (within 64 signed
	// bits), float or Ref each. At most 32; keys of at most 64 bytes, values of 256.
	Properties map[string]any
	// Invisible makes this session look offline to everybody but its own user.
	Invisible bool
}

// Ref points at an entry of a product's catalogue of messages.
type Ref struct {
	Token    string         // the entry's name
	Args     map[string]any // the values for its placeholders, as in Status.Properties
	Fallback string         // shown when no catalogue has the entry
}

// Patch is what to alter in a Status. Zero fields alter nothing.
type Patch struct {
	Show            Show
	Text            string // a new text; ClearText takes it away
	Template        *Ref   // in the place of Text
	ClearText       bool   // not together with Text or Template
	Properties      map[string]any
	ClearProperties []string // keys to take away; none that Properties sets
	Invisible       *bool
}

// check finds what could not even be sent. The limits are the server's affair.
func (s Status) check() error {
	if err := checkShow(s.Show); err != nil {
		return err
	}
	if !utf8.ValidString(s.Text) {
		return invalid("update.rich_text", "is not UTF-8")
	}
	if s.Text != "" && s.Template != nil {
		return invalid("update.rich_text", "Text and Template exclude each other")
	}
	if err := s.Template.check("update.rich_text"); err != nil {
		return err
	}
	return checkValues("update.properties", s.Properties)
}

func (p Patch) check() error {
	if err := (Status{p.Show, p.Text, p.Template, p.Properties, false}).check(); err != nil {
		return err
	}
	if p.ClearText && (p.Text != "" || p.Template != nil) {
		return invalid("clear_rich_text", "excludes Text and Template")
	}
	for _, k := range p.ClearProperties {
		if _, ok := p.Properties[k]; ok {
			return invalid("clear_properties", fmt.Sprintf("%q is set by Properties", k))
		}
	}
	return nil
}

// patched returns s with p applied; s is not changed.
func (s Status) patched(p Patch) Status {
	if p.Show != "" {
		s.Show = p.Show
	}
	if p.ClearText || p.Text != "" || p.Template != nil {
		s.Text, s.Template = p.Text, p.Template
	}
	s.Properties = maps.Clone(s.Properties)
	for _, k := range p.ClearProperties {
		delete(s.Properties, k)
	}
	if len(p.Properties) > 0 && s.Properties == nil {
		s.Properties = map[string]any{}
	}
	maps.Copy(s.Properties, p.Properties)
	if p.Invisible != nil {
		s.Invisible = *p.Invisible
	}
	return s
}

// clone keeps the caller's later changes of its maps away from us.
func (s Status) clone() Status {
	s.Properties = maps.Clone(s.Properties)
	return s
}

func checkShow(s Show) error {
	switch s {
	case "", Online, Away, Busy:
		return nil
	}
	return invalid("update.status", fmt.Sprintf("%q: want online, away or busy", s))
}

// maxRefDepth is how deep Refs may nest; it also ends a Ref that holds itself.
const maxRefDepth = 4

func (r *Ref) check(path string) error { return r.checkDepth(path, maxRefDepth) }

func (r *Ref) checkDepth(path string, depth int) error {
	switch {
	case r == nil:
		return nil
	case !utf8.ValidString(r.Token), !utf8.ValidString(r.Fallback):
		return invalid(path, "is not UTF-8")
	case depth == 0:
		return invalid(path, fmt.Sprintf("references nest deeper than %d", maxRefDepth))
	}
	return checkValuesDepth(path+".args", r.Args, depth-1)
}

func checkValues(path string, values map[string]any) error {
	return checkValuesDepth(path, values, maxRefDepth)
}

func checkValuesDepth(path string, values map[string]any, depth int) error {
	for k, v := range values {
		if !utf8.ValidString(k) {
			return invalid(path, "a key is not UTF-8")
		}
		at := path + "[" + k + "]"
		switch v := v.(type) {
		case Ref:
			if err := v.checkDepth(at, depth); err != nil {
				return err
			}
		case *Ref:
			if v == nil {
				return invalid(at, "is a nil *Ref")
			}
			if err := v.checkDepth(at, depth); err != nil {
				return err
			}
		default:
			if _, ok := plain(v); !ok {
				return invalid(at, fmt.Sprintf("a %T cannot be sent: want string, bool, integer, float or Ref", v))
			}
			if text, ok := v.(string); ok && !utf8.ValidString(text) {
				return invalid(at, "is not UTF-8")
			}
		}
	}
	return nil
}

// plain brings v to one of string, bool, int64 and float64.
func plain(v any) (any, bool) {
	switch v := v.(type) {
	case string, bool, int64, float64:
		return v, true
	case int:
		return int64(v), true
	case int8:
		return int64(v), true
	case int16:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint:
		return unsigned(uint64(v))
	case uint64:
		return unsigned(v)
	case float32:
		return float64(v), true
	}
	return nil, false
}

func unsigned(v uint64) (any, bool) { return int64(v), v <= math.MaxInt64 }
