package cluster_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
)

// A transport that is slow, or refuses for a while.

// stuck is a transport whose next subscriptions to logs take long.
type stuck struct {
	cluster.Transport
	fails atomic.Int32 // subscriptions to calls that fail
	takes atomic.Int64
	open  atomic.Int32 // subscriptions
}

// Subscribe is cluster.Transport's.
func (s *stuck) Subscribe(subject string, f func(string, []byte, func([]byte))) (func(), error) {
	if d := time.Duration(s.takes.Load()); d > 0 && strings.HasPrefix(subject, "ch.") {
		<-time.After(d)
	}
	if strings.HasPrefix(subject, "call.") && s.fails.Add(-1) >= 0 {
		return nil, errors.New("not now")
	}
	stop, err := s.Transport.Subscribe(subject, f)
	if err != nil {
		return nil, err
	}
	s.open.Add(1)
	return func() { s.open.Add(-1); stop() }, nil
}

// A transport that takes long to subscribe holds up no heartbeat, and when the node
// stops meanwhile nothing is left.
func TestSlowSubscriptions(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		slow, lose := &stuck{}, true
		a := w.make("a", func(cfg *cluster.Config) {
			slow.Transport = deaf{cfg.Transport.(*clustertest.Wire), &lose}
			cfg.Transport = slow
		})
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.start("b")
		synctest.Wait() // it listens
		lose = false
		slow.takes.Store(int64(5 * time.Second))
		wait(7 * time.Second)
		if c := a.c.Counts(); c.Received.Mute != 1 || c.Members.Pauses != 0 {
			t.Errorf("mute %d times, stood still %d times, want once and never", c.Received.Mute, c.Members.Pauses)
		}
		if s := w.nodes["b"].standing("a"); s != "alive" {
			t.Errorf("a is %s to b", s)
		}
		w.agree(t)
		w.start("c") // and a stops while it meets him
		w.stop("a")
		wait(10 * time.Second)
		if n := slow.open.Load(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// While a node listens to the log of who is new, for however long that takes, it
// hears the others.
func TestSlowToMeet(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		slow := &stuck{}
		a := w.make("a", func(cfg *cluster.Config) { slow.Transport, cfg.Transport = cfg.Transport, slow })
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.start("b")
		wait(2 * time.Second)
		slow.takes.Store(int64(2500 * time.Millisecond))
		w.start("c")
		wait(6 * time.Second)
		if c := a.c.Counts(); c.Members.Suspected != 0 || c.Received.Mute != 0 {
			t.Errorf("it thought %d times that a node was silent, and %d times that a log was", c.Members.Suspected, c.Received.Mute)
		}
		w.agree(t)
	})
}

// A node that came anew, and could not listen to calls at once, hears them soon.
func TestCallsReachANewIncarnation(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a", "b")
		slow := &stuck{}
		c := w.make("c", func(cfg *cluster.Config) { slow.Transport, cfg.Transport = cfg.Transport, slow })
		if err := c.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		w.alone("c")
		w.quorum.Cut("c", true)
		slow.fails.Store(3)
		wait(20 * time.Second)
		w.net.Heal()
		w.quorum.Heal()
		wait(5 * time.Second)
		if c.c.Self() == c.first || slow.fails.Load() > 0 {
			t.Fatalf("it is incarnation %d still, %d subscriptions are to fail: the test tests nothing", c.c.Self(), slow.fails.Load())
		}
		if b, err := w.nodes["a"].c.Call(t.Context(), c.c.Self(), "echo", []byte("hello")); err != nil || string(b) != "hello" {
			t.Errorf("echo: got %q, %v", b, err)
		}
	})
}

// busy is a table that takes long for the digests of a node's own sessions.
type busy struct {
	cluster.Table
	takes *atomic.Int64
}

func (b busy) Digests(origin cluster.Incarnation, d *cluster.Digests) {
	if long := time.Duration(b.takes.Load()); origin == 1 && long > 0 {
		<-time.After(long)
	}
	b.Table.Digests(origin, d)
}

// A table that is busy holds up no heartbeat either.
func TestBusyTable(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		var takes atomic.Int64
		a := w.make("a", func(cfg *cluster.Config) { cfg.Table = busy{cfg.Table, &takes} })
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.start("b", "c")
		wait(3 * time.Second)
		takes.Store(int64(5 * time.Second))
		for i := range 12 {
			wait(time.Second)
			a.table.change(uint64(i), false)
			if s := w.nodes["b"].standing("a"); s != "alive" {
				t.Errorf("a is %s to b", s)
			}
		}
		if n := a.c.Counts().Members.Pauses; n != 0 {
			t.Errorf("a thinks that it stood still %d times", n)
		}
		takes.Store(0)
		wait(6 * time.Second)
		w.agree(t)
	})
}

// kept is a transport that keeps who takes calls, also when he takes no more.
type kept struct {
	cluster.Transport
	takers []func(b []byte)
	call   []byte
}

// Subscribe is cluster.Transport's.
func (k *kept) Subscribe(subject string, f func(string, []byte, func([]byte))) (func(), error) {
	if strings.HasPrefix(subject, "call.") {
		taken := f
		k.takers = append(k.takers, func(b []byte) { taken(subject, b, func([]byte) {}) })
		f = func(subject string, b []byte, reply func([]byte)) {
			k.call = slices.Clone(b)
			taken(subject, b, reply)
		}
	}
	return k.Transport.Subscribe(subject, f)
}

// A subscription may deliver still when it was ended, beside the one that took its
// place: what came to a former incarnation and what comes to the new one are taken
// at the same time.
func TestCallsOfTwoIncarnationsAtOnce(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a", "b")
		k := &kept{}
		c := w.make("c", func(cfg *cluster.Config) { k.Transport, cfg.Transport = cfg.Transport, k })
		if err := c.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		if _, err := w.nodes["a"].c.Call(t.Context(), c.c.Self(), "echo", nil); err != nil {
			t.Fatal(err)
		}
		w.alone("c")
		w.quorum.Cut("c", true)
		wait(20 * time.Second)
		w.net.Heal()
		w.quorum.Heal()
		wait(5 * time.Second)
		if c.c.Self() == c.first || len(k.takers) != 2 {
			t.Fatalf("it is incarnation %d still, and took calls %d times: the test tests nothing", c.c.Self(), len(k.takers))
		}
		late := c.c.Counts().Calls.Late
		var all sync.WaitGroup
		const each = 3000
		for n, take := range k.takers {
			all.Go(func() {
				for i := range each {
					b := slices.Clone(k.call)
					binary.LittleEndian.PutUint64(b[2:], uint64(1000+each*n+i)) // of many nodes
					take(b)
				}
			})
		}
		all.Wait()
		if n := c.c.Counts().Calls.Late - late; n != 2*each {
			t.Errorf("%d calls were looked at, want %d", n, 2*each)
		}
	})
}

// narrow is a transport over a link on which shards take long.
type narrow struct{ cluster.Transport }

// Publish is cluster.Transport's.
func (n narrow) Publish(subject string, b []byte) error {
	if strings.HasPrefix(subject, "sh.") {
		<-time.After(1500 * time.Millisecond)
	}
	return n.Transport.Publish(subject, b)
}

// A node that starts loads what the others have, however slowly it comes.
func TestSlowShards(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		a := w.make("a", func(cfg *cluster.Config) { cfg.Transport = narrow{cfg.Transport} })
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.table.pad = 20 << 10 // what is asked for at once takes three messages
		for i := range cluster.Shards {
			a.table.change(uint64(i), false)
		}
		w.start("b")
		wait(time.Minute)
		if b := w.nodes["b"]; !b.c.Loaded() {
			t.Errorf("not loaded in a minute, %d questions given up", b.c.Counts().Repairs.Lost)
		}
		w.agree(t)
	})
}
