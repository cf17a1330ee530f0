package presence

import "testing"

func TestPatch(t *testing.T) {
	t.Parallel()
	text := func(s string) Value { return Value{Kind: KindText, Text: s} }
	old := &Status{Show: Away, Text: text("old"), Invisible: true, Properties: []Property{{"a", text("1")}, {"c", text("3")}}}
	show, off := Busy, false
	for name, row := range map[string]struct {
		patch Patch
		want  Status
	}{
		"nothing":       {Patch{}, *old},
		"show":          {Patch{Show: &show}, Status{Show: Busy, Text: old.Text, Invisible: true, Properties: old.Properties}},
		"visible":       {Patch{Invisible: &off}, Status{Show: Away, Text: old.Text, Properties: old.Properties}},
		"text":          {Patch{Text: text("new"), ClearText: true}, Status{Show: Away, Text: text("new"), Invisible: true, Properties: old.Properties}},
		"no text":       {Patch{ClearText: true}, Status{Show: Away, Invisible: true, Properties: old.Properties}},
		"set":           {Patch{Properties: []Property{{"b", text("2")}, {"c", text("4")}}}, Status{Show: Away, Text: old.Text, Invisible: true, Properties: []Property{{"a", text("1")}, {"b", text("2")}, {"c", text("4")}}}},
		"clear":         {Patch{Clear: []string{"a", "x"}}, Status{Show: Away, Text: old.Text, Invisible: true, Properties: old.Properties[1:]}},
		"clear and set": {Patch{Clear: []string{"a", "c"}, Properties: []Property{{"a", text("5")}}}, Status{Show: Away, Text: old.Text, Invisible: true, Properties: []Property{{"a", text("5")}}}},
		"clear all":     {Patch{Clear: []string{"a", "c"}}, Status{Show: Away, Text: old.Text, Invisible: true}},
	} {
		before := *old
		got := row.patch.Apply(old)
		if !got.Equal(&row.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, row.want)
		}
		if !old.Equal(&before) || old.Properties[0].Value.Text != "1" {
			t.Fatalf("%s: changed the old status", name)
		}
	}
}
