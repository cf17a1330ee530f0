package localize

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	de := func(entry string) string { return "{\"locales\": {\n\"de\": {\n" + entry + "}}}" }
	tests := []struct{ name, text, want string }{
		{"empty", "", "line 1: the file ends in the middle"},
		{"cut off", `{"locales": {"de": {"a": "b"`, "line 1: the file ends in the middle"},
		{"no object", `[]`, "line 1: the file: must be an object"},
		{"null", `{"locales": null}`, `line 1: "locales": must be an object`},
		{"nothing in it", `{}`, `line 1: "locales" is missing`},
		{"unknown key", `{"locale": {}}`, `line 1: "locale": unknown or given twice; a catalogue has the one key "locales"`},
		{"twice", `{"locales": {}, "locales": {}}`, `line 1: "locales": unknown or given twice; a catalogue has the one key "locales"`},
		{"not JSON", "{\n'locales'", "line 2: not JSON: invalid character '\\''"},
		{"trailing comma", de(`"a": "b",`), "line 3: not JSON: "},
		{"rest", `{"locales": {}} {}`, "line 1: something follows the end of the catalogue"},
		{"not UTF-8", "{\"locales\": {\"de\": {\"a\": \"\xff\"}}}", "is not UTF-8"},
		{"no locale", `{"locales": {"german": {}}}`, `line 1: locales["german"]: not a locale; write it as de, en-US or zh-Hant, or "" for the neutral one`},
		{"locale of no language", `{"locales": {"und-US": {}}}`, `line 1: locales["und-US"]: not a locale`},
		{"same locale", "{\"locales\": {\"zh\": {},\n\"zh-Hans\": {}}}", `line 2: locales["zh-Hans"]: is there already, as "zh"`},
		{"locale is no object", `{"locales": {"de": []}}`, `line 1: locales["de"]: must be an object`},
		{"template is no text", de(`"a": 5`), `line 3: locales["de"]["a"]: must be a text, the template`},
		{"template is an object", de(`"a": {}`), `line 3: locales["de"]["a"]: must be a text, the template`},
		{"empty token", de(`"": "b"`), `line 3: locales["de"][""]: a token is 1 to 256 bytes without control characters`},
		{"long token", de(`"` + strings.Repeat("a", 257) + `": "b"`), `: a token is 1 to 256 bytes`},
		{"token twice", de("\"a\": \"b\",\n\"a\": \"c\""), `line 4: locales["de"]["a"]: is given twice`},
		{"empty template", de(`"a": ""`), `locales["de"]["a"]: is empty; leave the entry out`},
		{"long template", de(`"a": "` + strings.Repeat("a", 1025) + `"`), `["a"]: has 1025 bytes; at most 1024 are allowed`},
		{"line break", de(`"a": "b\nc"`), `["a"]: has a control character`},
		{"lonely }", de(`"a": "b } c"`), `["a"]: has a } without its {; write }} for a brace`},
		{"open {", de(`"a": "b {c"`), `["a"]: has a { without its }; write {{ for a brace`},
		{"no name", de(`"a": "{}"`), `["a"]: has {}; a name is 1 to 64 of`},
		{"kept for later", de(`"a": "{n, plural, one {x}}"`), `["a"]: has {n, plural, one {x}; a name is`},
		{"many arguments", de(`"a": "` + strings.Repeat("{x}", 33) + `"`), `["a"]: has more than 32 arguments`},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

// All faults are said at once, up to a number.
func TestParseSaysAllFaults(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "\"t%d\": \"{\",\n", i)
	}
	_, err := Parse([]byte("{\"locales\": {\"de\": {\n" + b.String() + "\"end\": \"x\"}}}"))
	if err == nil {
		t.Fatal("got no error, want 20 faults and a word of more")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxFaults+1 || !strings.HasPrefix(lines[0], `line 2: locales["de"]["t0"]`) || !strings.HasPrefix(lines[19], `line 21: `) || lines[20] != "and more" {
		t.Errorf("got %d lines:\n%v", len(lines), err)
	}
}

func TestParseBounds(t *testing.T) {
	t.Parallel()
	if _, err := Parse(make([]byte, MaxFile+1)); err == nil || !strings.Contains(err.Error(), "a catalogue has at most") {
		t.Errorf("large file: got %v", err)
	}
	var b strings.Builder
	for i := range maxEntries + 1 {
		fmt.Fprintf(&b, "%q: \"x\",", fmt.Sprint("t", i))
	}
	text := `{"locales": {"": {` + strings.TrimSuffix(b.String(), ",") + `}}}`
	if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "more than 50000 entries") {
		t.Errorf("many entries: got %v", err)
	}
	var locales []string
	for i := 0; len(locales) <= maxLocales; i++ {
		tag, err := parseLocale(fmt.Sprintf("%c%c-%c%c", "ef"[i/676], "nr"[i/676], 'A'+i%676/26, 'A'+i%26))
		if err == nil && !slices.Contains(locales, tag.String()) {
			locales = append(locales, tag.String())
		}
	}
	text = `{"locales": {"` + strings.Join(locales, "\": {},\n\"") + `": {}}}`
	if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "line 201: ") || !strings.Contains(err.Error(), "more than 200 locales") {
		t.Errorf("many locales: got %v", err)
	}
	if _, err := Parse([]byte("\ufeff{\"locales\": {\"\": {\"a\": \"b\"}}}")); err != nil {
		t.Errorf("a byte order mark: %v", err)
	}
}
