package cluster

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// strangers is a world in which a node is heard, as soon as anybody listens, that has
// another configuration and was there before, and that the quorum does not know yet.
type strangers struct {
	stub
	joined atomic.Int32
}

// Subscribe implements Transport.
func (*strangers) Subscribe(subject string, f func(string, []byte, func([]byte))) (func(), error) {
	if subject == beatSubject {
		f(subject, appendHeartbeat(nil, &heartbeat{hello: hello{Protocol, 1, 9, "other"}, version: "test", counter: 1}), func([]byte) {})
	}
	return func() {}, nil
}

// Renew, Leave and Members implement Liveness.
func (*strangers) Renew(context.Context, string, uint64) error { return nil }
func (*strangers) Leave(context.Context, string, uint64) error { return nil }
func (*strangers) Members(context.Context) ([]store.Life, error) {
	return nil, nil
}

// Isolated and Joined implement Listener.
func (*strangers) Isolated()            {}
func (s *strangers) Joined(Incarnation) { s.joined.Add(1) }

// TestAStartThatIsRefusedFails: also where the refusal comes before anybody is waited for,
// and the node takes no part for a moment either.
func TestAStartThatIsRefusedFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &strangers{}
		c, err := New(Config{Name: "self", Incarnation: 2, Transport: w, Liveness: w, Table: w, Listener: w})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "another configuration") {
			t.Errorf("got %v, want an error that says why it is refused", err)
		}
		_ = c.Stop(t.Context())
		synctest.Wait()
		if w.joined.Load() > 0 {
			t.Error("it took part")
		}
	})
}

// hasty is a world in which the node is told to stop while it subscribes.
type hasty struct {
	strangers
	node *Cluster
	open atomic.Int32 // subscriptions
}

// Subscribe implements Transport.
func (h *hasty) Subscribe(subject string, f func(string, []byte, func([]byte))) (func(), error) {
	h.open.Add(1)
	if subject == beatSubject {
		_ = h.node.Stop(context.Background())
	}
	return func() { h.open.Add(-1) }, nil
}

// TestAStopDuringTheStartLeavesNothing: the start says why it failed, and listens to
// nothing any more.
func TestAStopDuringTheStartLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &hasty{}
		var err error
		if w.node, err = New(Config{Name: "self", Incarnation: 2, Transport: w, Liveness: w, Table: w, Listener: w}); err != nil {
			t.Fatal(err)
		}
		if err := w.node.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "stopped") {
			t.Errorf("got %v, want an error that says that it was stopped", err)
		}
		synctest.Wait()
		if n := w.open.Load(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}
