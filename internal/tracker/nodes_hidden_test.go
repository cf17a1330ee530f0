package tracker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// turn hides or shows a session at the node that has it.
func (n *node) turn(ref Ref, hidden bool, text string) {
	n.t.Helper()
	if _, err := n.update(ref, presence.Status{Invisible: hidden, Text: presence.Value{Kind: presence.KindText, Text: text}}); err != nil {
		n.t.Fatalf("update: %v", err)
	}
}

// copyTo gives another node all that this one has of a session's shard, as a
// repair does.
func (n *node) copyTo(o *node, ref Ref) {
	shard := n.tr.shardIndex(ref.User)
	var list [][]byte
	n.tr.Dump(shard, func(b []byte) { list = append(list, slices.Clone(b)) })
	o.tr.Replace(n.number(), shard, list)
}

func TestWhoReadsTheLogLateShowsHidingOnce(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, _ := a.open(presence.Device{})
		wait(10 * time.Millisecond)
		d.store.late.Store(true)
		heard := d.ear.heard()
		a.turn(ref, true, "secret")
		a.turn(ref, false, "here")
		wait(10 * time.Millisecond)
		if got := d.ear.heard() - heard; got != 2 || d.looks(bob) != b.looks(bob) {
			t.Fatalf("%d changes were shown by word alone, sees %s beside %s", got, d.looks(bob), b.looks(bob))
		}
		d.store.late.Store(false)
		wait(time.Second)
		if got := d.ear.heard() - heard; got != 2 {
			t.Errorf("%d changes were shown of a hide and a show", got)
		}
	})
}

func TestAnOwnerThatReadsTheLogLateUndoesNothing(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		a.turn(ref, false, "said")
		wait(10 * time.Millisecond)
		heard := b.ear.heard()
		said := make(chan struct{})
		for _, hidden := range []bool{true, false} {
			a.store.late.Store(true)
			go func() {
				a.turn(ref, hidden, "said")
				said <- struct{}{}
			}()
			wait(10 * time.Millisecond) // the log has it, and the others read that
			want := map[bool]string{true: "[] [online]", false: "[online] [online]"}[hidden]
			if got := b.looks(bob); got != want {
				t.Fatalf("hidden %v: another node sees %s, want %s", hidden, got, want)
			}
			a.copyTo(b, ref)
			if got := b.looks(bob); got != want {
				t.Errorf("hidden %v: the owner, which is behind, made it %s", hidden, got)
			}
			a.store.late.Store(false)
			<-said
			wait(10 * time.Millisecond)
		}
		if got := b.ear.heard() - heard; got != 2 {
			t.Errorf("%d changes were shown of a hide and a show", got)
		}
	})
}

func TestWhatWasSaidHiddenIsNotShown(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		a.turn(ref, true, "secret")
		wait(10 * time.Millisecond)
		c.lossy(true) // the log alone tells
		a.turn(ref, false, "here")
		wait(10 * time.Millisecond)
		p := b.tr.Presence(bob)
		if got := p.Sessions[0].Status.Text.Text; got != "here" || !p.Sessions[0].Shown.Open() {
			t.Errorf("another node shows %q, open %v", got, p.Sessions[0].Shown.Open())
		}
		c.lossy(false)
	})
}

func TestAFreshNodeShowsNothingAnew(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{Platform: "ios"})
		over, _ := a.open(presence.Device{Platform: "web"})
		wait(time.Second)
		a.turn(ref, true, "away")
		wait(time.Second)
		a.turn(ref, false, "here")
		if _, err := a.tr.Close(context.Background(), over, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		heard := b.ear.heard()
		fresh := c.start(3)
		a.copyTo(fresh, ref)
		a.copyTo(fresh, ref)
		opened := 0
		for _, v := range fresh.tr.Presence(bob).Sessions {
			if v.Shown.Closed != 0 {
				t.Errorf("a fresh node shows the end of a session that it never showed: %+v", v.Shown)
			}
			if opened++; v.Shown.Opened > 1 {
				t.Errorf("the session opens anew at version %d", v.Shown.Opened)
			}
		}
		if opened != 1 {
			t.Errorf("a fresh node shows %d sessions, want 1", opened)
		}
		if _, err := fresh.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		fresh.turn(ref, false, "moved")
		wait(time.Second)
		for _, v := range b.tr.Presence(bob).Sessions {
			if v.Shown.Open() && v.Shown.Opened >= v.Shown.Changed {
				t.Errorf("where it was open all the time it opens anew: %+v", v.Shown)
			}
		}
		if got := b.ear.heard() - heard; got != 1 {
			t.Errorf("%d changes were shown, want one new status", got)
		}
	})
}

// TestAFreshNodeShowsNoEndOfWhatIsHidden: watchers who come to it were shown the
// end where they were.
func TestAFreshNodeShowsNoEndOfWhatIsHidden(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a := c.all[0]
		ref, _ := a.open(presence.Device{})
		wait(time.Second)
		a.turn(ref, true, "away")
		wait(2 * time.Second)
		fresh := c.start(3)
		a.copyTo(fresh, ref)
		a.copyTo(fresh, ref)
		if v := fresh.tr.Presence(bob).Sessions[0]; v.Shown.Opened != 0 || v.Shown.Closed > 1 {
			t.Errorf("a fresh node shows the end of what it never showed: %+v", v.Shown)
		}
		heard := fresh.ear.heard()
		a.turn(ref, false, "here")
		wait(time.Second)
		if got := fresh.ear.heard() - heard; got != 1 || fresh.looks(bob) != "[online] [online]" {
			t.Errorf("then it is shown: %d changes, sees %s", got, fresh.looks(bob))
		}
	})
}

// TestAnEndIsToldOnce: also when it comes again as that of a session that opened
// anew in between, of which nothing was heard.
func TestAnEndIsToldOnce(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		wait(time.Second)
		if _, err := a.tr.Close(context.Background(), ref, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		wait(10 * time.Millisecond)
		view := *b.tr.Presence(bob).Sessions[0]
		sh := b.tr.shard(bob)
		sh.mu.Lock()
		m := sh.known(bob).session(ref.Session).told()
		m.epoch.Counter++
		m.truth.Since++
		m.shown.Since++
		after := b.tr.merge(sh, &m)
		sh.mu.Unlock()
		after()
		if again := b.tr.Presence(bob).Sessions[0]; again.Shown.Closed != view.Shown.Closed || again.True.Closed != view.True.Closed {
			t.Errorf("its end is told again: %+v, it was %+v", again.Shown, view.Shown)
		}
	})
}

func TestAHiddenSessionComesBackHidden(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{Platform: "ios"})
		other, _ := a.open(presence.Device{Platform: "web"})
		for _, r := range []Ref{ref, other} {
			a.turn(r, true, "secret")
		}
		wait(time.Second)
		c.kill(a)
		wait(15 * time.Second)
		if got := b.looks(bob); got != "[] []" {
			t.Fatalf("after the grace: %s", got)
		}
		fresh := c.start(3)
		for n, r := range map[*node]Ref{b: ref, fresh: other} {
			if _, err := n.back(r); err != nil {
				t.Fatalf("Connect at node %d: %v", n.name, err)
			}
		}
		wait(time.Second)
		for _, n := range c.running() {
			if got := n.looks(bob); got != "[] [online online]" {
				t.Errorf("node %d sees %s", n.name, got)
			}
		}
		if p := b.tr.Presence(bob); p.LastSeenShown > p.Sessions[0].True.Since {
			t.Errorf("others know that he was here at %v", p.LastSeenShown.Time())
		}
	})
}

// TestWhatTheLogHasOpenComesBackAsItWas: its end was judged here, and the log did
// not have it yet.
func TestWhatTheLogHasOpenComesBackAsItWas(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		ref, _ := a.open(presence.Device{})
		a.turn(ref, false, "here")
		wait(time.Second)
		c.kill(a)
		wait(8900 * time.Millisecond)
		b.store.cut.Store(true) // what it claims waits
		d.store.cut.Store(true)
		wait(time.Second)
		heard := d.ear.heard()
		if got := b.looks(bob) + d.looks(bob); got != "[] [][] []" {
			t.Fatalf("after the grace: %s", got)
		}
		done := make(chan error, 1)
		go func() {
			_, err := b.back(ref)
			done <- err
		}()
		wait(time.Second)
		b.store.cut.Store(false)
		if err := <-done; err != nil {
			t.Fatalf("Connect: %v", err)
		}
		d.store.cut.Store(false)
		wait(2 * time.Second)
		for _, n := range []*node{b, d} {
			p := n.tr.Presence(bob)
			if v := p.Sessions[0]; !v.Shown.Open() || v.Status == nil || v.Status.Text.Text != "here" {
				t.Errorf("node %d: %+v", n.name, v)
			}
		}
		if got := d.ear.heard() - heard; got != 1 {
			t.Errorf("a third node was shown %d changes of its return", got)
		}
		if since := b.tr.Presence(bob).Sessions[0].True.Since; since != d.tr.Presence(bob).Sessions[0].True.Since {
			t.Error("the nodes differ in since when it is open")
		}
	})
}

// lossy lets all messages between nodes be lost, or none.
func (c *nodes) lossy(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lose = nil; on {
		c.lose = func() bool { return true }
	}
}

func TestACopyEndsNothingThatTheLogHasYetToTellOf(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b, d := c.all[0], c.all[1], c.all[2]
		d.store.late.Store(true)
		ref, _ := a.open(presence.Device{})
		wait(10 * time.Millisecond)
		heard := d.ear.heard()
		c.lossy(true)
		if _, err := b.back(ref); err != nil {
			t.Fatal(err)
		}
		a.copyTo(d, ref) // where it was it is no more
		if got := d.looks(bob); got != "[online] [online]" {
			t.Errorf("a node that reads the log late sees %s", got)
		}
		c.lossy(false)
		d.store.late.Store(false)
		wait(2 * time.Second)
		if owner, _ := d.tr.OwnerOf(ref); owner != b.number() || d.ear.heard() != heard {
			t.Errorf("then: owner %d, %d changes were shown", owner, d.ear.heard()-heard)
		}
	})
}

func TestAWordFromBeforeItsEndOpensNothing(t *testing.T) {
	inNodes(t, 3, nil, func(t *testing.T, c *nodes) {
		a, b := c.all[0], c.all[1]
		ref, _ := a.open(presence.Device{})
		wait(time.Second)
		var words [][]byte
		shard := a.tr.shardIndex(bob)
		a.tr.Dump(shard, func(w []byte) { words = append(words, slices.Clone(w)) })
		if _, err := a.tr.Close(context.Background(), ref, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		fresh := c.start(3)
		for _, n := range []*node{b, fresh} {
			n.tr.Apply(a.number(), shard, words)
			if got := n.looks(bob); got != "[] []" {
				t.Errorf("node %d sees %s", n.name, got)
			}
		}
	})
}

// A node that never showed a hidden session takes it over. What it says of it has no
// end that others saw; who was shown the session here is told of one all the same, also
// who is away just now.
func TestWhatHidEndedForThoseWhoSawIt(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint("told ", told), func(t *testing.T) {
			inNodes(t, 2, nil, func(t *testing.T, c *nodes) {
				a, b := c.all[0], c.all[1]
				ref, _ := a.open(presence.Device{})
				wait(10 * time.Millisecond)
				want := 1
				if told {
					a.turn(ref, true, "secret")
					wait(10 * time.Millisecond)
					want = 0
				}
				heard := b.ear.heard()
				sh := b.tr.shard(ref.User)
				sh.mu.Lock()
				m := sh.known(ref.User).session(ref.Session).told()
				m.epoch, m.revision, m.status, m.shown = m.epoch.Next(99), 1, turnedStatus(m.status, true), presence.Face{}
				after := b.tr.merge(sh, &m)
				sh.mu.Unlock()
				after()
				f := b.tr.Presence(ref.User).Sessions[0].Shown
				if f.Opened == 0 || f.Closed == 0 || f.Reason != presence.ReasonHidden || f.ClosedAt == 0 {
					t.Errorf("others see %+v", f)
				}
				if got := b.ear.heard() - heard; got != want {
					t.Errorf("%d changes were shown, want %d", got, want)
				}
			})
		})
	}
}
