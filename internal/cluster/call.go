package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
)

const (
	// callTimeout is for calls whose ctx has no deadline.
	callTimeout = 5 * time.Second
	// retryCall is when it makes sense to try again what found no node.
	retryCall = time.Second
	// maxCalls are served at once; more wait for those, in order.
	maxCalls = 256
	// maxCallAge is how old a question may be when it gets here, and when it is its
	// turn. What waited longer, such as in a link that was cut, is not served: whoever
	// asked has given up, and what he did since, by way of another node, must not be
	// undone.
	maxCallAge = 2 * time.Second
	// maxAnswer is the most bytes of an answer: the transport takes 8 MiB to a message
	// (natsbus.MaxPayload), and what is longer would be lost without a word.
	maxAnswer = 8<<20 - 64<<10
	// rememberCalls of one node are remembered, so that a question that the
	// transport doubles is served once.
	rememberCalls = 4096
)

// Answer is what one node said to a CallAll.
type Answer struct {
	Name        string // of the node
	Incarnation Incarnation
	B           []byte // what it answered, if Err is nil
	Err         error  // as of Call
}

// Handle makes f serve a method. It is called before Start.
func (c *Cluster) Handle(method string, f Call) { c.methods[method] = f }

// Listen makes t hear of a topic. It is called before Start.
func (c *Cluster) Listen(topic string, t Topic) { c.topics[topic] = t }

// Call asks one node, this one too, and returns its answer; ctx bounds it, or five
// seconds. A call is served once at most; after an error it may have been served,
// or may be within two seconds, but no later.
// A fault comes as the other node gave it. A node that is not heard, is not known,
// or does not answer is fault.NodeUnavailable with a time to try again: who waits
// for one that falls silent is told so then, not at the end of his time.
func (c *Cluster) Call(ctx context.Context, to Incarnation, method string, b []byte) ([]byte, error) {
	c.mu.Lock()
	self, name, reachable := to == c.self, "", false
	if p := c.peers[to]; p != nil {
		name, reachable = p.name, p.standing == Alive && p.origin != nil
	}
	var over func()
	if reachable && !self {
		ctx, over = c.whileHeard(ctx, to)
		defer over()
	}
	c.mu.Unlock()
	switch {
	case self:
		ctx, cancel := bounded(ctx)
		defer cancel()
		return c.serve(ctx, to, method, b)
	case name == "":
		return nil, fault.Retry(fault.NodeUnavailable, retryCall, "the node that has it is not known here; try again")
	case !reachable:
		return nil, fault.Retry(fault.NodeUnavailable, retryCall, "node %q, which has it, is not heard; try again", name)
	}
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("cluster: a call of %d bytes to method %s of node %q is too long: at most %d", len(b), method, name, MaxMessage)
	}
	c.counts.calls.Add(1)
	answer, err := c.ask(ctx, to, method, b)
	var known *fault.Error
	switch {
	case err == nil || errors.As(err, &known):
	case errors.Is(err, errRemote):
		c.counts.callsFailed.Add(1)
	case context.Cause(ctx) == errSilent:
		c.counts.callsFailed.Add(1)
		err = fault.Retry(fault.NodeUnavailable, retryCall, "node %q, which has it, fell silent; try again", name)
	default:
		c.counts.callsFailed.Add(1)
		err = fault.Retry(fault.NodeUnavailable, retryCall, "node %q, which has it, did not answer in time; try again", name)
	}
	return answer, err
}

// errSilent ends a call to a node that is not heard any more.
var errSilent = errors.New("cluster: the node is not heard")

// waiting is a call that is on its way to a node.
type waiting struct {
	to  Incarnation
	cut context.CancelCauseFunc
}

// whileHeard returns ctx as it ends too when a node falls silent; over must be
// called without mu. mu is held.
func (c *Cluster) whileHeard(ctx context.Context, to Incarnation) (_ context.Context, over func()) {
	ctx, cut := context.WithCancelCause(ctx)
	id := c.callID.Add(1)
	c.calls[id] = waiting{to, cut}
	return ctx, func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
		cut(nil)
	}
}

// cutCalls ends those to nodes that are not heard any more. mu is held.
func (c *Cluster) cutCalls() {
	for _, w := range c.calls {
		if p := c.peers[w.to]; p == nil || p.standing != Alive {
			w.cut(errSilent)
		}
	}
}

// CallAll asks every other member that is heard, at once, and returns when each has
// answered, has fallen silent or let its time pass; ctx bounds them as it does a Call.
// Nobody else being heard is no answers.
func (c *Cluster) CallAll(ctx context.Context, method string, b []byte) []Answer {
	c.mu.Lock()
	var all []Answer
	for _, p := range c.everybody() {
		if p.standing == Alive && p.origin != nil {
			all = append(all, Answer{Name: p.name, Incarnation: p.incarnation})
		}
	}
	c.mu.Unlock()
	var asked sync.WaitGroup
	for i := range all {
		asked.Go(func() { all[i].B, all[i].Err = c.Call(ctx, all[i].Incarnation, method, b) })
	}
	asked.Wait()
	return all
}

// bounded gives a call a deadline that has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callTimeout)
}

// ask sends a question whatever the standing of the node.
func (c *Cluster) ask(ctx context.Context, to Incarnation, method string, b []byte) ([]byte, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	deadline, _ := ctx.Deadline()
	c.mu.Lock()
	q := question{from: c.self, id: c.callID.Add(1), within: time.Until(deadline), method: method, b: b}
	if p := c.peers[to]; p != nil {
		q.heard = p.counter
	}
	c.mu.Unlock()
	answer, err := c.cfg.Transport.Request(ctx, c.subject("call", to), appendQuestion(nil, &q))
	if err != nil {
		return nil, err
	}
	return parseAnswer(answer)
}

// asked takes questions from the transport, for one subscription: the one before it
// may have one in hand still.
func (c *Cluster) asked() func(_ string, b []byte, reply func([]byte)) {
	var memory recall
	return func(_ string, b []byte, reply func([]byte)) { c.take(&memory, b, reply) }
}

// take takes one question.
func (c *Cluster) take(memory *recall, b []byte, reply func([]byte)) {
	q, err := parseQuestion(b)
	if err != nil {
		c.counts.unread.Add(1)
		return
	}
	if !memory.first(q.from, q.id) {
		c.counts.servedTwice.Add(1)
		return
	}
	if c.late(&q, reply) {
		return
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	if c.late(&q, reply) { // by now
		<-c.slots
		return
	}
	if !c.goes(func() {
		defer func() { <-c.slots }()
		ctx, cancel := context.WithTimeout(c.ctx, q.within)
		defer cancel()
		answer, err := c.serve(ctx, q.from, q.method, q.b)
		switch {
		case err == nil && len(answer) > maxAnswer:
			c.log.Error("an answer to another node is too long to be sent", "method", q.method, "node", q.from, "bytes", len(answer), "most", maxAnswer)
			err = fault.Retry(fault.NodeUnavailable, retryCall, "the answer of node %q has %d bytes, at most %d can be sent", c.cfg.Name, len(answer), maxAnswer)
		case err != nil && ctx.Err() != nil:
			err = fault.Retry(fault.NodeUnavailable, retryCall, "node %q did not answer in time; try again", c.cfg.Name)
		}
		reply(appendAnswer(nil, answer, err))
	}) {
		<-c.slots
	}
}

// late refuses a question that is too old, and reports whether it did.
func (c *Cluster) late(q *question, reply func([]byte)) bool {
	if q.method == methodShards || !c.outdated(q.heard) {
		return false
	}
	c.counts.servedLate.Add(1)
	reply(appendAnswer(nil, nil, fault.Retry(fault.NodeUnavailable, retryCall, "the call took too long to get to node %q; try again", c.cfg.Name)))
	return true
}

// outdated reports whether a question that names the last heartbeat of ours that
// its sender had heard may be older than maxCallAge. It was sent after that
// heartbeat, so no clocks are compared. Time in which this node stood still counts:
// who asked did not stand still, and this node may not know yet that it did.
func (c *Cluster) outdated(heard uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	age, ok := c.beats.age(heard)
	return !ok || age > maxCallAge
}

// serve answers a question.
func (c *Cluster) serve(ctx context.Context, from Incarnation, method string, b []byte) ([]byte, error) {
	c.counts.served.Add(1)
	if method == methodShards {
		return c.serveShards(ctx, from, b)
	}
	if !c.Joined() {
		return nil, fault.Retry(fault.NodeUnavailable, retryCall, "node %q is cut off from the others; try again", c.cfg.Name)
	}
	f := c.methods[method]
	if f == nil {
		return nil, fmt.Errorf("method %q is not known to node %q (version %s): let all nodes run the same version", method, c.cfg.Name, c.cfg.Version)
	}
	return f(ctx, from, b)
}

// recall remembers which questions came to one incarnation. It is used by one goroutine.
type recall struct {
	of map[Incarnation]*[rememberCalls]uint64 // by number modulo the length
}

// first reports whether a question comes for the first time.
func (m *recall) first(from Incarnation, id uint64) bool {
	served := m.of[from]
	if served == nil {
		if len(m.of) >= 256 || m.of == nil { // many have come and gone
			m.of = map[Incarnation]*[rememberCalls]uint64{}
		}
		served = new([rememberCalls]uint64)
		m.of[from] = served
	}
	if last := &served[id%rememberCalls]; id > *last {
		*last = id
		return true
	}
	return false
}
