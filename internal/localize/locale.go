package localize

import (
	"errors"

	"golang.org/x/text/language"
)

// maxParents bounds a chain of parents; the longest known has four.
const maxParents = 8

// canonical returns the name under which a locale is known here: without
// extensions, and without the script where the rest implies it (zh-Hans is zh,
// zh-Hant-TW is zh-TW), so that one language has one name. Devices say nb where
// many catalogues say no. ok is false for what names no language.
func canonical(tag language.Tag) (_ language.Tag, ok bool) {
	base, script, region := tag.Raw()
	if base.String() == "no" {
		base = language.MustParseBase("nb")
	}
	if base.String() == "und" {
		return language.Und, false
	}
	short, err := language.Compose(base, region, tag.Variants())
	if err != nil {
		return language.Und, false
	}
	if implied, _ := short.Script(); script.String() == "Zzzz" || implied == script {
		return short, true
	}
	long, err := language.Compose(base, script, region, tag.Variants())
	return long, err == nil
}

// parseLocale reads a locale as people write it.
func parseLocale(s string) (language.Tag, error) {
	tag, err := language.Parse(s)
	if err == nil {
		if tag, ok := canonical(tag); ok {
			return tag, nil
		}
	}
	return language.Und, errors.New("not a locale; write it as de, en-US or zh-Hant")
}

// family returns a locale and its parents, the nearest first, as their names;
// nil for what is none.
func family(locale string) (names []string) {
	if locale == "" {
		return nil
	}
	tag, err := language.Parse(locale)
	for err == nil && len(names) < maxParents {
		var ok bool
		if tag, ok = canonical(tag); !ok {
			break
		}
		names = append(names, tag.String())
		tag = tag.Parent()
	}
	return names
}
