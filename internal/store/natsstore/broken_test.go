package natsstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func TestOpenNeedsABus(t *testing.T) {
	t.Parallel()
	bus, err := natsbus.New(natsbus.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*natsbus.Bus{"none": nil, "not started": bus} {
		if _, err := natsstore.Open(context.Background(), natsstore.Config{Bus: b}); err == nil {
			t.Errorf("bus %s: got no error, want one", name)
		}
	}
}

func TestAppendBeyondItsTimeIsUnknown(t *testing.T) {
	t.Parallel()
	s, stop := open(t, t.TempDir(), natsstore.Config{Temporary: true})
	defer stop()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Append(over, "a", storetest.Records(1, 1)); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Append: got %v, want ErrUnknown", err)
	}
	if s.Health() == nil {
		t.Error("Health after a failed append: got nil, want the reason")
	}
	if _, err := s.Append(context.Background(), "a", storetest.Records(1, 1)); err != nil || s.Health() != nil {
		t.Errorf("Append again: got %v and Health %v, want no error and nil", err, s.Health())
	}
}

func TestEngineStoppedFirst(t *testing.T) {
	t.Parallel()
	bus := startBus(t, natsbus.Config{Dir: t.TempDir()})
	s, err := natsstore.Open(context.Background(), natsstore.Config{Bus: bus, Temporary: true, Usage: plenty})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(context.Background())
	bus.Stop(context.Background())
	if _, err := s.Append(context.Background(), "a", storetest.Records(1, 1)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Append: got %v, want ErrClosed", err)
	}
	if _, err := s.Replay(context.Background(), 0, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Replay: got %v, want ErrClosed", err)
	}
	if s.Health() == nil {
		t.Error("Health: got nil, want an error")
	}
}

// TestRefusesALogThatLostItsEnd: a checkpoint without its log would take new
// records for old ones.
func TestRefusesALogThatLostItsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := open(t, dir, natsstore.Config{Temporary: true})
	for _, id := range []string{"a", "b"} {
		if _, err := s.Append(context.Background(), id, storetest.Records(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Advance(context.Background(), 2, 0); err != nil {
		t.Fatal(err)
	}
	stop()
	found, err := filepath.Glob(filepath.Join(dir, "standalone", "jetstream", "*", "streams", "PL_LOG"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the log's directory: got %v, %v, want one", found, err)
	}
	if err := os.RemoveAll(found[0]); err != nil {
		t.Fatal(err)
	}
	bus := startBus(t, natsbus.Config{Dir: dir})
	_, err = natsstore.Open(context.Background(), natsstore.Config{Bus: bus, Temporary: true, Usage: plenty})
	if err == nil || !strings.Contains(err.Error(), "ends at 0, before its checkpoint at 2") {
		t.Errorf("Open: got %v, want an error that says where the log ends", err)
	}
}

func TestRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, c := range map[string]struct {
		subject string
		read    func(s *natsstore.Store) error
	}{
		"log": {"pl.log", func(s *natsstore.Store) error {
			_, err := s.Replay(ctx, 0, func(uint64, []presence.Record) error { return nil })
			return err
		}},
		"shard": {"pl.ckpt.shard.3", func(s *natsstore.Store) error {
			if err := s.SaveShard(ctx, 3, 1, nil); err == nil {
				t.Error("SaveShard over a damaged one: got no error, want one")
			}
			_, err := s.Load(ctx, func(int, uint64, []byte) error { return nil }, nil)
			return err
		}},
		"foreign shard": {"pl.ckpt.shard.x", func(s *natsstore.Store) error {
			_, err := s.Load(ctx, func(int, uint64, []byte) error { return nil }, nil)
			return err
		}},
		"mark": {"pl.ckpt.mark", func(s *natsstore.Store) error {
			_, err := s.Load(ctx, nil, nil)
			return err
		}},
		"counter": {"pl.counter.Yw", func(s *natsstore.Store) error {
			_, err := s.Next(ctx, "c")
			return err
		}},
		"roster": {"pl.roster.1.demo.K9gGyX8OAK8aH8Myj6djqSaX", func(s *natsstore.Store) error {
			if err := s.ScanRosters(ctx, store.RosterList, "", func(store.Roster) error { return nil }); err == nil {
				t.Error("ScanRosters: got no error, want one")
			}
			_, err := s.LoadRoster(ctx, store.RosterList, presence.User{App: "demo", ID: "alice"})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := startBus(t, natsbus.Config{Dir: t.TempDir()})
			s, err := natsstore.Open(ctx, natsstore.Config{Bus: bus, Temporary: true, Usage: plenty})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop(ctx)
			if _, err := bus.JetStream().Publish(ctx, c.subject, []byte("\xffnonsense")); err != nil {
				t.Fatal(err)
			}
			if err := c.read(s); err == nil {
				t.Error("got no error, want one")
			}
		})
	}
}

// TestBigShardBrokenOff: a crash between the parts and the head leaves the
// former state, and the next save clears the leavings away.
func TestBigShardBrokenOff(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	bus := startBus(t, natsbus.Config{Dir: t.TempDir()})
	s, err := natsstore.Open(ctx, natsstore.Config{Bus: bus, Temporary: true, Usage: plenty})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(ctx)
	if err := s.SaveShard(ctx, 1, 1, []byte("former")); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"0", "1"} {
		if _, err := bus.JetStream().Publish(ctx, "pl.ckpt.part.1.abc."+part, []byte("half")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Load(ctx, func(n int, through uint64, state []byte) error {
		if n != 1 || through != 1 || string(state) != "former" {
			t.Errorf("shard %d through %d: got %q, want the former state", n, through, state)
		}
		return nil
	}, nil); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 3<<20)
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		noise[i] = byte(x)
	}
	wantParts := func(want uint64) {
		t.Helper()
		stream, err := bus.JetStream().Stream(ctx, "PL_CHECKPOINT")
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter("pl.ckpt.part.>"))
		if err != nil || uint64(len(info.State.Subjects)) != want {
			t.Errorf("parts: got %v, %v, want %d", info.State.Subjects, err, want)
		}
	}
	wantParts(2)
	if err := s.SaveShard(ctx, 1, 2, noise); err != nil {
		t.Fatal(err)
	}
	wantParts(4) // 3 MB in pieces of 896 kB
	if err := s.SaveShard(ctx, 1, 3, []byte("small again")); err != nil {
		t.Fatal(err)
	}
	wantParts(0)
}

// TestShardWrittenByAnother: a state that somebody else replaced since is not
// overwritten unseen; the next try looks first.
func TestShardWrittenByAnother(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	bus := startBus(t, natsbus.Config{Dir: t.TempDir()})
	var both [2]*natsstore.Store
	for i := range both {
		s, err := natsstore.Open(ctx, natsstore.Config{Bus: bus, Temporary: true, Usage: plenty})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop(ctx)
		both[i] = s
	}
	for i, s := range both {
		if err := s.SaveShard(ctx, 1, uint64(5*i+1), nil); err != nil {
			t.Fatalf("first save of %d: got %v, want no error", i, err)
		}
	}
	if err := both[0].SaveShard(ctx, 1, 2, nil); !errors.Is(err, store.ErrRefused) {
		t.Errorf("save over another's: got %v, want ErrRefused", err)
	}
	if err := both[0].SaveShard(ctx, 1, 3, nil); err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("save behind another's: got %v, want an error that says it goes back", err)
	}
	if err := both[0].SaveShard(ctx, 1, 7, nil); err != nil {
		t.Errorf("save beyond another's: got %v, want no error", err)
	}
}
