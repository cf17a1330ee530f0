package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// place is where a value stands: the keys that lead to it, and "[2]" for the
// third item of a list.
type place []string

func (p place) key(names ...string) place {
	return append(append(make(place, 0, len(p)+len(names)), p...), names...)
}

func (p place) item(i int) place { return p.key("[" + strconv.Itoa(i) + "]") }

// String writes a place as apps.shop.jwt.keys[0].secret.
func (p place) String() string {
	var b strings.Builder
	for i, name := range p {
		if i > 0 && !strings.HasPrefix(name, "[") {
			b.WriteByte('.')
		}
		if name == "" {
			name = `""`
		}
		b.WriteString(masked(cut(name)))
	}
	return b.String()
}

// problems gathers all that is wrong.
type problems struct{ list []problem }

type problem struct {
	at           place
	text         string
	line, column int  // 0: where at stands
	hide         bool // the value on the line may be a secret, whatever its key
}

func (p *problems) add(at place, format string, args ...any) {
	p.list = append(p.list, problem{at: at, text: fmt.Sprintf(format, args...)})
}

// err is nil when nothing is wrong.
func (p *problems) err(s *source) error {
	if len(p.list) == 0 {
		return nil
	}
	e := &Error{}
	for _, one := range p.list {
		e.Problems = append(e.Problems, one.told(s))
	}
	slices.SortStableFunc(e.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
	})
	return e
}

// told says where a problem is.
func (p *problem) told(s *source) Problem {
	t := Problem{Path: p.at.String(), Text: p.text}
	if s == nil {
		return t
	}
	list := t.Path
	if i := strings.LastIndexByte(list, '['); i > 0 { // one variable has all items of a list of texts
		list = list[:i]
	}
	if t.Variable = cmp.Or(s.env[t.Path], s.env[list]); t.Variable != "" {
		return t
	}
	t.File, t.Line, t.Column = s.file, p.line, p.column
	if found := s.find(p.at); t.Line == 0 && found != nil {
		t.Line, t.Column = found.Position.Line, found.Position.Column
	}
	hide := 0
	if p.hide {
		hide = t.Line
	}
	t.excerpt = excerpt(s.text, t.Line, t.Column, hide)
	return t
}

// Error is all that is wrong with a configuration. It shows no secret.
type Error struct{ Problems []Problem }

// Problem is one thing that is wrong.
type Problem struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"` // from 1; 0 when it is nowhere in the file
	Column   int    `json:"column,omitempty"`
	Variable string `json:"variable,omitempty"` // of the environment, when the value is from there
	Path     string `json:"path,omitempty"`     // such as apps.shop.policy.grace
	Text     string `json:"problem"`
	excerpt  string
}

// String is the problem in one line.
func (p Problem) String() string {
	var parts []string
	switch {
	case p.Variable != "":
		parts = append(parts, p.Variable)
	case p.File != "" && p.Line > 0:
		parts = append(parts, p.File+":"+strconv.Itoa(p.Line))
	case p.File != "":
		parts = append(parts, p.File)
	case p.Line > 0:
		parts = append(parts, "line "+strconv.Itoa(p.Line))
	}
	if p.Path != "" {
		parts = append(parts, p.Path)
	}
	return strings.Join(append(parts, p.Text), ": ")
}

// Error is each problem with the lines it is about.
func (e *Error) Error() string {
	var b strings.Builder
	if n := len(e.Problems); n > 1 {
		fmt.Fprintf(&b, "%d problems in the configuration\n", n)
	}
	for _, p := range e.Problems {
		b.WriteString(p.String() + "\n" + p.excerpt)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
