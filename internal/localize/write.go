package localize

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// MaxText bounds what a reference becomes, in characters (protocol note A5, rich
// text).
const MaxText = presence.MaxRichText

// maxFills bounds the arguments that are put into one text: templates within
// templates that repeat an empty argument would cost much and show nothing.
const maxFills = 1024

const ellipsis = "…"

// writer makes one text. What goes beyond the bound is not even looked at.
type writer struct {
	chain []step
	b     []byte
	runes int // in b
	fills int
	over  bool
}

// ref writes a reference, the depth-th within its value, and returns the locale
// of its template.
func (w *writer) ref(r *presence.Ref, depth int) (used string) {
	if r == nil || depth > presence.MaxRefDepth {
		return ""
	}
	for i := range w.chain {
		if t, ok := w.chain[i].entries[r.Token]; ok {
			w.template(t, r.Args, depth)
			return w.chain[i].locale
		}
	}
	w.string(r.Fallback)
	return ""
}

func (w *writer) template(t template, args []presence.Property, depth int) {
	for i := range t {
		w.string(t[i].literal)
		if t[i].arg == "" {
			continue
		}
		if w.fills++; w.fills > maxFills {
			w.over = true
		}
		if w.over {
			return
		}
		at := slices.IndexFunc(args, func(p presence.Property) bool { return p.Key == t[i].arg })
		if at >= 0 {
			w.value(&args[at].Value, depth)
		}
	}
}

// value writes an argument.
func (w *writer) value(v *presence.Value, depth int) {
	switch v.Kind {
	case presence.KindText:
		w.string(v.Text)
	case presence.KindInteger:
		w.string(strconv.FormatInt(v.Integer, 10))
	case presence.KindNumber:
		if !math.IsNaN(v.Number) && !math.IsInf(v.Number, 0) {
			w.string(strconv.FormatFloat(v.Number, numberForm(v.Number), -1, 64))
		}
	case presence.KindFlag:
		w.string(strconv.FormatBool(v.Flag))
	case presence.KindRef:
		w.ref(v.Ref, depth+1)
	}
}

// numberForm is plain digits, unless they would be very many.
func numberForm(n float64) byte {
	if a := math.Abs(n); a == 0 || a >= 1e-6 && a < 1e15 {
		return 'f'
	}
	return 'g'
}

// string writes s as far as there is room.
func (w *writer) string(s string) {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "") // none gets in, but protobuf would refuse the whole
	}
	for i := range s {
		if w.over = w.over || w.runes == MaxText; w.over {
			s = s[:i]
			break
		}
		w.runes++
	}
	w.b = append(w.b, s...)
}

// text is what was written: when it was too long, cut so that the ellipsis has
// its place, and never between a letter and the marks on it.
func (w *writer) text() string {
	if !w.over {
		return string(w.b)
	}
	s := w.b
	for n := w.runes; n >= MaxText; n-- {
		_, size := utf8.DecodeLastRune(s)
		s = s[:len(s)-size]
	}
	for rest := w.b[len(s):]; len(s) > 0; rest = w.b[len(s):] {
		next, _ := utf8.DecodeRune(rest)
		last, size := utf8.DecodeLastRune(s)
		if !joins(next) && last != zeroWidthJoiner && last != ' ' {
			break
		}
		s = s[:len(s)-size]
	}
	return string(s) + ellipsis
}

const zeroWidthJoiner = '\u200d'

// joins reports whether r belongs to the character before it.
func joins(r rune) bool {
	return r == zeroWidthJoiner || unicode.Is(unicode.M, r) || r >= 0x1f3fb && r <= 0x1f3ff // skin tones
}
