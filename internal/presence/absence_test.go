package presence

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAbsence(t *testing.T) {
	t.Parallel()
	ios, web := on("ios", ""), on("web", "")
	for _, c := range []struct {
		name string
		log  []Record
		want string
	}{
		{"online", []Record{rec(RecordOpened, 1, 1, 10, ios)}, "[]"},
		{"left", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLeft))}, "[{ios 20}]"},
		{"link lost", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost))}, "[{ios 20}]"},
		{"timed out", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonTimedOut))}, "[{ios 20}]"},
		{"expired", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonExpired))}, "[{ios 20}]"},
		{"node lost", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonNodeLost))}, "[{ios 20}]"},
		{"logged out", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLogout))}, "[]"},
		{"dropped", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonDropped))}, "[]"},
		{"lost and back", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)), rec(RecordOpened, 1, 2, 30, ios),
		}, "[]"},
		{"lost, back, logged out", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)),
			rec(RecordOpened, 2, 1, 30, ios), rec(RecordClosed, 2, 1, 40, ios, why(ReasonLogout)),
		}, "[]"},
		{"lost and back with another case", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)), rec(RecordOpened, 2, 1, 30, on("iOS", "")),
		}, "[]"},
		{"two platforms", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordOpened, 2, 1, 11, web),
			rec(RecordClosed, 2, 1, 20, web, why(ReasonLinkLost)), rec(RecordClosed, 1, 1, 21, ios, why(ReasonTimedOut)),
		}, "[{web 20} {ios 21}]"},
		{"logged out on the other", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordOpened, 2, 1, 11, web),
			rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)), rec(RecordClosed, 2, 1, 21, web, why(ReasonLogout)),
		}, "[{ios 20}]"},
		{"replaced", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordOpened, 2, 1, 20, web, under(Single))}, "[]"},
		{"hidden", []Record{rec(RecordOpened, 1, 1, 10, ios), rec(RecordHidden, 1, 1, 20, ios, rev(2))}, "[{ios 20}]"},
		{"hidden and shown", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordHidden, 1, 1, 20, ios, rev(2)), rec(RecordShown, 1, 1, 30, ios, rev(3)),
		}, "[]"},
		{"a logout while hidden is not seen", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordHidden, 1, 1, 20, ios, rev(2)), rec(RecordClosed, 1, 1, 30, ios, why(ReasonLogout), invisible),
		}, "[{ios 20}]"},
		{"a loss while hidden is not seen", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordHidden, 1, 1, 20, ios, rev(2)), rec(RecordClosed, 1, 1, 30, ios, why(ReasonLinkLost), invisible),
		}, "[{ios 20}]"},
		{"opened hidden is not seen", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)),
			rec(RecordOpened, 2, 1, 30, ios, invisible), rec(RecordClosed, 2, 1, 40, ios, why(ReasonLogout), invisible),
		}, "[{ios 20}]"},
		{"doubled", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)), rec(RecordOpened, 2, 1, 30, ios),
			rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)),
		}, "[]"},
		{"erased", []Record{
			rec(RecordOpened, 1, 1, 10, ios), rec(RecordClosed, 1, 1, 20, ios, why(ReasonLinkLost)), {Kind: RecordErased, User: testUser, Time: 30},
		}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u, _ := fold(c.log)
			if got := fmt.Sprint(u.Absent); got != c.want {
				t.Errorf("got %s, want %s, of\n%s", got, c.want, describe(c.log))
			}
		})
	}
}

func TestAbsenceEnds(t *testing.T) {
	t.Parallel()
	u, _ := fold([]Record{rec(RecordOpened, 1, 1, 10, on("ios", "")), rec(RecordClosed, 1, 1, 20, on("ios", ""), why(ReasonLinkLost))})
	week := Time(7 * 24 * time.Hour / time.Millisecond)
	if u.Forget(20 + week); len(u.Absent) != 1 {
		t.Error("forgotten before seven days are over")
	}
	published := u.Absent
	if u.Forget(21 + week); u.Absent != nil {
		t.Errorf("remembered after seven days: %v", u.Absent)
	}
	if len(published) != 1 || published[0] != (Absence{"ios", 20}) {
		t.Errorf("a list that pictures share was changed: %v", published)
	}
}

func TestAbsencesAreBounded(t *testing.T) {
	t.Parallel()
	var u Folded
	for n := range 20 {
		p := on(fmt.Sprint("p", n), "")
		open, end := rec(RecordOpened, n, 1, Time(10*n+1), p), rec(RecordClosed, n, 1, Time(10*n+2), p, why(ReasonLinkLost))
		u.Apply(&open, nil)
		u.Apply(&end, nil)
	}
	if len(u.Absent) != maxAbsent || u.Absent[0].Platform != "p12" || u.Absent[maxAbsent-1].Platform != "p19" {
		t.Errorf("got %v, want the last %d", u.Absent, maxAbsent)
	}
}

func TestAbsencesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := &Folded{Seq: 7, Erased: Time(rapid.Int64().Draw(t, "erased"))}
		for _, p := range rapid.SliceOfNDistinct(rapid.StringN(0, 20, -1), 1, maxAbsent, rapid.ID).Draw(t, "platforms") {
			f.Absent = append(f.Absent, Absence{p, Time(rapid.Int64().Draw(t, "at"))})
		}
		b := AppendFolded(nil, testUser, f)
		name, got, rest, err := ParseFolded(append(bytes.Clone(b), "rest"...))
		if err != nil || name != testUser || string(rest) != "rest" || got.Seq != 7 || got.Erased != f.Erased || !slices.Equal(got.Absent, f.Absent) {
			t.Fatalf("got %v %+v, rest %q, %v; want %+v", name, got, rest, err, f)
		}
		if again := AppendFolded(nil, testUser, got); !bytes.Equal(again, b) {
			t.Fatalf("written again: got %x, want %x", again, b)
		}
	})
}

func TestParseAbsencesRefuses(t *testing.T) {
	t.Parallel()
	begin := appendSigned(appendUser([]byte{absentVersion}, testUser), 0)
	for name, c := range map[string]struct {
		list []byte
		want error
	}{
		"none":         {AppendNumber(nil, 0), errCount},
		"too many":     {AppendNumber(nil, maxAbsent+1), errCount},
		"more than is": {AppendNumber(nil, 8), errShort},
		"one twice":    {append(AppendNumber(nil, 2), slices.Repeat(appendSigned(AppendText(nil, "ios"), 1), 2)...), errOrder},
		"huge text":    {append(AppendNumber(nil, 1), AppendNumber(nil, math.MaxInt64)...), errTooLong},
		"long text":    {appendSigned(AppendText(AppendNumber(nil, 1), strings.Repeat("x", maxDeviceText+1)), 1), errTooLong},
	} {
		b := append(append(bytes.Clone(begin), c.list...), 1, 0, 0, 0)
		if _, _, _, err := ParseFolded(b); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}
