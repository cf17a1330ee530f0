package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// catalogues writes files and returns the path of each.
func catalogues(t *testing.T, texts map[string]string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for product, text := range texts {
		files[product] = filepath.Join(t.TempDir(), "catalogue.json")
		if err := os.WriteFile(files[product], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestTexts(t *testing.T) {
	t.Parallel()
	files := catalogues(t, map[string]string{
		"":     `{"locales": {"en": {"word": "word"}, "de": {"word": "Wort", "more": "mehr"}}}`,
		"game": `{"locales": {"de": {"word": "Spielwort"}}}`,
	})
	read := func(c Catalogues, product, locale, token string) string {
		t.Helper()
		all, err := (&Config{Apps: map[string]App{"a": {Catalogues: c}}}).Texts()
		if err != nil {
			t.Fatal(err)
		}
		v := &presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: token, Fallback: "fallback"}}
		text, _ := all["a"].Text(v, product, locale)
		return text
	}
	for _, tt := range []struct {
		c                            Catalogues
		product, locale, token, want string
	}{
		{Catalogues{Products: files}, "", "de-AT", "word", "Wort"},
		{Catalogues{Products: files}, "game", "de", "word", "Spielwort"},
		{Catalogues{Products: files}, "game", "de", "more", "mehr"},
		{Catalogues{Products: files}, "", "fr", "word", "word"}, // en is the default
		{Catalogues{Products: files, DefaultLocale: "de"}, "", "fr", "word", "Wort"},
		{Catalogues{Products: map[string]string{"game": files["game"]}}, "game", "fr", "word", "fallback"}, // and need not be there
		{Catalogues{}, "", "de", "word", "fallback"},
		{Development().Apps["demo"].Catalogues, "any", "pt-BR", "map.harbour", "O Porto"},
	} {
		if got := read(tt.c, tt.product, tt.locale, tt.token); got != tt.want {
			t.Errorf("%s of %q for %q: got %q, want %q", tt.token, tt.product, tt.locale, got, tt.want)
		}
	}
}

// Everything that is wrong is said, with the file and what leads to it.
func TestTextsRefuses(t *testing.T) {
	t.Parallel()
	files := catalogues(t, map[string]string{"": `{"locales": {"de": {"word": "{"}}}`, "good": `{"locales": {"de": {}}}`})
	missing := filepath.Join(t.TempDir(), "missing.json")
	c := &Config{Apps: map[string]App{
		"a": {Catalogues: Catalogues{Products: map[string]string{"": files[""], "x": missing}}},
		"b": {Catalogues: Catalogues{DefaultLocale: "fr", Products: map[string]string{"": files["good"]}}},
	}}
	_, err := c.Texts()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		`apps.a.catalogues: product "": ` + files[""] + `: line 1: locales["de"]["word"]: has a { without its }`,
		`product "x": stat ` + missing,
		`apps.b.catalogues: default locale "fr": no catalogue has it`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%v\nwant in it\n%s", err, want)
		}
	}
	large := filepath.Join(t.TempDir(), "large.json")
	if err := os.WriteFile(large, make([]byte, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c = &Config{Apps: map[string]App{"a": {Catalogues: Catalogues{Products: map[string]string{"": large}}}}}
	if _, err := c.Texts(); err == nil || !strings.Contains(err.Error(), "5242880 bytes; a catalogue has at most 4194304") {
		t.Errorf("a large file: got %v", err)
	}
}
