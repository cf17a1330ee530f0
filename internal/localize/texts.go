package localize

import (
	"fmt"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Texts are all catalogues of one app, ready to be read. They never change, so
// any number of goroutines may read them. A nil *Texts has no catalogue.
type Texts struct {
	// locales are those that some catalogue has, each by its name: one string for
	// all who read in it.
	locales map[string]string
	// chains says for each product and each of the locales, and for "" of both,
	// where to look, the first place first.
	chains map[chainKey][]step
}

type chainKey struct{ product, locale string }

// step is one locale of one catalogue.
type step struct {
	locale  string
	entries map[string]template
}

// New returns the texts of an app. The catalogues are by product; "" is that of
// sessions without one and the fallback of all others. defaultLocale may be
// empty; otherwise some catalogue must have it, or a parent of it.
func New(defaultLocale string, products map[string]*Catalogue) (*Texts, error) {
	t := &Texts{locales: map[string]string{}, chains: map[chainKey][]step{}}
	for _, c := range products {
		for l := range c.locales {
			if l != "" {
				t.locales[l] = l
			}
		}
	}
	if defaultLocale != "" {
		if _, err := parseLocale(defaultLocale); err != nil {
			return nil, fmt.Errorf("default locale %.64q: %w", defaultLocale, err)
		}
		if t.Locale(defaultLocale) == "" {
			return nil, fmt.Errorf("default locale %q: no catalogue has it", defaultLocale)
		}
	}
	readers := []string{""}
	for l := range t.locales {
		readers = append(readers, l)
	}
	for product, c := range products {
		for _, l := range readers {
			chain := c.chain(l, defaultLocale)
			if shared := products[""]; product != "" && shared != nil {
				chain = append(chain, shared.chain(l, defaultLocale)...)
			}
			t.chains[chainKey{product, l}] = chain
		}
	}
	return t, nil
}

// chain is where a reader of the locale finds a token in c.
func (c *Catalogue) chain(locale, defaultLocale string) (chain []step) {
	names := append(append(family(locale), family(defaultLocale)...), "")
	for _, name := range names {
		entries := c.locales[name]
		if entries == nil || slices.ContainsFunc(chain, func(s step) bool { return s.locale == name }) {
			continue
		}
		chain = append(chain, step{name, entries})
	}
	return chain
}

// Locale returns the one of our locales that decides what a reader of the given
// locale gets: itself or its nearest parent, or "" when we have none of them.
// Readers with the same answer get the same texts.
func (t *Texts) Locale(locale string) string {
	if t == nil || locale == "" {
		return ""
	}
	if name, ok := t.locales[locale]; ok {
		return name
	}
	for _, parent := range family(locale) {
		if name, ok := t.locales[parent]; ok {
			return name
		}
	}
	return ""
}

// Text makes text of a value, for a reader of a locale and a session of a
// product. used is the locale whose template made it: empty for the neutral one,
// for fallback texts and for what is no reference.
func (t *Texts) Text(v *presence.Value, product, locale string) (text, used string) {
	switch v.Kind {
	case presence.KindText:
		return v.Text, ""
	case presence.KindRef:
		w := writer{chain: t.chain(product, locale)}
		used = w.ref(v.Ref, 1)
		return w.text(), used
	}
	return "", ""
}

func (t *Texts) chain(product, locale string) []step {
	if t == nil {
		return nil
	}
	locale = t.Locale(locale)
	if chain, ok := t.chains[chainKey{product, locale}]; ok {
		return chain
	}
	return t.chains[chainKey{"", locale}]
}
