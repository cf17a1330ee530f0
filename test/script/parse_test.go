package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// part is a piece of a story file: either text that is only kept (comments and
// blank lines), or steps with what they print.
type part struct {
	text   string
	steps  []step
	lines  []string // the steps as they stand in the file
	output []string
}

// step is one line of a story: who does what, with which words and options.
type step struct {
	line    string
	user    string // "" for what the world does
	verb    string
	words   []string
	options map[string]string
}

const separator = "----"

// parse reads a story: blocks of steps, "----", and output up to a blank line.
func parse(text string) (parts []part, err error) {
	var kept []string
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		if lines[i] == "" || strings.HasPrefix(lines[i], "#") {
			kept = append(kept, lines[i])
			continue
		}
		p := part{}
		for ; i < len(lines) && lines[i] != separator; i++ {
			s, err := parseStep(lines[i])
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			p.steps, p.lines = append(p.steps, s), append(p.lines, lines[i])
		}
		if i == len(lines) {
			return nil, fmt.Errorf("line %d: the last block has no %s", i, separator)
		}
		for i++; i < len(lines) && lines[i] != ""; i++ {
			p.output = append(p.output, lines[i])
		}
		i-- // the blank line is kept as text
		if len(kept) > 0 {
			parts = append(parts, part{text: strings.Join(kept, "\n") + "\n"})
			kept = nil
		}
		parts = append(parts, p)
	}
	if len(kept) > 0 {
		parts = append(parts, part{text: strings.Join(kept, "\n") + "\n"})
	}
	return parts, nil
}

// format writes parts as parse reads them.
func format(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.steps == nil {
			b.WriteString(p.text)
			continue
		}
		for _, l := range append(append(p.lines, separator), p.output...) {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// parseStep reads `[user:] verb word… option=value…`; a value with spaces
// stands in double quotes.
func parseStep(line string) (step, error) {
	words, err := split(line)
	if err != nil {
		return step{}, err
	}
	s := step{line: line, options: map[string]string{}}
	if user, ok := strings.CutSuffix(words[0], ":"); ok {
		s.user, words = user, words[1:]
	}
	if len(words) == 0 {
		return step{}, errors.New("a step needs a verb")
	}
	s.verb = words[0]
	for _, w := range words[1:] {
		if name, value, ok := strings.Cut(w, "="); ok {
			s.options[name] = value
		} else {
			s.words = append(s.words, w)
		}
	}
	return s, nil
}

// split cuts at spaces outside of quotes, and takes the quotes away.
func split(line string) (words []string, err error) {
	var word strings.Builder
	quoted, begun := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	if quoted || len(words) == 0 {
		return nil, errors.New("an empty step, or a quote that does not end")
	}
	return words, nil
}

// word is the i-th word, or "".
func (s *step) word(i int) string {
	if i < len(s.words) {
		return s.words[i]
	}
	return ""
}

// duration reads the option of that name; 0 when it is not there.
func (s *step) duration(t testing.TB, name string) time.Duration {
	text, ok := s.options[name]
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", s.line, err)
	}
	return d
}

// number reads the option of that name; 0 when it is not there.
func (s *step) number(t testing.TB, name string) int {
	text, ok := s.options[name]
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", s.line, err)
	}
	return n
}

func TestParse(t *testing.T) {
	t.Parallel()
	const text = "# a story\n\nbob: make phone text=\"in a call\" x=\nwait 5s\n----\nout\nout\n\n# end\ncut phone\n----\n"
	parts, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := format(parts); got != text {
		t.Errorf("format(parse): got %q, want %q", got, text)
	}
	s := parts[1].steps[0]
	if s.user != "bob" || s.verb != "make" || s.word(0) != "phone" || s.options["text"] != "in a call" || len(s.options) != 2 {
		t.Errorf("first step: got %+v", s)
	}
	for _, bad := range []string{"wait 5s\n", "bob:\n----\n", "a \"b\n----\n"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse(%q): got no error, want one", bad)
		}
	}
}
