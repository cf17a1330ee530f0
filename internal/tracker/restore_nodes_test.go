package tracker

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// restoredFrom starts a node among others on a store and says what it then knows.
func restoredFrom(t *testing.T, mem *storetest.Memory, most int) (*Tracker, error) {
	t.Helper()
	node := New(Config{
		Policies: map[presence.AppID]Policy{app: {}}, Log: mem, Checkpoints: mem, Incarnation: 9, Wheel: wheel.New(nil), Logger: slog.New(slog.DiscardHandler),
		Cluster: &Cluster{Peers: alone{}, Reading: mem, Notes: mem},
	})
	node.Listen(silent{}, silent{})
	return node, node.restoreBy(t.Context(), most)
}

// A checkpoint that is behind, with notes of a node that was alone in and beside
// its shards, notes of nodes, and records, is restored the same in one go and in
// many.
func TestRestoreShardByShard(t *testing.T) {
	t.Parallel()
	const users = 300
	mem := storetest.NewMemory()
	records := make([]presence.Record, users)
	for n := range records {
		records[n] = foreignRecord(n, presence.Time(1_700_000_000_000+n))
	}
	status := func(text string) *presence.Status {
		return &presence.Status{Text: presence.Value{Kind: presence.KindText, Text: text}}
	}
	noteOf := func(n int, revision uint64, text string) *note {
		r := &records[n]
		return &note{ref: Ref{r.User, r.Session}, epoch: r.Epoch, revision: revision, updated: r.Time, status: status(text)}
	}
	// The first third is in the checkpoint, as a node that was alone wrote it.
	counts, states, inside := [Shards]int{}, [Shards][]byte{}, [Shards][]byte{}
	for n := range users / 3 {
		shard := store.Shard(records[n].User)
		var f presence.Folded
		f.Apply(&records[n], nil)
		counts[shard]++
		states[shard] = presence.AppendFolded(states[shard], records[n].User, &f)
		inside[shard] = noteOf(n, 3, fmt.Sprint("inside ", n)).append(inside[shard])
	}
	for shard, state := range states {
		if counts[shard] == 0 {
			continue
		}
		b := append(append(store.AppendShard(nil, counts[shard]), state...), inside[shard]...)
		if err := mem.SaveShard(t.Context(), shard, 1, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mem.SaveNote(t.Context(), noteOf(1, 4, "beside 1").append(appendNotes(nil, 5))); err != nil {
		t.Fatal(err)
	}
	// A node noted more of two, of one of them what is older.
	for n, one := range map[int]*note{2: noteOf(2, 7, "noted 2"), 3: noteOf(3, 2, "older 3")} {
		if err := mem.SaveNotes(t.Context(), 2, store.Shard(records[n].User)%store.NoteGroups, false, one.append(appendNotes(nil, 6))); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at < users; at += 10 {
		if _, err := mem.Append(t.Context(), fmt.Sprint(at), records[at:at+10]); err != nil {
			t.Fatal(err)
		}
	}
	want := map[int]string{0: "inside 0", 1: "beside 1", 2: "noted 2", 3: "inside 3"}
	for _, most := range []int{1, 50, mostWaiting} {
		node, err := restoredFrom(t, mem, most)
		if err != nil {
			t.Fatal(err)
		}
		if n := node.Count(app).Users; n != users {
			t.Errorf("most %d: %d users are online, want %d", most, n, users)
		}
		for n, text := range want {
			p := node.Presence(records[n].User)
			if len(p.Sessions) != 1 || p.Sessions[0].Status == nil || p.Sessions[0].Status.Text.Text != text {
				t.Errorf("most %d: user %d is %+v, want the status %q", most, n, p, text)
			}
		}
		var digests [Shards]uint64
		if node.Digests(2, &digests); digests == [Shards]uint64{} {
			t.Errorf("most %d: no digest of the sessions of node 2", most)
		}
	}
}

func TestRestoreNamesWhatIsDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*storetest.Memory) error{
		"shard 7": func(m *storetest.Memory) error { return m.SaveShard(t.Context(), 7, 1, []byte{99}) },
		"noted":   func(m *storetest.Memory) error { return m.SaveNotes(t.Context(), 2, 0, true, []byte{99}) },
	} {
		mem := storetest.NewMemory()
		if err := damage(mem); err != nil {
			t.Fatal(err)
		}
		if _, err := restoredFrom(t, mem, mostWaiting); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error that says %q", err, name)
		}
	}
}
