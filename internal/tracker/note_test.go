package tracker

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func genNote() *rapid.Generator[note] {
	return rapid.Custom(func(t *rapid.T) note {
		n := note{
			ref:      Ref{User: presence.User{App: "demo", ID: presence.UserID(rapid.StringN(1, 20, 100).Draw(t, "user"))}},
			epoch:    presence.Epoch{Counter: rapid.Uint32().Draw(t, "counter"), Incarnation: rapid.Uint64().Draw(t, "incarnation")},
			revision: rapid.Uint64().Draw(t, "revision"),
			updated:  presence.Time(rapid.Int64Range(0, 1<<50).Draw(t, "updated")),
			lost:     presence.Time(rapid.Int64Range(0, 1<<50).Draw(t, "lost")),
			friends:  rapid.Bool().Draw(t, "friends"),
			same:     rapid.Bool().Draw(t, "same"),
		}
		if rapid.Bool().Draw(t, "served") {
			n.ttl = time.Duration(rapid.Int64Range(1, 1<<30).Draw(t, "ttl")) * time.Millisecond
			n.until = presence.Time(rapid.Int64Range(0, 1<<50).Draw(t, "until"))
		}
		copy(n.ref.Session[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
		if rapid.Bool().Draw(t, "says something") {
			n.status = &presence.Status{Show: presence.Busy, Text: presence.Value{Kind: presence.KindText, Text: "in a call"}}
		}
		for _, w := range rapid.SliceOfN(rapid.StringN(1, 10, 40), 0, 5).Draw(t, "watches") {
			n.watches = append(n.watches, presence.UserID(w))
		}
		if n.same {
			n.watches = nil
		}
		return n
	})
}

var wholeNotes = cmp.AllowUnexported(note{}, presence.Folded{}, presence.FoldedSession{})

func TestNotesRoundTrip(t *testing.T) {
	t.Parallel()
	rapidtest.Check(t, func(t *rapid.T) {
		alive := presence.Time(rapid.Int64Range(0, 1<<50).Draw(t, "alive"))
		list := rapid.SliceOfN(genNote(), 0, 5).Draw(t, "notes")
		b := appendNotes(nil, alive)
		for i := range list {
			b = list[i].append(b)
		}
		gotAlive, got, err := parseNotes(b)
		if err != nil || gotAlive != alive {
			t.Fatalf("got %v, %v, want %v", gotAlive, err, alive)
		}
		if len(list) == 0 {
			list = nil
		}
		if diff := cmp.Diff(list, got, wholeNotes); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
		// Cut anywhere it must be refused, or be whole notes fewer.
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, fewer, err := parseNotes(b[:cut]); err == nil && len(fewer) >= len(list) && len(list) > 0 {
			t.Fatalf("cut to %d of %d bytes: got %d of %d notes and no error", cut, len(b), len(fewer), len(list))
		}
	})
}

func TestNewerNoteWins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		n, o     note
		expected bool
	}{
		{"equal: the later wins", note{revision: 3}, note{revision: 3}, false},
		{"lower revision", note{revision: 2}, note{revision: 3}, true},
		{"higher revision", note{revision: 4}, note{revision: 3}, false},
		{"lower epoch", note{revision: 9}, note{revision: 3, epoch: presence.Epoch{Counter: 1}}, true},
		{"higher epoch", note{revision: 1, epoch: presence.Epoch{Counter: 1}}, note{revision: 3}, false},
		{"higher incarnation", note{epoch: presence.Epoch{Incarnation: 2}}, note{revision: 3, epoch: presence.Epoch{Incarnation: 1}}, false},
	} {
		if got := c.n.olderThan(&c.o); got != c.expected {
			t.Errorf("%s: got %v, want %v", c.name, got, c.expected)
		}
	}
}

// Notes and shards of before there were presences that servers set are read.
func TestOldNotesAreRead(t *testing.T) {
	t.Parallel()
	notes, shard := seeds()
	notes[0], shard[0] = 1, 1
	if alive, list, err := parseNotes(notes); err != nil || alive != 12345 || len(list) != 1 || len(list[0].watches) != 2 || list[0].ttl != 0 {
		t.Errorf("notes: got %v, %+v, %v", alive, list, err)
	}
	if users, list, err := parseShard(shard); err != nil || len(users) != 1 || len(list) != 1 {
		t.Errorf("shard: got %v, %+v, %v", users, list, err)
	}
	for _, version := range []byte{0, noteVersion + 1} {
		notes[0], shard[0] = version, version
		if _, _, err := parseNotes(notes); err == nil {
			t.Errorf("notes of version %d are read", version)
		}
		if _, _, err := parseShard(shard); err == nil {
			t.Errorf("a shard of version %d is read", version)
		}
	}
}

// seeds are a note and a shard as they are written.
func seeds() (notes, shard []byte) {
	n := note{ref: Ref{User: bob}, status: &presence.Status{Show: presence.Away}, watches: []presence.UserID{"alice", "carol"}}
	notes = n.append(appendNotes(nil, 12345))
	var f presence.Folded
	f.Apply(&presence.Record{Kind: presence.RecordOpened, User: bob, Revision: 1, Time: 1}, nil)
	shard = presence.AppendNumber([]byte{store.ShardVersion}, 1)
	shard = presence.AppendFolded(shard, bob, &f)
	return notes, n.append(shard)
}

func FuzzParseNotes(f *testing.F) {
	notes, shard := seeds()
	f.Add(notes)
	f.Add(shard)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		alive, list, err := parseNotes(b)
		if err != nil {
			return
		}
		again := appendNotes(nil, alive)
		for i := range list {
			again = list[i].append(again)
		}
		if _, second, err := parseNotes(again); err != nil || len(second) != len(list) {
			t.Errorf("written again: got %d notes, %v, want %d", len(second), err, len(list))
		}
	})
}

func FuzzParseShard(f *testing.F) {
	notes, shard := seeds()
	f.Add(shard)
	f.Add(notes)
	f.Add([]byte{store.ShardVersion, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		users, list, err := parseShard(b)
		if err == nil && len(users) > len(b) || len(list) > len(b) {
			t.Errorf("%d bytes gave %d users and %d notes", len(b), len(users), len(list))
		}
	})
}

// What claims to be long must not make memory of a few bytes.
func TestParsersAllocateLittle(t *testing.T) {
	huge := presence.AppendNumber(nil, 1<<60)
	note := note{ref: Ref{User: bob}}
	whole := note.append(appendNotes(nil, 1))
	for name, parse := range map[string]func(){
		"users of a shard":  func() { parseShard(append([]byte{store.ShardVersion}, huge...)) },
		"watches of a note": func() { parseNotes(append(whole[:len(whole)-1:len(whole)-1], huge...)) },
		"a text's length":   func() { parseNotes(append([]byte{noteVersion, 0}, huge...)) },
		"no end":            func() { parseNotes([]byte(string([]byte{noteVersion}) + strings.Repeat("\xff", 1000))) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parse()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
			t.Errorf("%s: %d bytes were allocated, want at most 64 KiB", name, got)
		}
	}
}

// TestANoteFitsIntoAMessage: a session that watches more than any message takes holds up
// nobody's notes; what fits is noted, with its status.
func TestANoteFitsIntoAMessage(t *testing.T) {
	t.Parallel()
	const message = 8<<20 - noteMaxBytes // others may stand before it
	for name, count := range map[string]int{"few": 50_000, "many": 90_000} {
		n := note{ref: Ref{User: bob}, revision: 7, friends: true}
		for i := range count {
			n.watches = append(n.watches, presence.UserID(fmt.Sprintf("%0*d", map[string]int{"few": 20, "many": presence.MaxUserID}[name], i)))
		}
		b := n.append(appendNotes(nil, 1))
		_, list, err := parseNotes(b)
		if err != nil || len(list) != 1 || len(b) > message {
			t.Fatalf("%s: got %d bytes, %d notes, %v, want at most %d bytes and one", name, len(b), len(list), err, message)
		}
		got := list[0]
		if k := len(got.watches); !slices.Equal(got.watches, n.watches[:k]) || k < 30_000 || count < 60_000 && k != count || got.revision != 7 || !got.friends {
			t.Errorf("%s: got revision %d, friends %v and %d watches of %d", name, got.revision, got.friends, k, count)
		}
	}
}
