package natsstore_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// fillStore puts something of each kind into a store.
func fillStore(t *testing.T, s store.Store) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		_, err := s.Append(ctx, string(rune('a'+i)), storetest.Records(i, 5))
		must(err)
	}
	must(s.SaveShard(ctx, 3, 20, bytes.Repeat([]byte("state"), 400_000)))
	note, err := s.SaveNote(ctx, []byte("note"))
	must(err)
	must(s.Advance(ctx, 20, note))
	_, err = s.SaveBase(ctx)
	must(err)
	_, err = s.SaveRoster(ctx, store.RosterList, store.Roster{User: presence.User{App: "demo", ID: "alice"}, Value: []byte("bob")})
	must(err)
	_, err = s.SaveCursors(ctx, store.Cursors{Endpoint: store.Endpoint{App: "demo", Name: "main"}, Term: 7, Lanes: []store.Cursor{{Position: "12.0"}}})
	must(err)
	_, err = s.AppendMail(ctx, 0, []byte("letter"))
	must(err)
	for range 3 {
		_, err = s.Next(ctx, "incarnation")
		must(err)
	}
}

// digest is what readers see of a store.
func digest(t *testing.T, s store.Store) map[string]any {
	t.Helper()
	ctx, seen := context.Background(), map[string]any{}
	messages := map[uint64]string{}
	if _, err := s.Replay(ctx, 0, func(seq uint64, rs []presence.Record) error {
		messages[seq] = string(presence.AppendRecords(nil, rs))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen["log"] = messages
	through, err := s.Load(ctx, func(n int, through uint64, b []byte) error {
		seen["shard"] = []any{n, through, len(b)}
		return nil
	}, func(b []byte) error {
		seen["note"] = string(b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen["through"] = through
	seen["bases"], err = s.Bases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := s.LoadRoster(ctx, store.RosterList, presence.User{App: "demo", ID: "alice"})
	seen["roster"] = string(r.Value)
	c, _ := s.LoadCursors(ctx, store.Endpoint{App: "demo", Name: "main"})
	seen["cursors"] = c
	mail, _ := s.ReadMail(ctx, 1)
	seen["mail"] = string(mail)
	return seen
}

// TestMovesIntoCluster: a single node's data is in the cluster afterwards, with
// all positions, and what cannot be imported changes nothing.
func TestMovesIntoCluster(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{})
	ctx, cancel := context.WithTimeout(context.Background(), 2*natsbustest.Up)
	defer cancel()
	dir := t.TempDir()
	s, stop := open(t, dir, natsstore.Config{Temporary: true})
	fillStore(t, s)
	want := digest(t, s)
	stop()

	bus := startBus(t, natsbus.Config{Dir: dir})
	var file bytes.Buffer
	var last natsstore.Progress
	if err := natsstore.Export(ctx, bus, &file, func(p natsstore.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Done != last.Total || last.Bytes == 0 {
		t.Errorf("progress at the end: got %+v, want all", last)
	}
	cluster := startBus(t, onServers(servers, "pl"))
	for name, b := range map[string][]byte{
		"cut off": file.Bytes()[:file.Len()-1], "longer": append(bytes.Clone(file.Bytes()), 0), "empty": nil,
		"damaged": append(append(bytes.Clone(file.Bytes()[:file.Len()/2]), file.Bytes()[file.Len()/2]^1), file.Bytes()[file.Len()/2+1:]...),
	} {
		if err := natsstore.Import(ctx, cluster, bytes.NewReader(b), nil); err == nil || !strings.Contains(err.Error(), "not a whole export") {
			t.Errorf("%s: got %v, want an error that says so", name, err)
		}
	}
	if all, err := natsstore.Status(ctx, cluster); err != nil || len(all) != 0 {
		t.Errorf("after refusals: got %v, %v, want nothing stored", all, err)
	}
	if err := natsstore.Import(ctx, startBus(t, onServers(servers, "other")), bytes.NewReader(file.Bytes()), nil); err == nil || !strings.Contains(err.Error(), "prefix") {
		t.Errorf("another prefix: got %v, want an error that says so", err)
	}
	if err := natsstore.Import(ctx, cluster, bytes.NewReader(file.Bytes()), nil); err != nil {
		t.Fatal(err)
	}
	if err := natsstore.Import(ctx, cluster, bytes.NewReader(file.Bytes()), nil); !errors.Is(err, natsstore.ErrNotEmpty) {
		t.Errorf("twice: got %v, want ErrNotEmpty", err)
	}
	moved, stopMoved := openOn(t, onServers(servers, "pl"), natsstore.Config{})
	defer stopMoved()
	if diff := cmp.Diff(want, digest(t, moved)); diff != "" {
		t.Errorf("in the cluster (-want +got):\n%s", diff)
	}
	if n, err := moved.Next(ctx, "incarnation"); err != nil || n != 4 {
		t.Errorf("counter: got %d, %v, want 4", n, err)
	}
	pos, err := moved.Append(ctx, "next", storetest.Records(99, 1))
	if err != nil || pos.Sequence != 41 {
		t.Errorf("Append: got %v, %v, want the next sequence", pos, err)
	}
	all, err := natsstore.Status(ctx, cluster)
	if err != nil || len(all) == 0 || all[0].Stream != "PL_LOG" || all[0].Last != 41 || all[0].Replicas != 3 {
		t.Errorf("Status: got %+v, %v, want the log first, through 41, three times", all, err)
	}
}
