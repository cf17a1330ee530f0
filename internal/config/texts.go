package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Texts reads the files of the catalogues, anew with each call. The error has all
// that is wrong with them.
func (c *Config) Texts() (map[presence.AppID]*localize.Texts, error) {
	texts := make(map[presence.AppID]*localize.Texts, len(c.Apps))
	var all []error
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		t, err := c.Apps[name].Catalogues.read()
		if err != nil {
			all = append(all, fmt.Errorf("apps.%s.catalogues: %w", name, err))
		}
		texts[presence.AppID(name)] = t
	}
	if err := errors.Join(all...); err != nil {
		return nil, err
	}
	return texts, nil
}

func (c Catalogues) read() (*localize.Texts, error) {
	if len(c.Products) == 0 && !c.demo {
		return localize.New("", nil) // a default locale is of no use
	}
	products := make(map[string]*localize.Catalogue, len(c.Products))
	var all []error
	if c.demo {
		demo, err := localize.Demo()
		if err != nil {
			return nil, err
		}
		products[""] = demo
	}
	for _, product := range slices.Sorted(maps.Keys(c.Products)) {
		catalogue, err := readCatalogue(c.Products[product])
		if err != nil {
			all = append(all, fmt.Errorf("product %.64q: %w", product, err))
		}
		products[product] = catalogue
	}
	if err := errors.Join(all...); err != nil {
		return nil, err
	}
	texts, err := localize.New(c.DefaultLocale, products)
	if err == nil && c.DefaultLocale == "" && texts.Locale(DefaultLocale) != "" {
		return localize.New(DefaultLocale, products)
	}
	return texts, err
}

func readCatalogue(path string) (*localize.Catalogue, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > localize.MaxFile {
		return nil, fmt.Errorf("%s: %d bytes; a catalogue has at most %d", path, st.Size(), localize.MaxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := localize.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
