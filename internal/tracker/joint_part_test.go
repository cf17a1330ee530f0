package tracker

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Its device goes over to a node that its own one does not hear, nor reads of in the
// log: its own one does not end it, and neither does anybody see it come again.
func TestWhoMayBeAtAnUnheardNodeDoesNotEnd(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		seen := onlook(a, b, c)
		ref, w := c.person("cleo")
		seen.mind(ref, c.tr.Sessions(ref.User)[0].Public)
		wait(2 * time.Second)
		j.net.CutBoth("b", "c")
		c.store.late.Store(true)
		wait(200 * time.Millisecond)
		c.tr.LinkLost(ref, w)
		w = j.until(b, ref)
		wait(9 * time.Second)
		for _, m := range j.all {
			if open, _ := m.shows("cleo"); !open {
				t.Errorf("%s does not show her, who is at b", m.name)
			}
		}
		if _, err := b.tr.Close(t.Context(), ref, presence.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		j.heal()
		c.store.late.Store(false)
		wait(5 * time.Second)
		seen.want(t, ref, 1, 1)
	})
}

// Who is really gone ends all the same while a node is not heard, a little later.
func TestWhoIsGoneEndsAlthoughANodeIsUnheard(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		seen := onlook(a, b, c)
		ref, w := c.person("cleo")
		seen.mind(ref, c.tr.Sessions(ref.User)[0].Public)
		wait(2 * time.Second)
		j.net.CutBoth("b", "c")
		wait(2 * time.Second)
		c.tr.LinkLost(ref, w)
		wait(6*time.Second + holdLimit - 2*sweepEvery)
		if open, _ := c.shows("cleo"); !open {
			t.Error("it ended before anybody at b had the time to take it over")
		}
		wait(time.Second)
		seen.want(t, ref, 1, 1)
	})
}

// One that lost its link and stays subscribes all the same.
func TestWhoLostHerLinkSubscribes(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, w := c.person("cleo")
		wait(2 * time.Second)
		j.net.CutBoth("b", "c")
		wait(2 * time.Second)
		c.tr.LinkLost(ref, w)
		if _, err := c.tr.Check(t.Context(), ref); err != nil {
			t.Errorf("with a node that is not heard: %v", err)
		}
	})
}

// Who takes a session over has been told what it watches: a subscription waits then.
func TestASubscriptionWaitsForATaker(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, _ := c.person("cleo")
		wait(2 * time.Second)
		release := j.mem.Hold()
		came := make(chan error, 1)
		go func() {
			_, err := b.connect(ref, nil)
			came <- err
		}()
		wait(time.Second)
		began := time.Now()
		time.AfterFunc(2*time.Second, release)
		_, err := c.tr.Check(t.Context(), ref)
		wantKind(t, "at the former node", err, fault.NodeUnavailable)
		if took := time.Since(began); took < 2*time.Second {
			t.Errorf("it was answered after %v, before the log", took)
		}
		if err := <-came; err != nil {
			t.Errorf("Connect: %v", err)
		}
	})
}

// The goodbye reaches the node where it was, and which does not know that it went on:
// it is gone when that is answered, and was not seen again.
func TestAGoodbyeAtTheFormerNodeCounts(t *testing.T) {
	for _, also := range []string{"", "its former node dies then"} {
		t.Run(also, func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				seen := onlook(a, b, c)
				ref, w := c.person("cleo")
				seen.mind(ref, c.tr.Sessions(ref.User)[0].Public)
				wait(2 * time.Second)
				j.net.CutBoth("b", "c")
				c.store.late.Store(true)
				wait(200 * time.Millisecond)
				c.tr.LinkLost(ref, w)
				w = j.until(b, ref)
				said := make(chan error, 1)
				go func() {
					_, err := c.tr.Close(t.Context(), ref, presence.ReasonLeft)
					said <- err
				}()
				wait(3 * time.Second)
				if also != "" {
					c.kill()
					wait(time.Second)
				} else {
					j.heal()
					c.store.late.Store(false)
					wait(100 * time.Millisecond)
					if err := <-said; err != nil {
						t.Fatalf("Close: %v", err)
					}
				}
				for _, m := range j.all {
					if f := m.tr.foldOf(ref); len(f) != 1 || f[0].Phase != presence.FoldClosed || f[0].Reason != presence.ReasonLeft || m.phase(ref).Open() {
						t.Errorf("%s: the log has %+v", m.name, f)
					}
				}
				if ends := w.ended(); len(ends) != 1 || ends[0].Cause != CauseClosed {
					t.Errorf("its link was told %+v", ends)
				}
				wait(15 * time.Second)
				seen.want(t, ref, 1, 1)
			})
		})
	}
}

// until connects a session at a node as soon as that lets it.
func (j *joint) until(m *member, ref Ref) *wire {
	j.t.Helper()
	for range 50 {
		if w, err := m.connect(ref, nil); err == nil {
			return w
		}
		wait(100 * time.Millisecond)
	}
	j.t.Fatalf("%s does not take the session over", m.name)
	return nil
}

// A node takes a session up again that the others took for lost, and meanwhile its
// link ends and it reads their end of it: what it claimed is stored after that, and is
// open nowhere then.
func TestWhatEndsWhileItIsTakenUpAgainStaysEnded(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		ref, w := c.person("cleo")
		wait(time.Second)
		c.store.slow.Store(true)
		sh := c.tr.shard(ref.User)
		sh.mu.Lock()
		if after := c.tr.retake(sh.known(ref.User).session(ref.Session)); after != nil {
			t.Error("it needs no claim")
		}
		sh.mu.Unlock()
		c.tr.LinkLost(ref, w)
		sh = a.tr.shard(ref.User)
		sh.mu.Lock()
		_, after := a.tr.endForeign(sh, sh.known(ref.User).session(ref.Session), presence.ReasonNodeLost, a.tr.now())
		sh.mu.Unlock()
		after()
		wait(time.Second)
		if open, _ := c.shows("cleo"); open {
			t.Error("it did not end where it was")
		}
		c.store.slow.Store(false)
		wait(time.Second)
		j.agree(map[presence.UserID]bool{"cleo": false})
		for _, m := range j.all {
			if f := m.tr.foldOf(ref); len(f) != 1 || f[0].Phase != presence.FoldClosed {
				t.Errorf("%s: the log has %+v", m.name, f)
			}
		}
	})
}

// She hides, and her device goes over to a node that does not hear her own one and has
// not read of it: nobody sees her for that.
func TestWhoGoesOverHiddenStaysHidden(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		seen := onlook(a, b, c)
		ref, w := c.person("cleo")
		seen.mind(ref, c.tr.Sessions(ref.User)[0].Public)
		wait(2 * time.Second)
		j.net.CutBoth("b", "c")
		b.store.late.Store(true)
		wait(200 * time.Millisecond)
		if _, err := c.update(ref, presence.Status{Invisible: true}); err != nil {
			t.Fatal(err)
		}
		c.tr.LinkLost(ref, w)
		time.AfterFunc(2*time.Second, func() { b.store.late.Store(false) })
		j.until(b, ref)
		wait(time.Second)
		for _, m := range j.all {
			for _, s := range m.tr.Sessions(ref.User) {
				if s.Status == nil || !s.Status.Invisible || s.Shown.Open() {
					t.Errorf("%s shows her: %+v", m.name, s)
				}
			}
			if f := m.tr.foldOf(ref); len(f) != 1 || !f[0].Hidden {
				t.Errorf("%s: the log has %+v", m.name, f)
			}
		}
	})
}

// An opening that was given up closes in the log with a last seen that is not for
// others: no node tells it to them, though they saw the session.
func TestAVeiledEndTellsNoLastSeen(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		hidden, _ := c.person("cleo")
		ref, _ := c.person("cleo")
		wait(2 * time.Second)
		if _, err := c.update(hidden, presence.Status{Invisible: true}); err != nil {
			t.Fatal(err)
		}
		wait(3 * time.Second)
		if _, err := c.tr.Close(t.Context(), hidden, presence.ReasonLeft); err != nil {
			t.Fatal(err)
		}
		sh := c.tr.shard(ref.User)
		sh.mu.Lock()
		rec := sh.known(ref.User).session(ref.Session).record(presence.RecordClosed, presence.ReasonLinkLost, c.tr.now())
		sh.mu.Unlock()
		rec.Invisible, rec.LastSeen = true, c.tr.Presence(ref.User).LastSeen
		c.kill() // else its own word says the same
		if _, err := j.mem.Append(t.Context(), "one", []presence.Record{rec}); err != nil {
			t.Fatal(err)
		}
		wait(time.Second)
		for _, m := range []*member{a, b} {
			p := m.tr.Presence(ref.User)
			if folded, _ := m.folded(ref.User); p.LastSeenShown != folded.LastSeenShown || p.LastSeen == p.LastSeenShown {
				t.Errorf("%s tells others last seen %v, the log %v; she was there until %v", m.name, p.LastSeenShown, folded.LastSeenShown, p.LastSeen)
			}
		}
	})
}

// She hides while the take-over is on its way through the log.
func TestWhoHidesWhileSheGoesOverStaysHidden(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		seen := onlook(a, b, c)
		ref, w := c.person("cleo")
		seen.mind(ref, c.tr.Sessions(ref.User)[0].Public)
		wait(2 * time.Second)
		j.net.CutBoth("b", "c")
		b.store.slow.Store(true)
		time.AfterFunc(8*time.Second, func() { b.store.slow.Store(false) })
		time.AfterFunc(7*time.Second, func() {
			if _, err := c.update(ref, presence.Status{Invisible: true}); err != nil {
				t.Error(err)
			}
		})
		wait(4 * time.Second) // b calls c silent
		c.tr.LinkLost(ref, w)
		if _, err := b.connect(ref, nil); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		for i, m := range []*member{a, b, c} {
			for _, s := range m.tr.Sessions(ref.User) {
				if s.Status == nil || !s.Status.Invisible || s.Shown.Open() {
					t.Errorf("%s shows her: %+v", m.name, s)
				}
			}
			if f := m.tr.foldOf(ref); len(f) != 1 || !f[0].Hidden || f[0].Epoch.Incarnation != b.c.Self() {
				t.Errorf("%s: the log has %+v", m.name, f)
			}
			if s := seen[i].of[ref.Session]; s.shown > 0 {
				t.Errorf("a watcher at %s saw her again:%s", m.name, s.story)
			}
		}
	})
}
