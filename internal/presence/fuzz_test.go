package presence

import (
	"bytes"
	"testing"
)

// What a parser accepts must be written again as the same bytes: then no two
// forms mean the same, and nothing is lost or made up.

func seedStatuses() []*Status {
	return []*Status{
		nil, {}, {Show: Away, Invisible: true}, {Text: text("In a meeting")}, {Text: chain(MaxRefDepth)},
		{Properties: []Property{{"flag", Value{Kind: KindFlag, Flag: true}}, {"map", text("Dust")}, {"score", Value{Kind: KindInteger, Integer: -7}},
			{"speed", Value{Kind: KindNumber, Number: 0.1}}}},
	}
}

func FuzzParseStatus(f *testing.F) {
	for _, s := range seedStatuses() {
		f.Add(AppendStatus(nil, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatus(b)
		if err != nil {
			return
		}
		if again := AppendStatus(nil, s); !bytes.Equal(again, b) {
			t.Fatalf("got %x, want %x", again, b)
		}
		if bad := s.Check(); bad != nil {
			t.Fatalf("accepted although it breaks %v", bad)
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	var all []Record
	for i, s := range seedStatuses() {
		r := Record{
			Kind: RecordKind(i + 1), User: testUser, Session: sessionID(i), Public: publicID(i), Epoch: Epoch{1, 300},
			Revision: 2, Reason: ReasonLeft, Time: 1700000000000, Device: Device{Platform: "ios", Locale: "en-US", Door: "isonline"},
			Policy: Single, Status: s,
		}
		if r.Kind == RecordClosed {
			r.LastSeen, r.Invisible = r.Time-1, true
		}
		all = append(all, r)
		f.Add(AppendRecords(nil, []Record{r}))
	}
	f.Add(AppendRecords(nil, all))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := ParseRecords(b)
		if err != nil {
			return
		}
		if again := AppendRecords(nil, rs); !bytes.Equal(again, b) {
			t.Fatalf("got %x, want %x", again, b)
		}
		var u Folded
		var facts []Fact
		for i := range rs {
			if bad := rs[i].Status.Check(); bad != nil {
				t.Fatalf("record %d: accepted although its status breaks %v", i, bad)
			}
			facts = u.Apply(&rs[i], facts)
		}
	})
}

func FuzzParseFolded(f *testing.F) {
	f.Add(AppendFolded(nil, testUser, &Folded{}))
	for i, s := range seedStatuses() {
		session := FoldedSession{
			ID: sessionID(i), Public: publicID(i), Epoch: Epoch{2, 300}, Phase: FoldPhase(i % 3), Reason: ReasonTimedOut,
			OpenedAt: 1700000000000, ClosedAt: 1700000000001, Device: Device{Platform: "web"}, Hidden: true, HiddenRev: 4, CustomRev: 5, Status: s,
		}
		u := &Folded{Seq: 9, LastSeen: 1700000000000, LastSeenShown: 1600000000000, Sessions: []FoldedSession{session}}
		f.Add(AppendFolded(nil, testUser, u))
		u.Sessions[0].early = &earlyClaims{epoch: Epoch{3, 1}, at: 1700000000000, hidden: true, hiddenRev: 2, customRev: 3, status: s}
		f.Add(AppendFolded(AppendFolded(nil, testUser, u), testUser, u))
		u.Erased, u.Sessions[0].moved = 1500000000000, 1700000000000
		f.Add(AppendFolded(nil, testUser, u))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		user, u, rest, err := ParseFolded(b)
		if err != nil {
			return
		}
		if again := append(AppendFolded(nil, user, u), rest...); !bytes.Equal(again, b) {
			t.Fatalf("got %x, want %x", again, b)
		}
		// Whatever was read, the fold goes on from it.
		for kind := range recordKindCount + 1 {
			u.Apply(&Record{Kind: kind, User: user, Session: sessionID(1), Epoch: Epoch{3, 1}, Policy: Single}, nil)
		}
	})
}
