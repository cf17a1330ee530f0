package natsstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

func startBus(t *testing.T, cfg natsbus.Config) *natsbus.Bus {
	t.Helper()
	bus, err := natsbus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Stop(context.Background()) })
	return bus
}

func TestChoosesTheLogsLimitOnce(t *testing.T) {
	t.Parallel()
	const mb, gb = 1 << 20, 1 << 30
	failing := func(string) (natsstore.Usage, error) { return natsstore.Usage{}, errors.New("no such disk") }
	unknown := func(string) (natsstore.Usage, error) { return natsstore.Usage{}, errors.ErrUnsupported }
	for name, c := range map[string]struct {
		cfg  natsstore.Config
		want int64
		says string
	}{
		"large disk":            {natsstore.Config{Usage: natsstore.Room(100 * gb)}, 20 * gb, ""},
		"half of a small one":   {natsstore.Config{Usage: natsstore.Room(8 * gb)}, 4 * gb, ""},
		"temporary":             {natsstore.Config{Usage: natsstore.Room(100 * gb), Temporary: true}, 256 * mb, ""},
		"temporary, small":      {natsstore.Config{Usage: natsstore.Room(100 * mb), Temporary: true}, 50 * mb, ""},
		"configured":            {natsstore.Config{Usage: natsstore.Room(gb), MaxBytes: 5 * mb}, 5 * mb, ""},
		"unknown disk":          {natsstore.Config{Usage: unknown}, 20 * gb, ""},
		"no room":               {natsstore.Config{Usage: natsstore.Room(20 * mb)}, 0, "make room"},
		"failing":               {natsstore.Config{Usage: failing}, 0, "no such disk"},
		"negative limit":        {natsstore.Config{Usage: natsstore.Room(gb), MaxBytes: -1}, 0, "negative"},
		"over the engine's":     {natsstore.Config{Usage: natsstore.Room(gb), MaxBytes: 200 * gb}, 0, "raise the engine's limit"},
		"the system's own disk": {natsstore.Config{Temporary: true}, 256 * mb, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := startBus(t, natsbus.Config{Dir: t.TempDir(), MaxStore: 100 * gb})
			c.cfg.Bus = bus
			if u, err := natsstore.DiskUsage(bus.Dir()); c.cfg.Usage == nil && err == nil && int64(u.Free) < 3*c.want {
				t.Skipf("%d MB are free", u.Free/mb)
			}
			s, err := natsstore.Open(context.Background(), c.cfg)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want an error that says %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatalf("Open: got %v, want no error", err)
			}
			wantLimit(t, bus, c.want)
			s.Stop(context.Background())

			// Later starts keep the choice, whatever the disk looks like then.
			s, err = natsstore.Open(context.Background(), natsstore.Config{Bus: bus, Usage: natsstore.Room(40 * gb)})
			if err != nil {
				t.Fatalf("Open again: got %v, want no error", err)
			}
			wantLimit(t, bus, c.want)
			s.Stop(context.Background())
		})
	}
}

func wantLimit(t *testing.T, bus *natsbus.Bus, want int64) {
	t.Helper()
	stream, err := bus.JetStream().Stream(context.Background(), "PL_LOG")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.MaxBytes; got != want {
		t.Errorf("limit of the log: got %d, want %d", got, want)
	}
}

// TestEngineLimitLowered: when the configuration gives the engine less than
// the log reserves, the error says so; lowering the log's limit first helps.
func TestEngineLimitLowered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		maxStore, maxBytes int64
		says               string
	}{
		{1 << 30, 0, ""}, // chooses 512 MB
		{1 << 28, 0, "it reserves 512 MB: raise the engine's limit, or lower the log's before the engine's"},
		{1 << 30, 1 << 27, ""},
		{1 << 28, 0, ""},
	} {
		bus := startBus(t, natsbus.Config{Dir: dir, MaxStore: c.maxStore})
		s, err := natsstore.Open(context.Background(), natsstore.Config{Bus: bus, MaxBytes: c.maxBytes, Usage: natsstore.Room(1 << 30)})
		switch {
		case c.says != "":
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("MaxStore %d: got %v, want an error that says %q", c.maxStore, err, c.says)
			}
		case err != nil:
			t.Errorf("MaxStore %d: got %v, want no error", c.maxStore, err)
		default:
			if _, err := s.Append(context.Background(), "a", storetest.Records(1, 1)); err != nil {
				t.Errorf("MaxStore %d: Append: got %v, want no error", c.maxStore, err)
			}
			if first, last := sequences(t, s); first != 1 || last != 1 {
				t.Errorf("MaxStore %d: log: got %d to %d, want the one record", c.maxStore, first, last)
			}
			s.Stop(context.Background())
		}
		bus.Stop(context.Background())
	}
}

// sequences are those of the log from the oldest on.
func sequences(t *testing.T, s *natsstore.Store) (first, last uint64) {
	t.Helper()
	_, err := s.Replay(context.Background(), 0, func(seq uint64, _ []presence.Record) error {
		if first == 0 {
			first = seq
		}
		last = seq
		return nil
	})
	if err != nil {
		t.Fatalf("Replay: got %v, want no error", err)
	}
	return first, last
}

func TestTrimsByAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		// Minutes stand for days: the engine's ticker makes every fake second cost.
		const day = time.Minute
		s, stop := open(t, dir, natsstore.Config{Temporary: true, MaxAge: 30 * day, Usage: natsstore.Room(1 << 40)})
		defer stop()
		for i := range 20 { // message i+1 on day 2*i
			if _, err := s.Append(context.Background(), fmt.Sprint(i), storetest.Records(i, 1)); err != nil {
				t.Fatal(err)
			}
			<-time.After(2 * day)
		}
		for _, c := range []struct {
			wait    time.Duration
			through uint64
			first   uint64
		}{
			{0, 3, 3},        // day 40: 1 to 5 are too old, the checkpoint keeps 3 and later
			{0, 20, 6},       // day 40: message 6 is of day 10, thirty days old
			{2 * day, 20, 7}, // and so on
			{90 * day, 20, 20},
		} {
			<-time.After(c.wait)
			if err := s.Advance(context.Background(), c.through, 0); err != nil {
				t.Fatal(err)
			}
			if first, last := sequences(t, s); first != c.first || last != 20 {
				t.Errorf("checkpoint at %d: got %d to %d, want %d to 20", c.through, first, last, c.first)
			}
		}
	})
}

// TestTrimsByAgeBesideDamage: messages that cannot be read keep nothing from being cut.
func TestTrimsByAgeBesideDamage(t *testing.T) {
	t.Parallel()
	for name, damaged := range map[string][]uint64{"one": {10}, "the last of the old": {15}, "some": {7, 8, 9, 10, 11, 12}, "the end": {18, 19}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				const day = time.Minute
				bus := startBus(t, natsbus.Config{Dir: dir})
				s, err := natsstore.Open(t.Context(), natsstore.Config{Bus: bus, Temporary: true, MaxAge: 10 * day, Usage: plenty})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Stop(context.Background())
				for i := range 20 { // message i+1 on day i
					if _, err := s.Append(t.Context(), fmt.Sprint(i), storetest.Records(i, 1)); err != nil {
						t.Fatal(err)
					}
					<-time.After(day)
				}
				stream, err := bus.JetStream().Stream(t.Context(), "PL_LOG")
				if err != nil {
					t.Fatal(err)
				}
				for _, seq := range damaged {
					if err := stream.DeleteMsg(t.Context(), seq); err != nil {
						t.Fatal(err)
					}
				}
				<-time.After(5 * day) // message 16 is ten days old
				if err := s.Advance(t.Context(), 20, 0); err != nil {
					t.Fatal(err)
				}
				if first, last := sequences(t, s); first != 16 || last != 20 {
					t.Errorf("got %d to %d, want 16 to 20", first, last)
				}
			})
		})
	}
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// count counts the lines with all of these words.
func (l *lines) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

// fakeDisk is a disk of 800 MB that others fill.
type fakeDisk struct {
	mu   sync.Mutex
	used uint64 // percent
}

func (d *fakeDisk) usage(string) (natsstore.Usage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return natsstore.Usage{Used: d.used << 23, Free: (100 - d.used) << 23}, nil
}

// fill sets what is used and lets that much time pass.
func (d *fakeDisk) fill(percent uint64, wait time.Duration) {
	d.mu.Lock()
	d.used = percent
	d.mu.Unlock()
	<-time.After(wait)
	synctest.Wait()
}

func TestDiskAlarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log lines
		d := &fakeDisk{used: 94}
		s, stop := open(t, dir, natsstore.Config{
			Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxBytes: 1 << 20, Usage: d.usage,
		})
		defer stop()
		for i := range 64 {
			if _, err := s.Append(context.Background(), fmt.Sprint(i), storetest.Records(i, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Advance(context.Background(), 40, 0); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			used   uint64
			wait   time.Duration
			alarm  bool
			first  uint64
			alarms int // logged so far
		}{
			{94, time.Minute, false, 1, 0},
			{95, 10 * time.Second, true, 33, 1}, // half of 64 messages go
			{96, 4 * time.Minute, true, 33, 1},
			{96, time.Minute, true, 40, 1}, // half of the rest, but for the checkpoint
			{94, 10 * time.Second, true, 40, 1},
			{93, 10 * time.Minute, true, 40, 1},
			{92, 10 * time.Second, false, 40, 1},
			{94, time.Minute, false, 40, 1},
			{99, 10 * time.Second, true, 40, 2},
		} {
			d.fill(c.used, c.wait)
			if err := s.Health(); (err != nil) != c.alarm {
				t.Errorf("at %d %% for %v: Health: got %v, want an alarm: %v", c.used, c.wait, err, c.alarm)
			}
			if first, last := sequences(t, s); first != c.first || last != 64 {
				t.Errorf("at %d %% for %v: log: got %d to %d, want %d to 64", c.used, c.wait, first, last, c.first)
			}
			if got := log.count("level=ERROR", "disk nearly full"); got != c.alarms {
				t.Errorf("at %d %% for %v: got %d alarms logged, want %d", c.used, c.wait, got, c.alarms)
			}
		}
	})
}

// TestFullDisk: at 99 % only the reserve is left; the store refuses until
// there is room, without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, d := context.Background(), &fakeDisk{used: 50}
		s, stop := open(t, dir, natsstore.Config{Temporary: true, Usage: d.usage})
		defer stop()
		if _, err := s.Append(ctx, "before", storetest.Records(1, 1)); err != nil {
			t.Fatal(err)
		}
		roster := store.Roster{User: presence.User{App: "demo", ID: "alice"}, Value: []byte("before")}
		var err error
		if roster.Revision, err = s.SaveRoster(ctx, store.RosterList, roster); err != nil {
			t.Fatal(err)
		}
		d.fill(99, 10*time.Second)
		if _, err := s.Append(ctx, "no room", storetest.Records(1, 1)); !errors.Is(err, store.ErrRefused) {
			t.Errorf("Append on a full disk: got %v, want ErrRefused", err)
		}
		if err := s.SaveShard(ctx, 1, 1, nil); !errors.Is(err, store.ErrRefused) {
			t.Errorf("SaveShard on a full disk: got %v, want ErrRefused", err)
		}
		if _, err := s.SaveNote(ctx, []byte("n")); !errors.Is(err, store.ErrRefused) {
			t.Errorf("SaveNote on a full disk: got %v, want ErrRefused", err)
		}
		if _, err := s.SaveRoster(ctx, store.RosterList, roster); !errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrMoved) {
			t.Errorf("SaveRoster on a full disk: got %v, want ErrRefused", err)
		}
		roster.Value = nil
		if _, err := s.SaveRoster(ctx, store.RosterList, roster); err != nil {
			t.Errorf("SaveRoster of nothing on a full disk: got %v, want no error", err)
		}
		if err := s.Advance(ctx, 1, 0); err != nil {
			t.Errorf("Advance on a full disk: got %v, want no error", err)
		}
		if _, err := s.Next(ctx, "c"); err != nil {
			t.Errorf("Next on a full disk: got %v, want no error", err)
		}
		d.fill(96, 10*time.Second)
		if _, err := s.Append(ctx, "room", storetest.Records(1, 1)); err != nil {
			t.Errorf("Append with room again: got %v, want no error", err)
		}
		if err := s.Health(); err == nil || strings.Contains(err.Error(), "could not be stored") {
			t.Errorf("Health with room again: got %v, want the alarm alone", err)
		}
	})
}
