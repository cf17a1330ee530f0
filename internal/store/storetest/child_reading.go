package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// What the child does for readers of the log, what it says of it, and how that
// is verified.

// childErases is how many records there are to one that erases a user.
const childErases = 64

// childRecord is the record that a child submits under a tag.
func childRecord(tag int) presence.Record {
	if tag%childErases == 7 {
		return erasedRecord(demoUser(fmt.Sprint("gone-", tag)), presence.Time(tag))
	}
	return record(tag)
}

// childEndpoint has the child's cursors and letters.
func childEndpoint() store.Endpoint { return store.Endpoint{App: "demo", Name: "main"} }

// childLetters is how many letters the child keeps.
const childLetters = 20

// keepReading makes bases, moves cursors, and adds and takes letters. at grows.
func keepReading(ctx context.Context, s store.Store, at uint64) {
	c, err := s.LoadCursors(ctx, childEndpoint())
	if err != nil {
		panic(err)
	}
	c.Term, c.Lanes = at>>32, childLanes(at)
	if _, err := s.SaveCursors(ctx, c); err != nil {
		panic(err)
	}
	say("cursors %d", at)
	l := store.Letter{User: rosterUser(int(at) % childRosters), UserSeq: at, Body: fmt.Appendf(nil, "letter %d", at)}
	if err := s.AddLetters(ctx, childEndpoint(), []store.Letter{l}); err != nil {
		panic(err)
	}
	say("letter %d", at)
	all, _, err := s.ListLetters(ctx, childEndpoint(), store.LetterFilter{}, store.LetterPage{Limit: 2 * childLetters})
	if err != nil {
		panic(err)
	}
	for len(all) > childLetters {
		say("taking %d", all[0].UserSeq)
		if err := s.TakeLetters(ctx, childEndpoint(), []uint64{all[0].Number}); err != nil {
			panic(err)
		}
		all = all[1:]
	}
	if at%2 == 0 {
		leaver := childLeaver(at)
		appear(ctx, s, leaver)
		keepBases(ctx, s)
		erase(ctx, s, leaver)
	}
}

// leaverShard is where those are who are erased while bases have them.
const leaverShard = 9

// childLeaver is a user of leaverShard.
func childLeaver(at uint64) presence.User {
	for i := 0; ; i++ {
		if u := demoUser(fmt.Sprint("leaver-", at, "-", i)); store.Shard(u) == leaverShard {
			return u
		}
	}
}

func appear(ctx context.Context, s store.Store, user presence.User) {
	_, next, err := s.Ends(ctx)
	if err == nil {
		err = s.SaveShard(ctx, leaverShard, next-1, foldedShard(user, demoUser("stays")))
	}
	if err != nil {
		panic(err)
	}
}

func erase(ctx context.Context, s store.Store, user presence.User) {
	_, err := s.Append(ctx, "erase "+string(user.ID), []presence.Record{erasedRecord(user, 1_800_000_000_000)})
	if errors.Is(err, store.ErrRefused) {
		return // full until the next checkpoint
	}
	if err != nil {
		panic(err)
	}
	say("erased %s", user.ID)
}

func childLanes(at uint64) []store.Cursor {
	lanes := make([]store.Cursor, 16)
	for i := range lanes {
		lanes[i] = store.Cursor{Position: fmt.Sprint(at, ".", i), State: []byte(strings.Repeat("s", i))}
	}
	return lanes
}

// keepBases makes a base, and drops one of several.
func keepBases(ctx context.Context, s store.Bases) {
	base, err := s.SaveBase(ctx)
	switch {
	case errors.Is(err, store.ErrNoCheckpoint):
		return
	case err != nil:
		panic(err)
	}
	say("base %d %d %d", base.Position, base.From, base.Bytes)
	all, err := s.Bases(ctx)
	if err != nil {
		panic(err)
	}
	if len(all) > 2 {
		drop := all[rand.IntN(len(all))].Position
		say("dropping %d", drop)
		if err := s.DropBase(ctx, drop); err != nil {
			panic(err)
		}
	}
}

// followForEver says what a follower is told from a sequence on: nobody may be
// told what is not on the disk yet.
func followForEver(ctx context.Context, s store.Reading, from uint64) {
	err := s.Follow(ctx, from, func(seq uint64, _ []presence.Record) error {
		say("told %d", seq)
		return nil
	})
	panic(err) // also when it lags: the log is cut far behind the end
}

// readingFacts is what is known of all that.
type readingFacts struct {
	told    uint64              // last message that a follower got
	cursors uint64              // they are as of this or later
	letters map[uint64]bool     // true: there; false: perhaps taken away
	bases   map[uint64]saidBase // by position; those not being dropped
	erased  []string            // whose erasure is stored
}

// saidBase is a base that was acknowledged.
type saidBase struct {
	from  uint64
	bytes int64
}

func newReadingFacts() readingFacts {
	return readingFacts{letters: map[uint64]bool{}, bases: map[uint64]saidBase{}}
}

// add takes the words of a line; ok tells whether it knew them.
func (f *readingFacts) add(word string, scan func(to ...any) error) (ok bool, err error) {
	var a, b uint64
	switch word {
	case "told":
		err = scan(&f.told)
	case "cursors":
		err = scan(&f.cursors)
	case "letter":
		err = scan(&a)
		f.letters[a] = true
	case "taking":
		err = scan(&a)
		f.letters[a] = false
	case "base":
		var bytes int64
		if err = scan(&a, &b, &bytes); bytes > childLog/8 {
			clear(f.bases) // those before may have gone for the space
		}
		f.bases[a] = saidBase{from: b, bytes: bytes}
	case "dropping":
		err = scan(&a)
		delete(f.bases, a)
	case "erased":
		var id string
		err = scan(&id)
		f.erased = append(f.erased, id)
	default:
		return false, nil
	}
	return true, err
}

func (f *readingFacts) verify(t testing.TB, s store.Store) {
	t.Helper()
	f.verifyCursors(t, s)
	f.verifyLetters(t, s)
	f.verifyBases(t, s)
	verifyErasures(t, s)
	f.verifyScrubbed(t, s)
}

// scrubLimit is how long after a start somebody who was erased may be in bases.
const scrubLimit = 20 * time.Second

// verifyScrubbed wants nobody in the bases who was erased.
func (f *readingFacts) verifyScrubbed(t testing.TB, s store.Store) {
	t.Helper()
	end := time.Now().Add(scrubLimit)
	for {
		err := nowhere(s, f.erased...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Errorf("erased users, %v after the start: %v", scrubLimit, err)
			return
		}
		<-time.After(100 * time.Millisecond)
	}
}

func (f *readingFacts) verifyCursors(t testing.TB, s store.CursorKeeper) {
	t.Helper()
	c, err := s.LoadCursors(context.Background(), childEndpoint())
	var at uint64
	if err == nil && len(c.Lanes) > 0 {
		_, err = fmt.Sscanf(c.Lanes[0].Position, "%d.", &at)
	}
	if err != nil || at < f.cursors {
		t.Errorf("cursors: got them as of %d, %v, want %d or later", at, err, f.cursors)
		return
	}
	if want := childLanes(at); at > 0 && (fmt.Sprint(c.Lanes) != fmt.Sprint(want) || c.Term != at>>32) {
		t.Errorf("cursors as of %d: got %v of term %d, want %v", at, c.Lanes, c.Term, want)
	}
}

func (f *readingFacts) verifyLetters(t testing.TB, s store.Letters) {
	t.Helper()
	got := map[uint64]bool{}
	for _, l := range listed(t, s, childEndpoint(), store.LetterFilter{}, 10) {
		got[l.UserSeq] = true
		if string(l.Body) != fmt.Sprintf("letter %d", l.UserSeq) {
			t.Errorf("letter %d: got body %q", l.UserSeq, l.Body)
		}
	}
	for n, there := range f.letters {
		if there && !got[n] {
			t.Errorf("letter %d is gone", n)
		}
	}
}

// verifyBases wants every base that was acknowledged, unless the log was cut
// behind it, and every base that is listed to be whole.
func (f *readingFacts) verifyBases(t testing.TB, s store.Store) {
	t.Helper()
	first, next, err := s.Ends(context.Background())
	if err != nil {
		t.Errorf("Ends: got %v, want no error", err)
	}
	if next <= f.told {
		t.Errorf("the log ends before %d, but a follower was told of %d", next, f.told)
	}
	all, err := s.Bases(context.Background())
	if err != nil {
		t.Errorf("Bases: got %v, want no error", err)
	}
	there := map[uint64]bool{}
	for _, b := range all {
		there[b.Position] = true
		if b.Position >= next || b.From < first {
			t.Errorf("base %+v: the log has %d to %d", b, first, next)
		}
		if err := s.ReadBase(context.Background(), b.Position, 0, store.Shards-1, func(n int, through uint64, state []byte) error {
			if through < b.From-1 || through > b.Position || len(state) < 4<<10 && n != leaverShard {
				return fmt.Errorf("shard %d of %d bytes through %d", n, len(state), through)
			}
			return nil
		}); err != nil && !errors.Is(err, store.ErrGap) { // it may have been on its way out
			t.Errorf("base at %d, from %d: got %v, want it whole", b.Position, b.From, err)
		}
	}
	for position, said := range f.bases {
		if said.from >= first && !there[position] {
			// A big one has its place until there is another.
			if newer := len(all) > 0 && all[len(all)-1].Position > position; !f.overfull(all) && !(newer && said.bytes > childLog/8) {
				t.Errorf("base at %d, from %d, of %d bytes: it is gone, and the log begins at %d", position, said.from, said.bytes, first)
			}
			delete(f.bases, position) // for the space, which a next child may free
		}
	}
}

// overfull reports that bases may have gone for the space they take.
func (f *readingFacts) overfull(all []store.Base) bool {
	bytes := int64(0)
	for _, b := range all {
		bytes += b.Bytes
	}
	return bytes > childLog/8
}

// verifyErasures wants every erased record of the log on the list.
func verifyErasures(t testing.TB, s store.Store) {
	t.Helper()
	listed := map[store.Erasure]bool{}
	if _, err := s.Erasures(context.Background(), 0, func(e store.Erasure) error { listed[e] = true; return nil }); err != nil {
		t.Errorf("Erasures: got %v, want no error", err)
	}
	if _, err := s.Replay(context.Background(), 0, func(seq uint64, rs []presence.Record) error {
		for i := range rs {
			e := store.Erasure{User: store.UserMark(rs[i].User), Sequence: seq, Time: rs[i].Time}
			if rs[i].Kind == presence.RecordErased && !listed[e] {
				t.Errorf("the erasure at %d.%d is not listed", seq, i)
			}
		}
		return nil
	}); err != nil {
		t.Errorf("Replay: got %v, want no error", err)
	}
}
