package presence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// The codec is one compact binary form for what is written down: statuses,
// messages of records, and the fold of a user. Numbers are unsigned varints of
// the shortest form, times and integers zig-zagged; text is its length in bytes
// and then the bytes. Every value has exactly one form, so that equal bytes
// mean equal values, and the parsers refuse every other.
//
// The parsers take bytes from a disk or a neighbour: they never panic, never
// allocate more than a small multiple of the bytes they were given, and what
// they return does not alias them.

// codecVersion stands in front of each message. A change of form takes the
// next number, and the old form stays readable for as long as a log may hold it.
const codecVersion = 1

// maxDeviceText bounds each text of a Device, in bytes. Doors have stricter
// limits of their own; this one keeps a door's mistake from writing a message
// nobody can read: AppendRecords and AppendFolded cut longer texts.
const maxDeviceText = 1024

// Errors of the parsers; they say what is wrong with the bytes.
var (
	errShort    = errors.New("ends too early")
	errTrailing = errors.New("bytes after the end")
	errVersion  = errors.New("unknown version")
	errNumber   = errors.New("number not in its shortest form or too large")
	errTooLong  = errors.New("longer than its limit")
	errKind     = errors.New("unknown kind")
	errDepth    = errors.New("references too deep")
	errOrder    = errors.New("keys not sorted, or a key twice")
	errEmpty    = errors.New("empty where a name is needed")
	errUTF8     = errors.New("text is not UTF-8")
	errNaN      = errors.New("not a number in an unusual form")
	errCount    = errors.New("count of none or too many")
)

// AppendNumber appends n as an unsigned varint, 1 to 10 bytes, and returns the
// longer dst.
func AppendNumber(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

// ParseNumber reads what AppendNumber wrote and returns what follows it. It
// refuses numbers over 64 bits and forms longer than needed.
func ParseNumber(b []byte) (n uint64, rest []byte, err error) {
	r := reader{b: b}
	n = r.number()
	if r.err != nil {
		return 0, nil, fmt.Errorf("presence: number: %w", r.err)
	}
	return n, r.b, nil
}

// AppendText appends s with its length in front and returns the longer dst.
// Any bytes and any length will do.
func AppendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// ParseText reads what AppendText wrote, as a copy, and returns what follows
// it. Nothing is allocated for a length that b does not hold.
func ParseText(b []byte) (s string, rest []byte, err error) {
	r := reader{b: b}
	s = r.text(math.MaxInt)
	if r.err != nil {
		return "", nil, fmt.Errorf("presence: text: %w", r.err)
	}
	return s, r.b, nil
}

// appendSigned appends n so that small numbers of either sign stay short.
func appendSigned(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

// reader reads from the front of b. The first thing wrong stays in err, b
// becomes empty, and everything read after it is zero: callers look once, at
// the end, and before they allocate for a count.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// end reports the first thing wrong, bytes left over included.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(errTrailing)
	}
	return r.err
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) version() {
	if v := r.byte(); r.err == nil && v != codecVersion {
		r.fail(fmt.Errorf("%w %d", errVersion, v))
	}
}

func (r *reader) number() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // most are one byte
		n := uint64(r.b[0])
		r.b = r.b[1:]
		return n
	}
	n, size := binary.Uvarint(r.b)
	switch {
	case size == 0:
		r.fail(errShort)
		return 0
	case size < 0 || r.b[size-1] == 0:
		r.fail(errNumber)
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) signed() int64 {
	u := r.number()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads how many things follow, each of at least size bytes, and refuses
// what the rest of the input cannot hold: only then may a caller allocate.
func (r *reader) count(limit, size int) int {
	n := r.number()
	if n > uint64(limit) {
		r.fail(errCount)
		return 0
	}
	if n > uint64(len(r.b)/size) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

// length reads the length of a text of at most limit bytes.
func (r *reader) length(limit int) int {
	n := r.number()
	if n > uint64(limit) {
		r.fail(errTooLong)
		return 0
	}
	return int(n)
}

// take returns the next n bytes, which still belong to the input.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// text reads one text of at most limit bytes, as a copy.
func (r *reader) text(limit int) string { return string(r.take(r.length(limit))) }

// id fills one of the 16-byte names.
func (r *reader) id(to *[16]byte) { copy(to[:], r.take(len(to))) }

func (r *reader) epoch() (e Epoch) {
	c := r.number()
	if c > math.MaxUint32 {
		r.fail(errNumber)
		return Epoch{}
	}
	e.Counter, e.Incarnation = uint32(c), r.number()
	return e
}

func appendEpoch(dst []byte, e Epoch) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.Counter))
	return binary.AppendUvarint(dst, e.Incarnation)
}

// appendTexts appends the lengths of all texts and then their bytes, so that
// texts can read them back with one allocation.
func appendTexts(dst []byte, texts ...string) []byte {
	for _, s := range texts {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	}
	for _, s := range texts {
		dst = append(dst, s...)
	}
	return dst
}

// texts reads what appendTexts wrote. All texts share one string, which lives
// as long as any of them: read together only what is kept together.
func (r *reader) texts(limit int, to ...*string) {
	var lengths [8]int
	total := 0
	for i := range to {
		lengths[i] = r.length(limit)
		total += lengths[i]
	}
	all := string(r.take(total))
	if r.err != nil {
		return
	}
	for i, s := range to {
		if n := lengths[i]; n > 0 {
			*s, all = all[:n], all[n:]
		}
	}
}

// cut shortens s to at most limit bytes without splitting a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
