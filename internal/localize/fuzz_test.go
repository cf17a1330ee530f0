package localize

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// FuzzParse: no file panics, and what is taken can be read whatever is asked.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"locales": {"": {"a": "b"}, "en": {"a": "{x} {{}}"}, "pt_BR": {"a.b": "ü"}}}`))
	f.Add([]byte(`{"locales": {"de": {"a": "{"}}}`))
	f.Add([]byte("\ufeff{\"locales\":\n{}}"))
	f.Add([]byte(`{"locales": {"zh-Hans": {}, "zh": {}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			return
		}
		x, err := New("", map[string]*Catalogue{"": c})
		if err != nil {
			t.Fatal(err)
		}
		for locale, entries := range c.locales {
			if locale != "" && x.Locale(locale) != locale {
				t.Errorf("locale %q is read as %q", locale, x.Locale(locale))
			}
			for token := range entries {
				text, used := x.Text(ref(token, ""), "", locale)
				if used != locale {
					t.Errorf("%q for %q is read in %q", token, locale, used)
				}
				whole(t, text)
			}
		}
	})
}

// whole checks what must hold of every text.
func whole(t *testing.T, text string) {
	t.Helper()
	if n := utf8.RuneCountInString(text); n > MaxText {
		t.Errorf("%d characters: %q", n, text)
	}
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %q", text)
	}
}

// FuzzText: whatever is referred to, a text is no longer than its bound, and no
// token is ever in it.
func FuzzText(f *testing.F) {
	f.Add("in {a} on {b.c}", "a", "x", "pt-BR", int64(7), 0.5, uint8(0b1011))
	f.Add("{{{x}}}", "x", strings.Repeat("é\u0301", 200), "zz", int64(-1), 1e300, uint8(0xff))
	f.Add("{a}{a}{a}{a}{a}{a}{a}{a}", "a", "", "", int64(0), 0.0, uint8(3))
	f.Fuzz(func(t *testing.T, text, key, word, locale string, integer int64, number float64, shape uint8) {
		const mark = "#token#"
		if strings.Contains(text+key+word, mark) {
			return
		}
		c := &Catalogue{locales: map[string]map[string]template{"": {}, "pt": {}}}
		if tpl, err := parseTemplate(text); err == nil {
			c.locales[[]string{"", "pt"}[shape>>7]][mark+"known"] = tpl
		}
		x, err := New("", map[string]*Catalogue{"": c})
		if err != nil {
			t.Fatal(err)
		}
		v := literal(word)
		for i := range 6 { // deeper than allowed
			args := []presence.Property{
				arg(key, v), arg("a", v), arg("b.c", presence.Value{Kind: presence.KindInteger, Integer: integer}),
				arg("n", presence.Value{Kind: presence.KindNumber, Number: number}),
			}
			token := mark + "unknown"
			if shape>>i&1 != 0 {
				token = mark + "known"
			}
			v = *ref(token, word, args...)
		}
		got, _ := x.Text(&v, "", locale)
		whole(t, got)
		if strings.Contains(got, mark) {
			t.Errorf("a token is shown: %q", got)
		}
	})
}
