package storetest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Open opens the store kept in dir, or makes an empty one; its log takes at
// most about maxBytes (0: no limit that a test would meet). stop stops it, so
// that Open can be called on dir again. It fails the test when it cannot.
type Open func(t testing.TB, dir string, maxBytes int64) (s store.Store, stop func())

// Run proves the contract of package store, each rule as a subtest under a
// fake clock (the test's main must have registered the engine's ticker before,
// see package natsbus).
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, rule := range rules() {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &bench{t: t, open: open, dir: t.TempDir()}
				defer b.close()
				rule.prove(t, b)
			})
		})
	}
}

// RunReal proves the named rules in real time and one by one, for stores of which
// some parts are other processes.
func RunReal(t *testing.T, open Open, names ...string) {
	t.Helper()
	for _, rule := range rules() {
		at := slices.Index(names, rule.name)
		if at < 0 {
			continue
		}
		names = slices.Delete(names, at, at+1)
		t.Run(rule.name, func(t *testing.T) {
			b := &bench{t: t, open: open, dir: t.TempDir()}
			defer b.close()
			rule.prove(t, b)
		})
	}
	if len(names) > 0 {
		t.Errorf("there are no rules %q", names)
	}
}

// rule is one part of the contract.
type rule struct {
	name  string
	prove func(t *testing.T, b *bench)
}

func rules() []rule {
	return []rule{
		{"log/replay gives what was appended", replayGivesWhatWasAppended},
		{"log/replay of a part", replayOfAPart},
		{"log/same id twice", sameIDTwice},
		{"log/appends at once", appendsAtOnce},
		{"log/counts of records", countsOfRecords},
		{"log/refuses when full and trims behind the checkpoint", refusesWhenFull},
		{"log/trimming stops at the checkpoint", trimmingStopsAtCheckpoint},
		{"checkpoint/shards", shards},
		{"checkpoint/big shards", bigShards},
		{"checkpoint/notes", notes},
		{"checkpoint/advance", advance},
		{"checkpoint/callbacks' errors", callbackErrors},
		{"counter/unique and growing", counter},
		{"counter/calls at once", counterAtOnce},
		{"roster/values", rosterValues},
		{"roster/by revision", rosterRevisions},
		{"roster/big values", rosterBigValues},
		{"roster/scan", rosterScan},
		{"roster/scan beside saves", rosterScanBesideSaves},
		{"roster/watch", rosterWatch},
		{"liveness", liveness},
		{"notes of nodes", notesOfNodes},
		{"names/values", nameValues},
		{"names/by revision", nameRevisions},
		{"reading/follow goes on", followGoesOn},
		{"reading/follow ends", followEnds},
		{"reading/a slow follower", followSlow},
		{"reading/follow of what is gone", followGap},
		{"reading/ends and times", logEnds},
		{"reading/of one user", replayOfAUser},
		{"erasures", erasedUsers},
		{"bases/copies of the checkpoint", bases},
		{"bases/big", bigBases},
		{"bases/useless", uselessBases},
		{"bases/without who was erased", scrubbedBases},
		{"cursors/values", cursors},
		{"cursors/terms", cursorTerms},
		{"letters", letters},
		{"mailboxes/entries", mailEntries},
		{"mailboxes/behind the last", mailBehindTheLast},
		{"mailboxes/cut", mailCut},
		{"mailboxes/limits", mailLimits},
		{"stopped", stopped},
	}
}

// bench is one test's store, which can be opened again.
type bench struct {
	t        *testing.T
	open     Open
	dir      string
	maxBytes int64
	stop     func()
}

// store opens the store, after stopping the one before.
func (b *bench) store() store.Store {
	b.t.Helper()
	b.close()
	s, stop := b.open(b.t, b.dir, b.maxBytes)
	b.stop = stop
	return s
}

func (b *bench) close() {
	if b.stop != nil {
		b.stop()
		b.stop = nil
	}
}

// Records returns n records that differ from those of every other seed: all
// kinds, with and without a status.
func Records(seed, n int) []presence.Record {
	rs := make([]presence.Record, n)
	for i := range rs {
		rs[i] = record(seed*1000 + i)
	}
	return rs
}

// record makes the i-th record.
func record(i int) presence.Record {
	kinds := []presence.RecordKind{
		presence.RecordOpened, presence.RecordMoved, presence.RecordHidden,
		presence.RecordShown, presence.RecordCustom, presence.RecordClosed,
	}
	r := presence.Record{
		Kind:     kinds[i%len(kinds)],
		User:     presence.User{App: "demo", ID: presence.UserID(fmt.Sprintf("user-%d", i))},
		Epoch:    presence.Epoch{Counter: uint32(i%7) + 1, Incarnation: 3},
		Revision: uint64(i),
		Reason:   presence.ReasonOpened,
		Time:     presence.Time(1_700_000_000_000 + i),
		Device:   presence.Device{Platform: "web", Locale: "en-US", Addr: "192.0.2.1:4711", Door: "isonline"},
	}
	r.Session[0], r.Session[1], r.Session[2], r.Public[3] = byte(i), byte(i>>8), byte(i>>16), byte(i)
	switch r.Kind {
	case presence.RecordClosed:
		r.Reason, r.LastSeen = presence.ReasonLeft, r.Time-5
	case presence.RecordOpened, presence.RecordCustom:
		r.Status = &presence.Status{Show: presence.Busy, Properties: []presence.Property{
			{Key: "n", Value: presence.Value{Kind: presence.KindInteger, Integer: int64(i)}},
		}}
	}
	return r
}
