package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

// fault is what happens to a fleet in a round: play runs while everybody is busy,
// and returns when all nodes are there again and all cables are whole.
type fault struct {
	name string
	fits func(*crowd) bool // nil: always
	play func(*crowd) error
}

// What is asked of whom: during and after each fault the checks of a round
// (nodescheck_test.go) hold R3–R6, R9 and R12; besides
//
//	kill, wipe    R1 at the doors and at the webhook
//	stop 2 s, 6 s nobody sees anything: back before the grace is over (R3)
//	stop 30 s     sessions may close, and open anew when the node goes on
//	part          a majority hears both: nobody is lost, nobody sees anything
//	alone, quorum the node says stale, never offline (R8)
//	doors         a guest that comes back within the grace is not seen (R3)
func allFaults() []fault {
	return []fault{
		{"kill -9 of a node", nil, (*crowd).playKill},
		{"kill -9 of two of five", (*crowd).hasFive, (*crowd).playKillTwo},
		{"SIGTERM and start, node by node", nil, (*crowd).playRoll},
		{"restart with an emptied disk", (*crowd).ownStores, (*crowd).playWipe},
		{"SIGSTOP for 2 s", nil, func(w *crowd) error { return w.playStop(2 * time.Second) }},
		{"SIGSTOP for 6 s", nil, func(w *crowd) error { return w.playStop(6 * time.Second) }},
		{"SIGSTOP for 30 s", nil, func(w *crowd) error { return w.playStop(30 * time.Second) }},
		{"two nodes cut from each other", (*crowd).canPart, func(w *crowd) error { return w.playPart(true) }},
		{"a node that another does not hear", (*crowd).canPart, func(w *crowd) error { return w.playPart(false) }},
		{"a node cut from all", (*crowd).canSever, (*crowd).playAlone},
		{"slow links", (*crowd).canSever, (*crowd).playSlow},
		{"links of clients", nil, (*crowd).playDoors},
		{"loss of the quorum, killed", (*crowd).ownStores, func(w *crowd) error { return w.playQuorum(true) }},
		{"loss of the quorum, stopped", (*crowd).ownStores, func(w *crowd) error { return w.playQuorum(false) }},
		{"a wrong clock", (*crowd).canStep, (*crowd).playClock},
		{"kill -9 of a NATS server", (*crowd).hasServers, func(w *crowd) error { return w.playServer(true) }},
		{"SIGSTOP of a NATS server", (*crowd).hasServers, func(w *crowd) error { return w.playServer(false) }},
	}
}

func (w *crowd) hasFive() bool    { return len(w.fleet.nodes) >= 5 }
func (w *crowd) hasServers() bool { return w.fleet.servers != nil }
func (w *crowd) ownStores() bool  { return w.fleet.servers == nil }
func (w *crowd) canPart() bool    { return w.fleet.parts() }
func (w *crowd) canStep() bool    { return w.fleet.steps }
func (w *crowd) canSever() bool   { return w.fleet.parts() || w.hasServers() }

// lostAfter is when nodes take a silent one for lost; beforeClosed is how long a
// node may be silent so that nobody sees anything for sure.
const (
	lostAfter    = 3 * time.Second
	beforeClosed = lostAfter + nodesGrace - graceMargin
)

// oneOf picks a node, and some picks different ones.
func (w *crowd) oneOf() int           { return w.random.IntN(len(w.fleet.nodes)) }
func (w *crowd) some(n int) []int     { return w.random.Perm(len(w.fleet.nodes))[:n] }
func (w *crowd) wait(d time.Duration) { pause(w.ctx.Done(), d) }

// within picks a time.
func within(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// playKill kills a node, waits until no ghost of it may be seen, and starts it.
func (w *crowd) playKill() error { return w.killed(nil, w.oneOf()) }

// playKillTwo kills two at once: if two of the three that have a stream are among
// them, it has no quorum until they are back, so that R1 is not asked.
func (w *crowd) playKillTwo() error {
	two := w.some(2)
	over := w.hurt(harmQuorum, two...)
	for _, i := range two {
		w.fleet.kill(i)
	}
	w.wait(within(w.random, 5*time.Second, 12*time.Second))
	w.history.doubt(two...)
	err := w.fleet.start(two...)
	over()
	return err
}

// playWipe kills a node and takes its store away: it must join and copy all.
func (w *crowd) playWipe() error {
	i := w.oneOf()
	return w.killed(func() error { return os.RemoveAll(w.fleet.nodes[i].data()) }, i)
}

// killed kills a node, does something more, and starts it.
func (w *crowd) killed(more func() error, i int) error {
	over := w.hurt(harmKilled, i)
	at := w.fleet.kill(i)
	over()
	w.watchDoors(i, at)
	if more != nil {
		if err := more(); err != nil {
			return err
		}
	}
	if err := w.fleet.start(i); err != nil {
		return err
	}
	w.watchHook(i, at)
	return nil
}

// playRoll asks one node after the other to stop, and starts it again.
func (w *crowd) playRoll() error {
	for i, n := range w.fleet.nodes {
		over := w.hurt(harmTermed, i)
		w.fleet.set(i, true)
		began := time.Now()
		if err := n.term(); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		over()
		w.count(func(f *nodeFigures) { f.worstStop = max(f.worstStop, time.Since(began)) })
		if err := w.fleet.start(i); err != nil {
			return err
		}
		w.wait(time.Second)
	}
	return nil
}

// playStop lets a node stand still.
func (w *crowd) playStop(d time.Duration) error {
	i := w.oneOf()
	over := w.hurt(harmStopped, i)
	if d > lostAfter {
		w.fleet.set(i, true)
	}
	if err := w.fleet.signal(i, syscall.SIGSTOP); err != nil {
		return err
	}
	w.wait(min(d, beforeClosed))
	if d > beforeClosed {
		w.history.doubt(i) // also who goes elsewhere, or says goodbye, before it goes on
		w.wait(d - beforeClosed)
	}
	if err := w.fleet.signal(i, syscall.SIGCONT); err != nil {
		return err
	}
	over()
	if d > lostAfter {
		w.fleet.set(i, false)
	}
	return nil
}

// playPart cuts two nodes from each other, or one way only.
func (w *crowd) playPart(both bool) error {
	two := w.some(2)
	over := w.hurt(harmParted, two...)
	w.fleet.cut(two[0], two[1])
	if both {
		w.fleet.cut(two[1], two[0])
	}
	w.wait(within(w.random, 2*time.Second, 16*time.Second))
	w.fleet.heal()
	over()
	return nil
}

// playAlone cuts a node from all others, or from all NATS servers; clients reach
// it.
func (w *crowd) playAlone() error {
	i := w.oneOf()
	over := w.hurt(harmAlone, i)
	w.fleet.set(i, true)
	w.fleet.sever(i)
	w.whileAlone(within(w.random, 2*time.Second, 20*time.Second), i)
	w.fleet.heal()
	over()
	w.fleet.set(i, false)
	return nil
}

// whileAlone asks nodes that hear no majority what they say, for a time (R8).
func (w *crowd) whileAlone(d time.Duration, nodes ...int) {
	stop := make(chan struct{})
	since := time.Now()
	var asking sync.WaitGroup
	for _, i := range nodes {
		asking.Go(func() { w.watchAlone(i, since, stop) })
	}
	w.wait(d)
	close(stop)
	asking.Wait()
}

// playSlow makes the links of a node slow.
func (w *crowd) playSlow() error {
	i := w.oneOf()
	over := w.hurt(harmSlow, i)
	w.fleet.slow(i, 256)
	w.wait(within(w.random, 5*time.Second, 15*time.Second))
	w.fleet.heal()
	over()
	return nil
}

// playDoors harms the links of a third of a node's clients in one of many ways.
func (w *crowd) playDoors() error {
	i := w.oneOf()
	over := w.hurt(harmDoors, i)
	ways := []func(p *proxy){
		func(p *proxy) { p.reset(false) },
		func(p *proxy) { p.reset(true) },
		func(p *proxy) { p.freeze() },
		func(p *proxy) { p.hold(up) },
		func(p *proxy) { p.hold(down) },
		(*proxy).orphan,
		func(p *proxy) { p.slow(20 << 10) },
	}
	harm := ways[w.random.IntN(len(ways))]
	for _, p := range w.fleet.doorsOf(i) {
		harm(p)
	}
	w.wait(within(w.random, time.Second, 5*time.Second))
	w.fleet.heal()
	over()
	return nil
}

// mostStep is how wrong a clock may be: receivers of webhooks allow five minutes.
const mostStep = 4 * time.Minute

// playClock sets the clock of a node forwards or back, and right again.
func (w *crowd) playClock() error {
	i := w.oneOf()
	over := w.hurt(harmClock, i)
	seconds := int64(within(w.random, 2*time.Second, mostStep).Seconds())
	if w.random.IntN(2) == 0 {
		seconds = -seconds
	}
	if err := w.step(i, seconds); err != nil {
		return err
	}
	w.wait(within(w.random, 3*time.Second, 10*time.Second))
	err := w.step(i, 0)
	over()
	return err
}

// playQuorum takes a majority away, and gives it back: nobody is taken for lost
// meanwhile.
func (w *crowd) playQuorum(kill bool) error {
	order := w.some(len(w.fleet.nodes))
	most, rest := order[:len(order)/2+1], order[len(order)/2+1:]
	over := w.hurt(harmQuorum, w.fleet.all()...)
	for _, i := range most {
		if kill {
			w.fleet.kill(i)
			continue
		}
		w.fleet.set(i, true)
		if err := w.fleet.signal(i, syscall.SIGSTOP); err != nil {
			return err
		}
	}
	w.whileAlone(within(w.random, 3*time.Second, 12*time.Second), rest...)
	if kill { // else nobody sees anything: without a quorum nobody is lost
		w.history.doubt(most...)
		if err := w.fleet.start(most...); err != nil {
			return err
		}
	}
	for _, i := range most {
		if kill {
			continue
		}
		if err := w.fleet.signal(i, syscall.SIGCONT); err != nil {
			return err
		}
		w.fleet.set(i, false)
	}
	over()
	return nil
}

// playServer takes one NATS server away, the next one each time.
func (w *crowd) playServer(kill bool) error {
	w.fleet.server = (w.fleet.server + 1) % len(w.fleet.servers.URLs())
	over := w.hurt(harmServers, w.fleet.all()...)
	if kill {
		w.fleet.servers.Kill(w.fleet.server)
	} else {
		w.fleet.servers.Pause(w.fleet.server, true)
	}
	w.wait(within(w.random, 3*time.Second, 15*time.Second))
	if kill {
		w.fleet.servers.Restart(w.fleet.server)
	} else {
		w.fleet.servers.Pause(w.fleet.server, false)
	}
	over()
	return nil
}
