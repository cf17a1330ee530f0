package tracker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// TestDrainAway: the devices of a node that stops are sent away one after the
// other, come back at another node at once, with their watches, and nobody sees
// anything.
func TestDrainAway(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		const count, over = 200, 2 * time.Second
		a, b, d := c.all[0], c.all[1], c.all[2]
		refs, links := make([]Ref, count), make([]*wire, count)
		for i := range refs {
			m, err := a.tr.Make(context.Background(), MakeParams{User: presence.User{App: "demo", ID: presence.UserID(fmt.Sprintf("u%d", i))}})
			if err != nil {
				t.Fatal(err)
			}
			refs[i] = m.Ref
			if links[i], err = a.connect(m.Ref, nil); err != nil {
				t.Fatal(err)
			}
			a.lists.set(m.Ref.Session, "carol")
		}
		wait(time.Second)
		heard := d.ear.heard()
		began := time.Now()
		done := make(chan time.Duration, 1)
		go func() {
			a.tr.DrainAway(context.Background(), over, func() End { return End{Cause: CauseDraining} })
			done <- time.Since(began)
		}()
		var ends []time.Duration
		moved := make([]bool, count)
		for len(ends) < count && time.Since(began) < 2*over {
			wait(10 * time.Millisecond)
			for i, w := range links {
				if moved[i] || len(w.ended()) == 0 {
					continue
				}
				moved[i] = true
				ends = append(ends, time.Since(began))
				got, err := b.tr.Connect(context.Background(), refs[i], ConnectParams{Link: &wire{}, Addr: "192.0.2.1:1"})
				if err != nil || got.Unclean || !slices.Equal(got.Restored, []presence.UserID{"carol"}) {
					t.Fatalf("session %d at another node: got %+v, %v, want it whole", i, got, err)
				}
			}
		}
		took := <-done
		if len(ends) != count || took < over-100*time.Millisecond || took > over+time.Second {
			t.Errorf("%d links ended, in %v; want %d within %v", len(ends), took, count, over)
		}
		for i, at := range ends {
			if want := over * time.Duration(i) / count; at < want-over/4 || at > want+over/4 {
				t.Errorf("link %d ended after %v, want it near %v", i, at, want)
				break
			}
		}
		wait(100 * time.Millisecond)
		if d.ear.heard() != heard {
			t.Errorf("a third node was shown %d changes", d.ear.heard()-heard)
		}
		if n := a.tr.owned(); n != 0 {
			t.Errorf("%d sessions are left at the node that stops", n)
		}
	})
}

// TestDrainAwayEnds: who comes to no other node is not waited for, and a stop in a
// hurry cuts the spread short.
func TestDrainAwayEnds(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		_, w := c.all[0].open(presence.Device{})
		began := time.Now()
		c.all[0].tr.DrainAway(context.Background(), time.Second, func() End { return End{Cause: CauseDraining} })
		if took := time.Since(began); len(w.ended()) != 1 || took > 2*time.Second+movedWithin {
			t.Errorf("links ended: %v, after %v", w.ended(), took)
		}
		_, w = c.all[1].open(presence.Device{})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		c.all[1].tr.DrainAway(ctx, time.Hour, func() End { return End{Cause: CauseDraining} })
		if took := time.Since(began); len(w.ended()) != 1 || took > time.Second {
			t.Errorf("in a hurry: links ended: %v, after %v", w.ended(), took)
		}
	})
}
