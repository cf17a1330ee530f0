package presence

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"
)

// The first byte of a status; zero is no status at all.
const (
	statusPresent   = 0x80
	statusShow      = 0x03
	statusInvisible = 0x04
)

// leastProperty is the least size of a property in bytes: length and byte of
// the key, kind of the value.
const leastProperty = 3

// quietNaN is the one form of "not a number" that is written.
const quietNaN = 0x7FF8000000000001

// AppendStatus appends s, which may be nil, as one message and returns the
// longer dst. s must be sorted (Normalize) and within its bounds (Check);
// ParseStatus refuses what is not.
func AppendStatus(dst []byte, s *Status) []byte {
	return appendStatus(append(dst, codecVersion), s)
}

// ParseStatus reads the one message that AppendStatus wrote; nil stands for
// the nil status. It accepts exactly the statuses that pass Check, of at most
// MaxStatusBytes, and keeps nothing of b.
func ParseStatus(b []byte) (*Status, error) {
	r := reader{b: b}
	r.version()
	s := r.status()
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("presence: status: %w", err)
	}
	return s, nil
}

// appendStatus appends the status without a version: records and folds hold it
// within their own message.
func appendStatus(dst []byte, s *Status) []byte {
	if s == nil {
		return append(dst, 0)
	}
	head := byte(statusPresent) | byte(s.Show)&statusShow
	if s.Invisible {
		head |= statusInvisible
	}
	dst = appendValue(append(dst, head), &s.Text)
	return appendProperties(dst, s.Properties)
}

func appendProperties(dst []byte, ps []Property) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ps)))
	for i := range ps {
		dst = appendValue(AppendText(dst, ps[i].Key), &ps[i].Value)
	}
	return dst
}

// appendValue writes only the field that v's kind makes count.
func appendValue(dst []byte, v *Value) []byte {
	dst = append(dst, byte(v.Kind))
	switch v.Kind {
	case KindText:
		dst = AppendText(dst, v.Text)
	case KindInteger:
		dst = appendSigned(dst, v.Integer)
	case KindNumber:
		dst = binary.LittleEndian.AppendUint64(dst, numberBits(v.Number))
	case KindFlag:
		if v.Flag {
			return append(dst, 1)
		}
		return append(dst, 0)
	case KindRef:
		ref := v.Ref
		if ref == nil {
			ref = &Ref{} // has no token, which every reader refuses
		}
		dst = AppendText(AppendText(dst, ref.Token), ref.Fallback)
		dst = appendProperties(dst, ref.Args)
	}
	return dst
}

// statusSize is how many bytes AppendStatus adds for s, which is not nil.
func statusSize(s *Status) int {
	return 2 + valueSize(&s.Text) + propertiesSize(s.Properties)
}

func propertiesSize(ps []Property) int {
	n := numberSize(uint64(len(ps)))
	for i := range ps {
		n += textSize(ps[i].Key) + valueSize(&ps[i].Value)
	}
	return n
}

func valueSize(v *Value) int {
	switch v.Kind {
	case KindText:
		return 1 + textSize(v.Text)
	case KindInteger:
		return 1 + numberSize(uint64(v.Integer<<1)^uint64(v.Integer>>63))
	case KindNumber:
		return 1 + 8
	case KindFlag:
		return 1 + 1
	case KindRef:
		if v.Ref == nil {
			return 1 + 3
		}
		return 1 + textSize(v.Ref.Token) + textSize(v.Ref.Fallback) + propertiesSize(v.Ref.Args)
	}
	return 1
}

func textSize(s string) int { return numberSize(uint64(len(s))) + len(s) }

func numberSize(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// numberBits is f's bits, the same for all that are not a number.
func numberBits(f float64) uint64 {
	if f != f {
		return quietNaN
	}
	return math.Float64bits(f)
}

// status reads what appendStatus wrote.
func (r *reader) status() *Status {
	before := len(r.b)
	head := r.byte()
	if head == 0 {
		return nil
	}
	show := Show(head & statusShow)
	if head&^(statusShow|statusInvisible) != statusPresent || show >= showCount {
		r.fail(errKind)
		return nil
	}
	s := &Status{Show: show, Invisible: head&statusInvisible != 0}
	r.richText(&s.Text)
	s.Properties = r.properties(0)
	if r.err == nil && 1+before-len(r.b) > MaxStatusBytes { // 1 for the version
		r.fail(errTooLong)
	}
	if r.err != nil {
		return nil
	}
	return s
}

// richText reads the text of a status, whose limit is counted in characters.
func (r *reader) richText(v *Value) {
	if len(r.b) == 0 || ValueKind(r.b[0]) != KindText {
		r.value(v, 0)
		if v.Kind != KindNone && v.Kind != KindRef {
			r.fail(errKind)
		}
		return
	}
	r.byte()
	v.Kind, v.Text = KindText, r.utf8(MaxRichText*utf8.UTFMax)
	if utf8.RuneCountInString(v.Text) > MaxRichText {
		r.fail(errTooLong)
	}
}

// properties reads a sorted list; depth is how many references hold it.
func (r *reader) properties(depth int) []Property {
	n := r.count(MaxProperties, leastProperty)
	if n == 0 || r.err != nil {
		return nil
	}
	ps := make([]Property, n)
	for i := range ps {
		p := &ps[i]
		p.Key = r.utf8(MaxPropertyKey)
		r.value(&p.Value, depth)
		switch {
		case r.err != nil:
			return nil
		case p.Key == "":
			r.fail(errEmpty)
			return nil
		case i > 0 && ps[i-1].Key >= p.Key:
			r.fail(errOrder)
			return nil
		}
	}
	return ps
}

// value reads one value; depth is how many references hold it.
func (r *reader) value(v *Value, depth int) {
	v.Kind = ValueKind(r.byte())
	switch v.Kind {
	case KindNone:
	case KindText:
		v.Text = r.utf8(MaxPropertyValue)
	case KindInteger:
		v.Integer = r.signed()
	case KindNumber:
		v.Number = r.float()
	case KindFlag:
		switch r.byte() {
		case 0:
		case 1:
			v.Flag = true
		default:
			r.fail(errKind)
		}
	case KindRef:
		if depth == MaxRefDepth {
			r.fail(errDepth)
			return
		}
		v.Ref = &Ref{Token: r.utf8(MaxPropertyValue), Fallback: r.utf8(MaxPropertyValue)}
		v.Ref.Args = r.properties(depth + 1)
		if r.err == nil && v.Ref.Token == "" {
			r.fail(errEmpty)
		}
	default:
		r.fail(errKind)
	}
}

func (r *reader) float() float64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	u := binary.LittleEndian.Uint64(b)
	f := math.Float64frombits(u)
	if f != f && u != quietNaN {
		r.fail(errNaN)
	}
	return f
}

// utf8 reads one text of at most limit bytes that is valid UTF-8.
func (r *reader) utf8(limit int) string {
	s := r.text(limit)
	if !utf8.ValidString(s) {
		r.fail(errUTF8)
	}
	return s
}
