// Package clustertest is a world for tests of many nodes in one process: a
// network that loses, doubles, delays, reorders and cuts, a quorum that can be
// taken away, and a table of sessions that knows what must never happen. All of
// it runs under a fake clock. It is no model of NATS: it promises less.
package clustertest

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Faults is what happens to each message on its way from one node to another.
// What a node sends to itself only waits Delay.
type Faults struct {
	Loss    float64       // chance that it never comes
	Double  float64       // chance that it comes twice
	Delay   time.Duration // each takes at least this long
	Jitter  time.Duration // and up to this much longer
	Reorder bool          // later messages may overtake it within Jitter
}

// Network connects nodes by their names. Make it with NewNetwork.
type Network struct {
	mu     sync.Mutex // guards everything below, and what wires share
	dice   *rand.Rand
	faults Faults
	cut    map[[2]string]bool // from, to
	slow   map[[2]string]time.Duration
	paused map[string]chan struct{}
	wires  []*Wire
	sent   Traffic
}

// Traffic counts what was published.
type Traffic struct {
	Messages, Bytes int
	Largest         int // bytes of the largest message
}

// NewNetwork returns a network without faults. The seed decides which messages
// its faults meet.
func NewNetwork(seed uint64) *Network {
	return &Network{dice: rand.New(rand.NewPCG(seed, seed)), cut: map[[2]string]bool{}, slow: map[[2]string]time.Duration{}, paused: map[string]chan struct{}{}}
}

// SetFaults is for all messages from now on.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Cut loses all that is sent from one node to another, in this direction.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{from, to}] = true
}

// CutBoth cuts both directions.
func (n *Network) CutBoth(a, b string) { n.Cut(a, b); n.Cut(b, a) }

// Mend undoes one Cut.
func (n *Network) Mend(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, [2]string{from, to})
}

// Slow makes all that is sent from one node to another take so much longer.
func (n *Network) Slow(from, to string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow[[2]string{from, to}] = d
}

// Heal undoes all cuts and faults. Who is paused stays so.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.slow)
	n.faults = Faults{}
}

// Pause holds a node as SIGSTOP does, as far as the network goes: what is sent to
// it waits, and its own calls do not return before Resume.
func (n *Network) Pause(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused[name] == nil {
		n.paused[name] = make(chan struct{})
	}
}

// Resume lets a paused node go on.
func (n *Network) Resume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.paused[name]; c != nil {
		close(c)
		delete(n.paused, name)
	}
}

// Paused reports whether a node is paused.
func (n *Network) Paused(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.paused[name] != nil
}

// Traffic returns what was published until now.
func (n *Network) Traffic() Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent
}

// gate waits while the node is paused.
func (n *Network) gate(name string, closed <-chan struct{}) error {
	for {
		n.mu.Lock()
		c := n.paused[name]
		n.mu.Unlock()
		if c == nil {
			return nil
		}
		select {
		case <-c:
		case <-closed:
			return errClosed
		}
	}
}

var (
	errClosed = errors.New("clustertest: the node is off the network")
	errNobody = errors.New("clustertest: nobody answers there")
)

// anybody reports whether somebody is subscribed; mu is held.
func (n *Network) anybody(subject string) bool {
	for _, w := range n.wires {
		for _, s := range w.subs {
			if matches(s.pattern, subject) {
				return true
			}
		}
	}
	return false
}

// pass lets the faults decide how often and when a message comes through.
func (n *Network) pass(from, to string, put func(d time.Duration, reorder bool)) {
	n.mu.Lock()
	f, times := n.faults, 1
	d := f.Delay + n.slow[[2]string{from, to}]
	delays := [2]time.Duration{d, d}
	if from == to {
		f.Reorder = false
	} else {
		if n.cut[[2]string{from, to}] || f.Loss > 0 && n.dice.Float64() < f.Loss {
			times = 0
		} else if f.Double > 0 && n.dice.Float64() < f.Double {
			times = 2
		}
		if f.Jitter > 0 {
			for i := range delays {
				delays[i] += time.Duration(n.dice.Int64N(int64(f.Jitter) + 1))
			}
		}
	}
	n.mu.Unlock()
	for i := range times {
		put(delays[i], f.Reorder)
	}
}

func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, word := range p {
		switch {
		case word == ">":
			return len(s) > i
		case i >= len(s) || word != "*" && word != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}
