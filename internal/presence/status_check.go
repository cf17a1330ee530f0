package presence

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Violation is one broken rule of a status, for whoever sent it.
type Violation struct {
	Path string // such as `rich_text`, `properties["map"]` or `properties["map"].args["n"]`; "" is the whole status
	Rule string // what is wrong and what is allowed
}

// Normalize sorts the properties of s, and the arguments of its references, by
// key. It works in place: it is for the one who builds a status, before
// anybody else holds it. A nil s stays nil.
func (s *Status) Normalize() {
	if s == nil {
		return
	}
	normalizeValue(&s.Text)
	normalizeProperties(s.Properties)
}

func normalizeProperties(ps []Property) {
	byKey := func(a, b Property) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(ps, byKey) {
		slices.SortStableFunc(ps, byKey)
	}
	for i := range ps {
		normalizeValue(&ps[i].Value)
	}
}

func normalizeValue(v *Value) {
	if v.Kind == KindRef && v.Ref != nil {
		normalizeProperties(v.Ref.Args)
	}
}

// Equal reports whether s and o say the same: both nil, or alike in all that
// counts. Two numbers are equal when their bits are, except that everything
// that is not a number is equal; so Equal statuses have equal bytes.
func (s *Status) Equal(o *Status) bool {
	if s == o {
		return true
	}
	return s != nil && o != nil && s.Show == o.Show && s.Invisible == o.Invisible &&
		equalValues(&s.Text, &o.Text) && equalProperties(s.Properties, o.Properties)
}

func equalProperties(a, b []Property) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Key != b[i].Key || !equalValues(&a[i].Value, &b[i].Value) {
			return false
		}
	}
	return true
}

// equalValues compares the field that counts.
func equalValues(a, b *Value) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case KindText:
		return a.Text == b.Text
	case KindInteger:
		return a.Integer == b.Integer
	case KindNumber:
		return numberBits(a.Number) == numberBits(b.Number)
	case KindFlag:
		return a.Flag == b.Flag
	case KindRef:
		if a.Ref == b.Ref {
			return true
		}
		return a.Ref != nil && b.Ref != nil && a.Ref.Token == b.Ref.Token &&
			a.Ref.Fallback == b.Ref.Fallback && equalProperties(a.Ref.Args, b.Ref.Args)
	}
	return true
}

// Check returns every rule that s breaks, nil when it breaks none; ParseStatus
// reads back exactly what breaks none. It expects a normalized s: keys out of
// order count as broken. A nil s is fine.
//
// It looks at no more than MaxProperties properties of a list, and no deeper
// than MaxRefDepth, however much it is given.
func (s *Status) Check() []Violation {
	if s == nil {
		return nil
	}
	var c checker
	if s.Show >= showCount {
		c.add("status", "must be online, away or busy")
	}
	switch s.Text.Kind {
	case KindNone:
	case KindText:
		if n := utf8.RuneCountInString(s.Text.Text); n > MaxRichText {
			c.add("rich_text", "has %d characters, at most %d are allowed", n, MaxRichText)
		}
		c.utf8("rich_text", "", s.Text.Text)
	case KindRef:
		c.ref("rich_text", s.Text.Ref, 1)
	default:
		c.add("rich_text", "must be a literal text or a template")
	}
	c.properties("", "properties", s.Properties, 0)
	if n := statusSize(s); n > MaxStatusBytes {
		c.add("", "has %d bytes in all, at most %d are allowed", n, MaxStatusBytes)
	}
	return c.found
}

// checker collects what is wrong.
type checker struct{ found []Violation }

func (c *checker) add(path, rule string, args ...any) {
	c.found = append(c.found, Violation{path, fmt.Sprintf(rule, args...)})
}

// properties checks the list called name within the value at path; depth is
// how many references hold it. A path is made only for what is wrong, and for
// references.
func (c *checker) properties(path, name string, ps []Property, depth int) {
	list := within{path, name}
	if len(ps) > MaxProperties {
		c.add(list.path(), "has %d entries, at most %d are allowed", len(ps), MaxProperties)
		ps = ps[:MaxProperties]
	}
	for i := range ps {
		p := &ps[i]
		switch {
		case p.Key == "":
			c.add(list.key(p.Key), "key must not be empty")
		case len(p.Key) > MaxPropertyKey:
			c.add(list.key(p.Key), "key has %d bytes, at most %d are allowed", len(p.Key), MaxPropertyKey)
		case !utf8.ValidString(p.Key):
			c.add(list.key(p.Key), "key must be UTF-8")
		case i > 0 && p.Key == ps[i-1].Key:
			c.add(list.key(p.Key), "key must not be given twice")
		case i > 0 && p.Key < ps[i-1].Key:
			c.add(list.key(p.Key), "keys must be sorted")
		}
		c.value(list, p, depth)
	}
}

func (c *checker) value(list within, p *Property, depth int) {
	switch v := &p.Value; {
	case v.Kind >= valueKindCount:
		c.add(list.key(p.Key), "unknown kind of value")
	case v.Kind == KindText && len(v.Text) > MaxPropertyValue:
		c.add(list.key(p.Key), "has %d bytes, at most %d are allowed", len(v.Text), MaxPropertyValue)
	case v.Kind == KindText && !utf8.ValidString(v.Text):
		c.add(list.key(p.Key), "must be UTF-8")
	case v.Kind == KindRef:
		c.ref(list.key(p.Key), v.Ref, depth+1)
	}
}

// ref checks the reference at path, the depth-th within its value.
func (c *checker) ref(path string, r *Ref, depth int) {
	if depth > MaxRefDepth {
		c.add(path, "references may stand within each other up to %d deep", MaxRefDepth)
		return
	}
	if r == nil || r.Token == "" {
		c.add(path, "token must not be empty")
		return
	}
	c.short(path, "token", r.Token)
	c.short(path, "fallback", r.Fallback)
	c.properties(path, "args", r.Args, depth)
}

func (c *checker) short(path, what, s string) {
	if len(s) > MaxPropertyValue {
		c.add(path, "%s has %d bytes, at most %d are allowed", what, len(s), MaxPropertyValue)
	}
	c.utf8(path, what+" ", s)
}

func (c *checker) utf8(path, what, s string) {
	if !utf8.ValidString(s) {
		c.add(path, "%smust be UTF-8", what)
	}
}

// within names a list of a value at some path.
type within struct{ parent, name string }

func (w within) path() string {
	if w.parent == "" {
		return w.name
	}
	return w.parent + "." + w.name
}

// key names one entry; a key that is too long itself is cut.
func (w within) key(k string) string {
	return fmt.Sprintf("%s[%q]", w.path(), cut(k, MaxPropertyKey))
}
