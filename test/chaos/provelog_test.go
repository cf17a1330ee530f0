package chaos

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// record is one of bob's session; its epoch is the given one.
func record(kind presence.RecordKind, reason presence.Reason, epoch uint32) presence.Record {
	return presence.Record{
		Kind: kind, User: presence.User{App: "demo", ID: "bob"}, Session: presence.SessionID{7}, Public: presence.PublicID{1},
		Epoch: presence.Epoch{Counter: epoch, Incarnation: 1}, Revision: 1, Reason: reason, Time: presence.At(after(time.Duration(epoch+1) * time.Second)),
	}
}

func folded(records ...presence.Record) *logged {
	g := newLogged()
	g.fold(records)
	return g
}

func TestLogCheckCanFail(t *testing.T) {
	t.Parallel()
	opened := record(presence.RecordOpened, presence.ReasonOpened, 0)
	logout := record(presence.RecordClosed, presence.ReasonLogout, 0)
	lost := record(presence.RecordClosed, presence.ReasonNodeLost, 0)
	closed := func(l *life) { l.byes, l.ended, l.held = []act{did(6 * time.Second)}, endClosed, false }
	gap := folded(opened, logout)
	gap.facts[1].Seq = 3
	tests := []struct {
		name string
		life *life
		log  *logged
		want string
	}{
		{"opened", bobs(nil), folded(opened), ""},
		{"lost opening", bobs(nil), folded(), "1 openings were acknowledged of 1 asked for, the log has 0"},
		{"opened twice", bobs(nil), folded(opened, lost, record(presence.RecordOpened, presence.ReasonOpened, 1)), "the log has 2"},
		{"closed", bobs(closed), folded(opened, logout), ""},
		{"lost closing", bobs(closed), folded(opened), "its closing was acknowledged"},
		{"lost closing leaves it open", bobs(closed), folded(opened), "the log leaves it open"},
		{"closed for another reason", bobs(closed), folded(opened, lost), "its closing was acknowledged"},
		{"closed though held", bobs(nil), folded(opened, lost), "it was lost 1 times by the log"},
		{"not acknowledged", bobs(func(l *life) { l.opens = []act{asked(time.Second)} }), folded(), ""},
		{"gap in the user's numbers", bobs(closed), gap, "number 3 after 1"},
		{"nobody's session", bobs(func(l *life) { l.public, l.opens = publicOf(9), nil }), folded(opened), "nobody made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			expect(t, checkLog(past(tt.life).lives, tt.log), tt.want)
		})
	}
}

func TestPositionCheckCanFail(t *testing.T) {
	t.Parallel()
	c := &positionCheck{}
	expect(t, c.next(3, 1), "")
	expect(t, c.next(4, 256), "")
	expect(t, c.next(6, 1), "message 6 follows 4")
	expect(t, c.next(6, 1), "message 6 follows 6")
	expect(t, c.next(7, 0), "is empty")
}

// The checkpoint leads to the same present as the log, wherever it was taken.
func TestCheckpointCheckCanFail(t *testing.T) {
	t.Parallel()
	opened := record(presence.RecordOpened, presence.ReasonOpened, 0)
	logout := record(presence.RecordClosed, presence.ReasonLogout, 0)
	log := []message{{1, []presence.Record{opened}}, {2, []presence.Record{logout}}}
	whole := folded(opened, logout).users
	bob := opened.User
	for name, tt := range map[string]struct {
		kept    *presence.Folded
		through uint64
		want    string
	}{
		"taken between":              {folded(opened).users[bob], 1, ""},
		"taken after":                {folded(opened, logout).users[bob], 2, ""},
		"taken in part beyond":       {folded(opened, logout).users[bob], 1, ""},
		"claims more than it has":    {folded(opened).users[bob], 2, "bob: the checkpoint leads to number 1"},
		"claims more, of a session":  {folded(opened).users[bob], 2, "session"},
		"says nothing of the opened": {&presence.Folded{}, 1, "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := map[presence.User]*presence.Folded{bob: catchUp(bob, tt.kept, tt.through, log)}
			expect(t, checkCheckpoint(kept, whole), tt.want)
		})
	}
	stranger := map[presence.User]*presence.Folded{{App: "demo", ID: "carol"}: {Seq: 1}}
	expect(t, checkCheckpoint(stranger, whole), "says nothing")
}

func TestParseShardRefuses(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{"empty": {}, "no count": {1}, "cut": {1, 2, 3}} {
		if _, err := parseShard(b); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}
