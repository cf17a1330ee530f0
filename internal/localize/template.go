package localize

import (
	"errors"
	"fmt"
	"strings"
)

// template is a text with places for arguments, in the order in which they stand.
type template []piece

// piece is literal text and then, when arg is not empty, an argument.
type piece struct{ literal, arg string }

// maxPlaces bounds the places of one template.
const maxPlaces = 32

// parseTemplate reads a template.
func parseTemplate(s string) (template, error) {
	if s == "" {
		return nil, errors.New("is empty; leave the entry out, so that another locale is asked")
	}
	if len(s) > maxTemplate {
		return nil, fmt.Errorf("has %d bytes; at most %d are allowed", len(s), maxTemplate)
	}
	if strings.ContainsFunc(s, control) {
		return nil, errors.New("has a control character, such as a line break; a text is one line")
	}
	var t template
	var literal strings.Builder
	for {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			literal.WriteString(s)
			break
		}
		literal.WriteString(s[:i])
		brace, rest := s[i:i+1], s[i+1:]
		if strings.HasPrefix(rest, brace) {
			literal.WriteString(brace)
			s = rest[1:]
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		switch {
		case brace == "}":
			return nil, errors.New("has a } without its {; write }} for a brace")
		case !closed:
			return nil, errors.New("has a { without its }; write {{ for a brace")
		case !argName(name):
			return nil, fmt.Errorf("has {%.64s}; a name is 1 to %d of a-z, A-Z, 0-9, _, - and .", name, maxName)
		case len(t) == maxPlaces:
			return nil, fmt.Errorf("has more than %d arguments", maxPlaces)
		}
		t = append(t, piece{literal.String(), name})
		literal.Reset()
		s = after
	}
	if literal.Len() > 0 {
		t = append(t, piece{literal: literal.String()})
	}
	return t, nil
}

func argName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	})
}

func control(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' }
