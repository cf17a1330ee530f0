package bench

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// smallLoad is a load that a test can afford; seconds are what takes time.
func smallLoad() Config {
	return Config{Self: nullHere, Null: nullHere, Users: 50, Friends: 5, Token: testToken}
}

// smallLiveLoad is the same at the live door.
func smallLiveLoad() Config {
	c := smallLoad()
	c.Door, c.Self, c.Null, c.NullEpoll = DoorLive, here(LiveNullEpoll), here(LiveNullServer), here(LiveNullEpoll)
	return c
}

// smallTopicLoad is that of topics.
func smallTopicLoad() Config {
	c := smallLiveLoad()
	c.Door = DoorTopics
	return c
}

// small is a run of cfg with waits that a test can afford.
func small(t *testing.T, cfg Config) *run {
	t.Helper()
	r, err := newRun(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.times = times{phase: shortPhase, settleEvery: time.Millisecond, settleLimit: 100 * time.Millisecond}
	return r
}

// The whole load on null servers: every change sent reaches every watcher
// once, and each phase reports what it should.
func TestRunCountsEveryDelivery(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{smallLoad(), smallLiveLoad(), smallTopicLoad()} {
		if cfg.Door == "" {
			cfg.Door = DoorGRPC
		}
		t.Run(cfg.Door, func(t *testing.T) {
			t.Parallel()
			var bar bytes.Buffer
			phase := shortPhase
			tallies, rows := runFor(t, cfg, phase, &bar)
			for starved(rows) && phase < longPhase {
				phase *= 4
				tallies, rows = runFor(t, cfg, phase, &bar)
			}
			each := int64(5)
			if cfg.Door == DoorTopics {
				each = 50
			}
			for i, c := range tallies {
				if c.ready < 50 || c.ready > 60 || // with ten that may have read their snapshot before they stop
					c.sent == 0 || c.received != c.sent*each || c.missing != 0 {
					t.Errorf("server %d: %d users logged in, %d changes sent, %d delivered, %d missing; want 50 users, and %d deliveries of each change",
						i, c.ready, c.sent, c.received, c.missing, each)
				}
			}
			var phases []string
			for _, row := range rows {
				phases = append(phases, row.Phase)
				checkRow(t, cfg, row)
			}
			if diff := cmp.Diff(Phases(cfg.Door), phases); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
			if !strings.Contains(bar.String(), "saturate, null server") {
				t.Errorf("the bar showed %q, want the phases", bar.String())
			}
		})
	}
}

// A machine that is busy with other things may leave a short phase without a
// single delivery, so it is tried again with longer ones.
const (
	shortPhase = 300 * time.Millisecond
	longPhase  = 4 * time.Second
)

// runFor is one run of the small load with phases of that length. It returns
// what each server's devices counted.
func runFor(t *testing.T, cfg Config, phase time.Duration, bar *bytes.Buffer) ([]tally, []Row) {
	t.Helper()
	var rows []Row
	var tallies []tally
	cfg.Progress = bar
	cfg.Report = func(r Row) { rows = append(rows, r) }
	r := small(t, cfg)
	r.times.phase = phase
	r.ended = func(t *target) { tallies = append(tallies, t.tally) }
	if err := r.do(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tallies, rows
}

// starved reports a phase in which a server delivered nothing.
func starved(rows []Row) bool {
	return slices.ContainsFunc(rows, func(r Row) bool {
		return r.Phase != PhaseIdle && (r.Door != DoorTopics || r.Phase != PhaseLogin) && (r.Deliveries == 0 || r.Null != nil && r.Null.Deliveries == 0 ||
			r.NullEpoll != nil && r.NullEpoll.Deliveries == 0 || r.Phase == PhaseStuck && r.P99Before == 0)
	})
}

// checkRow says which figures a phase must have.
func checkRow(t *testing.T, cfg Config, row Row) {
	t.Helper()
	alone := row.Phase == PhaseStuck
	if !alone && (row.Null == nil || row.Ratio == nil || cfg.NullEpoll != nil && (row.NullEpoll == nil || row.RatioEpoll == nil)) {
		t.Fatalf("%s: no null server in the row", row.Phase)
	}
	friends, logins := 5, [2]int64{50*5 + 125 - 64, 50*5 + 250}
	if cfg.Door == DoorTopics {
		friends, logins = 50, [2]int64{} // no snapshot, and nobody hears of an opening
	}
	all := []*Figures{&row.Figures, row.Null, row.NullEpoll}
	for _, f := range slices.DeleteFunc(all, func(f *Figures) bool { return f == nil }) {
		if f.Door != cfg.Door || f.Users != 50 || f.Friends != friends {
			t.Errorf("%s: got load %+v", row.Phase, f)
		}
		var has, lacks bool
		switch row.Phase {
		case PhaseLogin:
			// Each login: a snapshot of 5, and one opening to each friend who is
			// there already, which is one for each of the 125 pairs. Who logs in
			// at the same time as a friend may be told by either or both.
			has, lacks = f.OpeningsPerSec > 0 && f.Deliveries >= logins[0] && f.Deliveries <= logins[1], f.P50 == 0 && f.CPUPerMillion == 0
		case PhaseIdle:
			has, lacks = true, f.P50 == 0 && f.Deliveries == 0 && f.CPUPerLogin == 0
		case PhaseUnloaded, PhaseStuck:
			has, lacks = f.P50 > 0 && f.P99 >= f.P50 && f.P999 >= f.P99 && f.Deliveries > 0, f.CPUPerLogin == 0 && f.CPUPerMillion == 0
		default:
			has, lacks = f.P50 > 0 && f.Deliveries > 0, f.CPUPerLogin == 0 && f.RSSPerIdle == 0
		}
		if !has || !lacks || alone && f.P99Before == 0 {
			t.Errorf("%s: got figures %+v", row.Phase, f)
		}
	}
}

// A server of another process, found by its address, without a null server,
// with a phase that needs another one.
func TestRunOnARunningServer(t *testing.T) {
	t.Parallel()
	addr, _, stop, err := Child([]string{os.Args[0]}, childEnv+"=null")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := smallLoad()
	cfg.Addr, cfg.Self, cfg.Null, cfg.Phases = addr, nil, nil, []string{PhaseHalf}
	var rows []Row
	cfg.Report = func(r Row) { rows = append(rows, r) }
	r := small(t, cfg)
	var at target
	r.ended = func(t *target) { at = *t }
	if err := errors.Join(r.do(t.Context()), stop()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || rows[0].Phase != PhaseHalf || rows[0].Null != nil || at.proc == 0 {
		t.Errorf("got rows %+v, of process %d, want half alone, of a known process", rows, at.proc)
	}
	if got := at.left; got != 50 {
		t.Errorf("%d of 50 users left politely", got)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := smallLoad()
	cfg.Report = func(Row) { cancel() }
	if err := small(t, cfg).do(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// Servers whose connections do not fit into one process at the same time have
// their runs one after the other, and the same rows.
func TestRunApart(t *testing.T) {
	t.Parallel()
	var rows []Row
	cfg := smallLiveLoad()
	cfg.Phases = []string{PhaseLogin, PhaseIdle, PhaseSaturate}
	cfg.Report = func(r Row) { rows = append(rows, r) }
	r := small(t, cfg)
	r.apart = true
	r.ended = func(*target) {
		if len(r.targets) != 1 {
			t.Errorf("%d servers run at the same time, want one", len(r.targets))
		}
	}
	if err := r.do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 {
		t.Fatalf("got %d rows, want 3", len(rows))
	}
	for _, row := range rows {
		checkRow(t, cfg, row)
	}
}

func TestRunNoticesThatTheServerIsGone(t *testing.T) {
	t.Parallel()
	gone, kill := context.WithCancel(t.Context())
	cfg := smallLoad()
	cfg.Phases = []string{PhaseLogin, PhaseUnloaded}
	cfg.Self = func(ctx context.Context) (string, int, func() error, error) {
		addr, pid, stop, err := nullHere(ctx)
		ended := make(chan error, 1)
		context.AfterFunc(gone, func() { ended <- stop() })
		return addr, pid, func() error { kill(); return <-ended }, err
	}
	cfg.Report = func(Row) { kill() }
	err := small(t, cfg).do(t.Context())
	if err == nil || !strings.Contains(err.Error(), "bench: server, user bench-0000") {
		t.Errorf("got %v, want an error that names the server and a user", err)
	}
}

func TestRunReportsWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	cfg := smallLoad()
	cfg.Token = func(user string) (string, error) { return strings.Repeat("x", 20_000) + user, nil }
	if err := small(t, cfg).do(t.Context()); err == nil || !strings.Contains(err.Error(), "access token") {
		t.Errorf("token that fits into no frame: got %v, want an error about it", err)
	}
	refused := errors.New("no key")
	cfg.Token = func(string) (string, error) { return "", refused }
	if err := Run(t.Context(), cfg); !errors.Is(err, refused) {
		t.Errorf("token that cannot be made: got %v, want %v", err, refused)
	}
	cfg = smallLoad()
	cfg.Null = func(context.Context) (string, int, func() error, error) { return "", 0, nil, refused }
	if err := Run(t.Context(), cfg); !errors.Is(err, refused) {
		t.Errorf("null server that does not start: got %v, want %v", err, refused)
	}
	cfg.Null = func(context.Context) (string, int, func() error, error) {
		return "192.0.2.1:1", 0, func() error { return nil }, nil
	}
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "not on this machine") {
		t.Errorf("server elsewhere: got %v, want it refused", err)
	}
}

func TestRunReportsThatNobodyListens(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := smallLoad()
	cfg.Addr, cfg.Self, cfg.Null = ln.Addr().String(), nil, nil
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), cfg); !errors.Is(err, unix.ECONNREFUSED) || !strings.Contains(err.Error(), cfg.Addr) {
		t.Errorf("got %v, want %v with the address", err, unix.ECONNREFUSED)
	}
}

func TestNeedFiles(t *testing.T) {
	t.Parallel()
	if err := needFiles(10); err != nil {
		t.Errorf("ten connections: %v", err)
	}
	if err := needFiles(1 << 30); err == nil || !strings.Contains(err.Error(), "fewer users") {
		t.Errorf("a billion connections: got %v, want advice", err)
	}
}

func TestNullServerRefusesOtherMachines(t *testing.T) {
	t.Parallel()
	never := func(string) error { t.Error("it listens"); return nil }
	if err := NullServer(t.Context(), "0.0.0.0:0", never); err == nil {
		t.Error("the null server listens to everybody")
	}
	refused := errors.New("nobody is interested")
	for name, serve := range map[string]func(context.Context, string, func(string) error) error{
		"grpc": NullServer, "live": LiveNullServer, "epoll": LiveNullEpoll,
	} {
		if err := serve(t.Context(), "192.0.2.1:0", never); err == nil {
			t.Errorf("%s: the null server listens elsewhere", name)
		}
		if err := serve(t.Context(), "127.0.0.1:0", func(string) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("%s: got %v, want %v", name, err, refused)
		}
	}
}
