package storetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// facts is what a child said, that is what the store acknowledged to it:
//
//	counter N            the incarnation it got
//	record SEQ IDX TAG   a record is stored
//	shard N THROUGH      a shard's state is stored
//	note NUMBER THROUGH  a note is stored
//	roster N AT          the roster of user N as of AT is stored
//	emptying N, emptied N   around taking it away
//	advancing THROUGH NOTE, advanced THROUGH NOTE   around Advance
//	naming AT, named AT  around saving a named value
//	cursors AT           the cursors as of AT are stored
//	letter N, taking N   a letter is stored; is about to be taken away
//	base AT FROM BYTES, dropping AT   the same of bases
//	erased ID            a user who was in bases is erased
//	told SEQ             a follower got a message
//	mail SEQ AT, cutting SEQ   an entry of the mailboxes is stored; they are about to be cut
//
// The facts of several children on one directory add up.
type facts struct {
	lines     int
	counter   uint64
	records   map[store.Position]int // tags
	shards    map[int]uint64         // newest position
	notes     map[uint64]uint64      // positions by number
	rosters   map[int]rosterFact
	names     map[uint64]nameFact
	advancing [2]uint64 // last begun, perhaps done: through, note
	advanced  [2]uint64 // last acknowledged
	reading   readingFacts
	mail      mailFacts
}

func newFacts() *facts {
	return &facts{records: map[store.Position]int{}, shards: map[int]uint64{}, notes: map[uint64]uint64{}, rosters: map[int]rosterFact{}, names: map[uint64]nameFact{}, reading: newReadingFacts(), mail: mailFacts{stored: map[uint64]uint64{}}}
}

// rosterFact is what is known of one user's roster.
type rosterFact struct {
	at       uint64 // it is as of this or later; 0: there may be none
	emptying bool   // perhaps it is taken away already
	emptied  uint64 // it was taken away as of this: what is there is newer
}

func (f *facts) clone() *facts {
	c := *f
	c.records, c.shards, c.notes = maps.Clone(f.records), maps.Clone(f.shards), maps.Clone(f.notes)
	c.rosters, c.names = maps.Clone(f.rosters), maps.Clone(f.names)
	c.reading.letters, c.reading.bases = maps.Clone(f.reading.letters), maps.Clone(f.reading.bases)
	c.mail = f.mail.clone()
	c.reading.erased = slices.Clone(f.reading.erased)
	return &c
}

// add takes one line; a half line, cut by the kill, was not said.
func (f *facts) add(line string) error {
	if !strings.HasSuffix(line, "\n") {
		return nil
	}
	word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	var a, b uint64
	var tag int
	scan := func(to ...any) error { _, err := fmt.Sscan(rest, to...); return err }
	var err error
	switch word {
	case "counter":
		if err = scan(&a); err == nil && a <= f.counter {
			return fmt.Errorf("the counter gave %d after %d", a, f.counter)
		}
		f.counter = a
	case "record":
		err = scan(&a, &b, &tag)
		f.records[store.Position{Sequence: a, Index: uint32(b)}] = tag
	case "shard":
		err = scan(&a, &b)
		f.shards[int(a)] = b
	case "note":
		err = scan(&a, &b)
		f.notes[a] = b
	case "roster":
		err = scan(&tag, &a)
		f.rosters[tag] = rosterFact{at: a}
	case "emptying":
		err = scan(&tag)
		f.rosters[tag] = rosterFact{at: f.rosters[tag].at, emptying: true}
	case "emptied":
		err = scan(&tag)
		f.rosters[tag] = rosterFact{emptied: f.rosters[tag].at}
	case "naming":
		err = scan(&a)
		n := f.names[a%childNames]
		n.begun = a
		f.names[a%childNames] = n
	case "named":
		err = scan(&a)
		f.names[a%childNames] = nameFact{a, a, true}
	case "advancing":
		err = scan(&f.advancing[0], &f.advancing[1])
	case "advanced":
		err = scan(&f.advanced[0], &f.advanced[1])
	default:
		var known bool
		if known, err = f.mail.add(word, scan); known {
			break
		}
		if known, err = f.reading.add(word, scan); !known {
			return fmt.Errorf("the child said %q", line)
		}
	}
	f.lines++
	if err != nil {
		return fmt.Errorf("the child said %q: %w", line, err)
	}
	return nil
}

// verify opens the store in dir and compares it with the facts. It returns how
// many acknowledged records it found.
func (f *facts) verify(t testing.TB, open Open, dir string) (found int) {
	t.Helper()
	s, stop := open(t, dir, childLog)
	defer stop()
	found = f.verifyLog(t, s)
	f.verifyCheckpoint(t, s)
	f.verifyRosters(t, s)
	f.verifyNames(t, s)
	f.reading.verify(t, s)
	f.mail.verify(t, s)
	if n, err := s.Next(context.Background(), "incarnation"); err != nil || n <= f.counter {
		t.Errorf("counter: got %d, %v, want a number after %d", n, err, f.counter)
	} else {
		f.counter = n
	}
	return found
}

func (f *facts) verifyLog(t testing.TB, s store.Log) (found int) {
	t.Helper()
	first, wrong := uint64(0), 0
	next, err := s.Replay(context.Background(), 0, func(seq uint64, rs []presence.Record) error {
		if first == 0 {
			first = seq
		}
		for i := range rs {
			tag, said := f.records[store.Position{Sequence: seq, Index: uint32(i)}]
			if said && sameRecord(&rs[i], tag) {
				found++
			} else if said {
				wrong++
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("Replay: got %v, want no error", err)
		return found
	}
	want := 0
	for pos := range f.records {
		// Only a checkpoint lets go of the log, even one on its way.
		if pos.Sequence >= first || pos.Sequence > f.advancing[0] {
			want++
		}
	}
	if found != want || wrong > 0 {
		t.Errorf("log from %d to %d: got %d acknowledged records and %d wrong ones in their place, want all %d", first, next, found, wrong, want)
	}
	return found
}

func (f *facts) verifyCheckpoint(t testing.TB, s store.Checkpoints) {
	t.Helper()
	shards, notes := map[int]uint64{}, map[string]bool{}
	through, err := s.Load(context.Background(),
		func(n int, through uint64, state []byte) error {
			shards[n] = through
			if n != leaverShard && !bytes.Equal(state, shardState(n, through)) {
				t.Errorf("shard %d through %d: got another state than was saved", n, through)
			}
			return nil
		},
		func(note []byte) error { notes[string(note)] = true; return nil })
	if err != nil {
		t.Errorf("Load: got %v, want no error", err)
		return
	}
	if through < f.advanced[0] || through > max(f.advancing[0], f.advanced[0]) {
		t.Errorf("checkpoint: got it through %d, want %d, or %d which was on its way", through, f.advanced[0], f.advancing[0])
	}
	for n, want := range f.shards {
		if shards[n] < want {
			t.Errorf("shard %d: got it through %d, want %d or later", n, shards[n], want)
		}
	}
	for number, at := range f.notes {
		if number >= max(f.advancing[1], f.advanced[1]) && !notes[string(noteText(at))] {
			t.Errorf("note %d: got none as of %d, want it", number, at)
		}
	}
}

func (f *facts) verifyRosters(t testing.TB, s store.Rosters) {
	t.Helper()
	scanned := map[presence.User]string{}
	err := s.ScanRosters(context.Background(), store.RosterList, "", func(r store.Roster) error {
		scanned[r.User] = string(r.Value)
		return nil
	})
	if err != nil {
		t.Errorf("ScanRosters: got %v, want no error", err)
	}
	for n := range childRosters {
		r, err := s.LoadRoster(context.Background(), store.RosterList, rosterUser(n))
		if err != nil {
			t.Errorf("LoadRoster %d: got %v, want no error", n, err)
			continue
		}
		if string(r.Value) != scanned[r.User] {
			t.Errorf("roster %d: a scan gives %.20q and a load %.20q, want the same", n, scanned[r.User], r.Value)
		}
		at, fact := uint64(0), f.rosters[n]
		if r.Value != nil {
			if _, err := fmt.Sscan(string(r.Value), &at); err != nil || !bytes.Equal(r.Value, rosterValue(n, at)) {
				t.Errorf("roster %d: got %.20q, want a value that was saved", n, r.Value)
			}
		}
		switch gone := r.Value == nil; {
		case gone && fact.at > 0 && !fact.emptying:
			t.Errorf("roster %d: got none, want it as of %d", n, fact.at)
		case !gone && (at < fact.at || at <= fact.emptied):
			t.Errorf("roster %d: got it as of %d, want %d or later, or none, and not what was taken away at %d", n, at, fact.at, fact.emptied)
		}
	}
}
