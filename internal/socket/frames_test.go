package socket

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// book writes down what frames say.
type book struct {
	t     testing.TB
	max   int
	lines []string
}

func (k *book) message(kind Kind, b []byte) bool {
	if kind == Text && !utf8.Valid(b) {
		k.t.Errorf("a text that is not UTF-8: %q", b)
	}
	if len(b) > k.max {
		k.t.Errorf("a message of %d bytes, over %d", len(b), k.max)
	}
	k.lines = append(k.lines, fmt.Sprintf("%d %q", kind, b))
	clear(b) // it is the sink's for the call, to change
	return len(b)%5 != 4
}

func (k *book) control(op ws.OpCode, b []byte) *CloseError {
	if len(b) > 125 {
		k.t.Errorf("a control frame of %d bytes", len(b))
	}
	k.lines = append(k.lines, fmt.Sprintf("control %d %q", op, b))
	clear(b)
	if op == ws.OpClose {
		_, bad := parseClose(b)
		return bad
	}
	return nil
}

// readAll feeds b in pieces of the sizes, in turn, and tells what was read.
func readAll(t testing.TB, b []byte, sizes ...int) (lines []string, bad *CloseError) {
	const most = 2000
	k := &book{t: t, max: most}
	f := frames{max: most, to: k}
	came := 0
	for i := 0; len(b) > 0 && bad == nil; i++ {
		n := min(len(b), max(1, sizes[i%len(sizes)]))
		piece := bytes.Clone(b[:n])
		came, b = came+n, b[n:]
		for again := true; again && bad == nil; again = len(piece) > 0 {
			piece, bad = f.feed(piece)
		}
		if p := f.kept; p != nil && cap(p.message)+cap(p.control) > 2*came+256 {
			t.Errorf("%d bytes came and %d are held", came, cap(p.message)+cap(p.control))
		}
	}
	return k.lines, bad
}

// FuzzFrames: however the peer's bytes come apart, they say the same, and never
// hold more memory than what came.
func FuzzFrames(f *testing.F) {
	for _, k := range slices.Concat(framingCases(), textCases(), closeCases()) {
		if len(k.send) < 500 {
			f.Add(k.send, uint8(1), uint8(3))
		}
	}
	f.Add(join(frame(aText, "zero"), frame(textPart, "a€"), frame(aPing, "p"), frame(lastPart, "😀")), uint8(7), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, size1, size2 uint8) {
		want, wantBad := readAll(t, b, len(b))
		for _, sizes := range [][]int{{1}, {int(size1), int(size2)}} {
			got, bad := readAll(t, b, sizes...)
			if (bad == nil) != (wantBad == nil) || bad != nil && *bad != *wantBad {
				// Bytes that end inside a text may be refused early or late, but for one reason.
				t.Errorf("in pieces of %v: %v, whole: %v", sizes, bad, wantBad)
			}
			if !slices.Equal(got, want) {
				t.Errorf("in pieces of %v: read\n%s\nwhole:\n%s", sizes, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	})
}

// What the server writes is what a client's library reads.
func TestOut(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		body := bytes.Repeat([]byte{'x'}, n)
		var out Out
		out.Text(func(b []byte) []byte { return append(b, body...) })
		out.Binary(func(b []byte) []byte { return append(b, body...) })
		out.buf = appendFrame(out.buf, ws.OpText, body)
		r := bytes.NewReader(out.buf)
		for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpText} {
			h, err := ws.ReadHeader(r)
			got := make([]byte, n)
			r.Read(got)
			if err != nil || h != (ws.Header{Fin: true, OpCode: op, Length: int64(n)}) || !bytes.Equal(got, body) {
				t.Errorf("%d bytes: got %+v, %v", n, h, err)
			}
		}
		if r.Len() != 0 {
			t.Errorf("%d bytes: %d are left", n, r.Len())
		}
	}
}

// A message in very many fragments, each of which comes in two pieces, is not copied
// for each of them: what is made room for adds up to a few times its length.
func TestFragmentsAreNotCopied(t *testing.T) {
	const size = 1 << 20
	one := claim(textPart, 2, "a")
	next := claim(aPart, 2, "a")
	f := frames{max: size, to: deafSink{}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range size / 2 {
		b := bytes.Clone(next)
		if i == 0 {
			b = bytes.Clone(one)
		}
		if _, bad := f.feed(b); bad != nil {
			t.Fatal(bad)
		}
		if _, bad := f.feed([]byte{'a' ^ 0xfa}); bad != nil { // the second byte with its mask
			t.Fatal(bad)
		}
	}
	runtime.ReadMemStats(&after)
	clones := uint64(size / 2 * (len(next) + 8))
	if took := after.TotalAlloc - before.TotalAlloc; took > 8*size+2*clones {
		t.Errorf("a message of %d bytes in %d fragments allocated %d bytes", size, size/2, took)
	}
}
