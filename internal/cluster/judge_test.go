package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// calm starts nodes, lets them load, and forgets what they heard.
func (w *world) calm(names ...string) {
	w.t.Helper()
	w.start(names...)
	for i, name := range names {
		for k := range 50 {
			w.nodes[name].table.change(uint64(i*1000+k), false)
		}
	}
	wait(time.Second)
	for _, n := range w.nodes {
		n.table.seen()
	}
}

// alone cuts a node off from all the others.
func (w *world) alone(name string) {
	for _, o := range w.names() {
		if o != name {
			w.net.CutBoth(name, o)
		}
	}
}

// agree wants all to agree within five seconds.
func (w *world) agree(t *testing.T) {
	t.Helper()
	began := time.Now()
	for w.differ() != "" {
		if wait(50 * time.Millisecond); time.Since(began) > 5*time.Second {
			t.Error(w.differ())
			break
		}
	}
	w.check()
}

func TestPauses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pause   time.Duration
		others  []string // what another node hears of it
		self    []string // what it hears itself
		renewed bool     // it takes another incarnation
	}{
		{700 * time.Millisecond, nil, nil, false},
		{2 * time.Second, []string{"silent 3", "returned 3", "caught 3"}, []string{"frozen", "joined 3"}, false},
		{6 * time.Second, []string{"silent 3", "lost 3", "returned 3", "caught 3"}, []string{"frozen", "joined 3"}, false},
		{30 * time.Second, []string{"silent 3", "lost 3"}, []string{"frozen", "isolated", "joined 4"}, true},
		{5 * time.Minute, []string{"silent 3", "lost 3"}, []string{"frozen", "isolated", "joined 4"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.pause.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.end()
				w.calm("a", "b", "c")
				w.net.Pause("c")
				for range 100 {
					wait(tt.pause / 100)
					w.nodes["a"].table.change(uint64(time.Now().UnixNano()%5000), false)
				}
				w.net.Resume("c")
				w.agree(t)
				wait(time.Second)
				w.nodes["a"].is(t, "while c stood still", tt.others...)
				if tt.renewed && w.nodes["c"].table.events[0] == "isolated" {
					tt.self = tt.self[1:] // it read the verdict before it knew that it had stood still
				}
				w.nodes["c"].is(t, "after it stood still", tt.self...)
				if got := w.nodes["c"].c.Self() != w.nodes["c"].first; got != tt.renewed {
					t.Errorf("another incarnation: %v, want %v", got, tt.renewed)
				}
				if g := w.nodes["c"].c.Counts().Received; g.Gaps != 0 {
					t.Errorf("what waited was not read: %+v", g)
				}
			})
		})
	}
}

func TestNobodyIsLostWithoutQuorum(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.quorum.SetDown(true)
		wait(4 * time.Second)
		w.kill("c")
		wait(30 * time.Second)
		w.nodes["a"].is(t, "without a quorum", "silent 3")
		if w.nodes["a"].c.Quorum() {
			t.Error("says that there is a quorum")
		}
		w.quorum.Heal()
		wait(3 * time.Second)
		w.nodes["a"].is(t, "with it again", "lost 3")
		if s := w.nodes["a"].standing("c"); s != "lost" {
			t.Errorf("c is %s: nobody could return while there was no quorum", s)
		}
		wait(6 * time.Second)
		if s := w.nodes["a"].standing("c"); s != "gone" {
			t.Errorf("c is %s: the time to return is over", s)
		}
	})
}

// The election of a leader takes 4 to 9 s. Who is heard by a majority is not cut
// off meanwhile.
func TestAnElectionIsolatesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.kill("c")
		w.quorum.SetDown(true)
		wait(9 * time.Second)
		w.quorum.Heal()
		wait(3 * time.Second)
		for _, name := range []string{"a", "b"} {
			w.nodes[name].is(t, "over an election", "silent 3", "lost 3")
		}
	})
}

// The grace of a lost node's sessions runs since a majority is silent to it: while
// a leader is elected too, but neither while the quorum was away for longer, nor
// before the others were silent, nor while the judge took no part.
func TestSinceWhenANodeIsLost(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	tests := []struct {
		name          string
		before, after func(w *world) // of the end of c
		min, max      time.Duration  // of since, after that end
	}{
		{"at once", nil, nil, 2500 * ms, 3800 * ms},
		{"an election", nil, func(w *world) {
			w.quorum.SetDown(true)
			wait(8500 * ms)
			w.quorum.Heal()
		}, 2500 * ms, 3800 * ms},
		{"no quorum", nil, func(w *world) {
			w.quorum.SetDown(true)
			wait(15 * time.Second)
			w.quorum.Heal()
		}, 15 * time.Second, 17 * time.Second},
		{"others heard it", func(w *world) {
			w.net.Cut("c", "a")
			wait(30 * time.Second)
		}, nil, 2500 * ms, 3800 * ms},
		{"cut off itself", func(w *world) {
			w.alone("a")
			w.quorum.Cut("a", true)
		}, func(w *world) {
			wait(5 * time.Second)
			w.net.Heal()
			w.quorum.Heal()
		}, 6 * time.Second, 7500 * ms},
		{"it stood still", nil, func(w *world) {
			w.quorum.SetDown(true)
			wait(4 * time.Second)
			w.net.Pause("a")
			wait(3 * time.Second)
			w.net.Resume("a")
			w.quorum.Heal()
		}, 8 * time.Second, 9500 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.end()
				w.calm("a", "b", "c")
				if tt.before != nil {
					tt.before(w)
				}
				w.kill("c")
				killed := time.Now()
				if tt.after != nil {
					tt.after(w)
				}
				a := w.nodes["a"]
				for a.c.Counts().Members.Lost == 0 {
					if wait(10 * ms); time.Since(killed) > time.Minute {
						t.Fatal("not lost")
					}
				}
				took, since := time.Since(killed), a.table.lost[0].since.Time()
				t.Logf("lost %v after its end, since %v after it", took, since.Sub(killed))
				if d := since.Sub(killed); d < tt.min || d > tt.max {
					t.Errorf("lost since %v after its end, want %v to %v", d, tt.min, tt.max)
				}
				for a.standing("c") != "gone" {
					if wait(10 * ms); time.Since(killed) > time.Minute {
						t.Fatal("not gone")
					}
				}
				limit := max(took, since.Sub(killed)+cluster.DefaultReturn) + 500*ms
				if d := time.Since(killed); time.Since(since) < cluster.DefaultReturn || d > limit {
					t.Errorf("gone %v after its end, want the time of return after since", d)
				}
			})
		})
	}
}

// The record of the quorum votes as it is now: a reading from before it was renewed
// does not count.
func TestOldReadingsDoNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		var dark atomic.Bool
		a := w.make("a", func(cfg *cluster.Config) { cfg.Liveness = blind{cfg.Liveness, &dark} })
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.calm("b", "c", "d")
		w.net.Cut("d", "a")
		w.quorum.Cut("d", true)
		wait(6 * time.Second) // a is silent to d, and so is the record
		dark.Store(true)
		w.quorum.Cut("d", false)
		wait(3 * time.Second)
		w.net.Cut("d", "b") // two of four now: the record decides, and d renews it
		wait(10 * time.Second)
		if got := a.table.seen(); slices.Contains(got, "lost 4") {
			t.Errorf("a heard %v: c hears d, and the quorum has it renewed", got)
		}
	})
}

func TestPartialCuts(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(w *world){
		"one way":  func(w *world) { w.net.Cut("c", "a") },
		"two ways": func(w *world) { w.net.CutBoth("c", "a") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.end()
				w.calm("a", "b", "c")
				cut(w)
				for i := range 60 {
					w.nodes["c"].table.change(uint64(i), false)
					wait(time.Second)
				}
				w.nodes["a"].is(t, "cut off from c", "silent 3")
				w.nodes["b"].is(t, "cut off from nobody")
				if s := w.nodes["c"].table.seen(); slices.Contains(s, "isolated") {
					t.Errorf("c heard %v: b hears it", s)
				}
				w.net.Heal()
				w.agree(t)
				w.nodes["a"].is(t, "healed", "returned 3")
			})
		})
	}
}

func TestCutOffNode(t *testing.T) {
	t.Parallel()
	for _, quorum := range []bool{true, false} {
		for _, d := range []time.Duration{4 * time.Second, 20 * time.Second} {
			t.Run(fmt.Sprint(d, " quorum ", quorum), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newWorld(t, 1)
					defer w.end()
					w.calm("a", "b", "c")
					w.alone("c")
					w.quorum.Cut("c", !quorum)
					began := time.Now()
					for c := w.nodes["c"]; c.c.Joined() && time.Since(began) < time.Minute; {
						wait(10 * time.Millisecond)
					}
					if took := time.Since(began); took > 2700*time.Millisecond {
						t.Errorf("isolated after %v: others call it lost by then", took)
					}
					wait(d - time.Since(began))
					w.nodes["c"].is(t, "cut off", "silent 1", "silent 2", "isolated")
					w.net.Heal()
					w.quorum.Heal()
					w.agree(t)
					back := w.nodes["c"].table.seen()
					want := "joined 3"
					if d > 9*time.Second {
						want = "joined 4"
					}
					if !slices.Contains(back, want) {
						t.Errorf("healed: c heard %v, want %s", back, want)
					}
					if a := w.nodes["a"].table.seen(); slices.Contains(a, "returned 3") != (d < 9*time.Second) {
						t.Errorf("healed: a heard %v", a)
					}
				})
			})
		}
	}
}

// Of the two others one cannot be heard and the other does not hear: both may call
// this node lost.
func TestUnheardInTwoWaysIsIsolated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.net.CutBoth("c", "a")
		w.net.Cut("c", "b")
		wait(2900 * time.Millisecond)
		w.nodes["c"].is(t, "unheard", "silent 1", "isolated")
		wait(20 * time.Second)
		w.net.Heal()
		w.agree(t)
	})
}

// Who is left of three when the others die serves on, as the quorum stands behind
// it and nobody lives who could call it lost.
func TestTheLastNodeStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.kill("b")
		w.kill("c")
		wait(30 * time.Second)
		w.nodes["a"].is(t, "alone", "silent 2", "silent 3")
	})
}

// Of five, two that the quorum acknowledges are cut off all the same: the three
// others may call them lost.
func TestASmallerSideIsIsolated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c", "d", "e")
		for _, x := range []string{"a", "b"} {
			for _, y := range []string{"c", "d", "e"} {
				w.net.CutBoth(x, y)
			}
		}
		wait(2700 * time.Millisecond)
		for name, n := range w.nodes {
			if small := name < "c"; n.c.Joined() == small {
				t.Errorf("%s takes part: %v", name, !small)
			}
		}
		wait(20 * time.Second)
		w.net.Heal()
		w.agree(t)
	})
}

// Who can send to nobody learns it from the others, though the quorum still
// acknowledges it.
func TestUnheardNodeIsIsolated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.net.Cut("c", "a")
		w.net.Cut("c", "b")
		wait(2500 * time.Millisecond)
		w.nodes["c"].is(t, "unheard", "isolated")
		wait(3 * time.Second)
		w.net.Heal()
		w.agree(t)
		w.nodes["c"].is(t, "heard again", "joined 3")
	})
}

// With two nodes the quorum's own record is the third vote.
func TestTwoNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b")
		w.net.CutBoth("a", "b")
		wait(time.Minute)
		w.nodes["a"].is(t, "b renews", "silent 2")
		w.nodes["b"].is(t, "a renews", "silent 1")
		w.net.Heal()
		w.agree(t)
		w.nodes["a"].table.seen()
		w.kill("b")
		began := time.Now()
		for w.nodes["a"].standing("b") != "lost" {
			if wait(10 * time.Millisecond); time.Since(began) > 5*time.Second {
				t.Fatal("not lost")
			}
		}
		t.Logf("lost after %v", time.Since(began))
		w.nodes["a"].is(t, "b is dead", "silent 2", "lost 2")
	})
}

func TestRestartUnderTheSameName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.kill("c")
		wait(200 * time.Millisecond)
		w.start("c")
		wait(10 * time.Millisecond)
		w.nodes["a"].is(t, "c started again", "lost 3")
		w.agree(t)
		if n := len(w.nodes["a"].c.Members()); n != 4 {
			t.Errorf("%d members, want the former c, too", n)
		}
		wait(2 * time.Minute)
		if n := len(w.nodes["a"].c.Members()); n != 3 {
			t.Errorf("%d members, want the former c forgotten", n)
		}
	})
}

func TestOwnersFollowMembers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c", "d")
		owned := map[uint64]int{}
		before := map[string][2]uint64{}
		for i := range 4000 {
			key := []byte(fmt.Sprint(i))
			owner, heir := w.nodes["a"].c.Owner(key), w.nodes["b"].c.Heir(key, 1)
			owned[owner]++
			before[string(key)] = [2]uint64{owner, heir}
		}
		for n, count := range owned {
			if count < 900 || count > 1100 {
				t.Errorf("%d owns %d of 4000", n, count)
			}
		}
		w.kill("d")
		wait(4 * time.Second)
		for key, was := range before {
			want := was[0]
			if want == 4 {
				want = was[1]
			}
			if got := w.nodes["c"].c.Owner([]byte(key)); got != want {
				t.Fatalf("%s went from %v to %d", key, was, got)
			}
		}
		if h := w.nodes["a"].c.Heir([]byte("x"), 3); h != 0 {
			t.Errorf("a fourth of three: %d", h)
		}
	})
}

func TestMembersSayWhatIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		var got []string
		for _, m := range w.nodes["b"].c.Members() {
			got = append(got, fmt.Sprintf("%s %d %v %s %v %v %d", m.Name, m.Incarnation, m.Standing, m.Version, m.Self, m.Loaded, m.Lag))
		}
		if want := "a 1 alive test false true 0, b 2 alive test true true 0, c 3 alive test false true 0"; strings.Join(got, ", ") != want {
			t.Errorf("got %v", got)
		}
		w.kill("c")
		wait(20 * time.Second)
		for _, m := range w.nodes["b"].c.Members() {
			if m.Name == "c" && (m.Standing.String() != "gone" || time.Since(m.Heard) < 19*time.Second) {
				t.Errorf("got %+v", m)
			}
		}
	})
}

// The judge's own liveness must be acknowledged within three seconds, though it
// was when the silence began.
func TestNoVerdictOnAnOldLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.net.Cut("c", "a") // a has not heard c for long, b has
		wait(10 * time.Second)
		w.quorum.SetDown(true)
		w.kill("c")
		wait(20 * time.Second)
		w.nodes["a"].is(t, "without a quorum", "silent 3")
	})
}

// A report that was long on its way says nothing of now.
func TestOldReportsDoNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		w.net.Cut("c", "a")
		w.net.Slow("b", "a", 6*time.Second)
		wait(10 * time.Second) // a hears b again, as it was
		w.net.Pause("c")
		wait(4 * time.Second) // b is silent to c, and says so
		w.net.Resume("c")
		wait(20 * time.Second)
		if s := w.nodes["a"].table.seen(); slices.Contains(s, "lost 3") {
			t.Errorf("a heard %v: b heard c again long ago", s)
		}
	})
}

// blind is a quorum whose records cannot be read any more.
type blind struct {
	store.Liveness
	now *atomic.Bool
}

// Members is store.Liveness's.
func (b blind) Members(ctx context.Context) ([]store.Life, error) {
	if b.now.Load() {
		return nil, errors.New("blind")
	}
	return b.Liveness.Members(ctx)
}

// A majority is one of all members, those that were never heard among them; who
// cannot read who they are convicts nobody.
func TestMajorityIsOfAll(t *testing.T) {
	t.Parallel()
	for _, sees := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", sees), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, 1)
				defer w.end()
				var dark atomic.Bool
				a := w.make("a", func(cfg *cluster.Config) { cfg.Liveness = blind{cfg.Liveness, &dark} })
				if err := a.c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.calm("b", "c")
				dark.Store(!sees)
				for _, late := range []string{"d", "e"} {
					w.net.CutBoth("a", late)
					w.net.CutBoth("b", late)
				}
				w.start("d", "e")
				w.net.CutBoth("a", "c")
				w.net.CutBoth("b", "c")
				wait(20 * time.Second)
				if got := a.table.seen(); slices.Contains(got, "lost 3") {
					t.Errorf("a heard %v: d and e hear c", got)
				}
				if got := w.nodes["b"].table.seen(); slices.Contains(got, "lost 3") {
					t.Errorf("b heard %v: d and e hear c", got)
				}
			})
		})
	}
}

// Who takes no part judges nobody: here a node whose name was taken by another
// process while it still had its lease.
func TestWhoTakesNoPartJudgesNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		first := w.nodes["a"]
		w.kill("c")
		wait(2400 * time.Millisecond)
		w.start("a")
		wait(5 * time.Second)
		first.is(t, "its name taken", "silent 3", "isolated")
		_ = first.c.Stop(t.Context())
		first.wire.Close()
	})
}

// A heartbeat that comes again, or late, is no sign of life.
func TestOldHeartbeatsAreNoLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		ghost := w.net.Wire("ghost")
		defer ghost.Close()
		var words [][]byte
		if _, err := ghost.Subscribe("hb", func(_ string, b []byte, _ func([]byte)) {
			if b[2] == 3 {
				words = append(words, b)
			}
		}); err != nil {
			t.Fatal(err)
		}
		wait(5 * time.Second)
		w.kill("c")
		for i := range 40 {
			_ = ghost.Publish("hb", words[i%len(words)])
			wait(100 * time.Millisecond)
		}
		w.nodes["a"].is(t, "of a ghost", "silent 3", "lost 3")
	})
}

// A node that stood still takes part again when it has read what waited, however
// long that takes.
func TestThawWaitsForTheBacklog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		w.calm("a", "b", "c")
		for _, from := range w.names() {
			w.net.Slow(from, "c", 3*time.Second)
		}
		wait(10 * time.Second)
		w.nodes["c"].table.seen()
		w.net.Pause("c")
		wait(2 * time.Second)
		w.net.Resume("c")
		wait(2500 * time.Millisecond)
		w.nodes["c"].is(t, "with a backlog", "frozen")
		wait(3 * time.Second)
		w.nodes["c"].is(t, "after it", "joined 3")
	})
}

// slowEars is a listener that takes its time.
type slowEars struct{ *sessions }

// Lost is cluster.Listener's.
func (s slowEars) Lost(origin cluster.Incarnation, alive, since presence.Time) {
	<-time.After(5 * time.Second)
	s.sessions.Lost(origin, alive, since)
}

func TestSlowListenerDelaysNoHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.end()
		a := w.make("a", func(cfg *cluster.Config) { cfg.Listener = slowEars{cfg.Listener.(*sessions)} })
		if err := a.c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.calm("b", "c")
		a.table.seen()
		w.kill("c")
		wait(20 * time.Second)
		w.nodes["b"].is(t, "beside it", "silent 3", "lost 3")
		if n := a.c.Counts().Members; n.Pauses != 0 || n.Suspected != 1 {
			t.Errorf("got %+v", n)
		}
		w.agree(t)
	})
}
