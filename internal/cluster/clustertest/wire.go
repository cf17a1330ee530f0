package clustertest

import (
	"context"
	"sync"
	"time"
)

// Wire is one run of a node on the network: it has the methods of
// cluster.Transport.
type Wire struct {
	net    *Network
	name   string
	closed chan struct{}
	once   sync.Once
	subs   []*subscription // guarded by net.mu
	run    sync.WaitGroup
}

// Wire connects a node. A node that starts again gets a new one.
func (n *Network) Wire(name string) *Wire {
	w := &Wire{net: n, name: name, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wires = append(n.wires, w)
	return w
}

// Close takes the node off the network without a word, as kill -9 does, and waits
// until nothing is delivered to it any more.
func (w *Wire) Close() {
	w.once.Do(func() { close(w.closed) })
	w.net.mu.Lock()
	for i, o := range w.net.wires {
		if o == w {
			w.net.wires = append(w.net.wires[:i:i], w.net.wires[i+1:]...)
			break
		}
	}
	w.net.mu.Unlock()
	w.run.Wait()
}

// Publish is cluster.Transport's.
func (w *Wire) Publish(subject string, b []byte) error {
	return w.send(message{subject: subject, b: b, from: w.name})
}

// Subscribe is cluster.Transport's; a pattern may end in ">" or have "*" in place
// of a word.
func (w *Wire) Subscribe(subject string, f func(subject string, b []byte, reply func([]byte))) (stop func(), err error) {
	if err := w.net.gate(w.name, w.closed); err != nil {
		return nil, err
	}
	s := &subscription{wire: w, pattern: subject, f: f, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	w.net.mu.Lock()
	w.subs = append(w.subs, s)
	w.net.mu.Unlock()
	w.run.Go(s.deliver)
	return func() {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		for i, o := range w.subs {
			if o == s {
				w.subs = append(w.subs[:i:i], w.subs[i+1:]...)
				close(s.stop)
			}
		}
	}, nil
}

// Request is cluster.Transport's. Question and answer both meet the faults.
func (w *Wire) Request(ctx context.Context, subject string, b []byte) ([]byte, error) {
	answer := make(chan []byte, 1)
	ask := message{subject: subject, b: b, from: w.name, reply: func(from string, b []byte) {
		w.net.pass(from, w.name, func(d time.Duration, _ bool) {
			copied := append([]byte(nil), b...)
			arrive := func() {
				select {
				case answer <- copied:
				default:
				}
			}
			if d <= 0 { // timers of no time that run at once crash the race detector in a bubble (golang/go#78156)
				arrive()
				return
			}
			time.AfterFunc(d, arrive)
		})
	}}
	w.net.mu.Lock()
	somebody := w.net.anybody(subject)
	w.net.mu.Unlock()
	if !somebody {
		return nil, errNobody
	}
	if err := w.send(ask); err != nil {
		return nil, err
	}
	select {
	case b := <-answer:
		return b, w.net.gate(w.name, w.closed)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.closed:
		return nil, errClosed
	}
}

// send gives a message to all who subscribed.
func (w *Wire) send(m message) error {
	if err := w.net.gate(w.name, w.closed); err != nil {
		return err
	}
	select {
	case <-w.closed:
		return errClosed
	default:
	}
	m.b = append([]byte(nil), m.b...)
	w.net.mu.Lock()
	w.net.sent.Messages++
	w.net.sent.Bytes += len(m.b)
	w.net.sent.Largest = max(w.net.sent.Largest, len(m.b))
	var to []*subscription
	for _, o := range w.net.wires {
		for _, s := range o.subs {
			if matches(s.pattern, m.subject) {
				to = append(to, s)
			}
		}
	}
	w.net.mu.Unlock()
	for _, s := range to {
		w.net.pass(w.name, s.wire.name, func(d time.Duration, reorder bool) { s.put(m, d, reorder) })
	}
	return nil
}
