package presence

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCheckNamesEachViolation(t *testing.T) {
	t.Parallel()
	ref := func(r Ref) Value { return Value{Kind: KindRef, Ref: &r} }
	one := func(key string, v Value) *Status { return &Status{Properties: []Property{{key, v}}} }
	long := strings.Repeat("x", MaxPropertyValue+1)
	for _, c := range []struct {
		name  string
		s     *Status
		paths []string
	}{
		{"nil", nil, nil},
		{"nothing said", &Status{}, nil},
		{"a property without a value", one("k", Value{}), nil},
		{"show", &Status{Show: showCount}, []string{"status"}},
		{"rich text of 256 wide characters", &Status{Text: text(strings.Repeat("ä", MaxRichText))}, nil},
		{"rich text too long", &Status{Text: text(strings.Repeat("a", MaxRichText+1))}, []string{"rich_text"}},
		{"rich text not UTF-8", &Status{Text: text("\xff")}, []string{"rich_text"}},
		{"rich text a number", &Status{Text: Value{Kind: KindInteger}}, []string{"rich_text"}},
		{"template without token", &Status{Text: ref(Ref{})}, []string{"rich_text"}},
		{"template with a bad argument", &Status{Text: ref(Ref{Token: "t", Args: []Property{{"n", text(long)}}})}, []string{`rich_text.args["n"]`}},
		{"empty key", one("", text("v")), []string{`properties[""]`}},
		{"key with a quote, value too long", one(`a"b`, text(long)), []string{`properties["a\"b"]`}},
		{"key too long is cut in its path", one(strings.Repeat("k", 500), Value{}), []string{`properties["` + strings.Repeat("k", MaxPropertyKey) + `"]`}},
		{"key not UTF-8", one("\xff", Value{}), []string{`properties["\xff"]`}},
		{"value not UTF-8", one("k", text("\xff")), []string{`properties["k"]`}},
		{"key twice", &Status{Properties: []Property{{"k", Value{}}, {"k", Value{}}}}, []string{`properties["k"]`}},
		{"not sorted", &Status{Properties: []Property{{"k", Value{}}, {"a", Value{}}}}, []string{`properties["a"]`}},
		{"unknown kind", one("k", Value{Kind: valueKindCount}), []string{`properties["k"]`}},
		{"token and fallback too long", one("k", ref(Ref{Token: long, Fallback: long})), []string{`properties["k"]`, `properties["k"]`}},
		{"too deep", one("k", chain(MaxRefDepth+1)), []string{`properties["k"]` + strings.Repeat(`.args["a"]`, MaxRefDepth)}},
		{"too many", &Status{Properties: properties(100, Value{})}, []string{"properties"}},
		{"too large", &Status{Properties: properties(MaxProperties, text(strings.Repeat("v", 253)))}, []string{""}},
		{"several", &Status{Show: 9, Text: Value{Kind: KindFlag}, Properties: []Property{{"a", text(long)}, {"b", text(long)}}},
			[]string{"status", "rich_text", `properties["a"]`, `properties["b"]`}},
	} {
		found := c.s.Check()
		var paths []string
		for _, v := range found {
			paths = append(paths, v.Path)
			if v.Rule == "" || strings.Contains(v.Rule, "%!") {
				t.Errorf("%s: %s has the rule %q", c.name, v.Path, v.Rule)
			}
		}
		if !slices.Equal(paths, c.paths) {
			t.Errorf("%s: got %q, want the paths %q", c.name, found, c.paths)
		}
	}
}

// What Check lets pass must be readable, whatever it is: a status that is
// written but cannot be read would spoil the message of the log it is in.
func TestCheckAgreesWithParseStatus(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := genStatus().Draw(t, "status")
		if s != nil { // break it perhaps
			s.Show = Show(rapid.IntRange(0, 3).Draw(t, "show"))
			if len(s.Properties) > 0 && rapid.Bool().Draw(t, "spoil") {
				p := &s.Properties[rapid.IntRange(0, len(s.Properties)-1).Draw(t, "which")]
				p.Key = rapid.SampledFrom([]string{"", "a", "\xff", strings.Repeat("k", MaxPropertyKey), strings.Repeat("k", MaxPropertyKey+1)}).Draw(t, "key")
				p.Value = rapid.SampledFrom([]Value{
					{Kind: KindRef}, {Kind: valueKindCount}, chain(MaxRefDepth), chain(MaxRefDepth + 1),
					text(strings.Repeat("v", MaxPropertyValue)), text(strings.Repeat("v", MaxPropertyValue+1)),
				}).Draw(t, "value")
			}
		}
		bad := s.Check()
		_, err := ParseStatus(AppendStatus(nil, s))
		if (bad == nil) != (err == nil) {
			t.Fatalf("Check found %v, ParseStatus says %v, of %+v", bad, err, s)
		}
	})
}

func TestNormalizeSortsAtEveryDepth(t *testing.T) {
	t.Parallel()
	shuffled := func() []Property {
		return []Property{{"c", text("3")}, {"a", text("1")}, {"b", Value{Kind: KindRef, Ref: &Ref{Token: "t", Args: []Property{{"y", Value{}}, {"x", Value{}}}}}}}
	}
	s := &Status{Text: Value{Kind: KindRef, Ref: &Ref{Token: "t", Args: shuffled()}}, Properties: shuffled()}
	s.Normalize()
	if bad := s.Check(); bad != nil {
		t.Errorf("after Normalize: %v", bad)
	}
	if got := s.Properties[0].Value.Text + s.Properties[2].Value.Text; got != "13" {
		t.Errorf("values went astray: got %q, want 13", got)
	}
	(*Status)(nil).Normalize() // must not panic: sessions without a status are common
	(&Status{Text: Value{Kind: KindRef}}).Normalize()
}

func TestStatusEqual(t *testing.T) {
	t.Parallel()
	full := func() *Status {
		return &Status{Show: Busy, Invisible: true, Text: chain(2), Properties: []Property{{"a", Value{Kind: KindInteger, Integer: 3}}, {"b", text("x")}}}
	}
	if !full().Equal(full()) {
		t.Error("two that say the same are not equal")
	}
	ignored := full()
	ignored.Properties[0].Value.Text = "does not count in an integer"
	if !full().Equal(ignored) {
		t.Error("a field that does not count makes a difference")
	}
	for name, change := range map[string]func(*Status){
		"show":            func(s *Status) { s.Show = Away },
		"invisible":       func(s *Status) { s.Invisible = false },
		"text":            func(s *Status) { s.Text = Value{} },
		"token":           func(s *Status) { s.Text.Ref.Token = "u" },
		"fallback":        func(s *Status) { s.Text.Ref.Fallback = "u" },
		"deep argument":   func(s *Status) { s.Text.Ref.Args[0].Value.Ref.Args[0].Value.Flag = true },
		"no reference":    func(s *Status) { s.Text.Ref = nil },
		"key":             func(s *Status) { s.Properties[1].Key = "c" },
		"value":           func(s *Status) { s.Properties[0].Value.Integer = 4 },
		"kind":            func(s *Status) { s.Properties[1].Value.Kind = KindNone },
		"a property less": func(s *Status) { s.Properties = s.Properties[:1] },
	} {
		s := full()
		change(s)
		if s.Equal(full()) || full().Equal(s) {
			t.Errorf("%s: equal although it differs", name)
		}
	}
	var none *Status
	if !none.Equal(nil) || none.Equal(&Status{}) || (&Status{}).Equal(none) {
		t.Error("nil must equal nil, and nothing else")
	}
}
