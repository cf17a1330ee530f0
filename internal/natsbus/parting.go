package natsbus

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Nodes of peers that stop at the same time, as when all machines are shut down,
// would take the engines away from each other: whoever has more to write, because
// devices were with it, would find no majority and wait for one until its time is
// over. So an engine whose node is done runs on while others are stopping.

const (
	// Subjects of the two words, before the name of who says them.
	subjectStopping = "stopping."
	subjectStopped  = "stopped."

	stoppingEvery = 500 * time.Millisecond // how often a node says that it is stopping
	stoppingWord  = 3 * time.Second        // how long one such word is good: who is killed then holds nobody up
	stoppingLook  = 20 * time.Millisecond
	stoppingFirst = time.Second     // a stop takes this long at least: others may be told in the next moment
	stoppingLeast = 5 * time.Second // of the time of a stop, for what follows
)

// parting knows which other nodes are stopping.
type parting struct {
	name string
	say  func(subject string)

	mu     sync.Mutex           // guards what follows
	others map[string]time.Time // stopping and not done: when that was heard last
	quit   chan struct{}        // ends saying that this node is; nil: it is not
	began  time.Time            // when that was said first
	saying sync.WaitGroup
}

// hear takes a word on a subject.
func (p *parting) hear(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name, ok := strings.CutPrefix(subject, subjectStopping); ok && name != p.name {
		p.others[name] = time.Now()
	} else if name, ok := strings.CutPrefix(subject, subjectStopped); ok {
		delete(p.others, name)
	}
}

// begin says from now on that this node is stopping.
func (p *parting) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quit != nil {
		return
	}
	quit := make(chan struct{})
	p.quit, p.began = quit, time.Now()
	p.saying.Go(func() {
		again := time.NewTicker(stoppingEvery)
		defer again.Stop()
		for {
			p.say(subjectStopping + p.name)
			select {
			case <-again.C:
			case <-quit:
				return
			}
		}
	})
}

// done says that this node has stored what it had, and waits for the others that
// are stopping.
func (p *parting) done(ctx context.Context) {
	p.mu.Lock()
	quit := p.quit
	p.mu.Unlock()
	if quit != nil {
		close(quit)
	}
	p.saying.Wait()
	p.say(subjectStopped + p.name)
	if by, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, by.Add(-stoppingLeast))
		defer cancel()
	}
	look := time.NewTicker(stoppingLook)
	defer look.Stop()
	for p.waits() && ctx.Err() == nil {
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// waits reports whether another node is stopping, or may be in a moment.
func (p *parting) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quit != nil && time.Since(p.began) < stoppingFirst {
		return true
	}
	for name, at := range p.others {
		if time.Since(at) < stoppingWord {
			return true
		}
		delete(p.others, name)
	}
	return false
}

// startParting hears who is stopping; mu is held, and the messages are there.
func (b *Bus) startParting() error {
	if b.cfg.Peers == nil {
		return nil
	}
	m := b.msgs
	p := &parting{name: b.cfg.Peers.Name, others: map[string]time.Time{}, say: func(subject string) {
		if m.Publish(subject, nil) == nil {
			_ = m.conn.FlushTimeout(stoppingEvery) // the connection may be closed next
		}
	}}
	for _, subject := range []string{subjectStopping + "*", subjectStopped + "*"} {
		if _, err := m.Subscribe(subject, func(subject string, _ []byte, _ func([]byte)) { p.hear(subject) }); err != nil {
			return err
		}
	}
	b.parting = p
	return nil
}

// Stopping tells the other nodes, with Peers, that this one begins to stop: they
// keep their engines for it until its Stop, should they be stopping, too.
func (b *Bus) Stopping() {
	b.mu.Lock()
	p := b.parting
	b.mu.Unlock()
	if p != nil {
		p.begin()
	}
}
