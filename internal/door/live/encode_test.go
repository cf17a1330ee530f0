package live

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/localize"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

var update = flag.Bool("update", false, "write the golden file anew; read the difference before you commit it")

// moment is a time in golden files, n minutes after a fixed one.
func moment(n int) presence.Time {
	return presence.At(time.Date(2026, 5, 17, 9, 30, 0, 0, time.UTC)).Add(time.Duration(n) * time.Minute)
}

func text(s string) presence.Value { return presence.Value{Kind: presence.KindText, Text: s} }

// goldenStatus has every kind of value.
func goldenStatus() *presence.Status {
	s := &presence.Status{Show: presence.Busy, Text: text("in Ørsted’s lab"), Properties: []presence.Property{
		{Key: "flag", Value: presence.Value{Kind: presence.KindFlag, Flag: true}},
		{Key: "integer", Value: presence.Value{Kind: presence.KindInteger, Integer: math.MinInt64}},
		{Key: "map", Value: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "#map_7", Fallback: "The Harbour"}}},
		{Key: "number", Value: presence.Value{Kind: presence.KindNumber, Number: -0.25}},
		{Key: "none", Value: presence.Value{Kind: presence.KindNumber, Number: math.NaN()}},
		{Key: "text \"\\\n", Value: text("a \"b\"\n\t\r\x01\x7f</script>\u2028")},
		{Key: "whole", Value: presence.Value{Kind: presence.KindNumber, Number: 5}},
	}}
	s.Normalize()
	return s
}

// goldenEncoder has the texts of app demo.
func goldenEncoder(t testing.TB) *encoder {
	t.Helper()
	c, err := localize.Parse([]byte(`{"locales": {"en": {"#in_match": "In a match"}, "da": {"#in_match": "I kamp"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	texts, err := localize.New("en", map[string]*localize.Catalogue{"": c})
	if err != nil {
		t.Fatal(err)
	}
	s := &localize.Set{}
	s.Replace(map[presence.AppID]*localize.Texts{"demo": texts})
	return &encoder{s}
}

// goldens are the notifications of protocol note A5.3 and A5.4.
func goldens() map[string]*hub.Notification {
	open := presence.Face{Opened: 1, Changed: 2, Revision: 7, Since: moment(0), Updated: moment(5)}
	hidden := open
	hidden.Closed, hidden.ClosedAt, hidden.Reason = 3, moment(9), presence.ReasonHidden
	closed := hidden
	closed.Reason = presence.ReasonTimedOut
	template := &presence.Status{Show: presence.Away, Text: presence.Value{Kind: presence.KindRef, Ref: &presence.Ref{Token: "#in_match", Fallback: "?"}}}
	view := func(s *presence.Status, others presence.Face) *presence.View {
		return &presence.View{
			Public: presence.PublicID([]byte("sixteen bytes id")), Device: &presence.Device{Platform: "ios", Product: "chat", ID: "secret", Addr: "192.0.2.7:4711"},
			Status: s, True: open, Shown: others,
		}
	}
	picture := func(seen, shown presence.Time, v ...*presence.View) *presence.Presence {
		return &presence.Presence{User: presence.User{App: "demo", ID: "zoë \"z\""}, Version: 9, LastSeen: seen, LastSeenShown: shown, Sessions: v}
	}
	told := func(kind hub.Kind, p *presence.Presence, own bool) *hub.Notification {
		n := &hub.Notification{Presence: p, Kind: kind, Own: own, Available: p.Available(own) != presence.Unavailable, Locale: "da"}
		if kind != hub.KindNone {
			n.View = p.Sessions[0]
		}
		return n
	}
	bare := view(nil, open)
	bare.Device = &presence.Device{}
	remain := told(hub.KindClosed, picture(moment(8), moment(4), view(nil, closed)), false)
	remain.Available = true
	return map[string]*hub.Notification{
		"none, never seen":       told(hub.KindNone, picture(0, 0), false),
		"none, last seen":        told(hub.KindNone, picture(moment(8), moment(4)), false),
		"none, one's own":        told(hub.KindNone, picture(moment(8), moment(4)), true),
		"current":                told(hub.KindCurrent, picture(moment(8), moment(4), view(goldenStatus(), open)), false),
		"opened, said nothing":   told(hub.KindOpened, picture(0, 0, view(nil, open)), false),
		"opened, no device":      told(hub.KindOpened, picture(0, 0, bare), false),
		"updated, in a language": told(hub.KindUpdated, picture(0, 0, view(template, open)), false),
		"closed, the last":       told(hub.KindClosed, picture(moment(8), moment(8), view(goldenStatus(), closed)), false),
		"closed, others remain":  remain,
		"hidden, for others":     told(hub.KindClosed, picture(moment(8), moment(9), view(goldenStatus(), hidden)), false),
		"hidden, for one's own":  told(hub.KindUpdated, picture(moment(8), moment(9), view(template, hidden)), true),
	}
}

const goldenFile = "testdata/notifications.txt"

// What is sent for each kind, to each side, stands in testdata, a line each.
func TestNotificationsAreGolden(t *testing.T) {
	t.Parallel()
	enc, all := goldenEncoder(t), goldens()
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		body := enc.Encode(all[name]).([]byte)
		if !json.Valid(body) {
			t.Errorf("%s: no JSON: %s", name, body)
		}
		fmt.Fprintf(&b, "%s\n\t%s\n", name, body)
	}
	for _, f := range []hub.Frame{
		{Mark: &hub.Mark{Scope: hub.ScopeUser, User: "zoë \"z\"", Users: 1}}, {Mark: &hub.Mark{Scope: hub.ScopeFriends, Users: 50}}, {Mark: &hub.Mark{Scope: hub.ScopeAll}},
		{Mark: &hub.Mark{Scope: hub.ScopeEnded, User: "bob"}}, {Mark: &hub.Mark{Scope: hub.ScopeEnded, User: "bob", Reason: hub.EndUnfriended}},
	} {
		fmt.Fprintf(&b, "mark\n\t%s\n", mark(nil, f.Mark))
	}
	list := []hub.Frame{{Sequence: 7, Body: enc.Encode(all["none, never seen"])}, {Sequence: 8, Mark: &hub.Mark{Scope: hub.ScopeAll, Users: 1}}}
	fmt.Fprintf(&b, "a batch\n\t%s\n", appendBatch(nil, list))
	if *update {
		if err := os.WriteFile(goldenFile, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("got\n%s\nwant\n%s", b.Bytes(), want)
	}
	for _, secret := range []string{"secret", "192.0.2.7"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("watchers are told %q", secret)
		}
	}
}

// Every reason for which a session closes has its word.
func TestEachReasonHasAWord(t *testing.T) {
	t.Parallel()
	want := map[presence.Reason]string{
		presence.ReasonLogout: "CLIENT", presence.ReasonLeft: "CLIENT", presence.ReasonLinkLost: "DISCONNECTED", presence.ReasonNodeLost: "DISCONNECTED",
		presence.ReasonTimedOut: "HEARTBEAT", presence.ReasonReplaced: "SUPERSEDED", presence.ReasonDropped: "ADMIN", presence.ReasonExpired: "EXPIRED",
	}
	for _, r := range presence.Closings() {
		if got := closeReason(r); got != want[r] || got == "" {
			t.Errorf("%v: %q, want %q", r, got, want[r])
		}
	}
}

// Our texts are read back by anybody's reader of JSON as they were.
func TestTextsAreJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		var got string
		if err := json.Unmarshal(appendText(nil, s), &got); err != nil || got != strings.ToValidUTF8(s, "\ufffd") && got != perByte(s) {
			t.Fatalf("%q comes back as %q, %v", s, got, err)
		}
	})
}

// perByte replaces each byte that is no UTF-8.
func perByte(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

// What one device says, another hears: every status that is taken comes out of a
// notification with the same words, integers as integers.
func TestStatusesComeThrough(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{}`:                             `"show":"online"`,
		`{"show":"away","text":"x\ny"}`:  `"show":"away","text":"x\ny"`,
		`{"text":null,"properties":{}}`:  `"show":"online"`,
		`{"properties":{"b":1,"a":1.0}}`: `"show":"online","properties":{"a":1.0,"b":1}`,
		`{"properties":{"a":-9223372036854775808,"b":9223372036854775807,"c":1e2,"d":5e-324,"e":-0.0}}`: `"show":"online","properties":{"a":-9223372036854775808,"b":9223372036854775807,"c":100.0,"d":5e-324,"e":-0.0}`,
		`{"properties":{"a":"1","b":true,"c":false}}`:                                                   `"show":"online","properties":{"a":"1","b":true,"c":false}`,
		`{"text":{"token":"none","fallback":"some"},"properties":{"m":{"token":"#in_match"}}}`:          `"show":"online","text":"some","properties":{"m":"I kamp"}`,
		`{"text":{"token":"#in_match","args":{"n":1}}}`:                                                 `"show":"online","text":"I kamp","locale":"da"`,
	} {
		var r request
		if err := parse([]byte(`{"t":"set","status":`+in+`}`), &r); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		s, err := r.Status.whole()
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		open := presence.Face{Opened: 1, Changed: 1}
		v := &presence.View{Device: &presence.Device{}, Status: s, True: open, Shown: open}
		got := string(said(nil, v, goldenEncoder(t).texts.Reader("demo", "da")))
		if got != ","+want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// FuzzFrame reads any bytes as a frame, and as each kind of it: it is refused in
// our words, or makes a status that keeps all rules, is stored and read back the
// same, and can be told.
func FuzzFrame(f *testing.F) {
	for _, row := range badFrames {
		if len(row.frame) < 2000 {
			f.Add([]byte(row.frame))
		}
	}
	for _, row := range badHellos {
		f.Add([]byte(row.frame))
	}
	f.Add([]byte(`{"t":"patch","id":1,"status":{"show":"busy","text":{"token":"a","args":{"b":{"token":"c"}}},"properties":{"x":1,"y":1.5,"z":true},"invisible":false},"clear":["q"],"clear_text":true}`))
	f.Add([]byte(`{"t":"hello","watch":["bob"],"friends":true,"after":7,"resume":"x","device":{"platform":"web"}}`))
	enc := goldenEncoder(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r request
		if err := parse(b, &r); err != nil {
			if err != errNoObject && fault.KindOf(err) != fault.FieldInvalid {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		clean := func(s *presence.Status, err error) {
			if err != nil {
				if fault.KindOf(err) != fault.FieldInvalid {
					t.Fatalf("refused with %v, want FIELD_INVALID", err)
				}
				return
			}
			if broken := s.Check(); len(broken) > 0 {
				t.Fatalf("an accepted status breaks %v", broken)
			}
			back, err := presence.ParseStatus(presence.AppendStatus(nil, s))
			if err != nil || !back.Equal(s) {
				t.Fatalf("an accepted status comes back from the store as %v with %v", back, err)
			}
			face := presence.Face{Opened: 1, Changed: 1}
			p := &presence.Presence{User: presence.User{App: "demo", ID: "a"}, Sessions: []*presence.View{{Device: &presence.Device{}, Status: s, True: face, Shown: face}}}
			body := enc.Encode(&hub.Notification{Presence: p, View: p.Sessions[0], Kind: hub.KindCurrent, Available: true, Locale: "da"}).([]byte)
			if !json.Valid(body) {
				t.Fatalf("told as %s", body)
			}
		}
		clean(r.Status.whole())
		if p, err := r.patch(); err != nil {
			clean(nil, err)
		} else if s := p.Apply(goldenStatus()); check(s) == nil {
			clean(s, nil)
		}
		if _, err := r.Device.record("192.0.2.1:1"); err != nil {
			clean(nil, err)
		}
		users, rejected := usersOf(r.Watch)
		if len(users)+len(rejected) != len(r.Watch) {
			t.Fatalf("%d users and %d rejected of %d", len(users), len(rejected), len(r.Watch))
		}
	})
}

// BenchmarkEncode is what one change costs, once for all who are told the same.
func BenchmarkEncode(b *testing.B) {
	enc, n := goldenEncoder(b), goldens()["current"]
	b.ReportAllocs()
	for b.Loop() {
		enc.Encode(n)
	}
}

// BenchmarkParse is what a frame costs before anything is done.
func BenchmarkParse(b *testing.B) {
	frame := []byte(`{"t":"set","id":17,"status":{"show":"busy","text":"in a match","properties":{"map":"Dust","score":7}}}`)
	b.ReportAllocs()
	for b.Loop() {
		var r request
		if err := parse(frame, &r); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Status.whole(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestUnknownWhileANodeIsSilent: who is not known, and may be to a node that is not
// heard, is told so.
func TestUnknownWhileANodeIsSilent(t *testing.T) {
	t.Parallel()
	n := &hub.Notification{Presence: &presence.Presence{User: presence.User{App: "demo", ID: "bob"}}, Stale: 7}
	if got := string(goldenEncoder(t).Encode(n).([]byte)); got != `{"u":"bob","k":"none","on":false,"stale":7}` {
		t.Errorf("got %s", got)
	}
}
