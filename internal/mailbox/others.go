package mailbox

import (
	"context"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// maxHeard bounds what other nodes told that is not folded yet; beyond it the
// stream is read.
const maxHeard = 256

// entryTold is an entry that another node stored.
type entryTold struct {
	sequence uint64
	raw      []byte
}

// Stored hears of an entry that another node has stored; it keeps raw. Nil says that
// there is one. Out of order, doubled or lost ones do no harm: what is missing is
// read from the store.
func (m *Mailboxes) Stored(sequence uint64, raw []byte) {
	m.mu.Lock()
	if raw == nil || len(m.heard) >= maxHeard {
		m.behind = true
	} else {
		m.heard = append(m.heard, entryTold{sequence, raw})
	}
	m.mu.Unlock()
	m.poke()
}

// Missed says that other nodes may have stored entries that this one was not told of.
func (m *Mailboxes) Missed() { m.Stored(0, nil) }

// hear folds what other nodes have stored.
func (m *Mailboxes) hear(ctx context.Context) error {
	m.mu.Lock()
	heard, behind := m.heard, m.behind
	m.heard, m.behind = nil, false
	last := m.last
	m.mu.Unlock()
	for _, e := range heard {
		switch {
		case e.sequence <= last || behind: // known, or about to be read
			continue
		case e.sequence == last+1:
			if _, err := m.apply(e.sequence, e.raw); err == nil {
				last = e.sequence
				continue
			}
		}
		behind = true
	}
	if !behind {
		return nil
	}
	if _, err := m.catchUp(ctx, 0); err != nil {
		m.mu.Lock()
		m.behind = true
		m.mu.Unlock()
		if ctx.Err() == nil {
			m.log.Warn("what other nodes put into mailboxes cannot be read; it is tried again", "error", err)
		}
		return err
	}
	return nil
}

// tell tells other nodes of an entry that this one has stored; nil raw: of one that
// it does not have at hand.
func (m *Mailboxes) tell(sequence uint64, raw []byte) {
	if m.cfg.Tell != nil {
		m.cfg.Tell(sequence, raw)
	}
}

// mine reports whether this node is the one that cuts the stream.
func (m *Mailboxes) mine() bool { return m.cfg.Mine == nil || m.cfg.Mine() }

// passed takes out what stood in front of an entry, when the one before it is not
// known here: the stream was cut meanwhile, so all that had left it or was written
// anew behind.
func (x *index) passed(sequence uint64) {
	if x.last == 0 || sequence == x.last+1 {
		return
	}
	for _, e := range x.entries {
		if e.sequence >= sequence {
			break
		}
		for _, h := range append([]*held(nil), e.live...) {
			if h.in == e {
				x.drop(h.queue, func(o *held) bool { return o == h })
				x.tidy(h.queue.box)
			}
		}
	}
}

// outrun marks the takers of a box that were not given what another node's
// connections have written through a number: it leaves the queues now.
func (x *index) outrun(b *box, number uint64) (slow []*Taker) {
	for _, t := range b.takers {
		after := max(t.through, b.handed)
		for _, q := range b.queues {
			for _, h := range q.held {
				if h.number > after && h.number <= number && !h.dead(x.clock) && !t.slow {
					t.slow, t.given = true, nil
					slow = append(slow, t)
				}
			}
		}
	}
	b.handed = max(b.handed, number)
	return slow
}

// overtaken says that another node was first with an entry that need not be.
func overtaken(err error) bool { return errors.Is(err, errOthers) || errors.Is(err, store.ErrNoMail) }
