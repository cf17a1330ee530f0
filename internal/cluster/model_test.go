package cluster_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/cluster/clustertest"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/rapidtest"
)

// op is one step of a random history. Its numbers choose among what there is
// when its turn comes.
type op struct {
	Kind   string
	A, B   int
	D      time.Duration
	Faults clustertest.Faults
}

var opKinds = []string{
	"change", "change", "change", "tell", "wait", "wait", "wait", "cut", "cut", "cut both", "alone", "mend", "mend all", "faults", "faults",
	"pause", "resume", "kill", "stop", "start", "start", "quorum away", "quorum back", "quorum cut", "quorum slow",
}

func genOp() *rapid.Generator[op] {
	return rapid.Custom(func(t *rapid.T) op {
		longest := rapid.SampledFrom([]int64{100, 2000, 4000, 12000}).Draw(t, "longest")
		chance := rapid.SampledFrom([]float64{0, 0, 0.05, 0.4})
		return op{
			Kind: rapid.SampledFrom(opKinds).Draw(t, "kind"),
			A:    rapid.IntRange(0, 99).Draw(t, "a"), B: rapid.IntRange(0, 99).Draw(t, "b"),
			D: time.Duration(rapid.Int64Range(1, longest).Draw(t, "ms")) * time.Millisecond,
			Faults: clustertest.Faults{
				Loss: chance.Draw(t, "loss"), Double: chance.Draw(t, "double"), Reorder: rapid.Bool().Draw(t, "reorder"),
				Delay:  time.Duration(rapid.IntRange(0, 20).Draw(t, "delay")) * time.Millisecond,
				Jitter: time.Duration(rapid.IntRange(0, 150).Draw(t, "jitter")) * time.Millisecond,
			},
		}
	})
}

// TestModel plays random faults with three and with five nodes. Whenever somebody
// is lost, what was really delivered must allow it; and when the faults stop, all
// must agree within five seconds.
func TestModel(t *testing.T) {
	t.Parallel()
	playModel(t, 3, 5)
}

// TestModelOfEven does the same with an even number of nodes, where the quorum's
// record is one more vote.
func TestModelOfEven(t *testing.T) {
	t.Parallel()
	playModel(t, 2, 4)
}

func playModel(t *testing.T, counts ...int) {
	t.Helper()
	for _, n := range counts {
		t.Run(fmt.Sprint(n, " nodes"), func(t *testing.T) {
			t.Parallel()
			rapidtest.Check(t, func(rt *rapid.T) {
				ops := rapid.SliceOfN(genOp(), 5, 30).Draw(rt, "ops")
				var trouble string
				synctest.Test(t, func(t *testing.T) { trouble = play(t, n, ops) })
				if trouble != "" {
					rt.Fatal(trouble)
				}
			})
		})
	}
}

// play plays one history and returns what was wrong.
func play(t *testing.T, nodes int, ops []op) string {
	m := &model{world: newWorld(t, uint64(nodes*100+len(ops))), total: nodes, heard: map[*node]map[cluster.Incarnation]*hearing{}, ended: map[*node]time.Time{}}
	defer m.end()
	for i := range nodes {
		m.begin(i)
	}
	for i, o := range ops {
		m.play(o)
		synctest.Wait()
		if m.compare(); m.trouble != "" {
			return fmt.Sprintf("step %d, %+v: %s", i, o, m.trouble)
		}
	}
	m.net.Heal()
	m.quorum.Heal()
	for i := range nodes {
		m.net.Resume(m.nameOf(i))
		m.begin(i)
	}
	wait(5 * time.Second)
	m.compare()
	if d := m.differ(); d != "" {
		m.fail("five seconds after the faults: %s", d)
	}
	m.compareOwners(true)
	return m.trouble
}

// model watches what is really delivered.
type model struct {
	*world
	total int
	ops   int // changes made, so that each is of another session at times

	mu      sync.Mutex // guards what follows
	trouble string
	heard   map[*node]map[cluster.Incarnation]*hearing
	ended   map[*node]time.Time // what it said before may count for a while
}

func (m *model) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trouble == "" {
		m.trouble = fmt.Sprintf(format, args...)
	}
}

func (m *model) nameOf(i int) string { return string(rune('a' + i%m.total)) }

// tapped is a transport that notes which heartbeats come.
type tapped struct {
	*clustertest.Wire
	got func(b []byte)
}

// Subscribe is cluster.Transport's.
func (w tapped) Subscribe(subject string, f func(string, []byte, func([]byte))) (func(), error) {
	if subject != "hb" {
		return w.Wire.Subscribe(subject, f)
	}
	return w.Wire.Subscribe(subject, func(s string, b []byte, reply func([]byte)) { w.got(b); f(s, b, reply) })
}

// judging is a listener that holds each verdict against what was delivered.
type judging struct {
	*sessions
	lose func(origin cluster.Incarnation, since time.Time)
}

// Lost is cluster.Listener's.
func (j judging) Lost(origin cluster.Incarnation, alive, since presence.Time) {
	j.lose(origin, since.Time())
	j.sessions.Lost(origin, alive, since)
}

// begin starts a node that does not run. Without a quorum it does not come up.
func (m *model) begin(i int) {
	name := m.nameOf(i)
	if m.nodes[name] != nil {
		return
	}
	var n *node
	n = m.make(name, func(cfg *cluster.Config) {
		cfg.Transport = tapped{cfg.Transport.(*clustertest.Wire), func(b []byte) { m.got(n, b) }}
		cfg.Listener = judging{cfg.Listener.(*sessions), func(x cluster.Incarnation, since time.Time) { m.lost(n, x, since) }}
	})
	m.mu.Lock()
	m.heard[n] = map[cluster.Incarnation]*hearing{}
	m.mu.Unlock()
	if err := n.c.Start(m.t.(*testing.T).Context()); err != nil {
		if strings.Contains(err.Error(), "no quorum") {
			m.kill(name)
			return
		}
		m.fail("start of %s: %v", name, err)
		return
	}
	for i := range 20 {
		n.table.change(uint64(i*31), false)
	}
}

// kill is the world's, noted.
func (m *model) kill(name string) {
	m.over(m.nodes[name])
	m.world.kill(name)
}

// stop is the world's, noted: while it says goodbye a node still judges.
func (m *model) stop(name string) {
	n := m.nodes[name]
	m.world.stop(name)
	m.over(n)
}

func (m *model) over(n *node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[n] = time.Now()
}

// pick returns a node that runs and is not paused, or nil.
func (m *model) pick(a int) *node {
	for i := range m.total {
		name := m.nameOf(a + i)
		if n := m.nodes[name]; n != nil && !m.net.Paused(name) {
			return n
		}
	}
	return nil
}

func (m *model) play(o op) {
	a, b := m.nameOf(o.A), m.nameOf(o.B)
	switch n := m.pick(o.A); o.Kind {
	case "change":
		for i := 0; n != nil && i < o.B; i++ {
			m.ops++
			n.table.change(uint64((m.ops*17+i*i)%3000), i%5 == 0)
		}
	case "tell":
		for i := 0; n != nil && i < 5; i++ {
			n.tell()
			wait(time.Millisecond)
		}
	case "wait":
		wait(o.D)
	case "cut":
		m.net.Cut(a, b)
	case "cut both":
		m.net.CutBoth(a, b)
	case "alone":
		for i := range m.total {
			if c := m.nameOf(i); c != a {
				m.net.CutBoth(a, c)
			}
		}
		m.quorum.Cut(a, o.B%2 == 0)
	case "mend":
		m.net.Mend(a, b)
		m.net.Mend(b, a)
	case "mend all":
		m.net.Heal()
	case "faults":
		m.net.SetFaults(o.Faults)
	default:
		m.playNode(o)
	}
}

// playNode plays what happens to one node, or to the quorum.
func (m *model) playNode(o op) {
	a := m.nameOf(o.A)
	switch n := m.pick(o.A); o.Kind {
	case "pause":
		if m.nodes[a] != nil {
			m.net.Pause(a)
		}
	case "resume":
		m.net.Resume(a)
	case "kill":
		if m.nodes[a] != nil {
			m.kill(a)
		}
	case "stop":
		if n != nil {
			m.stop(n.name)
		}
	case "start":
		if !m.quorum.Away(a) {
			m.begin(o.A)
		}
	case "quorum away":
		m.quorum.SetDown(true)
	case "quorum back":
		m.quorum.Heal()
	case "quorum cut":
		m.quorum.Cut(a, true)
	case "quorum slow":
		m.quorum.SetDelay(o.D / 10)
	}
}
