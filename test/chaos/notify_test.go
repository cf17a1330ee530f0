package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/client"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

const (
	notifyUsers   = 12
	notifyWriters = 4
	queueSize     = 100
	notifyKey     = "a server key of chaos, of thirty-two bytes or more"
)

// tray is one queue as its writer knows it: what was acknowledged, in order, and
// what perhaps was stored.
type tray struct {
	mu      sync.Mutex // guards all below
	acked   []int
	perhaps map[int]bool
	next    int
}

// TestNotifications is R10: rounds of kill -9 while servers put notifications. After
// each, a device of every user takes what there is: nothing that was acknowledged is
// missing, but for what gave way to newer ones beyond 100 of a queue; the order is
// kept; and the sizes that were answered were true.
func TestNotifications(t *testing.T) {
	t.Parallel()
	n := newNode(t, "restart_grace: 2s", "")
	n.settings += fmt.Sprintf("    server_keys: [{id: k1, secret: %q}]\n", notifyKey)
	n.configure(t, "restart_grace: 2s")
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	var acked, told, repeats int
	for i := range rounds(t) {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.ready(); err != nil {
			t.Fatal(err)
		}
		trays := make([]*tray, notifyUsers)
		for u := range trays {
			trays[u] = &tray{perhaps: map[int]bool{}}
		}
		putUntilKilled(t, n, i, trays, time.Duration(100+r.IntN(500))*time.Millisecond)
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.ready(); err != nil {
			t.Fatal(err)
		}
		for u, tr := range trays {
			got := takeAll(t, n, i, u)
			acked, told, repeats = acked+len(tr.acked), told+len(got), repeats+tr.judge(t, got)
		}
		n.kill()
		if t.Failed() {
			t.Fatalf("in round %d", i+1)
		}
	}
	if found, err := n.complaints(); err != nil || len(found) > 0 {
		t.Errorf("the server complains: %v %v", found, err)
	}
	if acked == 0 || told == 0 {
		t.Errorf("%d were acknowledged and %d told: that proves nothing", acked, told)
	}
	t.Logf("R10: %d rounds of kill -9, %d notifications acknowledged, %d told after the start, %d of them perhaps stored before: 0 lost, 0 out of order", rounds(t), acked, told, repeats)
}

func notifyUser(round, user int) string { return fmt.Sprintf("n%d.%d", round, user) }

// putUntilKilled puts notifications and kills the node in the middle.
func putUntilKilled(t *testing.T, n *node, round int, trays []*tray, after time.Duration) {
	t.Helper()
	b, err := client.NewBackend(client.BackendConfig{URL: "http://" + n.http, Key: notifyKey})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	for w := range notifyWriters {
		writers.Go(func() {
			for ctx.Err() == nil {
				// Each writer has users of its own, so that sizes can be foretold.
				u := w + notifyWriters*rand.IntN(notifyUsers/notifyWriters)
				trays[u].put(ctx, t, b, notifyUser(round, u))
			}
		})
	}
	pause(t.Context().Done(), after)
	n.kill()
	stop()
	writers.Wait()
}

// put puts a few, and notes them.
func (tr *tray) put(ctx context.Context, t *testing.T, b *client.Backend, user string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	list := make([]client.ToNotify, 1+rand.IntN(30))
	for i := range list {
		list[i] = client.ToNotify{Text: fmt.Sprint(tr.next + i), TTL: client.Forever}
	}
	first := tr.next
	tr.next += len(list)
	got, err := b.Notify(ctx, user, list...)
	if err != nil {
		for i := range list {
			tr.perhaps[first+i] = true
		}
		return
	}
	for i := range got {
		tr.acked = append(tr.acked, first+i)
		if want := min(len(tr.acked), queueSize); len(tr.perhaps) == 0 && got[i].QueueSize != want {
			t.Errorf("notification %d of %s: queue_size %d, want %d", first+i, user, got[i].QueueSize, want)
		}
	}
}

// takeAll connects a device of the user and returns what it is told.
func takeAll(t *testing.T, n *node, round, user int) (got []int) {
	t.Helper()
	var mu sync.Mutex
	name := notifyUser(round, user)
	c, err := client.New(client.Config{
		Addr: "ws://" + n.http,
		Token: func(context.Context) (string, error) {
			return token.Sign(n.issuer, presence.UserID(name), time.Hour, time.Now())
		},
		OnNotification: func(m client.LiveNotification) {
			mu.Lock()
			defer mu.Unlock()
			var number int
			if _, err := fmt.Sscan(m.Text, &number); err != nil {
				t.Errorf("told %q", m.Text)
			}
			got = append(got, number)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Open(t.Context(), client.Options{}); err != nil {
		t.Fatal(err)
	}
	// It has them when one that is put last has come.
	b, err := client.NewBackend(client.BackendConfig{URL: "http://" + n.http, Key: notifyKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Notify(t.Context(), name, client.ToNotify{Text: "-1", Publisher: "the end"}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; {
		mu.Lock()
		if i := slices.Index(got, -1); i >= 0 {
			defer mu.Unlock()
			return slices.Clone(got[:i])
		}
		mu.Unlock()
		if time.Now().After(end) {
			t.Fatalf("%s was not told the last one within %v", name, patience)
		}
		pause(t.Context().Done(), 2*time.Millisecond)
	}
}

// judge compares what came after the kill with what was acknowledged before, and
// returns how many came that were not.
func (tr *tray) judge(t *testing.T, got []int) (unknown int) {
	t.Helper()
	for i := 1; i < len(got); i++ {
		if got[i] <= got[i-1] {
			t.Errorf("R10: %d was told after %d: out of order", got[i], got[i-1])
		}
	}
	for _, number := range got {
		if !slices.Contains(tr.acked, number) {
			if unknown++; !tr.perhaps[number] {
				t.Errorf("R10: %d was told, and never put", number)
			}
		}
	}
	// The last hundred that were acknowledged are there, but for as many as were
	// stored behind them.
	must := tr.acked[max(0, len(tr.acked)-(queueSize-unknown)):]
	for _, number := range must {
		if !slices.Contains(got, number) {
			t.Errorf("R10: %d was acknowledged and is lost (told %v)", number, got)
		}
	}
	if len(got) > queueSize {
		t.Errorf("R10: %d were told of one queue, at most %d", len(got), queueSize)
	}
	return unknown
}
