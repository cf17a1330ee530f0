package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/lease"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// unseen is a table with nothing in it, whose owner needs to hear nothing.
type unseen struct{}

func (unseen) Apply(cluster.Incarnation, int, [][]byte)               {}
func (unseen) Dump(int, func([]byte))                                 {}
func (unseen) Digests(_ cluster.Incarnation, d *cluster.Digests)      { clear(d[:]) }
func (unseen) Replace(cluster.Incarnation, int, [][]byte)             {}
func (unseen) Silent(cluster.Incarnation, presence.Time)              {}
func (unseen) Returned(cluster.Incarnation)                           {}
func (unseen) Caught(cluster.Incarnation)                             {}
func (unseen) Lost(cluster.Incarnation, presence.Time, presence.Time) {}
func (unseen) Left(cluster.Incarnation, presence.Time)                {}
func (unseen) Isolated()                                              {}
func (unseen) Frozen()                                                {}
func (unseen) Joined(cluster.Incarnation)                             {}

// holder is a node that has duties.
type holder struct {
	name   string
	c      *cluster.Cluster
	leases *lease.Leases
}

// left is for how long it has a duty still, for sure.
func (h *holder) left(duty string) time.Duration {
	term, until := h.leases.Held(duty)
	if term == 0 {
		return 0
	}
	return max(0, time.Until(until))
}

// holders are nodes over a simulated network; the first is to be cut.
type holders struct {
	net    *clustertest.Network
	quorum *clustertest.Quorum
	all    []*holder
	terms  atomic.Uint64
}

func newHolders(t *testing.T, count int) *holders {
	w := &holders{net: clustertest.NewNetwork(1)}
	w.quorum = clustertest.NewQuorum(w.net)
	for i := range count {
		h := &holder{name: string(rune('a' + i))}
		wire := w.net.Wire(h.name)
		seat := w.quorum.For(wire)
		var err error
		h.c, err = cluster.New(cluster.Config{
			Name: h.name, Incarnation: w.quorum.Next(), Next: seat.Incarnation, Version: "test", Fingerprint: 7,
			Transport: wire, Liveness: seat, Table: unseen{}, Listener: unseen{}, Logger: slog.New(slog.DiscardHandler),
		})
		if err == nil {
			err = h.c.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		h.leases = lease.New(t.Context(), lease.Config{
			Cluster: seats{h.c}, Logger: slog.New(slog.DiscardHandler),
			Term: func(context.Context) (uint64, error) { return w.terms.Add(1), nil },
		})
		w.all = append(w.all, h)
	}
	return w
}

func (w *holders) end() {
	w.net.Heal()
	w.quorum.Heal()
	for _, h := range w.all {
		h.leases.Stop()
		_ = h.c.Stop(context.Background())
	}
}

// cut cuts the first from so many of the others, one after another.
func (w *holders) cut(count int, every time.Duration) {
	for i, h := range w.all[1 : count+1] {
		cut := func() { w.net.CutBoth("a", h.name) }
		if i == 0 || every == 0 { // timers of no time that run at once crash the race detector in a bubble (golang/go#78156)
			cut()
			continue
		}
		time.AfterFunc(time.Duration(i)*every, cut)
	}
}

// whose plays for a while and returns who has which duty at its end, having seen that
// no two had one at once; least is what was left at the least to the first of those
// that are its own.
func (w *holders) whose(t *testing.T, d time.Duration) (has map[string]string, least time.Duration) {
	t.Helper()
	has, least = map[string]string{}, time.Hour
	for began := time.Now(); time.Since(began) < d; {
		<-time.After(25 * time.Millisecond)
		for i := range 40 {
			duty := fmt.Sprint("duty ", i)
			delete(has, duty)
			for _, h := range w.all {
				left := h.left(duty)
				switch {
				case left == 0:
				case has[duty] != "":
					t.Fatalf("%s: %s and %s have it", duty, has[duty], h.name)
				default:
					if has[duty] = h.name; h == w.all[0] {
						least = min(least, left)
					}
				}
			}
		}
	}
	return has, least
}

// TestNoTwoNodesHaveADuty: whatever is cut, who had a duty has it no more when the
// next one begins; and who is heard by enough of the others keeps it.
func TestNoTwoNodesHaveADuty(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		nodes int
		fault func(w *holders)
		moves bool
	}{
		"cut from the others, not from the quorum": {3, func(w *holders) { w.cut(2, 0) }, true},
		"cut from one, later from the other":       {3, func(w *holders) { w.cut(2, 5*time.Second) }, true},
		"not heard by the others":                  {3, func(w *holders) { w.net.Cut("a", "b"); w.net.Cut("a", "c") }, true},
		"cut from all":                             {3, func(w *holders) { w.cut(2, 0); w.quorum.Cut("a", true) }, true},
		"cut from one":                             {3, func(w *holders) { w.cut(1, 0) }, false},
		"of two, cut from all":                     {2, func(w *holders) { w.cut(1, 0); w.quorum.Cut("a", true) }, true},
		"of two, cut from the other":               {2, func(w *holders) { w.cut(1, 0) }, false},
		"of four, one after another":               {4, func(w *holders) { w.cut(3, 4*time.Second); w.quorum.Cut("a", true) }, true},
		"of five, cut from three":                  {5, func(w *holders) { w.cut(3, time.Second) }, true},
		"of five, cut from two":                    {5, func(w *holders) { w.cut(2, 0) }, false},
		"cut from the quorum, later from the others": {3, func(w *holders) {
			w.quorum.Cut("a", true)
			time.AfterFunc(2*time.Second, func() { w.cut(2, 0) })
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newHolders(t, test.nodes)
				defer w.end()
				_, _ = w.whose(t, 8*time.Second)
				before, least := w.whose(t, 2*time.Second)
				if least < 3*time.Second { // webhooks wait with less than that
					t.Errorf("while nothing is wrong a node has its duties for %v more", least)
				}
				test.fault(w)
				after, _ := w.whose(t, 30*time.Second)
				for duty, was := range before {
					if is := after[duty]; was == "a" && (is == "" || (is != "a") != test.moves) {
						t.Errorf("%s was at a and is at %q", duty, is)
					}
				}
			})
		})
	}
}
