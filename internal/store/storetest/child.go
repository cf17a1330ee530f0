package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// childDir is the environment variable that turns a test binary into a writer
// on the directory it names.
const childDir = "PORCHLIGHT_STORETEST_DIR"

// childLog is the limit of the child's log, small enough that it must trim.
const childLog = 1 << 20

// Child turns this process into the writer that [Kill] and [PowerLoss] kill, if
// one of them started it, and then never returns. Call it first in TestMain,
// with the Open that those are given.
func Child(open Open) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	s, _ := open(childTB{}, dir, childLog)
	writeForEver(s)
}

// childTB stands in for a test in the child: what fails there ends it, and the
// parent sees that.
type childTB struct{ testing.TB }

func (childTB) Helper()                      {}
func (childTB) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (childTB) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (childTB) Errorf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// say writes one line to the parent, in one system call: what is said after a
// call returned was acknowledged before the line can be seen.
func say(format string, args ...any) {
	if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
		panic(err) // the parent is gone
	}
}

// writeForEver uses all of the store at once and says what it acknowledges (see
// facts for the lines).
func writeForEver(s store.Store) {
	ctx := context.Background()
	n, err := s.Next(ctx, "incarnation")
	if err != nil {
		panic(err)
	}
	say("counter %d", n)

	// What the log holds already may be in a checkpoint: a log that is full from
	// the beginning takes nothing before there is one.
	last, err := s.Replay(ctx, 0, func(uint64, []presence.Record) error { return nil })
	if err != nil {
		panic(err)
	}
	var (
		newest atomic.Uint64 // acknowledged sequence
		first  = make(chan struct{})
		once   sync.Once
	)
	newest.Store(last - 1)
	c := store.NewCommitter(s, store.CommitterConfig{})
	c.Start()
	go submitForEver(c, n, func(seq uint64) {
		newest.Store(seq) // they come in order
		once.Do(func() { close(first) })
	})
	go followForEver(ctx, s, last)
	if last == 1 {
		<-first
	}
	for i := uint64(0); ; i++ {
		checkpoint(ctx, s, i, newest.Load())
		saveRosters(ctx, s, n<<32|i)
		saveNames(ctx, s, n<<32|i)
		keepReading(ctx, s, n<<32|i)
		keepMail(ctx, s, n<<32|i)
	}
}

// submitForEver keeps some 100 records on their way, and tells of each.
func submitForEver(c *store.Committer, incarnation uint64, stored func(seq uint64)) {
	room := make(chan struct{}, 100)
	for i := 0; ; i++ {
		room <- struct{}{}
		tag := int(incarnation)<<20 + i
		c.Submit(store.Claim{Record: childRecord(tag), Done: func(pos store.Position, err error) {
			<-room
			if errors.Is(err, store.ErrRefused) {
				return // full until the next checkpoint
			}
			if err != nil {
				panic(err)
			}
			stored(pos.Sequence)
			say("record %d %d %d", pos.Sequence, pos.Index, tag)
		}})
	}
}

// checkpoint saves a few shards and a note, and advances now and then.
func checkpoint(ctx context.Context, s store.Checkpoints, i, through uint64) {
	for range 4 {
		n := rand.IntN(8)
		if err := s.SaveShard(ctx, n, through, shardState(n, through)); err != nil {
			panic(err)
		}
		say("shard %d %d", n, through)
	}
	note, err := s.SaveNote(ctx, noteText(through))
	if err != nil {
		panic(err)
	}
	say("note %d %d", note, through)
	if i%5 == 4 {
		say("advancing %d %d", through, note)
		if err := s.Advance(ctx, through, note); err != nil {
			panic(err)
		}
		say("advanced %d %d", through, note)
	}
}

// saveRosters saves a few rosters and now and then takes one away. at makes
// their values; it grows.
func saveRosters(ctx context.Context, s store.Rosters, at uint64) {
	for range 2 {
		n := rand.IntN(childRosters)
		r, err := s.LoadRoster(ctx, store.RosterList, rosterUser(n))
		if err != nil {
			panic(err)
		}
		if r.Value = rosterValue(n, at); rand.IntN(4) == 0 {
			r.Value = nil
			say("emptying %d", n)
		}
		if _, err := s.SaveRoster(ctx, store.RosterList, r); err != nil {
			panic(err)
		}
		if r.Value == nil {
			say("emptied %d", n)
		} else {
			say("roster %d %d", n, at)
		}
	}
}

// childRosters is how many users' rosters the child saves.
const childRosters = 12

// rosterUser is the n-th user; half of them have the longest of names.
func rosterUser(n int) presence.User {
	name := fmt.Sprintf("user %d.*", n)
	if n%2 == 1 {
		name += strings.Repeat("x", presence.MaxUserID-len(name))
	}
	return demoUser(name)
}

// rosterValue is what a user's roster is as of at, which it begins with.
func rosterValue(n int, at uint64) []byte {
	return fmt.Appendf(nil, "%d %s", at, strings.Repeat(fmt.Sprint("friend ", n, " "), 40))
}

// shardState is the state of shard n at a log position: noise of up to 4 kB,
// and for some positions of 2 MB, which takes several messages.
func shardState(n int, through uint64) []byte {
	size := 4 << 10
	if n == 0 && through%8 == 0 {
		size = 2 << 20
	}
	noise := make([]byte, size)
	seed := [32]byte{byte(n), byte(through), byte(through >> 8), byte(through >> 16), byte(through >> 24)}
	_, _ = rand.NewChaCha8(seed).Read(noise)
	return noise
}

func noteText(through uint64) []byte { return fmt.Appendf(nil, "as of %d", through) }

// sameRecord compares a record with the one that tag makes.
func sameRecord(r *presence.Record, tag int) bool {
	want := childRecord(tag)
	return string(presence.AppendRecords(nil, []presence.Record{*r})) == string(presence.AppendRecords(nil, []presence.Record{want}))
}
