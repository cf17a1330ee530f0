package tracker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// back connects a session at a node.
func (n *node) back(ref Ref) (Connected, error) {
	return n.tr.Connect(context.Background(), ref, ConnectParams{Link: &wire{}, Addr: "192.0.2.1:1"})
}

// watch makes a session watch somebody.
func (n *node) watch(ref Ref, users ...presence.UserID) {
	n.lists.set(ref.Session, users...)
	n.tr.WatchesChanged(ref)
}

// wantBack checks that a session came back whose node had died, unseen by others.
func wantBack(t *testing.T, n *node, ref Ref, users ...presence.UserID) {
	t.Helper()
	heard := n.ear.heard()
	got, err := n.back(ref)
	if err != nil || !got.Resumed || !got.Unclean || !slices.Equal(got.Restored, users) {
		t.Errorf("Connect: got %+v, %v, want it resumed, unclean and watching %v", got, err, users)
	}
	if n.ear.heard() != heard {
		t.Error("others saw it come back")
	}
}

func TestASessionThatJustMovedOutlivesItsNode(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, _ := a.open(presence.Device{})
		a.watch(ref, "carol")
		wait(2 * time.Second)
		if _, err := b.back(ref); err != nil {
			t.Fatal(err)
		}
		c.kill(b)
		wait(4 * time.Second)
		wantBack(t, d, ref, "carol")
	})
}

func TestNobodySubscribesForAGoneNode(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		wait(time.Second)
		c.kill(a)
		wait(4 * time.Second)
		_, err := b.tr.Check(context.Background(), ref)
		wantKind(t, "a subscription of a session that did not come back yet", err, fault.NodeUnavailable)
		wantBack(t, b, ref)
		if _, err := b.tr.Check(context.Background(), ref); err != nil {
			t.Errorf("after it came back: %v", err)
		}
	})
}

func TestAYoungSessionOutlivesItsNode(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		c.start(3)
		old, _ := a.open(presence.Device{Platform: "ios"})
		wait(youngest)
		young, _ := a.open(presence.Device{Platform: "web"})
		a.watch(young, "carol") // and nobody will know
		c.kill(a)
		if err := c.mem.ForgetNotes(context.Background(), a.number()); err != nil {
			t.Fatal(err)
		}
		wait(4 * time.Second)
		wantBack(t, b, young)
		_, err := b.back(old)
		wantKind(t, "an old session whose watches nobody knows", err, fault.SessionGone)
	})
}

func TestNotesDoNotWaitForShards(t *testing.T) {
	patient := func(c *Config) { c.Policies[app] = Policy{HeartbeatTimeout: time.Hour} }
	inNodes(t, 3, patient, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		a.store.stuck.Store(true) // as in an election of that stream's leader
		wait(40 * time.Second)
		a.watch(ref, "carol")
		wait(time.Second)
		c.kill(a)
		wait(4 * time.Second)
		wantBack(t, b, ref, "carol")
	})
}

func TestNotesOfALateWordAreRead(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		old, _ := a.open(presence.Device{Platform: "ios"})
		a.watch(old, "carol")
		wait(time.Second)
		c.mu.Lock()
		a.cut = true // nobody hears it, and it still writes
		c.mu.Unlock()
		wantBack(t, b, old, "carol")
		late, _ := a.open(presence.Device{Platform: "web"})
		a.watch(late, "dave")
		wait(time.Second) // as long as a list that was read before is good
		if err := a.tr.SaveNotes(context.Background()); err != nil {
			t.Fatalf("SaveNotes: %v", err)
		}
		b.tr.Left(a.number(), presence.At(time.Now()))
		wantBack(t, b, late, "dave")
		c.mu.Lock()
		a.cut = false
		c.mu.Unlock()
	})
}

func TestAGoodbyeComesAfterTheNotes(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		a.watch(ref, "carol")
		a.tr.Drain(func() End { return End{Cause: CauseDraining} })
		if err := a.tr.SaveNotes(context.Background()); err != nil {
			t.Fatalf("SaveNotes: %v", err)
		}
		list, known, err := b.tr.listOf(context.Background(), ref, a.number())
		if err != nil || !known || !slices.Equal(list.users, []presence.UserID{"carol"}) {
			t.Errorf("what it watched: got %v, %v, %v", list, known, err)
		}
	})
}

// TestALargeGroupIsReplacedAtOnce: a crash between two parts of it loses no list.
func TestALargeGroupIsReplacedAtOnce(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a := c.all[0]
		var refs []Ref
		var many []presence.UserID
		for i := range 1000 {
			many = append(many, presence.UserID(fmt.Sprintf("%0*d", presence.MaxUserID, i)))
		}
		for range 6 {
			ref, _ := a.open(presence.Device{})
			a.watch(ref, many...)
			refs = append(refs, ref)
		}
		wait(time.Second)
		group := a.tr.shardIndex(bob) % store.NoteGroups
		a.store.dies.Store(true)
		_ = a.tr.saver.whole(context.Background(), group)
		defer a.store.down.Store(false)
		defer a.store.dies.Store(false)
		messages, sessions := 0, map[presence.SessionID]bool{}
		if err := c.mem.LoadNotes(context.Background(), a.number(), group, func(_ uint64, b []byte) error {
			messages++
			_, list, err := parseNotes(b)
			for _, n := range list {
				sessions[n.ref.Session] = !n.same && len(n.watches) == len(many)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, ref := range refs {
			if !sessions[ref.Session] {
				t.Errorf("session %v lost its list", ref.Session)
			}
		}
		if messages < 2 || len(sessions) != len(refs) {
			t.Errorf("%d messages with %d sessions, want several with %d", messages, len(sessions), len(refs))
		}
	})
}

func TestWholeGroupsAreWrittenFewAtATime(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		v := c.all[0].tr.saver
		v.stop(context.Background()) // nobody else writes now
		for i := range v.nodes.since {
			v.nodes.since[i] = wholeAfter
		}
		left := func() (n int) {
			for _, since := range v.nodes.since {
				if since >= wholeAfter {
					n++
				}
			}
			return n
		}
		for round := 1; round <= store.NoteGroups/wholesATime; round++ {
			if err := v.wholes(context.Background()); err != nil {
				t.Fatal(err)
			}
			if want := store.NoteGroups - round*wholesATime; left() != want {
				t.Fatalf("after round %d %d groups wait, want %d", round, left(), want)
			}
		}
	})
}

// TestAFormerNodeKeepsWhatItNoted: the node to which a session went died before it
// noted it, and only then does its former node write its notes anew.
func TestAFormerNodeKeepsWhatItNoted(t *testing.T) {
	for name, silent := range map[string]bool{"heard": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
				a, b, d := c.all[0], c.all[1], c.all[2]
				ref, _ := a.open(presence.Device{})
				a.watch(ref, "carol")
				wait(2 * youngest)
				c.mu.Lock()
				a.cut = silent
				c.mu.Unlock()
				if _, err := b.back(ref); err != nil {
					t.Fatal(err)
				}
				c.kill(b)
				if err := c.mem.ForgetNotes(context.Background(), b.number()); err != nil {
					t.Fatal(err)
				}
				c.mu.Lock()
				a.cut = false
				c.mu.Unlock()
				for range 2 { // from what the hub has, and after it forgot
					wait(2 * time.Second)
					if err := a.tr.saveRequest(context.Background(), request{all: true, shard: a.tr.shardIndex(bob) + 1}); err != nil {
						t.Fatal(err)
					}
					a.lists.set(ref.Session)
				}
				wantBack(t, d, ref, "carol")
			})
		})
	}
}

func TestAFormerNodeForgetsWhatANextOneNoted(t *testing.T) {
	patient := func(c *Config) { c.Policies[app] = Policy{HeartbeatTimeout: time.Hour} }
	inNodes(t, 3, patient, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		if _, err := b.back(ref); err != nil {
			t.Fatal(err)
		}
		sh := a.tr.shard(ref.User)
		left := func() int {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			return len(sh.peers.left)
		}
		wait(leftHolds / 2)
		if left() != 1 {
			t.Fatalf("%d sessions are remembered, want the one that went", left())
		}
		wait(leftHolds/2 + (Shards/leaversATime+1)*(sweepEvery+wheel.Tick))
		if left() != 0 {
			t.Errorf("%d sessions are remembered that another node noted long ago", left())
		}
	})
}

// A node that was given up does not know yet, and reads that others closed a session of
// its own. What it noted of that must stay, for the device may come back elsewhere: it
// writes no group anew in place of its notes until it takes part again.
func TestANodeThatStoodStillForgetsNoNotes(t *testing.T) {
	for _, how := range []string{"by its notes", "for an erasure"} {
		inNodes := func(f func(t *testing.T, c *nodes)) { t.Run(how, func(t *testing.T) { inNodes(t, 3, nil, f) }) }
		inNodes(func(t *testing.T, c *nodes) {
			a, b := c.all[0], c.all[1]
			left, w := a.open(presence.Device{Platform: "ios"})
			a.watch(left, "carol")
			stays, _ := a.open(presence.Device{Platform: "web"})
			wait(youngest + time.Second)
			a.tr.Frozen()
			a.tr.LinkLost(left, w)
			sh, s, err := b.tr.find(left)
			if err != nil {
				t.Fatal(err)
			}
			b.tr.claim(sh, s.record(presence.RecordClosed, presence.ReasonNodeLost, b.tr.now()), func(error) func() { return nil })
			sh.mu.Unlock()
			wait(time.Second)
			if how == "for an erasure" {
				err := a.tr.saveRequest(t.Context(), request{all: true, shard: a.tr.shardIndex(bob) + 1})
				wantKind(t, "a group written anew", err, fault.LogUnavailable)
			} else {
				for i := range wholeAfter + 10 {
					if _, err := a.update(stays, presence.Status{Show: presence.Show(1 + i%2)}); err != nil {
						t.Fatal(err)
					}
					wait(noteEvery)
				}
			}
			c.kill(a)
			wait(4 * time.Second)
			if got, err := b.back(left); err != nil || !slices.Equal(got.Restored, []presence.UserID{"carol"}) {
				t.Errorf("Connect: got %+v, %v, want it watching carol", got, err)
			}
		})
	}
}
