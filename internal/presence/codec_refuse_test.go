package presence

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestTextAndNumberRefuse(t *testing.T) {
	t.Parallel()
	if _, _, err := ParseText([]byte{3, 'a', 'b'}); !errors.Is(err, errShort) {
		t.Errorf("short text: got %v, want %v", err, errShort)
	}
	if _, _, err := ParseText(AppendNumber(nil, math.MaxUint64)); !errors.Is(err, errTooLong) {
		t.Errorf("endless text: got %v, want %v", err, errTooLong)
	}
	for name, b := range map[string][]byte{"longer than needed": {0x80, 0}, "over 64 bits": append(bytes.Repeat([]byte{0xff}, 9), 2)} {
		if _, _, err := ParseNumber(b); !errors.Is(err, errNumber) {
			t.Errorf("%s: got %v, want %v", name, err, errNumber)
		}
	}
	if _, _, err := ParseNumber(nil); !errors.Is(err, errShort) {
		t.Errorf("no number: got %v, want %v", err, errShort)
	}
}

// chain is a value of n references within each other.
func chain(n int) Value {
	v := Value{Kind: KindFlag}
	for range n {
		v = Value{Kind: KindRef, Ref: &Ref{Token: "t", Args: []Property{{"a", v}}}}
	}
	return v
}

// properties makes n properties with value v and keys in order.
func properties(n int, v Value) (ps []Property) {
	for i := range n {
		ps = append(ps, Property{string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}), v})
	}
	return ps
}

func text(s string) Value { return Value{Kind: KindText, Text: s} }

func TestParseStatusRefuses(t *testing.T) {
	t.Parallel()
	one := func(key string, v Value) *Status { return &Status{Properties: []Property{{key, v}}} }
	for _, c := range []struct {
		name string
		s    *Status
		want error
	}{
		{"unsorted", &Status{Properties: []Property{{"b", Value{}}, {"a", Value{}}}}, errOrder},
		{"key twice", &Status{Properties: []Property{{"a", Value{}}, {"a", Value{}}}}, errOrder},
		{"empty key", one("", text("v")), errEmpty},
		{"long key", one(strings.Repeat("k", MaxPropertyKey+1), Value{}), errTooLong},
		{"long value", one("k", text(strings.Repeat("v", MaxPropertyValue+1))), errTooLong},
		{"too many", &Status{Properties: properties(MaxProperties+1, Value{})}, errCount},
		{"long rich text", &Status{Text: text(strings.Repeat("ä", MaxRichText+1))}, errTooLong},
		{"rich text of another kind", &Status{Text: Value{Kind: KindFlag}}, errKind},
		{"unknown show", &Status{Show: showCount}, errKind},
		{"unknown kind", one("k", Value{Kind: valueKindCount}), errKind},
		{"too deep", one("k", chain(MaxRefDepth+1)), errDepth},
		{"no token", one("k", Value{Kind: KindRef, Ref: &Ref{Fallback: "x"}}), errEmpty},
		{"no reference", one("k", Value{Kind: KindRef}), errEmpty},
		{"not UTF-8", one("k", text("\xff")), errUTF8},
		{"key not UTF-8", one("\xff", Value{}), errUTF8},
		{"too large", &Status{Properties: properties(MaxProperties, text(strings.Repeat("v", 253)))}, errTooLong},
	} {
		if _, err := ParseStatus(AppendStatus(nil, c.s)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if c.s.Check() == nil {
			t.Errorf("%s: Check finds nothing", c.name)
		}
	}
}

func TestParseStatusAtItsLimits(t *testing.T) {
	t.Parallel()
	// 32 properties of 2+1 bytes key, 1 kind, 2+n bytes value, and 4 bytes in front
	// of them (version, head, no text, count) make 8,192 with one value shorter.
	full := &Status{Properties: properties(MaxProperties, text(strings.Repeat("v", 250)))}
	full.Properties[0].Value.Text = strings.Repeat("v", 246)
	for name, s := range map[string]*Status{
		"whole size": full,
		"rich text":  {Text: text(strings.Repeat("𝄞", MaxRichText))},
		"deep":       {Text: chain(MaxRefDepth)},
	} {
		b := AppendStatus(nil, s)
		got, err := ParseStatus(b)
		if err != nil || !got.Equal(s) {
			t.Errorf("%s, %d bytes: got %+v, %v", name, len(b), got, err)
		}
		if bad := s.Check(); bad != nil {
			t.Errorf("%s: Check: got %v, want nothing", name, bad)
		}
	}
	if n := len(AppendStatus(nil, full)); n != MaxStatusBytes {
		t.Errorf("whole size: got %d, want %d", n, MaxStatusBytes)
	}
	full.Properties[0].Value.Text += "v"
	if _, err := ParseStatus(AppendStatus(nil, full)); !errors.Is(err, errTooLong) || full.Check() == nil {
		t.Errorf("a byte more: got %v and %v of Check, want %v", err, full.Check(), errTooLong)
	}
}

func TestParseRecordsRefuses(t *testing.T) {
	t.Parallel()
	good := Record{Kind: RecordOpened, User: testUser, Time: 1}
	for _, c := range []struct {
		name   string
		change func(*Record)
		want   error
	}{
		{"no kind", func(r *Record) { r.Kind = RecordNone }, errKind},
		{"unknown kind", func(r *Record) { r.Kind = recordKindCount }, errKind},
		{"unknown reason", func(r *Record) { r.Reason = reasonCount }, errKind},
		{"unknown policy", func(r *Record) { r.Policy = multiDeviceCount }, errKind},
		{"long app", func(r *Record) { r.User.App = AppID(strings.Repeat("a", MaxAppID+1)) }, errTooLong},
		{"long user", func(r *Record) { r.User.ID = UserID(strings.Repeat("a", MaxUserID+1)) }, errTooLong},
		{"bad status", func(r *Record) { r.Status = &Status{Show: showCount} }, errKind},
	} {
		r := good
		c.change(&r)
		if _, err := ParseRecords(AppendRecords(nil, []Record{good, r})); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	one := AppendRecords(nil, []Record{good})
	spoil := func(i int, with ...byte) []byte { return slices.Concat(one[:i], with, one[i+1:]) }
	const flags, counter = 3, 2 + 3 + 32 // places in a message of one record
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"another version", spoil(0, codecVersion+1), errVersion},
		{"a status that is none", append(spoil(flags, recordStatus), 0), errEmpty},
		{"epoch of 33 bits", spoil(counter, AppendNumber(nil, 1<<32)...), errNumber},
		{"last seen of zero", slices.Concat(one[:counter+4], []byte{0}, one[counter+4:]), nil},
	} {
		if c.want == nil { // the flag that makes it wrong
			c.b[flags], c.want = recordSeen, errNumber
		}
		if _, err := ParseRecords(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestParseFoldedRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		s    FoldedSession
		want error
	}{
		{"unknown phase", FoldedSession{Phase: FoldClosed + 1}, errKind},
		{"unknown reason", FoldedSession{Reason: reasonCount}, errKind},
		{"bad status", FoldedSession{Status: &Status{Show: showCount}}, errKind},
		{"bad early status", FoldedSession{early: &earlyClaims{status: &Status{Show: showCount}}}, errKind},
	} {
		b := AppendFolded(nil, testUser, &Folded{Sessions: []FoldedSession{{}, c.s}})
		if _, f, rest, err := ParseFolded(b); !errors.Is(err, c.want) || f != nil || rest != nil {
			t.Errorf("%s: got %v with %v and %v, want %v alone", c.name, err, f, rest, c.want)
		}
	}
	long := User{App: AppID(strings.Repeat("a", MaxAppID+1)), ID: "u"}
	if _, _, _, err := ParseFolded(AppendFolded(nil, long, &Folded{})); !errors.Is(err, errTooLong) {
		t.Errorf("long app: got %v, want %v", err, errTooLong)
	}
}

// rewriteFolded reads a folded user and writes it again.
func rewriteFolded(b []byte) ([]byte, error) {
	u, f, rest, err := ParseFolded(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errTrailing
	}
	return AppendFolded(nil, u, f), nil
}

// Each single byte cut off or put on must be noticed, and each single byte
// changed must be noticed or give another value with its own bytes.
func TestParsersNoticeEveryByte(t *testing.T) {
	t.Parallel()
	s := &Status{Show: Busy, Text: chain(2), Properties: []Property{{"a", Value{Kind: KindNumber, Number: 1.5}}, {"b", text("x")}}}
	records := AppendRecords(nil, []Record{
		{Kind: RecordOpened, User: testUser, Epoch: Epoch{1, 7}, Time: 5, Device: Device{Platform: "web", Door: "live"}, Status: s},
		{Kind: RecordClosed, User: testUser, Epoch: Epoch{1, 7}, Time: 9, LastSeen: 8, Invisible: true},
	})
	f := &Folded{Seq: 3, LastSeen: 4, Sessions: []FoldedSession{
		{Phase: FoldOpen, Status: s, Hidden: true, early: &earlyClaims{hidden: true, hiddenRev: 3, status: s}},
	}}
	for name, c := range map[string]struct {
		whole []byte
		parse func([]byte) ([]byte, error)
	}{
		"status": {AppendStatus(nil, s), func(b []byte) ([]byte, error) {
			s, err := ParseStatus(b)
			return AppendStatus(nil, s), err
		}},
		"records": {records, func(b []byte) ([]byte, error) {
			rs, err := ParseRecords(b)
			return AppendRecords(nil, rs), err
		}},
		"absent": {AppendFolded(nil, testUser, &Folded{Seq: 1, Absent: []Absence{{"ios", 5}, {"web", 6}}}), rewriteFolded},
		"folded": {AppendFolded(nil, testUser, f), rewriteFolded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range c.whole {
				if _, err := c.parse(c.whole[:i]); err == nil {
					t.Errorf("cut to %d of %d bytes: no error", i, len(c.whole))
				}
				for v := range 256 {
					b := bytes.Clone(c.whole)
					b[i] = byte(v)
					if again, err := c.parse(b); err == nil && !bytes.Equal(again, b) {
						t.Errorf("byte %d set to %#x: accepted, but written as %x", i, v, again)
					}
				}
			}
			if _, err := c.parse(append(bytes.Clone(c.whole), 0)); err == nil {
				t.Error("a byte more: no error")
			}
		})
	}
}

// A few bytes must not make a parser allocate for what they promise. Not
// parallel: it counts what the whole process allocates.
func TestParsersAllocateWhatTheInputJustifies(t *testing.T) {
	const perByte, fixed = 64, 16 << 10
	huge := AppendNumber(nil, math.MaxInt64)
	hostile := map[string][]byte{
		"records":    append([]byte{codecVersion, 0x80, 2}, make([]byte, 60)...),
		"folded":     slices.Concat([]byte{codecVersion, 0, 0, 0, 0, 0}, huge, make([]byte, 60)),
		"text":       huge,
		"properties": append([]byte{codecVersion, statusPresent, 0, 32}, make([]byte, 8)...),
	}
	for name, b := range hostile {
		var before, after runtime.MemStats
		const rounds = 100
		runtime.ReadMemStats(&before)
		for range rounds {
			_, err1 := ParseStatus(b)
			_, err2 := ParseRecords(b)
			_, _, _, err3 := ParseFolded(b)
			_, _, err4 := ParseText(b)
			if err1 == nil || err2 == nil || err3 == nil {
				t.Errorf("%s: accepted: %v, %v, %v, %v", name, err1, err2, err3, err4)
			}
		}
		runtime.ReadMemStats(&after)
		if got, want := (after.TotalAlloc-before.TotalAlloc)/rounds, uint64(fixed+perByte*len(b)); got > want {
			t.Errorf("%s: %d bytes of input allocated %d, want at most %d", name, len(b), got, want)
		}
	}
}
