package presence

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fold applies a whole log to a user never heard of.
func fold(log []Record) (u Folded, facts []Fact) {
	for i := range log {
		facts = u.Apply(&log[i], facts)
	}
	return u, facts
}

// Any order and any doubling of what honest writers claim gives the same
// present, and it is the present that the claims have as a set.
func TestPresentDependsOnNoOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWriters(t)
		w.erases = rapid.Bool().Draw(t, "erases")
		w.run(40)
		want := presentBySets(w.log)
		inOrder, _ := fold(w.log)
		if got := presentOf(&inOrder); !reflect.DeepEqual(got, want) {
			t.Fatalf("in order: got %+v, want %+v, of\n%s", got, want, describe(w.log))
		}
		doubled := append(slices.Clone(w.log), rapid.SliceOfN(rapid.SampledFrom(w.log), 0, 10).Draw(t, "doubled")...)
		mixed := rapid.Permutation(doubled).Draw(t, "mixed")
		u, facts := fold(mixed)
		if got := presentOf(&u); !reflect.DeepEqual(got, want) {
			t.Fatalf("mixed: got %+v, want %+v, of\n%s", got, want, describe(mixed))
		}
		checkFacts(t, facts, u)
	})
}

// With policies the order of the log decides, and only duplicates are
// harmless: they come at most ten minutes after the first.
func TestLateDuplicatesChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWriters(t)
		w.pauses = true // closed sessions get forgotten between
		w.policies = []MultiDevice{AllowAll, OnePerPlatform, Single}
		w.devices = []string{"", "a", "b"}
		w.erases = rapid.Bool().Draw(t, "erases")
		w.run(40)
		want, wantFacts := fold(w.log)
		doubled := withLateDuplicates(t, w.log)
		u, facts := fold(doubled)
		if got, want := presentOf(&u), presentOf(&want); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v, of\n%s", got, want, describe(doubled))
		}
		if len(facts) != len(wantFacts) {
			t.Fatalf("got %d facts, want %d as without duplicates, of\n%s", len(facts), len(wantFacts), describe(doubled))
		}
		for i := range facts {
			if !sameFact(&facts[i], &wantFacts[i]) {
				t.Fatalf("fact %d: got %+v, want %+v", i, facts[i], wantFacts[i])
			}
		}
		checkFacts(t, facts, u)
	})
}

// withLateDuplicates puts copies of some records somewhere behind them, before
// the log is ten minutes further.
func withLateDuplicates(t *rapid.T, log []Record) []Record {
	type placed struct {
		after int // index of the record it follows
		r     Record
	}
	var copies []placed
	for range rapid.IntRange(1, 10).Draw(t, "duplicates") {
		i := rapid.IntRange(0, len(log)-1).Draw(t, "of")
		last := i
		for last+1 < len(log) && log[last+1].Time.Sub(log[i].Time) <= 10*time.Minute {
			last++
		}
		copies = append(copies, placed{rapid.IntRange(i, last).Draw(t, "after"), log[i]})
	}
	var out []Record
	for i, r := range log {
		out = append(out, r)
		for _, c := range copies {
			if c.after == i {
				out = append(out, c.r)
			}
		}
	}
	return out
}

func TestSingleLeavesOneSession(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWriters(t)
		w.policies = []MultiDevice{Single}
		w.run(40)
		var u Folded
		for i := range w.log {
			facts := u.Apply(&w.log[i], nil)
			opened := len(facts) > 0 && facts[len(facts)-1].Kind == RecordOpened && w.log[i].Kind == RecordOpened
			if got := len(presentOf(&u).Open); opened && got != 1 {
				t.Fatalf("after record %d: %d sessions are open, want 1, of\n%s", i, got, describe(w.log[:i+1]))
			}
		}
	})
}

// Whatever is read, numbers have no gap, facts join one to the next, last seen
// never goes back, and a session opens and closes in turn. A fold written down
// and read back in between goes on as if nothing had been.
func TestHostileRecordsKeepThePromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := rapid.SliceOfN(genHostile(), 30, 100).Draw(t, "log")
		var u Folded
		again := new(Folded)
		var facts []Fact
		for i := range log {
			seen, shown := u.LastSeen, u.LastSeenShown
			before := len(facts)
			facts = u.Apply(&log[i], facts)
			if erased := len(facts) > before && facts[len(facts)-1].Kind == RecordErased; erased {
				if u.Seq != 0 || u.Erased != log[i].Time || u.LastSeen != 0 && u.LastSeen <= u.Erased {
					t.Fatalf("record %d: erased, and left %+v", i, u)
				}
			} else if u.LastSeen < seen || u.LastSeenShown < shown {
				t.Fatalf("record %d: last seen went from %d and %d back to %d and %d", i, seen, shown, u.LastSeen, u.LastSeenShown)
			}
			for _, s := range u.Sessions {
				if s.early != nil && s.Phase != FoldClaimed && s.early.epoch.Compare(s.Epoch) <= 0 {
					t.Fatalf("record %d: claims of %v are kept in %+v", i, s.early.epoch, s)
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "written down") == 0 {
				again = reread(t, again)
			}
			others := again.Apply(&log[i], nil)
			if !slices.EqualFunc(facts[before:], others, func(a, b Fact) bool { return sameFact(&a, &b) }) {
				t.Fatalf("record %d: the fold read back concludes\n%+v, want\n%+v", i, others, facts[before:])
			}
			if got, want := AppendFolded(nil, testUser, again), AppendFolded(nil, testUser, &u); !bytes.Equal(got, want) {
				t.Fatalf("record %d: the fold read back is\n%+v, want\n%+v", i, again, u)
			}
		}
		checkFacts(t, facts, u)
	})
}

func reread(t *rapid.T, f *Folded) *Folded {
	_, got, _, err := ParseFolded(AppendFolded(nil, testUser, f))
	if err != nil {
		t.Fatalf("ParseFolded: %v", err)
	}
	return got
}

// checkFacts checks what holds of the facts of any log, from its first record on.
func checkFacts(t *rapid.T, facts []Fact, u Folded) {
	var seq uint64
	var before, shownBefore bool
	var seen, shown Time
	open := map[SessionID]bool{}
	for i := range facts {
		f := &facts[i]
		if f.Kind == RecordMoved {
			if f.Seq != 0 || f.Before != f.After || f.ShownBefore != f.ShownAfter || !open[f.Session.ID] {
				t.Fatalf("fact %d: a move must be silent and of an open session: %+v", i, f)
			}
		} else if seq++; f.Seq != seq {
			t.Fatalf("fact %d: got number %d, want %d", i, f.Seq, seq)
		}
		if f.Before != before || f.ShownBefore != shownBefore {
			t.Fatalf("fact %d: begins %v, %v; the last ended %v, %v", i, f.Before, f.ShownBefore, before, shownBefore)
		}
		if f.Kind != RecordErased && (f.LastSeen < seen || f.Shown < shown) {
			t.Fatalf("fact %d: last seen goes back: %+v", i, f)
		}
		if f.Session.early != nil {
			t.Fatalf("fact %d shares what the fold still changes", i)
		}
		checkFact(t, facts, i, open)
		if after := len(open) > 0; f.After != after {
			t.Fatalf("fact %d: available after it: got %v, want %v", i, f.After, after)
		}
		before, shownBefore, seen, shown = f.After, f.ShownAfter, f.LastSeen, f.Shown
		if f.Kind == RecordErased {
			seq = 0
		}
	}
	if truth, shown := u.Available(); truth != before || shown != shownBefore || u.Seq != seq {
		t.Fatalf("at the end: got %v, %v and number %d, want %v, %v and %d as the facts say", truth, shown, u.Seq, before, shownBefore, seq)
	}
}

// checkFact checks facts[i] against the sessions open before it, and keeps them.
func checkFact(t *rapid.T, facts []Fact, i int, open map[SessionID]bool) {
	f := &facts[i]
	was := open[f.Session.ID]
	switch f.Kind {
	case RecordOpened:
		if was || f.Session.Phase != FoldOpen || f.First != (len(open) == 0) || f.Reason != ReasonOpened {
			t.Fatalf("fact %d: open before: %v, others: %d: %+v", i, was, len(open), f)
		}
		open[f.Session.ID] = true
		for j, id := range f.Replaces {
			if c := &facts[i-len(f.Replaces)+j]; c.Session.Public != id || c.Reason != ReasonReplaced || c.Kind != RecordClosed {
				t.Fatalf("fact %d: replaces %v, but %d before it stands %+v", i, f.Replaces, len(f.Replaces)-j, c)
			}
		}
	case RecordClosed:
		delete(open, f.Session.ID)
		if !was || f.Session.Phase != FoldClosed || f.First != (len(open) == 0) || f.Reason != f.Session.Reason {
			t.Fatalf("fact %d: open before: %v, others: %d: %+v", i, was, len(open), f)
		}
	case RecordHidden, RecordShown:
		if !was || f.Session.Hidden != (f.Kind == RecordHidden) || f.First {
			t.Fatalf("fact %d: open before: %v: %+v", i, was, f)
		}
	case RecordErased:
		if f.First || f.Before != f.After || f.ShownBefore != f.ShownAfter || f.Session.Phase != FoldClaimed {
			t.Fatalf("fact %d: an erasure tells of no session: %+v", i, f)
		}
	case RecordCustom:
		if !was || f.Before != f.After || f.ShownBefore != f.ShownAfter || f.First {
			t.Fatalf("fact %d: open before: %v: %+v", i, was, f)
		}
	}
}

// sameFact compares all of two facts, statuses by what they say.
func sameFact(a, b *Fact) bool {
	x, y := *a, *b
	same := bytes.Equal(appendSession(nil, &x.Session), appendSession(nil, &y.Session))
	x.Session, y.Session = FoldedSession{}, FoldedSession{}
	return same && reflect.DeepEqual(x, y)
}
