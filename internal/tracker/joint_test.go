package tracker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// R8: a node that is cut off from everything says stale and shows nobody offline,
// whatever goes on elsewhere.
func TestAnIsolatedNodeShowsNobodyOffline(t *testing.T) {
	for _, d := range []time.Duration{4 * time.Second, 40 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				gone, _ := a.person("anna")
				b.person("ben")
				ref, w := c.person("cleo")
				wait(time.Second)
				c.cut()
				for began := time.Now(); time.Since(began) < d; {
					wait(100 * time.Millisecond)
					for _, id := range []presence.UserID{"anna", "ben", "cleo"} {
						open, stale := c.shows(id)
						if !open || !stale && id != "cleo" && time.Since(began) > 2*time.Second {
							t.Fatalf("%v after it was cut off: %s is online %v, stale %v", time.Since(began), id, open, stale)
						}
					}
					if _, stale := c.shows("nobody"); !stale && time.Since(began) > 2*time.Second {
						t.Fatal("a user in no table is known not to be there")
					}
					if time.Since(began) == time.Second {
						if _, err := a.tr.Close(t.Context(), gone, presence.ReasonLogout); err != nil {
							t.Fatal(err)
						}
					}
				}
				if ends := w.ended(); len(ends) != 1 || ends[0].Cause != CauseDraining {
					t.Errorf("the device at the isolated node was told %+v", ends)
				}
				c.tr.LinkLost(ref, w)
				if _, err := a.connect(ref, nil); err != nil {
					t.Fatalf("Connect of its device elsewhere: %v", err)
				}
				j.heal()
				j.agree(map[presence.UserID]bool{"anna": false, "ben": true, "cleo": true})
			})
		})
	}
}

// The same when the node whose sessions have their grace just then is really gone:
// who is cut off does not say so.
func TestWhoIsIsolatedInAGraceEndsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster that is asked 300 times takes long under the race detector")
	}
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		a.person("anna")
		wait(time.Second)
		a.kill()
		wait(5 * time.Second)
		c.cut()
		for range 300 {
			wait(100 * time.Millisecond)
			if open, stale := c.shows("anna"); !open || !stale {
				t.Fatalf("shows her online %v, stale %v", open, stale)
			}
		}
		j.heal()
		j.agree(map[presence.UserID]bool{"anna": false})
	})
}

// Only the words between the nodes are cut: the quorum and the log still answer.
// The node that the others call lost sends its devices away and does not fight.
func TestWhoIsUnheardDoesNotFight(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		a.person("anna")
		c.person("cleo")
		wait(time.Second)
		heard := a.ear.heard()
		j.net.CutBoth("a", "c")
		j.net.CutBoth("b", "c")
		for range 300 {
			wait(100 * time.Millisecond)
			if open, stale := c.shows("anna"); !open || !stale && c.c.Counts().Members.Suspected > 0 {
				t.Fatalf("c shows anna online %v, stale %v", open, stale)
			}
		}
		if got := a.ear.heard() - heard; got != 1 {
			t.Errorf("a was told %d changes, want the end of what is out of reach", got)
		}
		j.heal()
		j.agree(map[presence.UserID]bool{"anna": true, "cleo": true})
		if got := a.ear.heard() - heard; got != 2 {
			t.Errorf("a was told %d changes, want one end and one beginning", got)
		}
	})
}

// The quorum is away: nobody is lost, nothing ends, statuses go on; and when it is
// back, so is everything.
func TestWithoutAQuorumNothingEnds(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		a.person("anna")
		ref, _ := c.person("cleo")
		b.person("ben")
		wait(time.Second)
		heard := a.ear.heard()
		j.quorum.SetDown(true)
		release := j.mem.Hold()
		for i := range 60 {
			if wait(time.Second); i == 29 {
				b.kill()
				wait(2 * time.Second)
			}
			for _, m := range j.all {
				for _, id := range []presence.UserID{"anna", "cleo", "ben"} {
					if open, stale := m.shows(id); !open || stale != (i >= 29 && id == "ben") {
						t.Fatalf("after %d s %s shows %s online %v, stale %v", i, m.name, id, open, stale)
					}
				}
			}
		}
		if _, err := c.update(ref, presence.Status{Show: presence.Busy}); err != nil {
			t.Errorf("a status: %v", err)
		}
		wait(100 * time.Millisecond)
		if got := a.ear.heard() - heard; got != 1 {
			t.Errorf("%d changes were visible, want the status", got)
		}
		release()
		j.heal()
		wait(5 * time.Second)
		if open, _ := a.shows("ben"); !open {
			t.Error("the quorum is back and there was no grace: nobody could return before")
		}
		wait(5 * time.Second)
		j.agree(map[presence.UserID]bool{"anna": true, "ben": false, "cleo": true})
	})
}

// Who is heard by one of two others is not lost, in whatever direction the rest is
// cut; nothing is visible.
func TestPartialCutsShowNothing(t *testing.T) {
	for name, cut := range map[string]func(j *joint){
		"c to a":          func(j *joint) { j.net.Cut("c", "a") },
		"a to c":          func(j *joint) { j.net.Cut("a", "c") },
		"between a and c": func(j *joint) { j.net.CutBoth("a", "c") },
		"a circle":        func(j *joint) { j.net.Cut("a", "b"); j.net.Cut("b", "c"); j.net.Cut("c", "a") },
	} {
		t.Run(name, func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				a.person("anna")
				b.person("ben")
				c.person("cleo")
				wait(time.Second)
				before := [3]int{a.ear.heard(), b.ear.heard(), c.ear.heard()}
				cut(j)
				wait(20 * time.Second)
				j.heal()
				j.agree(map[presence.UserID]bool{"anna": true, "ben": true, "cleo": true})
				if after := [3]int{a.ear.heard(), b.ear.heard(), c.ear.heard()}; after != before {
					t.Errorf("changes were visible: %v, before %v", after, before)
				}
			})
		})
	}
}

// A node stands still with a device connected that stays. Within the grace nobody
// sees it, here and there (R3); after it others see it go and come once (R9).
func TestPausesOfANode(t *testing.T) {
	for d, visible := range map[time.Duration]int{2 * time.Second: 0, 6 * time.Second: 0, 30 * time.Second: 2} {
		t.Run(d.String(), func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				a.person("anna")
				ref, w := c.person("cleo")
				wait(time.Second)
				heard, own := [2]int{a.ear.heard(), b.ear.heard()}, c.ear.heard()
				began, offline := time.Now(), time.Duration(0)
				c.pause(d, func() {
					if open, _ := a.shows("cleo"); !open && offline == 0 {
						offline = time.Since(began)
					}
				})
				if offline != 0 && (offline < 8500*time.Millisecond || offline > 10*time.Second) || (offline != 0) != (visible > 0) {
					t.Errorf("offline after %v", offline)
				}
				for range 50 {
					wait(100 * time.Millisecond)
					if open, _ := c.shows("anna"); !open {
						t.Fatal("who stood still took others for dead")
					}
				}
				j.agree(map[presence.UserID]bool{"anna": true, "cleo": true})
				wait(30 * time.Second)
				j.agree(map[presence.UserID]bool{"anna": true, "cleo": true})
				for i, m := range []*member{a, b} {
					if got := m.ear.heard() - heard[i]; got != visible {
						t.Errorf("%s was told %d changes, want %d", m.name, got, visible)
					}
				}
				if ends := w.ended(); visible == 0 && len(ends) != 0 || c.ear.heard()-own > visible {
					t.Errorf("its own device was told %+v, its watchers %d changes", ends, c.ear.heard()-own)
				}
				if owner, ok := b.tr.OwnerOf(ref); !ok || owner != c.c.Self() {
					t.Errorf("the session is at %d, want at %d where it is connected", owner, c.c.Self())
				}
			})
		})
	}
}

// Under the policy single a later login elsewhere wins over a session whose node
// stood still, though its device is connected there still.
func TestALaterLoginWinsOverAPause(t *testing.T) {
	inJointOf(t, presence.Single, func(t *testing.T, j *joint, a, b, c *member) {
		old, w := c.person("cleo")
		wait(time.Second)
		began, later := time.Now(), Ref{}
		c.pause(30*time.Second, func() {
			if time.Since(began) > 15*time.Second && later == (Ref{}) {
				later, _ = a.person("cleo")
			}
		})
		wait(10 * time.Second)
		j.agree(map[presence.UserID]bool{"cleo": true})
		if ends := w.ended(); len(ends) == 0 || ends[len(ends)-1] != (End{Cause: CauseClosed, Reason: presence.ReasonReplaced}) {
			t.Errorf("the earlier device was told %+v", ends)
		}
		for _, m := range j.all {
			if got := sees(m.tr.Presence(old.User), true); len(got) != 1 || m.phase(old).Open() || !m.phase(later).Open() {
				t.Errorf("%s shows %v", m.name, got)
			}
		}
	})
}

// Which login is the later one no clock decides: that of the node which took the
// later one may be slow.
func TestALaterLoginWinsOverAFastClock(t *testing.T) {
	inJointOf(t, presence.OnePerPlatform, func(t *testing.T, _ *joint, a, _, _ *member) {
		lost, _ := a.person("cleo")
		sh := a.tr.shard(lost.User)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		u := sh.known(lost.User)
		s, f := u.session(lost.Session), u.folded.Session(lost.Session)
		if a.tr.outdone(s) {
			t.Error("it is open")
		}
		f.Phase, f.Reason, f.ClosedAt = presence.FoldClosed, presence.ReasonNodeLost, f.OpenedAt.Add(10*time.Second)
		if a.tr.outdone(s) {
			t.Error("nobody else is there")
		}
		later := presence.FoldedSession{ID: presence.SessionID{7}, Phase: presence.FoldOpen, Device: f.Device, OpenedAt: f.ClosedAt.Add(-time.Second)}
		u.folded.Sessions = append(u.folded.Sessions, later)
		u.sessions = append(u.sessions, &session{id: later.ID, user: u, device: &later.Device, foreign: true})
		defer func() { u.sessions, u.folded.Sessions = u.sessions[:1], u.folded.Sessions[:1] }()
		if !a.tr.outdone(s) {
			t.Error("a later login by a slow clock does not win")
		}
		u.folded.Session(later.ID).Device.Platform = "other"
		if a.tr.outdone(s) {
			t.Error("one on another platform wins")
		}
	})
}

// A node dies, with the leader of everything or without, and its devices come
// back in time elsewhere, too late, or never (R1, R3, R9).
func TestADeadNodesDevices(t *testing.T) {
	for _, election := range []time.Duration{0, 8500 * time.Millisecond} {
		t.Run(fmt.Sprint("election ", election), func(t *testing.T) {
			inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
				never, _ := c.person("nina")
				early, _ := c.person("emil")
				late, _ := c.person("leo")
				wait(2 * time.Second)
				heard := a.ear.heard()
				began := time.Now()
				c.kill()
				if election > 0 {
					j.quorum.SetDown(true)
					release := j.mem.Hold()
					time.AfterFunc(election, func() { j.quorum.Heal(); release() })
				}
				wait(500 * time.Millisecond)
				done := make(chan error, 1)
				go func() { _, err := b.connect(early, nil); done <- err }()
				gone := map[*member]time.Duration{}
				for time.Since(began) < 14*time.Second {
					wait(50 * time.Millisecond)
					for _, m := range []*member{a, b} {
						if open, _ := m.shows("nina"); !open && gone[m] == 0 {
							gone[m] = time.Since(began)
						}
						if open, _ := m.shows("emil"); !open {
							t.Fatalf("%s shows who comes back in time offline", m.name)
						}
					}
				}
				if err := <-done; err != nil {
					t.Errorf("Connect within the grace: %v", err)
				}
				for _, m := range []*member{a, b} {
					// The quorum of the test is asked again up to 1.5 s after the election.
					limit := max(10*time.Second, election+1700*time.Millisecond)
					if gone[m] < 8500*time.Millisecond || gone[m] > limit {
						t.Errorf("%s showed a ghost until %v, want 8.5 s to %v", m.name, gone[m], limit)
					}
				}
				if _, err := b.connect(late, nil); err != nil {
					t.Errorf("Connect after the grace: %v", err)
				}
				j.agree(map[presence.UserID]bool{"nina": false, "emil": true, "leo": true})
				wait(30 * time.Second)
				if got := a.ear.heard() - heard; got != 3 {
					t.Errorf("a was told %d changes, want one end, and one end and beginning", got)
				}
				f, _ := a.folded(never.User)
				if s := f.Session(never.Session); s.Phase != presence.FoldClosed {
					t.Errorf("the log has %+v", s)
				}
			})
		})
	}
}

// What ended for want of its device opens anew as it was, at whatever node, and
// though its own is gone.
func TestWhatOpensAnewElsewhereIsAsItWas(t *testing.T) {
	inJoint(t, func(t *testing.T, j *joint, a, b, c *member) {
		first, w := c.person("cleo")
		second, _ := c.person("cora")
		wait(2 * time.Second)
		for _, ref := range []Ref{first, second} {
			if _, err := c.update(ref, presence.Status{Show: presence.Busy}); err != nil {
				t.Fatal(err)
			}
		}
		c.tr.LinkLost(first, w)
		wait(7 * time.Second)
		if _, err := a.connect(first, nil); err != nil {
			t.Fatal(err)
		}
		wait(2 * time.Second)
		c.kill()
		wait(11 * time.Second)
		j.agree(map[presence.UserID]bool{"cleo": true, "cora": false})
		if _, err := a.connect(second, nil); err != nil {
			t.Fatal(err)
		}
		wait(100 * time.Millisecond)
		for _, id := range []presence.UserID{"cleo", "cora"} {
			if got := sees(b.tr.Presence(presence.User{App: app, ID: id}), false); !slices.Equal(got, []string{"busy"}) {
				t.Errorf("b shows %s %v", id, got)
			}
		}
	})
}
