package presence

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// describe writes records one to a line, for failures.
func describe(log []Record) string {
	var b strings.Builder
	for _, r := range log {
		fmt.Fprintf(&b, "%d %v session %q epoch %d.%d revision %d %v", r.Time, r.Kind, strings.TrimRight(string(r.Session[:]), "\x00"),
			r.Epoch.Counter, r.Epoch.Incarnation, r.Revision, r.Reason)
		fmt.Fprintf(&b, " invisible %v, seen %d, policy %v, device %q\n", r.Invisible, r.LastSeen, r.Policy, r.Device.ID)
	}
	return b.String()
}

// rec makes a record of session n at an epoch; options change it.
func rec(kind RecordKind, n int, epoch uint32, at Time, options ...func(*Record)) Record {
	r := Record{Kind: kind, User: testUser, Session: sessionID(n), Public: publicID(n), Epoch: Epoch{epoch, 1}, Revision: 1, Time: at}
	for _, o := range options {
		o(&r)
	}
	return r
}

func lowest(r *Record)                  { r.Epoch = Epoch{} }
func rev(n uint64) func(*Record)        { return func(r *Record) { r.Revision = n } }
func why(reason Reason) func(*Record)   { return func(r *Record) { r.Reason = reason } }
func under(p MultiDevice) func(*Record) { return func(r *Record) { r.Policy = p } }
func on(platform, id string) func(*Record) {
	return func(r *Record) { r.Device = Device{Platform: platform, ID: id} }
}
func seen(at Time) func(*Record)    { return func(r *Record) { r.LastSeen = at } }
func invisible(r *Record)           { r.Invisible = true }
func saying(s string) func(*Record) { return func(r *Record) { r.Status = &Status{Text: text(s)} } }
func tell(f *Fact) string {
	n := strings.TrimPrefix(strings.TrimRight(string(f.Session.ID[:]), "\x00"), "session ")
	return fmt.Sprintf("%d %v %s@%d %v", f.Seq, f.Kind, n, f.Session.Epoch.Counter, f.Reason)
}

// factCase is a log and the facts it must give, one by one: number, kind,
// session@epoch, reason.
type factCase struct {
	name string
	log  []Record
	want []string
}

func checkFactCases(t *testing.T, cases []factCase) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, facts := fold(c.log)
			var got []string
			for i := range facts {
				got = append(got, tell(&facts[i]))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q, of\n%s", got, c.want, describe(c.log))
			}
		})
	}
}

func TestApplyFacts(t *testing.T) {
	checkFactCases(t, []factCase{
		{"open and close", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 20, why(ReasonLogout))},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 logout"}},
		{"closed before opened: nothing at all", []Record{rec(RecordClosed, 1, 1, 20, why(ReasonLogout)), rec(RecordOpened, 1, 1, 10)}, nil},
		{"doubled", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 20), rec(RecordClosed, 1, 1, 20), rec(RecordOpened, 1, 1, 10)},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 "}},
		{"opened again, its close never read", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordOpened, 1, 2, 20), rec(RecordClosed, 1, 1, 15, why(ReasonTimedOut))},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 link lost", "3 opened 1@2 opened"}},
		{"resumed after its close", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 20, why(ReasonLinkLost)), rec(RecordOpened, 1, 2, 30)},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 link lost", "3 opened 1@2 opened"}},
		{"moved: nobody outside is told", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordMoved, 1, 2, 20), rec(RecordClosed, 1, 1, 21, why(ReasonLinkLost)), rec(RecordClosed, 1, 2, 30, why(ReasonLeft))},
			[]string{"1 opened 1@1 opened", "0 moved 1@2 moved", "2 closed 1@2 left"}},
		{"moved before opened", []Record{rec(RecordMoved, 1, 2, 20), rec(RecordOpened, 1, 1, 10), rec(RecordMoved, 1, 2, 20)},
			[]string{"1 opened 1@2 opened"}},
		{"moved after the old owner closed it", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 20, why(ReasonNodeLost)), rec(RecordMoved, 1, 2, 19)},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 node lost", "3 opened 1@2 opened"}},
		{"moved after a logout read first: the epoch decides", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 20, why(ReasonLogout)), rec(RecordMoved, 1, 2, 19)},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 logout", "3 opened 1@2 opened"}},
		{"moved hidden, the hidden not read yet", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordMoved, 1, 2, 20, invisible), rec(RecordHidden, 1, 1, 15, rev(2))},
			[]string{"1 opened 1@1 opened", "0 moved 1@2 moved", "2 hidden 1@2 hidden"}},
		{"closed by a higher epoch", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 3, 20, why(ReasonNodeLost)), rec(RecordMoved, 1, 2, 15), rec(RecordOpened, 1, 3, 16)},
			[]string{"1 opened 1@1 opened", "2 closed 1@3 node lost"}},
		{"hidden and shown: the highest revision", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordHidden, 1, 1, 20, rev(2)), rec(RecordShown, 1, 1, 40, rev(6)), rec(RecordHidden, 1, 1, 30, rev(4)), rec(RecordShown, 1, 1, 50, rev(8))},
			[]string{"1 opened 1@1 opened", "2 hidden 1@1 hidden", "3 shown 1@1 shown"}},
		{"hidden at the revision of the opening", []Record{rec(RecordOpened, 1, 1, 10, rev(5)), rec(RecordHidden, 1, 1, 9, rev(5))}, []string{"1 opened 1@1 opened"}},
		{"hidden of an old epoch and of a closed one", []Record{rec(RecordOpened, 1, 2, 10), rec(RecordHidden, 1, 1, 9, rev(9)), rec(RecordClosed, 1, 2, 20), rec(RecordHidden, 1, 2, 19, rev(9))},
			[]string{"1 opened 1@2 opened", "2 closed 1@2 "}},
		{"custom before its opening comes with it", []Record{rec(RecordCustom, 1, 1, 20, rev(2), saying("x")), rec(RecordOpened, 1, 1, 10)}, []string{"1 opened 1@1 opened"}},
		{"custom before its move is told after it", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordCustom, 1, 2, 30, rev(2), saying("x")), rec(RecordMoved, 1, 2, 20)},
			[]string{"1 opened 1@1 opened", "0 moved 1@2 moved", "2 custom 1@2 "}},
		{"custom: the newest wins", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordCustom, 1, 1, 30, rev(3)), rec(RecordCustom, 1, 1, 20, rev(2)), rec(RecordCustom, 1, 1, 30, rev(3))},
			[]string{"1 opened 1@1 opened", "2 custom 1@1 "}},
		{"the lowest epoch there is, claimed early", []Record{rec(RecordHidden, 1, 0, 11, lowest, rev(2)), rec(RecordOpened, 1, 0, 10, lowest), rec(RecordClosed, 1, 0, 20, lowest, why(ReasonLeft))},
			[]string{"1 opened 1@0 opened", "2 closed 1@0 left"}},
		{"unknown kinds", []Record{rec(RecordNone, 1, 1, 10), rec(recordKindCount, 1, 1, 10)}, nil},
	})
}

// What the multi-device policy of an opening does.
func TestApplyPolicies(t *testing.T) {
	checkFactCases(t, []factCase{
		{"single replaces all, in the order they opened", []Record{rec(RecordOpened, 1, 1, 20), rec(RecordOpened, 2, 1, 10), rec(RecordOpened, 4, 1, 30), rec(RecordOpened, 3, 1, 30), rec(RecordOpened, 5, 1, 40, under(Single))},
			[]string{"1 opened 1@1 opened", "2 opened 2@1 opened", "3 opened 4@1 opened", "4 opened 3@1 opened",
				"5 closed 2@1 replaced", "6 closed 1@1 replaced", "7 closed 3@1 replaced", "8 closed 4@1 replaced", "9 opened 5@1 opened"}},
		{"one per platform", []Record{rec(RecordOpened, 1, 1, 10, on("ios", "")), rec(RecordOpened, 2, 1, 20, on("web", "")), rec(RecordOpened, 3, 1, 30, on("ios", ""), under(OnePerPlatform))},
			[]string{"1 opened 1@1 opened", "2 opened 2@1 opened", "3 closed 1@1 replaced", "4 opened 3@1 opened"}},
		{"the same device", []Record{rec(RecordOpened, 1, 1, 10, on("ios", "d")), rec(RecordOpened, 2, 1, 20, on("web", "d"))},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 replaced", "3 opened 2@1 opened"}},
		{"a void opening replaces nobody", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 20), rec(RecordOpened, 2, 1, 30), rec(RecordOpened, 1, 1, 10, under(Single))},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 ", "3 opened 2@1 opened"}},
		{"no move undoes a replacement, even after its owner closed it", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordOpened, 2, 1, 20, under(Single)), rec(RecordMoved, 1, 2, 21), rec(RecordClosed, 1, 2, 22, why(ReasonLinkLost)), rec(RecordMoved, 1, 3, 23)},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 replaced", "3 opened 2@1 opened"}},
		{"an opening undoes a replacement", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordOpened, 2, 1, 20, under(Single)), rec(RecordOpened, 1, 2, 30, under(Single))},
			[]string{"1 opened 1@1 opened", "2 closed 1@1 replaced", "3 opened 2@1 opened", "4 closed 2@1 replaced", "5 opened 1@2 opened"}},
	})
}

// Each case is a log and the two last-seens it must end with.
func TestApplyLastSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		log         []Record
		true, shown Time
	}{
		{"open: not seen last yet", []Record{rec(RecordOpened, 1, 1, 10)}, 0, 0},
		{"closed: the last byte", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 50, seen(44))}, 44, 44},
		{"closed, last byte unknown", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 50)}, 50, 50},
		{"never goes back", []Record{rec(RecordClosed, 1, 1, 50, seen(44)), rec(RecordClosed, 2, 1, 60, seen(30))}, 44, 44},
		{"closed while invisible", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordHidden, 1, 1, 20, rev(2)), rec(RecordClosed, 1, 1, 50, seen(44), invisible)}, 44, 20},
		{"opened and closed invisible: others never saw the user", []Record{rec(RecordOpened, 1, 1, 10, invisible), rec(RecordClosed, 1, 1, 50, invisible)}, 50, 0},
		{"hidden: gone for others at that moment", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordHidden, 1, 1, 20, rev(2))}, 0, 20},
		{"void, but it says when", []Record{rec(RecordOpened, 1, 2, 60), rec(RecordClosed, 1, 1, 50, seen(44))}, 44, 44},
		{"replaced: when the other one opened", []Record{rec(RecordOpened, 1, 1, 10), rec(RecordOpened, 2, 1, 30, under(Single))}, 30, 30},
		{"replaced by what was stored late: when it opened", []Record{rec(RecordOpened, 1, 1, 20), rec(RecordOpened, 2, 1, 10, under(Single))}, 20, 20},
		{"replaced while hidden", []Record{rec(RecordOpened, 1, 1, 10, invisible), rec(RecordOpened, 2, 1, 30, under(Single))}, 30, 0},
		{"moved and shown say nothing", []Record{rec(RecordOpened, 1, 1, 10, invisible), rec(RecordMoved, 1, 2, 20), rec(RecordShown, 1, 2, 30, rev(2))}, 0, 0},
	} {
		u, _ := fold(c.log)
		if u.LastSeen != c.true || u.LastSeenShown != c.shown {
			t.Errorf("%s: got %d and shown %d, want %d and %d", c.name, u.LastSeen, u.LastSeenShown, c.true, c.shown)
		}
	}
}

func TestApplyFillsTheFact(t *testing.T) {
	t.Parallel()
	var u Folded
	open := rec(RecordOpened, 1, 1, 10, on("ios", "d"), saying("hello"), invisible, rev(3))
	u.Apply(&open, nil)
	second := rec(RecordOpened, 2, 1, 20, on("web", "d"))
	facts := u.Apply(&second, []Fact{{Seq: 99}})
	session := FoldedSession{
		ID: sessionID(1), Public: publicID(1), Epoch: Epoch{1, 1}, Phase: FoldClosed, Reason: ReasonReplaced, OpenedAt: 10, ClosedAt: 20,
		Device: open.Device, Hidden: true, HiddenRev: 3, CustomRev: 3, Status: open.Status,
	}
	want := []Fact{
		{Seq: 99}, // what was there stays
		{Kind: RecordClosed, Seq: 2, User: testUser, Session: session, Reason: ReasonReplaced, Time: 20, LastSeen: 20, Before: true, First: true},
		{Kind: RecordOpened, Seq: 3, User: testUser, Reason: ReasonOpened, Time: 20, LastSeen: 20, After: true, ShownAfter: true, First: true, Replaces: []PublicID{publicID(1)},
			Session: FoldedSession{ID: sessionID(2), Public: publicID(2), Epoch: Epoch{1, 1}, Phase: FoldOpen, OpenedAt: 20, Device: second.Device, HiddenRev: 1, CustomRev: 1}},
	}
	if !reflect.DeepEqual(facts, want) {
		t.Errorf("got  %+v\nwant %+v", facts, want)
	}
}

// What was claimed before the opening stands in the session that opens.
func TestApplyTakesEarlyClaims(t *testing.T) {
	t.Parallel()
	u, facts := fold([]Record{
		rec(RecordHidden, 1, 2, 30, rev(4)), rec(RecordCustom, 1, 2, 31, rev(5), saying("later")), rec(RecordCustom, 1, 2, 29, rev(3), saying("sooner")),
		rec(RecordCustom, 1, 1, 12, rev(9), saying("of an epoch that is over")),
		rec(RecordOpened, 1, 1, 10), rec(RecordOpened, 1, 2, 20, rev(2), saying("first")),
	})
	s := u.Session(sessionID(1))
	if s == nil || s.Phase != FoldOpen || !s.Hidden || s.HiddenRev != 4 || s.CustomRev != 5 || s.Status.Text.Text != "later" || s.early != nil {
		t.Fatalf("got %+v, want it open, hidden at 4, with the custom status of 5", s)
	}
	if last := facts[len(facts)-1]; last.Kind != RecordOpened || last.ShownAfter || !last.After {
		t.Errorf("got %+v, want it opened, but not for others", last)
	}
	if u.Session(sessionID(2)) != nil {
		t.Error("a session nobody wrote of is known")
	}
}

// The opening says what is so at its own revision; a claim must be above it.
func TestApplyEarlyClaimAtTheRevisionOfTheOpening(t *testing.T) {
	t.Parallel()
	for _, kind := range []RecordKind{RecordOpened, RecordMoved} {
		u, _ := fold([]Record{
			rec(RecordOpened, 1, 1, 5), rec(RecordHidden, 1, 2, 11, rev(4)), rec(RecordCustom, 1, 2, 11, rev(4), saying("early")),
			rec(kind, 1, 2, 10, rev(4), saying("first")),
		})
		if s := u.Session(sessionID(1)); s.Hidden || s.Status.Text.Text != "first" || s.HiddenRev != 4 || s.CustomRev != 4 {
			t.Errorf("%v: got %+v, want what it says itself", kind, s)
		}
	}
}

// Nodes' clocks differ, and a move that was claimed before the end it undoes may
// be written after it: one session's facts never go back in time.
func TestApplyTimesOfASessionNeverGoBack(t *testing.T) {
	t.Parallel()
	_, facts := fold([]Record{
		rec(RecordOpened, 1, 1, 10), rec(RecordClosed, 1, 1, 30, why(ReasonLinkLost)), rec(RecordMoved, 1, 2, 25),
		rec(RecordCustom, 1, 2, 26, rev(2), saying("back")), rec(RecordHidden, 1, 2, 27, rev(3)), rec(RecordClosed, 1, 2, 28, why(ReasonLogout)),
		rec(RecordOpened, 2, 1, 40), rec(RecordOpened, 3, 1, 35, under(Single)),
	})
	var times []Time
	for i := range facts {
		times = append(times, facts[i].Time)
	}
	if want := []Time{10, 30, 30, 30, 30, 30, 40, 40, 35}; !slices.Equal(times, want) {
		t.Errorf("facts at %v, want %v", times, want)
	}
}

// An opening that was refused and stored late takes nothing from the node at which
// the device came instead; a move, and an opening that was claimed later, do.
func TestApplyAnOldOpeningTakesNothing(t *testing.T) {
	other := func(r *Record) { r.Epoch.Incarnation = 2 }
	checkFactCases(t, []factCase{
		{"old opening", []Record{rec(RecordOpened, 1, 0, 20, other), rec(RecordOpened, 1, 1, 10)}, []string{"1 opened 1@0 opened"}},
		{"older than the move", []Record{rec(RecordOpened, 1, 0, 5, other), rec(RecordMoved, 1, 1, 20, other), rec(RecordOpened, 1, 2, 10)}, []string{"1 opened 1@0 opened", "0 moved 1@1 moved"}},
		{"later opening", []Record{rec(RecordOpened, 1, 0, 10, other), rec(RecordOpened, 1, 1, 20)}, []string{"1 opened 1@0 opened", "2 closed 1@0 link lost", "3 opened 1@1 opened"}},
		{"the same node's", []Record{rec(RecordOpened, 1, 0, 20), rec(RecordOpened, 1, 1, 10)}, []string{"1 opened 1@0 opened", "2 closed 1@0 link lost", "3 opened 1@1 opened"}},
		{"what had ended", []Record{rec(RecordOpened, 1, 0, 20, other), rec(RecordClosed, 1, 0, 30, other, why(ReasonLinkLost)), rec(RecordOpened, 1, 1, 10)}, []string{"1 opened 1@0 opened", "2 closed 1@0 link lost", "3 opened 1@1 opened"}},
		{"of the same counter, after the end", []Record{rec(RecordOpened, 1, 1, 20), rec(RecordClosed, 1, 1, 30, why(ReasonLinkLost)), rec(RecordOpened, 1, 1, 10, other)}, []string{"1 opened 1@1 opened", "2 closed 1@1 link lost"}},
		{"of the same counter, claimed later", []Record{rec(RecordOpened, 1, 1, 20), rec(RecordClosed, 1, 1, 30, why(ReasonLinkLost)), rec(RecordOpened, 1, 1, 25, other)}, []string{"1 opened 1@1 opened", "2 closed 1@1 link lost", "3 opened 1@1 opened"}},
	})
}

// A move without a status keeps the one there is, because the node that moves
// a session may know it only from here.
func TestApplyMoveKeepsTheStatus(t *testing.T) {
	t.Parallel()
	log := []Record{rec(RecordOpened, 1, 1, 10, saying("first")), rec(RecordMoved, 1, 2, 20), rec(RecordMoved, 1, 3, 30, saying("moved"))}
	for n, want := range map[int]string{2: "first", 3: "moved"} {
		u, _ := fold(log[:n])
		if s := u.Session(sessionID(1)); s.Status == nil || s.Status.Text.Text != want || s.OpenedAt != 10 {
			t.Errorf("after %d records: got %+v, want the status %q and opened at 10", n, s, want)
		}
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	hour := Time(KeepClosed.Milliseconds())
	start := func() *Folded {
		u, _ := fold([]Record{
			rec(RecordOpened, 1, 1, 100), // stays open
			rec(RecordOpened, 2, 1, 100), rec(RecordClosed, 2, 1, 1000),
			rec(RecordHidden, 3, 1, 900, rev(1)), rec(RecordShown, 3, 1, 1000, rev(2)), rec(RecordCustom, 3, 1, 800, rev(3)), // their opened never comes
			rec(RecordClosed, 4, 1, 2000),
		})
		return &u
	}
	known := func(u *Folded) (ids []int) {
		for n := range 10 {
			if u.Session(sessionID(n)) != nil {
				ids = append(ids, n)
			}
		}
		return ids
	}
	for _, c := range []struct {
		name string
		now  Time
		want []int
	}{
		{"after just an hour", 1000 + hour, []int{1, 2, 3, 4}},
		{"a moment later", 1001 + hour, []int{1, 4}},
		{"much later", 1000 * hour, []int{1}},
		{"a clock at the end of time", math.MaxInt64, []int{1}},
		{"a clock before time", math.MinInt64, []int{1, 2, 3, 4}},
	} {
		u := start()
		seq, seen := u.Seq, u.LastSeen
		u.Forget(c.now)
		if got := known(u); !slices.Equal(got, c.want) || u.Seq != seq || u.LastSeen != seen {
			t.Errorf("%s: got %v, number %d, last seen %d; want %v, %d, %d", c.name, got, u.Seq, u.LastSeen, c.want, seq, seen)
		}
		u = start()
		record := rec(RecordNone, 9, 1, c.now)
		u.Apply(&record, nil)
		if got := known(u); !slices.Equal(got, c.want) {
			t.Errorf("%s, by Apply: got %v, want %v", c.name, got, c.want)
		}
	}
	// A duplicate within ten minutes of the first is still known to be one.
	u := start()
	late := rec(RecordOpened, 2, 1, 100)
	if facts := u.Apply(&late, nil); len(facts) != 0 {
		t.Errorf("late duplicate: got %+v, want nothing", facts)
	}
	if KeepClosed < 10*time.Minute {
		t.Error("closed sessions are forgotten while writers still try again")
	}
}
