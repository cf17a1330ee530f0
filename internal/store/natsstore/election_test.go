package natsstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/natsbus"
	"github.com/porchlight-dev/porchlight/internal/natsbus/natsbustest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/store/natsstore"
	"github.com/porchlight-dev/porchlight/internal/store/storetest"
)

// TestLeaderDies: the server that leads the log is killed, and later another is
// stopped where it stands, under appends of two nodes. Appends wait for the next
// leader and nothing that was acknowledged is lost or doubled; followers on both
// nodes get every message once and in order.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{})
	var stores []*natsstore.Store
	for range 2 {
		s, stop := openOn(t, onServers(servers, "die"), natsstore.Config{MaxBytes: 64 << 20})
		t.Cleanup(stop)
		stores = append(stores, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var followers []*tail
	for _, s := range stores {
		followers = append(followers, newTail(ctx, s))
	}
	var all sync.WaitGroup
	quit := make(chan struct{})
	acked := make([]map[string]bool, len(stores))
	for i, s := range stores {
		acked[i] = map[string]bool{}
		all.Go(func() { appendUntil(t, s, i, quit, acked[i]) })
	}
	lead := func() int { return servers.Index(leaderOf(ctx, t, servers, "DIE_LOG")) }
	moves := func(what string) {
		t.Helper()
		_, before, _ := stores[0].Ends(ctx)
		began := time.Now()
		natsbustest.Eventually(t, what, func() error {
			for _, s := range stores {
				if _, now, err := s.Ends(ctx); err != nil || now < before+20 {
					return fmt.Errorf("the log is at %d, was at %d: %w", now, before, err)
				}
			}
			return nil
		})
		t.Logf("%s: the log moved on after %v", what, time.Since(began).Round(time.Millisecond))
	}
	moves("at first")
	first := lead()
	servers.Kill(first)
	moves("the leader was killed")
	servers.Restart(first)
	second := lead()
	servers.Pause(second, true)
	moves("the leader stands still")
	servers.Pause(second, false)
	moves("all are back")
	close(quit)
	all.Wait()
	_, next, err := stores[0].Ends(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, m := range acked {
		for name := range m {
			want[name] = 1
		}
	}
	for i, f := range followers {
		natsbustest.Eventually(t, "a follower is at the end", func() error { return f.through(next - 1) })
		f.check(t, fmt.Sprint("follower ", i), want)
	}
	got := map[string]int{}
	if _, err := stores[1].Replay(ctx, 0, func(_ uint64, rs []presence.Record) error {
		for _, r := range rs {
			got[string(r.User.ID)]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if got[name] != 1 {
			t.Errorf("record %s: got it %d times in the log, want once", name, got[name])
		}
	}
	t.Logf("%d records acknowledged", len(want))
}

// leaderOf asks who leads a stream.
func leaderOf(ctx context.Context, t *testing.T, servers *natsbustest.Servers, stream string) (name string) {
	t.Helper()
	bus, err := natsbus.New(onServers(servers, "die"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Stop(context.Background())
	if err := bus.Start(ctx); err != nil {
		t.Fatal(err)
	}
	natsbustest.Eventually(t, "a stream has a leader", func() error {
		st, err := bus.JetStream().Stream(ctx, stream)
		if err == nil {
			name = st.CachedInfo().Cluster.Leader
		}
		if err == nil && name == "" {
			err = errors.New("it has none")
		}
		return err
	})
	return name
}

// appendUntil appends through a Committer, as a node does, and notes what was
// acknowledged.
func appendUntil(t *testing.T, s store.Log, node int, quit <-chan struct{}, acked map[string]bool) {
	c := store.NewCommitter(s, store.CommitterConfig{})
	c.Start()
	var mu sync.Mutex
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-quit:
			ctx, cancel := context.WithTimeout(context.Background(), natsbustest.Up)
			defer cancel()
			if err := c.Stop(ctx); err != nil {
				t.Errorf("node %d: Stop: %v", node, err)
			}
			return
		case <-tick.C:
		}
		r := storetest.Records(1, 1)[0]
		r.User.ID = presence.UserID(fmt.Sprintf("%d-%d", node, i))
		c.Submit(store.Claim{Record: r, Done: func(_ store.Position, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("node %d: record %s: %v", node, r.User.ID, err)
				return
			}
			acked[string(r.User.ID)] = true
		}})
	}
}

// tail follows a log and keeps what came.
type tail struct {
	mu    sync.Mutex
	seqs  []uint64
	names map[string]int
}

func newTail(ctx context.Context, s store.Reading) *tail {
	f := &tail{names: map[string]int{}}
	go func() {
		_ = s.Follow(ctx, 1, func(seq uint64, rs []presence.Record) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seqs = append(f.seqs, seq)
			for _, r := range rs {
				f.names[string(r.User.ID)]++
			}
			return nil
		})
	}()
	return f
}

func (f *tail) through(seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.seqs); n == 0 || f.seqs[n-1] < seq {
		return fmt.Errorf("it has %d messages, want through %d", n, seq)
	}
	return nil
}

func (f *tail) check(t *testing.T, who string, want map[string]int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, seq := range f.seqs {
		if seq != uint64(i)+1 {
			t.Fatalf("%s: message %d came as the %dth", who, seq, i+1)
		}
	}
	for name := range want {
		if f.names[name] != 1 {
			t.Errorf("%s: record %s came %d times, want once", who, name, f.names[name])
		}
	}
}

// TestLeastRights: an account with exactly the documented rights is enough, and
// one right less is said at the start.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	publish, subscribe := natsstore.Rights("few")
	quote := func(subjects []string) string { return `"` + strings.Join(subjects, `", "`) + `"` }
	account := func(user string, publish []string) string {
		return fmt.Sprintf("%s { jetstream: enabled, users: [ {user: %s, password: %s, permissions: {publish: [%s], subscribe: [%s]}} ] }\n",
			strings.ToUpper(user), user, user, quote(publish), quote(subscribe))
	}
	const purge = "$JS.API.STREAM.PURGE.FEW_ROSTER"
	servers := natsbustest.Start(t, natsbustest.Settings{Accounts: "accounts {\n" + account("exact", publish) +
		account("less", slices.DeleteFunc(slices.Clone(publish), func(s string) bool { return s == purge })) + "}"})
	config := func(user string) natsbus.Config {
		c := onServers(servers, "few")
		c.Cluster.Credentials = natsbus.Credentials{User: user, Password: natsbus.Secret(user)}
		return c
	}
	storetest.RunReal(t, func(t testing.TB, _ string, _ int64) (store.Store, func()) {
		return openOn(t, config("exact"), natsstore.Config{MaxBytes: 64 << 20})
	}, "roster/watch", "liveness", "notes of nodes", "mailboxes/cut")

	maxBytes := int64(64 << 20)
	refused := func(what, user, says string) {
		t.Helper()
		bus, err := natsbus.New(config(user))
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Stop(context.Background())
		if err := bus.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := natsstore.Open(t.Context(), natsstore.Config{Bus: bus, MaxBytes: maxBytes})
		if err == nil {
			s.Stop(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want an error that says %q", what, err, says)
		}
	}
	refused("a right less", "less", purge)
	maxBytes = 100 << 30
	refused("more than there is", "exact", "must have 3 servers with JetStream and 102400 MB free")
}

// TestRefusesTooFewServers: one server keeps nothing three times, and says so.
func TestRefusesTooFewServers(t *testing.T) {
	t.Parallel()
	servers := natsbustest.Start(t, natsbustest.Settings{Count: 1})
	bus := startBus(t, onServers(servers, "lone"))
	_, err := natsstore.Open(t.Context(), natsstore.Config{Bus: bus, MaxBytes: 64 << 20})
	if err == nil || !strings.Contains(err.Error(), "3 replicas need a cluster") {
		t.Errorf("Open: got %v, want an error that says how many servers are needed", err)
	}
	small := natsbustest.Start(t, natsbustest.Settings{Count: 1, Payload: "1MB"})
	b, err := natsbus.New(onServers(small, "lone"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop(context.Background())
	if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "max_payload: 8MB") {
		t.Errorf("Start on servers with small messages: got %v, want an error that says which setting", err)
	}
}
