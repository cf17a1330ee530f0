package chaos

import (
	"strings"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
)

// TestLedgerCanFail: what a watcher was told is counted, and holds against what a
// device explains.
func TestLedgerCanFail(t *testing.T) {
	t.Parallel()
	l := newLedger(func(_, session string) string { return session })
	l.hear(bobsNotice(kindOpened))
	h := past(bobs(nil))
	expect(t, flaps(h.lives, l.counts(), time.Time{}, killAt), "")
	if !l.shows()["bob"].online {
		t.Error("bob is not in the picture")
	}
	l.hear(bobsNotice(kindClosed))
	expect(t, flaps(h.lives, l.counts(), time.Time{}, killAt), "close 1 times")
	l.hear(bobsNotice(kindOpened))
	expect(t, flaps(h.lives, l.counts(), time.Time{}, killAt), "open 2 times")
	l.forget([]string{publicOf(1)})
	expect(t, flaps(h.lives, l.counts(), time.Time{}, killAt), "")
	l.hear(bobsNotice(kindOpened))
	expect(t, flaps(map[string]*life{}, l.counts(), time.Time{}, killAt), "nobody made")
}

// TestTapeCanFail: the fold of a webhook finds holes, repeats that are others, and
// what was not told.
func TestTapeCanFail(t *testing.T) {
	t.Parallel()
	event := func(seq int, kind string, change func(*change)) change { return bobsChange(seq, kind, change) }
	for name, c := range map[string]struct {
		events []change
		want   string
	}{
		"in order":         {[]change{event(1, "opened", nil), event(2, "closed", nil)}, ""},
		"a repeat":         {[]change{event(1, "opened", nil), event(2, "closed", nil), event(1, "opened", nil)}, ""},
		"a hole":           {[]change{event(1, "opened", nil), event(3, "closed", nil)}, "came after number 1"},
		"another repeat":   {[]change{event(1, "opened", nil), event(1, "closed", nil)}, "came again as another"},
		"last seen back":   {[]change{event(1, "opened", nil), event(2, "closed", func(c *change) { c.LastSeen = origin.Add(-time.Hour) })}, "went back"},
		"not as it says":   {[]change{event(1, "opened", func(c *change) { c.Available = false })}, "says available"},
		"the close is old": {[]change{event(2, "closed", nil), event(1, "opened", nil)}, "came after number 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tape := newTape()
			tape.take(c.events, killAt)
			expect(t, tape.wrong(), c.want)
		})
	}
	tape := newTape()
	expect(t, tape.checkTold([]*life{bobs(nil)}), "1 openings and 0 closings were acknowledged, 0 and 0 were told")
	tape.take([]change{event(1, "opened", nil)}, killAt)
	expect(t, tape.checkTold([]*life{bobs(nil)}), "")
	expect(t, tape.checkTold([]*life{bobs(func(l *life) { l.byes = []act{did(6 * time.Second)} })}), "1 and 0 were told")
	again := func(losses int) []*life {
		return []*life{bobs(func(l *life) { l.opens, l.losses = append(l.opens, did(20*time.Second)), losses })}
	}
	expect(t, tape.checkTold(again(0)), "2 openings and 0 closings were acknowledged, 1 and 0 were told")
	expect(t, tape.checkTold(again(1)), "")
	if !tape.closedAt(publicOf(1)).IsZero() {
		t.Error("the end of a session was told that is open")
	}
	tape.take([]change{event(2, "closed", nil)}, killAt)
	expect(t, tape.checkTold([]*life{bobs(func(l *life) { l.byes = []act{did(6 * time.Second)} })}), "")
	if tape.closedAt(publicOf(1)) != killAt || len(tape.knows()["bob"].sessions) > 0 {
		t.Errorf("the end of a session was not taken: %+v", tape.knows()["bob"])
	}
	if story := strings.Join(tape.story(publicOf(1)), ", "); !strings.Contains(story, "number 2 closed") {
		t.Errorf("the story is %q", story)
	}
}

func bobsNotice(kind isonlinev1.SessionEventKind) *notice {
	n := &notice{UserId: "bob", UserFlag: isonlinev1.UserFlag_USER_FLAG_ONLINE, Session: &isonlinev1.SessionNotification{SessionId: publicOf(1), Kind: kind, RichText: textOf(1)}}
	if kind == kindClosed {
		n.UserFlag = isonlinev1.UserFlag_USER_FLAG_OFFLINE
	}
	return n
}

func bobsChange(seq int, kind string, more func(*change)) change {
	c := change{Seq: seq, Kind: kind, User: "bob", Available: kind == "opened", LastSeen: after(time.Duration(seq) * time.Second)}
	c.Session.ID = publicOf(1)
	if more != nil {
		more(&c)
	}
	return c
}

// TestTurns: what a device explains by appearing offline, with answers that never
// came.
func TestTurns(t *testing.T) {
	t.Parallel()
	say := func(at int, hidden, answered bool) saying {
		s := saying{act: did(time.Duration(at) * time.Second), number: at, hidden: hidden}
		if !answered {
			s.act = asked(time.Duration(at) * time.Second)
		}
		return s
	}
	for name, c := range map[string]struct {
		says []saying
		want tally
	}{
		"never":                 {[]saying{say(1, false, true), say(2, false, true)}, tally{}},
		"once":                  {[]saying{say(1, true, true), say(2, false, true)}, tally{1, 1}},
		"no answer":             {[]saying{say(1, true, false)}, tally{1, 1}},
		"no answer, and others": {[]saying{say(1, true, false), say(2, false, true), say(3, false, true)}, tally{1, 1}},
		"long ago":              {[]saying{say(1, true, false), say(90, false, true), say(91, false, true)}, tally{1, 1}},
	} {
		l := &life{says: c.says}
		if got := l.turns(func(act) bool { return true }); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	l := &life{says: []saying{say(1, true, true), say(2, false, true), say(3, true, true)}}
	l.shorten(after(time.Hour))
	if opened, closed := l.explained(time.Time{}, after(time.Hour)); len(l.says) != 1 || opened != 1 || closed != 2 || l.saidBy() != 3 {
		t.Errorf("shortened: %d kept, %d and %d explained, %d said, want 1, 1, 2, 3", len(l.says), opened, closed, l.saidBy())
	}
	l.says = append(l.says, say(70, false, true))
	if opened, closed := l.explained(time.Time{}, after(time.Hour)); opened != 2 || closed != 2 {
		t.Errorf("it shows itself again: %d and %d explained, want 2 and 2", opened, closed)
	}
}
