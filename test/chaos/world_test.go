package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	isonlinev1 "github.com/porchlight-dev/porchlight/api/gen/isonline/v1"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
)

// mostBlame bounds how many violations are printed: one fault shows often.
const mostBlame = 60

// world is everything around one server: who talks to it and what they know.
type world struct {
	ctx     context.Context
	node    *node
	seed    uint64
	history *history
	jwts    map[string]string // never changed after the start

	conn  *grpc.ClientConn // of queries
	stub  isonlinev1.IsOnlineServiceClient
	asker string // who queries as a stranger

	mu      sync.Mutex // guards all below
	blamed  []string
	figures figures
}

// newWorld signs users in at the node, which need not run.
func newWorld(t *testing.T, n *node, seed uint64, users []string) *world {
	t.Helper()
	w := &world{ctx: t.Context(), node: n, seed: seed, history: newHistory(), jwts: map[string]string{}, asker: "asker"}
	for _, u := range append([]string{w.asker}, users...) {
		// A node whose clock was put back refuses, rightly, what was issued since then.
		signed, err := token.Sign(n.issuer, presence.UserID(u), 24*time.Hour, time.Now().Add(-mostStep))
		if err != nil {
			t.Fatal(err)
		}
		w.jwts[u] = signed
	}
	var err error
	if w.conn, err = dial(n.grpc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	w.stub = isonlinev1.NewIsOnlineServiceClient(w.conn)
	return w
}

// as adds the access token of a user to the calls under ctx.
func (w *world) as(ctx context.Context, user string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.jwts[user])
}

// blame notes one violation.
func (w *world) blame(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blamed = append(w.blamed, fmt.Sprintf(format, args...))
}

func (w *world) blameAll(found []string) {
	for _, f := range found {
		w.blame("%s", f)
	}
}

// note changes the figures.
func (w *world) note(f func(*figures)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.figures)
}

// judge fails the test for what was blamed since the last call, and reports
// whether there was anything.
func (w *world) judge(t *testing.T, where string) bool {
	t.Helper()
	w.mu.Lock()
	blamed := w.blamed
	w.blamed = nil
	w.figures.violations += len(blamed)
	w.mu.Unlock()
	for i, b := range blamed {
		if i == mostBlame {
			t.Errorf("%s: and %d more", where, len(blamed)-i)
			break
		}
		t.Errorf("%s: %s", where, b)
	}
	return len(blamed) > 0
}

// begin starts the server and waits until it is ready.
func (w *world) begin(t *testing.T) {
	t.Helper()
	if err := w.node.start(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.node.ready(); err != nil {
		t.Fatal(err)
	}
}

// strike takes the server away.
func (w *world) strike(clean bool) {
	began := time.Now()
	w.history.out(clean)
	if clean {
		if err := w.node.term(); err != nil {
			w.blame("%v", err)
		}
	} else {
		w.node.kill()
	}
	w.history.over()
	w.note(func(f *figures) {
		if clean {
			f.terms++
			f.worstStop = max(f.worstStop, time.Since(began))
		} else {
			f.kills++
		}
	})
}

// pause waits, unless stop comes first; then it returns false.
func pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

// eventually polls until done says so or the limit is over. It returns when it
// was done; ok is false when it never was.
func (w *world) eventually(limit time.Time, every time.Duration, done func() bool) (at time.Time, ok bool) {
	for {
		if done() {
			return time.Now(), true
		}
		if !time.Now().Before(limit) || !pause(w.ctx.Done(), every) {
			return time.Now(), false
		}
	}
}
