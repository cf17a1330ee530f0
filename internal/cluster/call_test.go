package cluster_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/fault"
)

// inCalls plays f in a world with a, and b that serves some methods; served counts
// what it has done.
func inCalls(t *testing.T, f func(t *testing.T, w *world, served *atomic.Int32)) {
	t.Helper()
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a")
		served := serves(t, w, "b")
		wait(time.Second)
		f(t, w, served)
	})
}

// serves starts a node that serves some methods.
func serves(t *testing.T, w *world, name string) *atomic.Int32 {
	t.Helper()
	b, served := w.make(name, nil), &atomic.Int32{}
	b.c.Handle("fault", func(context.Context, cluster.Incarnation, []byte) ([]byte, error) {
		return nil, &fault.Error{Kind: fault.SessionGone, Detail: "it is over", RetryAfter: time.Second, Fields: []fault.Field{{Path: "p", Rule: "r"}}}
	})
	b.c.Handle("error", func(context.Context, cluster.Incarnation, []byte) ([]byte, error) { return nil, errors.New("broken") })
	b.c.Handle("count", func(context.Context, cluster.Incarnation, []byte) ([]byte, error) { served.Add(1); return nil, nil })
	b.c.Handle("hang", func(ctx context.Context, _ cluster.Incarnation, _ []byte) ([]byte, error) {
		<-ctx.Done()
		served.Add(1)
		return nil, ctx.Err()
	})
	if err := b.c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return served
}

func TestCalls(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, served *atomic.Int32) {
		a := w.nodes["a"].c
		for _, to := range []cluster.Incarnation{1, 2} {
			if b, err := a.Call(t.Context(), to, "echo", []byte("hello")); err != nil || string(b) != "hello" {
				t.Errorf("echo of %d: got %q, %v", to, b, err)
			}
		}
		_, err := a.Call(t.Context(), 2, "fault", nil)
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != fault.SessionGone || f.Detail != "it is over" || f.RetryAfter != time.Second || !slices.Equal(f.Fields, []fault.Field{{Path: "p", Rule: "r"}}) {
			t.Errorf("a fault comes as %+v", err)
		}
		if _, err := a.Call(t.Context(), 2, "error", nil); fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "broken") {
			t.Errorf("an error comes as %v", err)
		}
		if _, err := a.Call(t.Context(), 2, "nothing", nil); err == nil {
			t.Error("a method that is not there: got no error")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err = a.Call(ctx, 2, "hang", nil)
		if took := time.Since(began); fault.KindOf(err) != fault.NodeUnavailable || took != 700*time.Millisecond {
			t.Errorf("hanging: got %v after %v", err, took)
		}
		wait(0)
		if served.Load() != 1 {
			t.Error("the deadline did not end the call on the other side")
		}
		if all := a.CallAll(t.Context(), "echo", []byte("all")); len(all) != 1 || all[0].Name != "b" || string(all[0].B) != "all" {
			t.Errorf("all: got %+v", all)
		}
	})
}

// TestAnAnswerThatIsTooLong: an answer that no message carries is refused at once, with
// its size; else its caller would wait for all of his time, at each try.
func TestAnAnswerThatIsTooLong(t *testing.T) {
	inWorld(t, "", func(t *testing.T, w *world) {
		w.start("a")
		b := w.make("b", nil)
		b.c.Handle("long", func(_ context.Context, _ cluster.Incarnation, q []byte) ([]byte, error) {
			return make([]byte, 8<<20-64<<10+len(q)), nil
		})
		if err := b.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		a, began := w.nodes["a"].c, time.Now()
		if answer, err := a.Call(t.Context(), 2, "long", nil); err != nil || len(answer) != 8<<20-64<<10 {
			t.Errorf("the longest: got %d bytes, %v", len(answer), err)
		}
		_, err := a.Call(t.Context(), 2, "long", []byte("x"))
		if fault.KindOf(err) != fault.NodeUnavailable || !strings.Contains(err.Error(), "8323073 bytes") || time.Since(began) != 0 {
			t.Errorf("a longer one: got %v after %v", err, time.Since(began))
		}
	})
}

func TestCallsToWhoIsNotThere(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, _ *atomic.Int32) {
		a := w.nodes["a"].c
		refused := func(what string, to cluster.Incarnation) {
			t.Helper()
			began := time.Now()
			_, err := a.Call(t.Context(), to, "echo", nil)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.NodeUnavailable || f.RetryAfter == 0 || time.Since(began) != 0 {
				t.Errorf("%s: got %v after %v", what, err, time.Since(began))
			}
		}
		refused("unknown", 77)
		w.net.CutBoth("a", "b")
		wait(2 * time.Second)
		refused("suspect", 2)
		w.net.Heal()
		w.agree(t)
		w.quorum.Cut("b", true)
		w.net.CutBoth("a", "b")
		wait(4 * time.Second) // b is isolated
		w.net.Heal()
		wait(600 * time.Millisecond) // and heard, but takes no part yet
		refused("isolated", 2)
		w.kill("b")
		wait(20 * time.Second)
		refused("gone", 2)
	})
}

func TestACallToWhoFallsSilentIsOver(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, _ *atomic.Int32) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		began, a := time.Now(), w.nodes["a"].c
		time.AfterFunc(100*time.Millisecond, func() { w.kill("b") })
		_, err := a.Call(ctx, 2, "hang", nil)
		var f *fault.Error
		if took := time.Since(began); !errors.As(err, &f) || f.Kind != fault.NodeUnavailable || f.RetryAfter == 0 || took > 2*time.Second {
			t.Errorf("got %v after %v, want it refused with a time to try again when the node is suspect", err, took)
		}
	})
}

func TestDoubledCallIsServedOnce(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, served *atomic.Int32) {
		w.net.SetFaults(clustertest.Faults{Double: 1, Jitter: 10 * time.Millisecond, Reorder: true})
		for range 100 {
			if _, err := w.nodes["a"].c.Call(t.Context(), 2, "count", nil); err != nil {
				t.Fatal(err)
			}
		}
		wait(time.Second)
		if n := served.Load(); n != 100 {
			t.Errorf("served %d times, want 100", n)
		}
		if n := w.nodes["b"].c.Counts().Calls.Twice; n < 100 {
			t.Errorf("%d came twice", n)
		}
	})
}

// What waited in a link is not served when everybody has forgotten it.
func TestLateCallIsNotServed(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, served *atomic.Int32) {
		a, b := w.nodes["a"].c, w.nodes["b"].c
		call := func(within time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			_, err := a.Call(ctx, 2, "count", nil)
			return err
		}
		w.net.SetFaults(clustertest.Faults{Delay: 900 * time.Millisecond})
		if err := call(4 * time.Second); err != nil || served.Load() != 1 {
			t.Fatalf("on the way for 0.9 s: got %v, served %d times", err, served.Load())
		}
		w.net.SetFaults(clustertest.Faults{})
		w.agree(t)
		w.net.SetFaults(clustertest.Faults{Delay: 2100 * time.Millisecond})
		if err := call(time.Second); fault.KindOf(err) != fault.NodeUnavailable {
			t.Fatalf("given up: got %v", err)
		}
		w.net.SetFaults(clustertest.Faults{})
		wait(5 * time.Second)
		if n := served.Load(); n != 1 {
			t.Errorf("served %d times, want 1: a call of 2.1 s ago was served", n)
		}
		if n := b.Counts().Calls.Late; n != 1 {
			t.Errorf("counted %d late ones, want 1", n)
		}
	})
}

// Nor what waited here for its turn, behind calls that take long.
func TestCallThatWaitedForItsTurnIsNotServed(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, served *atomic.Int32) {
		a, b := w.nodes["a"].c, w.nodes["b"].c
		var asked sync.WaitGroup
		call := func(method string, within time.Duration) {
			asked.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				_, _ = a.Call(ctx, 2, method, nil)
			})
		}
		const turns = 256
		for range turns {
			call("hang", 1500*time.Millisecond)
		}
		wait(100 * time.Millisecond)
		call("count", time.Second)
		wait(time.Second)
		if n := served.Load(); n != 0 {
			t.Fatalf("%d were served, want all turns taken", n)
		}
		asked.Wait()
		wait(time.Second)
		if n := served.Load(); n != turns+1 {
			t.Errorf("served %d, want %d that took long, and what waited for less than two seconds", n, turns+1)
		}
		served.Store(0)
		for range turns {
			call("hang", 3*time.Second)
		}
		wait(100 * time.Millisecond)
		call("count", time.Second)
		asked.Wait()
		wait(5 * time.Second)
		if n := served.Load(); n != turns {
			t.Errorf("served %d, want the %d that took long: who asked the other one gave up 1.9 s before", n, turns)
		}
		if n := b.Counts().Calls.Late; n != 1 {
			t.Errorf("counted %d late ones, want 1", n)
		}
	})
}

// Nor what waited for a node that stood still, though it does not know yet that it did.
func TestCallOfBeforeAPauseIsNotServed(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, served *atomic.Int32) {
		w.net.Pause("b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.nodes["a"].c.Call(ctx, 2, "count", nil); fault.KindOf(err) != fault.NodeUnavailable {
			t.Fatalf("who stands still: got %v", err)
		}
		wait(9 * time.Second)
		w.net.Resume("b")
		wait(5 * time.Second)
		if n := served.Load(); n != 0 {
			t.Errorf("served %d times, want never: it was asked 9 s before", n)
		}
	})
}

func TestACallToOneselfEnds(t *testing.T) {
	inCalls(t, func(t *testing.T, w *world, served *atomic.Int32) {
		began := time.Now()
		_, err := w.nodes["b"].c.Call(context.WithoutCancel(t.Context()), 2, "hang", nil)
		if took := time.Since(began); err == nil || took != 5*time.Second || served.Load() != 1 {
			t.Errorf("got %v after %v, want an error after five seconds", err, took)
		}
	})
}
