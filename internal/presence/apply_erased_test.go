package presence

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"
)

// erasedAt is an erasure of the user.
func erasedAt(at Time) *Record { return &Record{Kind: RecordErased, User: testUser, Time: at} }

func TestErased(t *testing.T) {
	t.Parallel()
	const hour = Time(time.Hour / time.Millisecond)
	opened := &Record{Kind: RecordOpened, User: testUser, Session: sessionID(1), Public: publicID(1), Epoch: Epoch{1, 1}, Time: 10}
	var u Folded
	u.Apply(&Record{Kind: RecordClosed, User: testUser, Session: sessionID(2), Epoch: Epoch{1, 1}, Time: 9}, nil)
	u.Apply(opened, nil)
	facts := u.Apply(erasedAt(20), nil)
	if len(facts) != 2 || facts[0].Kind != RecordClosed || facts[0].Reason != ReasonDropped || facts[0].Seq != 2 ||
		facts[1].Kind != RecordErased || facts[1].Seq != 3 || facts[1].After || facts[1].LastSeen != 0 {
		t.Errorf("the erasure concludes %+v", facts)
	}
	if u.Seq != 0 || u.LastSeen != 0 || u.LastSeenShown != 0 || len(u.Sessions) != 0 || u.Erased != 20 {
		t.Errorf("after it: %+v, want nothing but the time of it", u)
	}
	late := &Record{Kind: RecordClosed, User: testUser, Session: sessionID(1), Epoch: Epoch{1, 1}, Time: 20, LastSeen: 15}
	for _, r := range []*Record{opened, late, erasedAt(20), erasedAt(19)} {
		if facts := u.Apply(r, nil); len(facts) != 0 || u.LastSeen != 0 || len(u.Sessions) != 0 {
			t.Errorf("late %v at %d: got %+v and %+v, want nothing", r.Kind, r.Time, facts, u)
		}
	}
	if facts := u.Apply(&Record{Kind: RecordClosed, User: testUser, Session: sessionID(3), Epoch: Epoch{1, 1}, Time: 25, LastSeen: 18}, nil); len(facts) != 0 || u.LastSeen != 0 {
		t.Errorf("a close that saw him before the erasure: got %+v, last seen %v, want neither", facts, u.LastSeen)
	}
	again := &Record{Kind: RecordOpened, User: testUser, Session: sessionID(4), Epoch: Epoch{1, 1}, Time: 30}
	if facts := u.Apply(again, nil); len(facts) != 1 || facts[0].Seq != 1 {
		t.Errorf("he comes again: got %+v, want his first fact", facts)
	}
	u.Apply(&Record{Kind: RecordClosed, User: testUser, Session: sessionID(4), Epoch: Epoch{1, 1}, Time: 30}, nil)
	if u.Forget(20 + hour); u.Erased != 20 {
		t.Error("the erasure is forgotten before the hour is over")
	}
	if u.Forget(21 + hour); u.Erased != 0 {
		t.Error("the erasure is remembered after the hour")
	}
}

// What was written before there were erasures is read, and written the same.
func TestFoldedOfOldForm(t *testing.T) {
	t.Parallel()
	u := &Folded{Seq: 9, LastSeen: 5, LastSeenShown: 4, Sessions: []FoldedSession{{ID: sessionID(1), Phase: FoldOpen, Epoch: Epoch{1, 2}, OpenedAt: 3}}}
	const old = "01040564656d6f616c69636509" + "0a08" + "01" +
		"0400" + "73657373696f6e203100000000000000" + "00000000000000000000000000000000" + "0102" + "0600" + "0000" + "00000000000000" + "00"
	b := AppendFolded(nil, testUser, u)
	if got := hex.EncodeToString(b); got != old {
		t.Errorf("got %s, want %s", got, old)
	}
	u.Erased = 7
	erased := AppendFolded(nil, testUser, u)
	if b[0] != codecVersion || erased[0] != erasedVersion {
		t.Errorf("versions: got %d and %d, want %d and %d", b[0], erased[0], codecVersion, erasedVersion)
	}
	if _, got, _, err := ParseFolded(erased); err != nil || got.Erased != 7 || got.Seq != 9 {
		t.Errorf("got %+v, %v", got, err)
	}
	i := bytes.IndexByte(erased, 14) // 7, zig-zagged
	if _, _, _, err := ParseFolded(slices.Concat(erased[:i], []byte{0}, erased[i+1:])); !errors.Is(err, errNumber) {
		t.Errorf("erased at no time: got %v, want %v", err, errNumber)
	}
}
