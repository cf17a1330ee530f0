package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/app"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// balancer passes connections to nodes in turn, as those before clusters do; one
// that takes none is passed over.
type balancer struct {
	net.Listener
	mu   sync.Mutex
	next int
	open []net.Conn
	all  sync.WaitGroup
}

func balance(t *testing.T, to []string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l}
	b.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.all.Go(func() { b.pass(c, to) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.mu.Lock()
		for _, c := range b.open {
			c.Close()
		}
		b.mu.Unlock()
		b.all.Wait()
	})
	return b
}

func (b *balancer) pass(c net.Conn, to []string) {
	defer c.Close()
	for range to {
		b.mu.Lock()
		at := to[b.next%len(to)]
		b.next++
		b.mu.Unlock()
		up, err := net.DialTimeout("tcp", at, time.Second)
		if err != nil {
			continue
		}
		b.mu.Lock()
		b.open = append(b.open, c, up)
		b.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(up, c); up.Close() })
		both.Go(func() { _, _ = io.Copy(c, up); c.Close() })
		both.Wait()
		return
	}
}

// visitor is a program with the Go client.
func visitor(t *testing.T, user presence.UserID, addr string, more ...string) *client.Session {
	t.Helper()
	c, err := client.New(client.Config{
		Addr: addr, More: more, Backoff: client.Backoff{First: 100 * time.Millisecond},
		Token: func(context.Context) (string, error) {
			return token.Sign(token.Development(), user, time.Hour, time.Now())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := c.Open(t.Context(), client.Options{Status: client.Status{Show: client.Busy}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// standstill is the longest time that this process did not run, from now on.
func standstill(t *testing.T) func() time.Duration {
	t.Helper()
	var longest atomic.Int64
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-tick.C:
				longest.Store(max(longest.Load(), int64(time.Since(last))))
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); ticking.Wait() })
	return func() time.Duration { return time.Duration(longest.Load()) }
}

// TestClientGoesOn: where the first address takes nobody the client goes on to the
// next, at both doors, and says so when none does.
func TestClientGoesOn(t *testing.T) {
	t.Parallel()
	a := running(t, params(t, t.TempDir()))
	// The near end of a connection: nobody listens there, and while it lasts nobody
	// else begins to.
	somebody, err := net.Dial("tcp", a.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer somebody.Close()
	dead := somebody.LocalAddr().String()
	for _, addrs := range [][]string{
		{dead, dead, a.GRPCAddr().String()}, {"ws://" + dead, "ws://" + a.HTTPAddr().String()},
		{a.GRPCAddr().String(), dead}, {"ws://" + a.HTTPAddr().String(), "ws://" + dead},
	} {
		if s := visitor(t, "bob", addrs[0], addrs[1:]...); !s.Connected() {
			t.Errorf("%v: not connected", addrs)
		}
	}
	for _, addrs := range [][]string{{dead, dead}, {"ws://" + dead, "ws://" + dead}} {
		c, err := client.New(client.Config{Addr: addrs[0], More: addrs[1:], Token: func(context.Context) (string, error) {
			return token.Sign(token.Development(), "bob", time.Hour, time.Now())
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Open(t.Context(), client.Options{}); err == nil {
			t.Errorf("%v: it opened a session at nobody's", addrs)
		}
	}
}

// TestDrainSendsAway stops one node of three: who was there, by gRPC or by
// WebSocket, through a balancer or by a list of addresses, comes back at another
// with the same session, and those who watch see nothing.
func TestDrainSendsAway(t *testing.T) {
	nodes := cluster(t, 3)
	stood := standstill(t)
	var grpcs, https []string
	for _, a := range nodes {
		grpcs, https = append(grpcs, a.GRPCAddr().String()), append(https, a.HTTPAddr().String())
	}
	var sockets []string
	for _, addr := range https {
		sockets = append(sockets, "ws://"+addr)
	}
	byGRPC, byHTTP := balance(t, grpcs), balance(t, https)
	const count = 6
	var all []*client.Session
	watcher := speak(t, nodes[2], "watcher")
	mine := watcher.make()
	users := make([]string, 2*count)
	for i := range users {
		users[i] = fmt.Sprintf("user%d", i)
		at := [][]string{{byGRPC.Addr().String()}, {"ws://" + byHTTP.Addr().String()}, grpcs, sockets}[i%4]
		if _, err := watcher.SubscribeToUserIsOnline(watcher.ctx, &isonlinev1.SubscribeToUserIsOnlineRequest{SessionToken: mine, UserId: users[i]}); err != nil {
			t.Fatal(err)
		}
		all = append(all, visitor(t, presence.UserID(users[i]), at[0], at[1:]...))
	}
	seen := watcher.connect(mine)
	happens(t, "the watcher sees all", func() bool {
		for _, u := range users {
			if _, told := seen.last(u); told == 0 {
				return false
			}
		}
		return true
	})
	live := func(a *app.App) int {
		n := 0
		for _, v := range rest(t, a, "GET", "/api/v1/cluster", "")["members"].([]any) {
			m := v.(map[string]any)
			if _, self := m["self"]; self {
				n = int(m["sessions"].(map[string]any)["live"].(float64))
			}
		}
		return n
	}
	if n := live(nodes[0]); n == 0 {
		t.Fatal("nobody is at the node that stops")
	}
	before := map[string]int{}
	for _, u := range users {
		_, before[u] = seen.last(u)
	}
	ids := map[string]string{}
	for i, s := range all {
		ids[users[i]] = s.ID()
	}
	began := time.Now()
	stop(t, nodes[0])
	t.Logf("the stop took %v", time.Since(began).Round(time.Millisecond))
	happens(t, "everybody is at the others", func() bool { return live(nodes[1])+live(nodes[2]) == len(users)+1 })
	if d := stood(); d > time.Second {
		t.Skipf("the machine stood still for %v: nodes may have been given up", d)
	}
	for i, s := range all {
		happens(t, users[i]+" is connected", s.Connected)
		if s.ID() != ids[users[i]] {
			t.Errorf("%s has session %s, want the former %s", users[i], s.ID(), ids[users[i]])
		}
		if _, told := seen.last(users[i]); told != before[users[i]] {
			says, _ := seen.last(users[i])
			t.Errorf("the watcher was told %d times more of %s, lastly %s; want nothing", told-before[users[i]], users[i], says)
		}
		happens(t, users[i]+" says a status after the move", func() bool { return s.Set(t.Context(), client.Status{Show: client.Away}) == nil })
	}
	for _, at := range [][]string{grpcs, sockets} { // the first of them takes nobody now
		if !visitor(t, "late", at[0], at[1:]...).Connected() {
			t.Errorf("%s: who comes while the first node is away is not connected", at[0])
		}
	}
	for _, u := range users {
		happens(t, "the watcher is told of "+u, func() bool { _, told := seen.last(u); return told > before[u] })
	}
}
