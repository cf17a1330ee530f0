package localize

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func catalogue(t testing.TB, text string) *Catalogue {
	t.Helper()
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func texts(t testing.TB, defaultLocale string, products map[string]string) *Texts {
	t.Helper()
	all := map[string]*Catalogue{}
	for product, text := range products {
		all[product] = catalogue(t, text)
	}
	x, err := New(defaultLocale, all)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func ref(token, fallback string, args ...presence.Property) *presence.Value {
	return &presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: token, Fallback: fallback, Args: args}}
}

func arg(key string, v presence.Value) presence.Property {
	return presence.Property{Key: key, Value: v}
}

func literal(s string) presence.Value { return presence.Value{Kind: presence.KindText, Text: s} }

// The chain: locale, parents, default locale, neutral, fallback, nothing; the
// product's catalogue, then that of no product.
func TestChain(t *testing.T) {
	t.Parallel()
	x := texts(t, "en-GB", map[string]string{
		"": `{"locales": {
			"": {"t.all": "neutral", "t.neutral": "only neutral", "t.shared": "shared neutral"},
			"en": {"t.all": "english", "t.english": "only english"},
			"de": {"t.all": "deutsch", "t.shared": "geteilt"},
			"pt": {"t.all": "português"},
			"pt_BR": {"t.all": "português do Brasil"},
			"zh-Hans": {"t.all": "简体"}, "zh-Hant": {"t.all": "繁體"},
			"es-419": {"t.all": "español de América"}, "es": {"t.shared": "español"},
			"no": {"t.all": "norsk"}}}`,
		"game": `{"locales": {"de": {"t.all": "spiel"}, "": {"t.shared": "game neutral"}, "fr": {"t.game": "jeu"}}}`,
	})
	tests := []struct{ product, locale, token, text, used string }{
		{"", "de", "t.all", "deutsch", "de"},
		{"", "de-AT", "t.all", "deutsch", "de"},
		{"", "de-AT-1996-u-co-phonebk", "t.all", "deutsch", "de"},
		{"", "pt-BR", "t.all", "português do Brasil", "pt-BR"},
		{"", "pt-AO", "t.all", "português", "pt"},
		{"", "zh-CN", "t.all", "简体", "zh"},
		{"", "zh-Hans-SG", "t.all", "简体", "zh"},
		{"", "zh-TW", "t.all", "繁體", "zh-Hant"},
		{"", "zh-Hant-HK", "t.all", "繁體", "zh-Hant"},
		{"", "zh-MO", "t.all", "繁體", "zh-Hant"},
		{"", "es-MX", "t.all", "español de América", "es-419"},
		{"", "es-MX", "t.shared", "español", "es"},
		{"", "es-ES", "t.all", "english", "en"},
		{"", "nb-NO", "t.all", "norsk", "nb"},
		{"", "fr", "t.all", "english", "en"}, // the default locale, by its parents
		{"", "", "t.all", "english", "en"},
		{"", "not a locale", "t.all", "english", "en"},
		{"", "de", "t.english", "only english", "en"},
		{"", "de", "t.neutral", "only neutral", ""},
		{"", "de", "t.none", "fallback", ""},
		{"game", "de-AT", "t.all", "spiel", "de"},
		{"game", "pt", "t.all", "português", "pt"},
		{"game", "de", "t.shared", "game neutral", ""}, // the product's whole chain goes first
		{"game", "fr-CA", "t.game", "jeu", "fr"},
		{"", "fr", "t.game", "fallback", ""},
		{"unknown", "de", "t.all", "deutsch", "de"},
	}
	for _, tt := range tests {
		text, used := x.Text(ref(tt.token, "fallback"), tt.product, tt.locale)
		if text != tt.text || used != tt.used {
			t.Errorf("%s of %q for %q: got %q in %q, want %q in %q", tt.token, tt.product, tt.locale, text, used, tt.text, tt.used)
		}
		if again, in := x.Text(ref(tt.token, "fallback"), tt.product, x.Locale(tt.locale)); again != text || in != used {
			t.Errorf("%s of %q for %q: got %q in %q, but for Locale's %q %q in %q", tt.token, tt.product, tt.locale, text, used, x.Locale(tt.locale), again, in)
		}
	}
	if text, used := x.Text(ref("t.none", ""), "", "de"); text != "" || used != "" {
		t.Errorf("without a fallback: got %q in %q, want nothing", text, used)
	}
}

func TestWithoutCatalogues(t *testing.T) {
	t.Parallel()
	var s Set
	if got := s.Locale("demo", "de"); got != "" {
		t.Errorf("Locale: got %q, want none", got)
	}
	if text, used := s.Reader("demo", "de").Text(ref("t", "fallback"), ""); text != "fallback" || used != "" {
		t.Errorf("Text: got %q in %q, want the fallback", text, used)
	}
	word := literal("as it is {x}")
	if text, used := s.Reader("demo", "de").Text(&word, ""); text != word.Text || used != "" {
		t.Errorf("Text of a literal: got %q in %q, want it as it is", text, used)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	var s Set
	for _, word := range []string{"eins", "zwei"} {
		s.Replace(map[presence.AppID]*Texts{"demo": texts(t, "", map[string]string{"": `{"locales": {"de": {"t": "` + word + `"}}}`})})
		if got, _ := s.Reader("demo", "de").Text(ref("t", ""), ""); got != word {
			t.Errorf("got %q, want %q", got, word)
		}
	}
	if got, _ := s.Reader("other", "de").Text(ref("t", "fallback"), ""); got != "fallback" {
		t.Errorf("another app: got %q, want its fallback", got)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	x := texts(t, "", map[string]string{"": `{"locales": {
		"": {"one": "<{x}>", "two": "{x} and {x}, {y}", "braces": "{{{x}}} {{x}} }}", "nest": "[{inner}]", "map.7": "Harbour"},
		"de": {"map.7": "Hafen", "nest": "({inner})"}}}`})
	nested := func(depth int) *presence.Value {
		v := ref("one", "", arg("x", literal("core")))
		for range depth - 1 {
			v = ref("nest", "", arg("inner", *v))
		}
		return v
	}
	number := func(n float64) *presence.Value {
		return ref("one", "", arg("x", presence.Value{Kind: presence.KindNumber, Number: n}))
	}
	tests := []struct {
		name string
		v    *presence.Value
		want string
	}{
		{"text", ref("one", "", arg("x", literal("a {y}"))), "<a {y}>"},
		{"integer", ref("one", "", arg("x", presence.Value{Kind: presence.KindInteger, Integer: math.MinInt64})), "<-9223372036854775808>"},
		{"number", number(-0.25), "<-0.25>"},
		{"number without fraction", number(1e6), "<1000000>"},
		{"large number", number(1e300), "<1e+300>"},
		{"small number", number(1e-9), "<1e-09>"},
		{"zero", number(0), "<0>"},
		{"not a number", number(math.NaN()), "<>"},
		{"infinite", number(math.Inf(-1)), "<>"},
		{"flag", ref("one", "", arg("x", presence.Value{Kind: presence.KindFlag, Flag: true})), "<true>"},
		{"no value", ref("one", "", arg("x", presence.Value{})), "<>"},
		{"missing", ref("one", "fallback"), "<>"},
		{"twice, and one missing", ref("two", "", arg("x", literal("a"))), "a and a, "},
		{"braces", ref("braces", "", arg("x", literal("a"))), "{a} {x} }"},
		{"enumeration", ref("one", "", arg("x", *ref("map.7", "fallback"))), "<Hafen>"},
		{"unknown enumeration", ref("one", "", arg("x", *ref("map.8", "The Cave"))), "<The Cave>"},
		{"unknown enumeration without fallback", ref("one", "", arg("x", *ref("map.8", ""))), "<>"},
		{"as deep as allowed", nested(4), "(((<core>)))"},
		{"deeper", nested(5), "(((())))"},
		{"nil reference", &presence.Value{Kind: presence.KindRef}, ""},
		{"not UTF-8", ref("one", "", arg("x", literal("a\xffb\ufffd"))), "<ab\ufffd>"},
	}
	for _, tt := range tests {
		if got, _ := x.Text(tt.v, "", "de"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What is too long is cut to MaxText characters with an ellipsis, and letters
// keep their marks.
func TestCut(t *testing.T) {
	t.Parallel()
	x := texts(t, "", map[string]string{"": `{"locales": {"": {"one": "{x}", "t": "{x}{x}{x}{x}"}}}`})
	family := "👩\u200d👩\u200d👧"
	tests := []struct{ name, text, want string }{
		{"just fits", strings.Repeat("é", 256), strings.Repeat("é", 256)},
		{"one too many", strings.Repeat("é", 257), strings.Repeat("é", 255) + "…"},
		{"mark at the cut", strings.Repeat("a", 254) + "e\u0301b", strings.Repeat("a", 254) + "…"},
		{"mark before the cut", strings.Repeat("a", 253) + "e\u0301bc", strings.Repeat("a", 253) + "e\u0301…"},
		{"joined signs", strings.Repeat("a", 253) + family, strings.Repeat("a", 253) + "…"},
		{"space before the cut", strings.Repeat("a", 254) + " bc", strings.Repeat("a", 254) + "…"},
		{"marks alone", strings.Repeat("\u0301", 300), "…"},
	}
	for _, tt := range tests {
		got, _ := x.Text(ref("one", "", arg("x", literal(tt.text))), "", "")
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if n := utf8.RuneCountInString(got); n > MaxText {
			t.Errorf("%s: %d characters", tt.name, n)
		}
	}
	v := ref("t", "", arg("x", literal("")))
	for range 3 {
		v = ref("t", "", arg("x", *v))
	}
	if got, _ := x.Text(v, "", ""); got != "" { // 4 + 16 + 64 + 256 fills, within the bound
		t.Errorf("nested empty arguments: got %q", got)
	}
}

// Templates within templates that repeat what is empty end at a bound.
func TestFillsAreBounded(t *testing.T) {
	t.Parallel()
	x := texts(t, "", map[string]string{"": `{"locales": {"": {"t": "` + strings.Repeat("{x}", maxPlaces) + `"}}}`})
	v := ref("t", "", arg("x", literal("")))
	for range 3 {
		v = ref("t", "", arg("x", *v))
	}
	w := writer{chain: x.chain("", "")}
	w.ref(v.Ref, 1)
	if !w.over || w.fills > maxFills+maxPlaces*4 {
		t.Errorf("over = %v after %d arguments, want a stop soon after %d", w.over, w.fills, maxFills)
	}
}

func TestLocale(t *testing.T) {
	t.Parallel()
	x := texts(t, "en", map[string]string{"": `{"locales": {"": {}, "en": {}, "pt": {}}}`, "a": `{"locales": {"pt-BR": {}}}`})
	got := map[string]string{}
	want := map[string]string{"": "", "en": "en", "en-US": "en", "pt-BR": "pt-BR", "pt-PT": "pt", "de": "", "en_us": "en", "??": "", "und": "", "x-a": ""}
	for locale := range want {
		got[locale] = x.Locale(locale)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	c := catalogue(t, `{"locales": {"de": {}}}`)
	for locale, want := range map[string]string{
		"??": `default locale "??": not a locale; write it as de, en-US or zh-Hant`,
		"en": `default locale "en": no catalogue has it`,
	} {
		if _, err := New(locale, map[string]*Catalogue{"": c}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := New("de-AT", map[string]*Catalogue{"": c}); err != nil {
		t.Errorf("a default locale whose parent is there: %v", err)
	}
}
