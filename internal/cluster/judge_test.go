package cluster_test

import (
	"testing"
	"time"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

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
			inWorld(t, "a b c", func(t *testing.T, w *world) {
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

// The election of a leader takes 4 to 9 s. Who is heard by a majority is not cut
// off meanwhile.
func TestAnElectionIsolatesNobody(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
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

// ending is how a node's end may come about, and since when it counts as lost then.
type ending struct {
	name          string
	before, after func(w *world) // of the end of c
	min, max      time.Duration  // of since, after that end
}

var endings = []ending{
	{"at once", nil, nil, 2500 * time.Millisecond, 3800 * time.Millisecond},
	{"an election", nil, func(w *world) {
		w.quorum.SetDown(true)
		wait(8500 * time.Millisecond)
		w.quorum.Heal()
	}, 2500 * time.Millisecond, 3800 * time.Millisecond},
	{"no quorum", nil, func(w *world) {
		w.quorum.SetDown(true)
		wait(15 * time.Second)
		w.quorum.Heal()
	}, 15 * time.Second, 17 * time.Second},
	{"others heard it", func(w *world) {
		w.net.Cut("c", "a")
		wait(30 * time.Second)
	}, nil, 2500 * time.Millisecond, 3800 * time.Millisecond},
	{"cut off itself", func(w *world) {
		w.alone("a")
		w.quorum.Cut("a", true)
	}, func(w *world) {
		wait(5 * time.Second)
		w.net.Heal()
		w.quorum.Heal()
	}, 6 * time.Second, 7500 * time.Millisecond},
	{"it stood still", nil, func(w *world) {
		w.quorum.SetDown(true)
		wait(4 * time.Second)
		w.net.Pause("a")
		wait(3 * time.Second)
		if c := w.nodes["a"].c; c.Here() || !c.Joined() {
			w.t.Errorf("it stands still, and has not noticed: here %v, joined %v", c.Here(), c.Joined())
		}
		w.net.Resume("a")
		w.quorum.Heal()
	}, 8 * time.Second, 9500 * time.Millisecond},
}

// The grace of a lost node's sessions runs since a majority is silent to it: while
// a leader is elected too, but neither while the quorum was away for longer, nor
// before the others were silent, nor while the judge took no part.
func TestSinceWhenANodeIsLost(t *testing.T) {
	t.Parallel()
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			inWorld(t, "a b c", func(t *testing.T, w *world) { e.play(t, w) })
		})
	}
}

// play ends c, and holds against e since when a counts it as lost and how long it may
// return.
func (e *ending) play(t *testing.T, w *world) {
	if e.before != nil {
		e.before(w)
	}
	w.kill("c")
	killed := time.Now()
	if e.after != nil {
		e.after(w)
	}
	a := w.nodes["a"]
	w.until("c is lost", killed.Add(time.Minute), func() bool { return a.c.Counts().Members.Lost > 0 })
	took, since := time.Since(killed), a.table.lost[0].since.Time()
	t.Logf("lost %v after its end, since %v after it", took, since.Sub(killed))
	if d := since.Sub(killed); d < e.min || d > e.max {
		t.Errorf("lost since %v after its end, want %v to %v", d, e.min, e.max)
	}
	w.until("c is gone", killed.Add(time.Minute), func() bool { return a.standing("c") == "gone" })
	limit := max(took, since.Sub(killed)+cluster.DefaultReturn) + 500*time.Millisecond
	if d := time.Since(killed); time.Since(since) < cluster.DefaultReturn || d > limit {
		t.Errorf("gone %v after its end, want the time of return after since", d)
	}
}

// A node that stood still takes part again when it has read what waited, however
// long that takes.
func TestThawWaitsForTheBacklog(t *testing.T) {
	inWorld(t, "a b c", func(t *testing.T, w *world) {
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
	inWorld(t, "", func(t *testing.T, w *world) {
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
