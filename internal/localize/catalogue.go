package localize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Bounds of a catalogue.
const (
	MaxFile     = 4 << 20 // bytes of a file
	maxEntries  = 50_000  // templates, of all locales together
	maxLocales  = 200
	maxTemplate = 1024                      // bytes
	maxToken    = presence.MaxPropertyValue // a longer one cannot be referred to
	maxName     = presence.MaxPropertyKey   // the same of arguments
	maxFaults   = 20                        // that are said of one file
)

// Catalogue is what one product can say. It never changes.
type Catalogue struct {
	// locales holds token → template by a locale's canonical name; "" is the neutral one.
	locales map[string]map[string]template
}

// Parse reads the JSON of a catalogue. It takes nothing that it does not know,
// and nothing twice. The error has a line for each fault, with the line of the
// file, the entry and what is wrong with it.
func Parse(b []byte) (*Catalogue, error) {
	if len(b) > MaxFile {
		return nil, fmt.Errorf("%d bytes; a catalogue has at most %d", len(b), MaxFile)
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // some editors begin a file with it
	if !utf8.Valid(b) {
		return nil, errors.New("is not UTF-8")
	}
	r := &reader{file: b, json: json.NewDecoder(bytes.NewReader(b)), c: &Catalogue{locales: map[string]map[string]template{}}}
	if err := r.top(); err != nil {
		r.faults = append(r.faults, err)
	}
	if len(r.faults) > 0 {
		return nil, errors.Join(r.faults...)
	}
	return r.c, nil
}

// reader takes a file apart piece by piece: unlike json.Unmarshal it sees a key
// that stands twice, and the line of each.
type reader struct {
	file    []byte
	json    *json.Decoder
	c       *Catalogue
	entries int
	faults  []error // what is wrong with entries; an error of the syntax ends the reading
}

// fault is an error at where the reader stands.
func (r *reader) fault(format string, args ...any) error {
	line := 1 + bytes.Count(r.file[:min(int(r.json.InputOffset()), len(r.file))], []byte("\n"))
	return fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...))
}

// note keeps a fault of an entry; the reading goes on until there are many.
func (r *reader) note(format string, args ...any) error {
	if len(r.faults) == maxFaults {
		return errors.New("and more")
	}
	r.faults = append(r.faults, r.fault(format, args...))
	return nil
}

func (r *reader) top() error {
	seen := false
	err := r.object("the file", func(key string) error {
		if key != "locales" || seen {
			return r.fault("%.64q: unknown or given twice; a catalogue has the one key \"locales\"", key)
		}
		seen = true
		return r.object(`"locales"`, r.locale)
	})
	if err != nil {
		return err
	}
	if !seen {
		return r.fault("\"locales\" is missing")
	}
	if _, err := r.json.Token(); err != io.EOF {
		return r.fault("something follows the end of the catalogue")
	}
	return nil
}

// locale reads the entries of one.
func (r *reader) locale(key string) error {
	name := ""
	if key != "" {
		tag, err := parseLocale(key)
		if err != nil {
			return r.fault("locales[%.64q]: %w, or \"\" for the neutral one", key, err)
		}
		name = tag.String()
	}
	at := fmt.Sprintf("locales[%q]", key)
	if _, twice := r.c.locales[name]; twice {
		return r.fault("%s: is there already, as %q", at, name)
	}
	if len(r.c.locales) == maxLocales {
		return r.fault("%s: more than %d locales", at, maxLocales)
	}
	entries := map[string]template{}
	r.c.locales[name] = entries
	return r.object(at, func(token string) error { return r.entry(at, token, entries) })
}

func (r *reader) entry(at, token string, entries map[string]template) error {
	at = fmt.Sprintf("%s[%.64q]", at, token)
	if r.entries++; r.entries > maxEntries {
		return r.fault("%s: more than %d entries", at, maxEntries)
	}
	v, err := r.next()
	if err != nil {
		return err
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return r.fault("%s: must be a text, the template", at)
	case token == "" || len(token) > maxToken || strings.ContainsFunc(token, control):
		return r.note("%s: a token is 1 to %d bytes without control characters", at, maxToken)
	case entries[token] != nil:
		return r.note("%s: is given twice", at)
	}
	t, err := parseTemplate(s)
	if err != nil {
		return r.note("%s: %w", at, err)
	}
	entries[token] = t
	return nil
}

// object reads an object and calls each for its keys, which must read the value.
func (r *reader) object(what string, each func(key string) error) error {
	v, err := r.next()
	if err != nil {
		return err
	}
	if v != json.Delim('{') {
		return r.fault("%s: must be an object", what)
	}
	for r.json.More() {
		key, err := r.next()
		if err != nil {
			return err
		}
		if err := each(key.(string)); err != nil { // a key that is no text is an error of the syntax
			return err
		}
	}
	_, err = r.next()
	return err
}

func (r *reader) next() (json.Token, error) {
	v, err := r.json.Token()
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, r.fault("the file ends in the middle")
	}
	if err != nil {
		return nil, r.fault("not JSON: %w", err)
	}
	return v, nil
}
