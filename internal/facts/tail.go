package facts

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// tail is the reader at the end of the log that all followers share. It keeps
// what it read last in a ring, and waits for nobody.
type tail struct {
	r     *Reader
	end   context.CancelFunc
	most  int           // events in the ring
	ready chan struct{} // closed when the ring reached the end of the log once

	mu       sync.Mutex // over all below
	messages []told     // those that told anything, in order
	events   int        // in messages
	first    uint64     // the ring has all from this message on
	next     uint64     // message that will be read next
	waiting  bool       // somebody waits for grown
	grown    chan struct{}
	failed   error // why it ended
}

// told is what one message told.
type told struct {
	sequence uint64
	events   []*Event
}

// tailRetry is the pause after the store failed.
const tailRetry = time.Second

var errBehind = errors.New("facts: fell out of the ring")

// run reads until ctx ends or the store is closed.
func (t *tail) run(ctx context.Context) {
	var p *pass
	for {
		err := t.follow(ctx, &p)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
			t.fail(store.ErrClosed)
			return
		}
		if gap := (*GapError)(nil); errors.Is(err, store.ErrGap) || errors.As(err, &gap) {
			p = nil // cut behind our back: begin at what is there now
		}
		t.r.log.Warn("the log cannot be read on; webhooks and other readers wait", "error", err)
		timer := time.NewTimer(tailRetry)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// follow reads on with p, or begins it.
func (t *tail) follow(ctx context.Context, p **pass) error {
	if *p == nil {
		if err := t.begin(ctx, p); err != nil {
			return err
		}
	}
	_, end, err := t.r.store.Ends(ctx)
	if err != nil {
		return err
	}
	if (*p).next >= end {
		t.live()
	}
	return t.r.store.Follow(ctx, (*p).next, func(sequence uint64, records []presence.Record) error {
		events, err := (*p).message(sequence, records)
		if err != nil {
			return err
		}
		t.add(sequence, events)
		if sequence+1 >= end {
			t.live()
		}
		return nil
	})
}

// begin starts at the newest base, and the ring with what came since.
func (t *tail) begin(ctx context.Context, to **pass) error {
	newest, err := t.r.End(ctx)
	if err != nil {
		return err
	}
	p, err := t.r.begin(ctx, newest, nil)
	if err != nil {
		return err
	}
	p.tell = End(p.base)
	t.mu.Lock()
	t.messages, t.events, t.first, t.next = nil, 0, p.base+1, p.next
	t.wake() // who waits for what was cut must not wait for more
	t.mu.Unlock()
	*to = p
	return nil
}

// live says that the ring reached the end of the log.
func (t *tail) live() {
	select {
	case <-t.ready:
	default:
		close(t.ready)
	}
}

// add takes what a message told.
func (t *tail) add(sequence uint64, events []*Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = sequence + 1
	if len(events) > 0 {
		t.messages = append(t.messages, told{sequence, events})
		t.events += len(events)
	}
	for t.events > t.most && len(t.messages) > 1 {
		t.events -= len(t.messages[0].events)
		t.first = t.messages[0].sequence + 1
		t.messages[0] = told{}
		t.messages = t.messages[1:]
	}
	t.wake()
}

func (t *tail) wake() {
	if t.waiting {
		close(t.grown)
		t.grown, t.waiting = make(chan struct{}), false
	}
}

func (t *tail) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = err
	t.wake()
	t.live()
}

// covers reports whether the ring has everything behind p.
func (t *tail) covers(p Position) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first > 0 && p.need() >= t.first
}

// take returns about a handful of what the ring has behind p. When it has
// nothing, it returns a channel that closes when it may. next is the message
// up to which that is all.
func (t *tail) take(p Position) (messages []told, next uint64, grown <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	need := p.need()
	switch {
	case t.failed != nil:
		return nil, 0, nil, t.failed
	case t.first == 0 || need < t.first:
		return nil, 0, nil, errBehind
	case need >= t.next:
		t.waiting = true
		return nil, 0, t.grown, nil
	}
	i := sort.Search(len(t.messages), func(i int) bool { return t.messages[i].sequence >= need })
	n := 0
	for j := i; j < len(t.messages) && n < handful; j++ {
		n += len(t.messages[j].events)
		messages = append(messages, t.messages[j]) // a copy: add clears what leaves the ring
	}
	if i+len(messages) < len(t.messages) {
		return messages, messages[len(messages)-1].sequence + 1, nil, nil
	}
	return messages, t.next, nil, nil
}

// reached reports whether the message is the one that will be read next.
func (t *tail) reached(sequence uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return sequence >= t.next
}
