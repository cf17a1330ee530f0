package cluster

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// stub is all that a node stands on, and does nothing.
type stub struct {
	Transport
	Table
	Listener
	store.Liveness
}

// Publish implements Transport.
func (stub) Publish(string, []byte) error { return nil }

// Subscribe implements Transport.
func (stub) Subscribe(string, func(string, []byte, func([]byte))) (func(), error) {
	return func() {}, nil
}

// hearing is a node that runs nothing and hears what it is given.
func hearing(t *testing.T) *Cluster {
	t.Helper()
	c, err := New(Config{Name: "self", Incarnation: 1, Transport: stub{}, Liveness: stub{}, Table: stub{}, Listener: stub{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c.ctx = t.Context()
	return c
}

// says is a heartbeat of a node.
func (c *Cluster) says(name string, incarnation Incarnation, counter uint64) {
	c.hear(beatSubject, appendHeartbeat(nil, &heartbeat{hello: hello{Protocol, incarnation, 0, name}, version: "test", counter: counter}), nil)
}

// TestAHeartbeatOfAFormerIncarnationComesLate: a word of a process that has ended makes
// no member, whether this node had met that one before or not.
func TestAHeartbeatOfAFormerIncarnationComesLate(t *testing.T) {
	t.Parallel()
	for name, met := range map[string]bool{"it was met": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := hearing(t)
				if met {
					c.says("b", 2, 10)
				}
				c.says("b", 3, 1)
				c.says("b", 2, 11)
				synctest.Wait()
				standings, seats := map[Incarnation]Standing{}, *c.seats.Load()
				for _, m := range c.Members() {
					standings[m.Incarnation] = m.Standing
				}
				if standings[3] != Alive || standings[2] != Gone || len(seats) != 2 {
					t.Errorf("got %v with %d seats, want incarnation 3 alive, 2 gone, and seats for this node and 3", standings, len(seats))
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if p := c.peers[2]; p.origin != nil && !p.origin.over {
					t.Error("the log of the former incarnation is listened to")
				}
			})
		})
	}
}

// TestNamesThatAreGoneAreBounded: nodes that come and go under names of their own do not
// fill the memory, and the latest are remembered.
func TestNamesThatAreGoneAreBounded(t *testing.T) {
	t.Parallel()
	c := hearing(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	last := Incarnation(maxPast + 100)
	for i := Incarnation(2); i <= last; i++ {
		c.left(&peer{name: fmt.Sprint("node-", i), incarnation: i})
	}
	if len(c.past) > maxPast {
		t.Errorf("got %d names, want %d at most", len(c.past), maxPast)
	}
	for i := last - maxPast + 1; i <= last; i++ {
		if name := fmt.Sprint("node-", i); !c.passed(name, i) || c.passed(name, i+1) {
			t.Fatalf("%s is not known to have left as %d and no later", name, i)
		}
	}
}
