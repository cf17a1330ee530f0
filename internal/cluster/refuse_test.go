package cluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/store"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	good := cluster.Config{Name: "a", Incarnation: 1, Transport: w.net.Wire("a"), Liveness: w.quorum.For(w.net.Wire("a")), Table: newSessions(), Listener: newSessions()}
	for name, change := range map[string]func(*cluster.Config){
		"no name":        func(cfg *cluster.Config) { cfg.Name = "" },
		"a long name":    func(cfg *cluster.Config) { cfg.Name = strings.Repeat("n", 300) },
		"no incarnation": func(cfg *cluster.Config) { cfg.Incarnation = 0 },
		"no transport":   func(cfg *cluster.Config) { cfg.Transport = nil },
		"no quorum":      func(cfg *cluster.Config) { cfg.Liveness = nil },
		"no table":       func(cfg *cluster.Config) { cfg.Table = nil },
		"no listener":    func(cfg *cluster.Config) { cfg.Listener = nil },
	} {
		cfg := good
		if change(&cfg); refusedBy(cfg) == "" {
			t.Errorf("%s: got no error", name)
		}
	}
	if why := refusedBy(good); why != "" {
		t.Errorf("good: got %s", why)
	}
}

func refusedBy(cfg cluster.Config) string {
	if _, err := cluster.New(cfg); err != nil {
		return err.Error()
	}
	return ""
}

func TestStartNeedsAQuorum(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.quorum.SetDown(true)
		n := w.make("a", nil)
		began := time.Now()
		err := n.c.Start(t.Context())
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "no quorum") || took < 14*time.Second || took > 16*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
		if n.c.Stop(t.Context()) != nil || n.c.Start(t.Context()) == nil {
			t.Error("Stop after a failed Start does nothing, and nothing starts again")
		}
	})
}

func TestStopTolerates(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		n := w.make("a", nil)
		if n.c.Stop(t.Context()) != nil || n.c.Stop(t.Context()) != nil || n.c.Start(t.Context()) == nil {
			t.Error("Stop before Start: nothing, for good")
		}
		w.start("b")
		w.quorum.SetDown(true)
		began := time.Now()
		if err := w.nodes["b"].c.Stop(t.Context()); err == nil || time.Since(began) > 3*time.Second {
			t.Errorf("without a quorum: got %v after %v", err, time.Since(began))
		}
		if err := w.nodes["b"].c.Stop(t.Context()); err != nil {
			t.Errorf("again: got %v", err)
		}
	})
}

// Who starts with another configuration is told so, and nobody else minds: two
// clusters under one prefix are that, too.
func TestAnotherConfigurationIsRefused(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		n := w.make("c", func(cfg *cluster.Config) { cfg.Fingerprint = 8 })
		err := n.c.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), "another configuration") || !strings.Contains(err.Error(), `"pl"`) {
			t.Errorf("got %v", err)
		}
		w.kill("c")
		wait(time.Minute)
		w.check()
		for _, name := range w.names() {
			w.nodes[name].is(t, "beside it")
			if w.nodes[name].c.Counts().Members.Refused == 0 {
				t.Errorf("%s did not count it", name)
			}
		}
	})
}

// Under the name of a node that runs, one with another configuration is refused
// before the quorum knows of it: the node that runs stays.
func TestAnotherConfigurationUnderATakenName(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		n := w.make("a", func(cfg *cluster.Config) { cfg.Fingerprint = 8 })
		w.nodes["a"] = a
		err := n.c.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), "another configuration") {
			t.Errorf("got %v", err)
		}
		n.wire.Close()
		wait(time.Minute)
		if err := a.c.Err(); err != nil || !a.c.Joined() {
			t.Errorf("the node that ran: got %v, joined %v, want it to go on", err, a.c.Joined())
		}
		w.check()
	})
}

// Two that could not hear each other at their start: the later one goes.
func TestRefusedAfterStart(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		n := w.make("c", func(cfg *cluster.Config) { cfg.Fingerprint = 8 })
		w.net.CutBoth("a", "c")
		w.net.CutBoth("b", "c")
		if err := n.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.net.Heal()
		select {
		case <-n.c.Failed():
		case <-time.After(2 * time.Second):
			t.Fatal("it goes on")
		}
		wait(200 * time.Millisecond)
		if err := n.c.Err(); err == nil || n.c.Joined() || !strings.HasSuffix(strings.Join(n.table.seen(), " "), "isolated") {
			t.Errorf("got %v, joined %v", err, n.c.Joined())
		}
		if w.nodes["a"].c.Err() != nil || !w.nodes["a"].c.Joined() {
			t.Error("a has to go, though it was there first")
		}
	})
}

func TestAnotherProtocolIsRefused(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		hello := func(incarnation uint64) []byte {
			b := binary.LittleEndian.AppendUint64([]byte{9, 1}, incarnation)
			return append(binary.LittleEndian.AppendUint64(b, 7), "\x01z and what nobody knows"...)
		}
		stranger := w.net.Wire("z")
		defer stranger.Close()
		_ = stranger.Publish("hb", hello(99))
		wait(time.Second)
		if w.nodes["a"].c.Err() != nil || w.nodes["a"].c.Counts().Members.Refused != 1 || len(w.nodes["a"].c.Members()) != 1 {
			t.Errorf("a later one: got %v, %v", w.nodes["a"].c.Err(), w.nodes["a"].c.Members())
		}
		n := w.make("b", nil)
		if _, err := stranger.Subscribe("hb", func(_ string, b []byte, _ func([]byte)) {
			if b[0] != 9 {
				_ = stranger.Publish("hb", hello(1))
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := n.c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol 9") {
			t.Errorf("beside an earlier one: got %v", err)
		}
	})
}

// later is the wire of a node that says more in its heartbeats.
type later struct{ cluster.Transport }

// Publish implements cluster.Transport.
func (l later) Publish(subject string, b []byte) error {
	if subject == "hb" {
		b = append(bytes.Clone(b), "\x05later and more"...)
	}
	return l.Transport.Publish(subject, b)
}

// A later version of the same protocol has more to say: it is a member all the
// same, and what it adds is passed over.
func TestLaterVersionIsMember(t *testing.T) {
	inWorld(t, "a", func(t *testing.T, w *world) {
		n := w.make("b", func(cfg *cluster.Config) { cfg.Transport = later{cfg.Transport} })
		if err := n.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = w.nodes["b"].c.Tell("a topic of later versions", []byte("x"))
		wait(10 * time.Second)
		if d := w.differ(); d != "" {
			t.Error(d)
		}
		a := w.nodes["a"].c
		if n := a.Counts(); n.Members.Refused > 0 || n.Members.Suspected > 0 || len(a.Members()) != 2 {
			t.Errorf("got %+v, %v, want it a member like any other", n.Members, a.Members())
		}
		if _, err := w.nodes["b"].c.Call(t.Context(), a.Self(), "a method of later versions", nil); err == nil {
			t.Error("a method that is not known here: got no error")
		}
		w.start("c") // copies what b has
		wait(2 * time.Second)
		w.agree(t)
	})
}

func TestNameIsTaken(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		first := w.nodes["a"]
		w.start("a") // another process
		wait(time.Second)
		if err := first.c.Err(); err == nil || !strings.Contains(err.Error(), "a name of its own") || first.c.Joined() {
			t.Errorf("the first: got %v, joined %v", err, first.c.Joined())
		}
		w.nodes["b"].is(t, "beside them", "lost 1")
		w.agree(t)
		_ = first.c.Stop(t.Context())
		first.wire.Close()
		wait(5 * time.Second)
		w.agree(t)
	})
}

func TestReloadKeepsMembers(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		w.nodes["a"].c.SetFingerprint(8)
		wait(10 * time.Second)
		if d := w.differ(); d != "" {
			t.Error(d)
		}
		differs := func() bool { return w.nodes["b"].c.Members()[0].Differs }
		if !differs() {
			t.Error("it is not shown")
		}
		w.nodes["b"].c.SetFingerprint(8)
		wait(time.Second)
		if differs() {
			t.Error("it is shown though both are the same")
		}
	})
}

// otherData is a quorum whose data are made anew at some moment.
type otherData struct {
	cluster.Liveness
	anew atomic.Bool
}

// Renew implements cluster.Liveness.
func (o *otherData) Renew(ctx context.Context, name string, incarnation cluster.Incarnation) error {
	if o.anew.Load() {
		return fmt.Errorf("of yesterday: %w", store.ErrAnew)
	}
	return o.Liveness.Renew(ctx, name, incarnation)
}

// A node whose data were made anew by others has to be started anew, and says so.
func TestDataMadeAnewEndANode(t *testing.T) {
	inWorld(t, "a b", func(t *testing.T, w *world) {
		data := &otherData{}
		c := w.make("c", func(cfg *cluster.Config) { data.Liveness, cfg.Liveness = cfg.Liveness, data })
		if err := c.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		data.anew.Store(true)
		select {
		case <-c.c.Failed():
		case <-time.After(time.Second):
			t.Error("it goes on")
		}
		if err := c.c.Err(); !errors.Is(err, store.ErrAnew) || !strings.Contains(err.Error(), "start it anew") {
			t.Errorf("got %v, want an error that says what to do", err)
		}
	})
}
