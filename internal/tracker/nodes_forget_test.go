package tracker

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// noters lists the nodes of which the store has notes.
func (c *nodes) noters() (list []uint64) {
	err := c.mem.LoadNotes(context.Background(), 0, -1, func(incarnation uint64, _ []byte) error {
		if !slices.Contains(list, incarnation) {
			list = append(list, incarnation)
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestNotesOfNodesThatWereReplacedAreForgotten: who knew when a node went may have
// been replaced as well before its notes could go.
func TestNotesOfNodesThatWereReplacedAreForgotten(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: plays six minutes of three nodes")
	}
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		ref, _ := c.all[0].open(presence.Device{})
		for name := range 3 {
			wait(2 * time.Second)
			c.leave(c.running()[0])
			fresh := c.start(name)
			wait(time.Second)
			if _, err := fresh.back(ref); err != nil {
				t.Fatalf("at node %d: %v", name, err)
			}
		}
		wait(6 * time.Minute)
		var run []uint64
		for _, n := range c.running() {
			run = append(run, n.number())
		}
		for _, number := range c.noters() {
			if !slices.Contains(run, number) {
				t.Errorf("the store has notes of %v after six minutes; there are %v", c.noters(), run)
				break
			}
		}
		for _, n := range c.running() {
			for number := range n.tr.peers.origins {
				if !slices.Contains(run, number) {
					t.Errorf("node %d remembers %d, which is gone", n.name, number)
				}
			}
		}
	})
}

// TestWhoIsHeardLateIsNotGone: a node that starts while it is cut from one of the
// others guesses that this is gone. It ends nothing of it when that is wrong.
func TestWhoIsHeardLateIsNotGone(t *testing.T) {
	for name, cut := range map[string]time.Duration{"before the grace": 5 * time.Second, "after the grace": 45 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
				a, b := c.all[0], c.all[1]
				ref, _ := a.open(presence.Device{})
				wait(time.Second)
				away := func(cut bool) {
					c.mu.Lock()
					defer c.mu.Unlock()
					a.cut = cut
				}
				away(true)
				b.tr.Silent(a.number(), presence.At(time.Now())) // and no more: it is not lost
				fresh := c.start(2)
				alive := func(d time.Duration) {
					for end := time.Now().Add(d); time.Now().Before(end); wait(time.Second) {
						_, _ = a.tr.Heartbeat(t.Context(), ref)
					}
				}
				alive(cut)
				away(false)
				b.tr.Returned(a.number())
				b.tr.Caught(a.number())
				alive(time.Minute)
				for _, n := range []*node{a, b, fresh} {
					if got := n.looks(bob); got != "[online] [online]" {
						t.Errorf("node %d sees %s, want him online", n.name, got)
					}
				}
				if n := fresh.ear.heard(); n != 0 {
					t.Errorf("%d changes were shown at the fresh node, want none", n)
				}
			})
		})
	}
}
