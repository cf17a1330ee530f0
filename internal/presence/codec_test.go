package presence

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStatusRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := genStatus().Draw(t, "status")
		if bad := s.Check(); bad != nil {
			t.Fatalf("the generator drew a status that breaks %v", bad)
		}
		b := AppendStatus([]byte("before"), s)[len("before"):]
		if s != nil && statusSize(s) != len(b) {
			t.Fatalf("size: got %d, want %d", statusSize(s), len(b))
		}
		got, err := ParseStatus(b)
		if err != nil {
			t.Fatalf("ParseStatus(%x): %v", b, err)
		}
		if !got.Equal(s) || !s.Equal(got) {
			t.Fatalf("got %+v, want %+v", got, s)
		}
		if again := AppendStatus(nil, got); !bytes.Equal(again, b) {
			t.Fatalf("encoded again: got %x, want %x", again, b)
		}
	})
}

// Equal must mean equal bytes, so that "unchanged" and "written" agree.
func TestStatusEqualMeansEqualBytes(t *testing.T) {
	t.Parallel()
	small := rapid.Custom(func(t *rapid.T) *Status {
		s := &Status{Show: Show(rapid.IntRange(0, 1).Draw(t, "show")), Invisible: rapid.Bool().Draw(t, "invisible")}
		kind := rapid.SampledFrom([]ValueKind{KindNone, KindText, KindInteger, KindNumber, KindFlag, KindRef}).Draw(t, "kind")
		s.Properties = []Property{{"k", Value{
			Kind: kind,
			Text: rapid.SampledFrom([]string{"", "x"}).Draw(t, "text"), Flag: rapid.Bool().Draw(t, "flag"),
			Integer: rapid.Int64Range(0, 1).Draw(t, "integer"),
			Number:  rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.NaN(), -math.NaN()}).Draw(t, "number"),
			Ref:     &Ref{Token: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "token")},
		}}}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := small.Draw(t, "a"), small.Draw(t, "b")
		same := bytes.Equal(AppendStatus(nil, a), AppendStatus(nil, b))
		if got := a.Equal(b); got != same {
			t.Fatalf("Equal: got %v, want %v as the bytes of\n%+v\n%+v", got, same, a, b)
		}
	})
}

func TestRecordsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(genRecord(), 1, 4).Draw(t, "records")
		b := AppendRecords(nil, want)
		// The parser must keep nothing of its input: it is overwritten.
		input := bytes.Clone(b)
		got, err := ParseRecords(input)
		if err != nil {
			t.Fatalf("ParseRecords(%x): %v", b, err)
		}
		for i := range input {
			input[i] = 0xff
		}
		if again := AppendRecords(nil, got); !bytes.Equal(again, b) {
			t.Fatalf("encoded again: got %x, want %x", again, b)
		}
		for i := range want {
			g, w := got[i], want[i]
			if !g.Status.Equal(w.Status) {
				t.Fatalf("record %d: status: got %+v, want %+v", i, g.Status, w.Status)
			}
			if g.Status, w.Status = nil, nil; g != w {
				t.Fatalf("record %d: got %+v, want %+v", i, g, w)
			}
		}
	})
}

func TestRecordsFull(t *testing.T) {
	t.Parallel()
	r := Record{Kind: RecordOpened, User: testUser}
	for n, ok := range map[int]bool{0: false, 1: true, 256: true, 257: false} {
		got, err := ParseRecords(AppendRecords(nil, slices.Repeat([]Record{r}, n)))
		if (err == nil) != ok || ok && len(got) != n {
			t.Errorf("%d records: got %d, %v; want them read: %v", n, len(got), err, ok)
		}
	}
}

// A door's mistake must not make a message nobody can read.
func TestRecordsCutDeviceTexts(t *testing.T) {
	t.Parallel()
	r := Record{Kind: RecordOpened, User: testUser, Device: Device{Platform: strings.Repeat("ä", 1000), Door: "x"}}
	r.Device.Product = "x" + r.Device.Platform
	got, err := ParseRecords(AppendRecords(nil, []Record{r}))
	if err != nil {
		t.Fatal(err)
	}
	want := Device{Platform: strings.Repeat("ä", 512), Product: "x" + strings.Repeat("ä", 511), Door: "x"}
	if got[0].Device != want {
		t.Errorf("got %+v, want %+v", got[0].Device, want)
	}
}

func TestFoldedRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := &Folded{
			Seq:           rapid.Uint64().Draw(t, "seq"),
			LastSeen:      Time(rapid.Int64().Draw(t, "seen")),
			LastSeenShown: Time(rapid.Int64().Draw(t, "shown")),
		}
		for range rapid.IntRange(0, 3).Draw(t, "sessions") {
			s := FoldedSession{
				ID: genID().Draw(t, "id"), Public: genID().Draw(t, "public"), Epoch: genEpoch().Draw(t, "epoch"),
				Phase:    FoldPhase(rapid.IntRange(0, 2).Draw(t, "phase")),
				Reason:   Reason(rapid.IntRange(0, int(reasonCount)-1).Draw(t, "reason")),
				OpenedAt: Time(rapid.Int64().Draw(t, "opened")), ClosedAt: Time(rapid.Int64().Draw(t, "closed")),
				Device: genDevice().Draw(t, "device"), Hidden: rapid.Bool().Draw(t, "hidden"),
				HiddenRev: rapid.Uint64().Draw(t, "hidden rev"), CustomRev: rapid.Uint64().Draw(t, "custom rev"),
				Status: genStatus().Draw(t, "status"),
			}
			if rapid.Bool().Draw(t, "early") {
				s.early = &earlyClaims{
					epoch: genEpoch().Draw(t, "epoch"), at: Time(rapid.Int64().Draw(t, "at")), hidden: rapid.Bool().Draw(t, "hidden"),
					hiddenRev: rapid.Uint64().Draw(t, "hidden rev"), customRev: rapid.Uint64().Draw(t, "custom rev"),
					status: genStatus().Draw(t, "status"),
				}
			}
			f.Sessions = append(f.Sessions, s)
		}
		u := genUser().Draw(t, "user")
		b := AppendFolded(nil, u, f)
		gotUser, got, rest, err := ParseFolded(append(bytes.Clone(b), "rest"...))
		if err != nil {
			t.Fatalf("ParseFolded(%x): %v", b, err)
		}
		if gotUser != u || string(rest) != "rest" {
			t.Fatalf("got user %+v and rest %q, want %+v and rest", gotUser, rest, u)
		}
		if again := AppendFolded(nil, u, got); !bytes.Equal(again, b) {
			t.Fatalf("encoded again: got %x, want %x", again, b)
		}
		dropStatuses(f)
		dropStatuses(got)
		if !reflect.DeepEqual(got, f) {
			t.Fatalf("got %+v, want %+v", got, f)
		}
	})
}

// dropStatuses takes out what reflect cannot compare: numbers that are none.
// The bytes compared them already.
func dropStatuses(f *Folded) {
	for i := range f.Sessions {
		f.Sessions[i].Status = nil
		if e := f.Sessions[i].early; e != nil {
			e.status = nil
		}
	}
}

func TestTextAndNumberRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, n := rapid.String().Draw(t, "text"), rapid.Uint64().Draw(t, "number")
		b := append(AppendNumber(AppendText(nil, s), n), "rest"...)
		gotText, b, err := ParseText(b)
		if err != nil || gotText != s {
			t.Fatalf("ParseText: got %q, %v; want %q", gotText, err, s)
		}
		gotNumber, b, err := ParseNumber(b)
		if err != nil || gotNumber != n || string(b) != "rest" {
			t.Fatalf("ParseNumber: got %d, rest %q, %v; want %d and rest", gotNumber, b, err, n)
		}
	})
}
