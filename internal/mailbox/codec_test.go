package mailbox

import (
	"bytes"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// FuzzEntry: whatever is stored, an entry is read or refused, changes nothing when
// it is refused, and is the same when it is written again.
func FuzzEntry(f *testing.F) {
	user := presence.User{App: "demo", ID: "alice"}
	body := appendBody(nil, &Message{ID: "1", Text: "text", Action: "https://a.example/"})
	whole := appendEntry(nil, 7, 1_800_000_000_000)
	for _, r := range []record{
		{kind: recordPut, user: user, publisher: "p", life: 1000, body: body},
		{kind: recordPut, user: user, publisher: "p", body: body, dropped: dropped{some: true, here: true}},
		{kind: recordPut, user: user, body: body, dropped: dropped{some: true, number: 1 << 40}},
		{kind: recordTaken, user: user, number: 1 << 40}, {kind: recordPurge, user: user, publisher: "p"}, {kind: recordErase, user: user},
		{kind: recordMove, user: user, number: 5, at: 9, life: 1, body: body},
	} {
		whole = appendRecord(whole, &r)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{entryVersion + 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var again []byte
		err := parseEntry(raw, func(name uint64, at presence.Time) { again = appendEntry(nil, name, at) }, func(r *record) { again = appendRecord(again, r) })
		if err == nil && !bytes.Equal(again, raw) {
			t.Errorf("written again: got % x, want % x", again, raw)
		}
		x := newIndex(1 << 20)
		if _, folded := x.fold(1, raw); (folded == nil) != (err == nil) || folded != nil && (len(x.boxes) > 0 || x.last != 0) {
			t.Errorf("fold: got %v and %d mailboxes, where reading gives %v", folded, len(x.boxes), err)
		}
	})
}
