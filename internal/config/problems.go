package config

import (
	"errors"
	"fmt"
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

// longestName is how much of one key an error shows.
const longestName = 64

// String writes a place as apps.shop.jwt.keys[0].secret.
func (p place) String() string {
	var b strings.Builder
	for i, name := range p {
		if i > 0 && !strings.HasPrefix(name, "[") {
			b.WriteByte('.')
		}
		if len(name) > longestName {
			name = name[:longestName] + "…"
		}
		b.WriteString(name)
	}
	return b.String()
}

// problems gathers all that is wrong.
type problems struct{ list []problem }

type problem struct {
	at   place
	text string
}

func (p *problems) add(at place, format string, args ...any) {
	p.list = append(p.list, problem{at, fmt.Sprintf(format, args...)})
}

func (p *problems) err() error {
	var all []error
	for _, one := range p.list {
		all = append(all, fmt.Errorf("%s: %s", one.at, one.text))
	}
	return errors.Join(all...)
}
