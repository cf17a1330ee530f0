package localize

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each language of the demo has the same tokens, with the same arguments.
func TestDemoIsWholeInEachLanguage(t *testing.T) {
	t.Parallel()
	c, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	args := func(locale string) map[string][]string {
		found := map[string][]string{}
		for token, tpl := range c.locales[locale] {
			names := []string{}
			for _, p := range tpl {
				if p.arg != "" {
					names = append(names, p.arg)
				}
			}
			slices.Sort(names)
			found[token] = names
		}
		return found
	}
	if got, want := slices.Sorted(maps.Keys(c.locales)), []string{"", "de", "en", "pt"}; !slices.Equal(got, want) {
		t.Fatalf("locales: got %q, want %q", got, want)
	}
	for _, locale := range []string{"de", "pt"} {
		if diff := cmp.Diff(args("en"), args(locale)); diff != "" {
			t.Errorf("%s differs from en (-en +%s):\n%s", locale, locale, diff)
		}
	}
}
