package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// scrubDelay lets erasures gather before the stream is written anew for them.
	scrubDelay = 10 * time.Second

	// mostSlack is what may have gone and not be cut before what stands in front of
	// it is written anew, beside as much as lives.
	mostSlack = 8 << 20

	// crowdedFrom and fullFrom are how full the stream is, in eighths, when what has
	// gone is cut at once, and when calls wait for that: the rest is for what is
	// written anew and for notes of what was handed over, without which nothing
	// would ever leave.
	crowdedFrom = 6
	fullFrom    = 7

	// moveBytes is how much is written anew at once, between calls.
	moveBytes = 256 << 10

	// sweepEntries is how many entries are looked at under one lock.
	sweepEntries = 4096

	// readTries is how often a text is looked for that moves away meanwhile.
	readTries = 5
)

// upkeep drops messages whose time is over, writes anew what stands in front of much
// that has gone, and cuts the stream.
func (m *Mailboxes) upkeep(ctx context.Context) {
	for i, more := 0, true; more; more = i > 0 {
		m.mu.Lock()
		m.judge()
		i = m.sweep(i, sweepEntries)
		m.mu.Unlock()
	}
	// What was written anew in this round is not looked at again, whatever it takes.
	m.mu.Lock()
	through := m.last
	m.mu.Unlock()
	err := m.cut(ctx)
	for err == nil && ctx.Err() == nil && m.mine() {
		var moved bool
		if moved, err = m.moveOn(ctx, through); !moved {
			break
		}
		if _, err := m.commit(ctx); err != nil {
			return
		}
	}
	if err != nil && ctx.Err() == nil && !(m.cfg.Tell != nil && overtaken(err)) {
		m.log.Warn("what has gone from mailboxes takes its place on the disk for now", "error", err)
	}
}

// crowded reports that the stream is nearly full, and that much of it has gone.
func (m *Mailboxes) crowded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total > m.cfg.Store.MailLimit()/8*crowdedFrom && m.wasteful()
}

// wasteful reports that more has gone than lives, or that what has gone is needed.
// The lock is held.
func (m *Mailboxes) wasteful() bool {
	limit := m.cfg.Store.MailLimit()
	return m.total > min(2*m.live+min(mostSlack, limit/16), limit/8*crowdedFrom)
}

// cut forgets the entries in front of the first with something in it.
func (m *Mailboxes) cut(ctx context.Context) error {
	m.mu.Lock()
	before := m.trim()
	m.mu.Unlock()
	if before <= m.cutAt || !m.mine() {
		return nil
	}
	if err := m.cfg.Store.CutMail(ctx, before); err != nil {
		return err
	}
	m.cutAt = before
	return nil
}

// moveOn writes the first messages anew if that is worth it, and cuts behind them.
func (m *Mailboxes) moveOn(ctx context.Context, through uint64) (moved bool, err error) {
	list, wanted := m.movable(through)
	if !wanted {
		return false, nil
	}
	texts, err := m.readBack(ctx, list)
	if err != nil {
		return false, err
	}
	records := []byte{} // an entry of none is one
	for _, p := range list {
		h := p.held
		body := texts[h]
		if len(body) == 0 {
			return false, fmt.Errorf("mailbox: message %d of entry %d: %w", h.number, p.sequence, store.ErrNoMail)
		}
		r := record{kind: recordMove, user: h.queue.box.user, publisher: h.queue.publisher, number: h.number, at: h.at, body: body}
		if h.expires != 0 {
			r.life = uint64(h.expires - h.at)
		}
		records = appendRecord(records, &r)
	}
	after := m.last
	err = m.write(ctx, func(x *index, _ presence.Time) []byte {
		if x.last != after {
			return nil // some may have left
		}
		return records
	})
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	m.stats.Moved += uint64(len(list))
	m.mu.Unlock()
	return true, m.cut(ctx)
}

// movable are the first messages of the stream, if they should be written anew: more
// has gone than lives, or somebody was erased. Those behind through are not. An empty list that is wanted makes an
// entry in which nobody is, so that the last one can be cut.
func (m *Mailboxes) movable(through uint64) (list []place, wanted bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	scrub := m.scrub != 0 && !time.Now().Before(m.due)
	if len(m.entries) == 0 {
		if wanted = scrub && m.last <= m.scrub; !wanted && scrub {
			m.scrub = 0
		}
		return nil, wanted
	}
	if scrub && m.entries[0].sequence > m.scrub {
		m.scrub, scrub = 0, false
	}
	if m.entries[0].sequence > through {
		return nil, false
	}
	if !scrub && !m.wasteful() {
		return nil, false
	}
	bytes := 0
	for _, e := range m.entries {
		for _, h := range e.live {
			if h.in == e {
				list = append(list, placeOf(h))
				bytes += int(h.size)
			}
		}
		if bytes >= moveBytes {
			break
		}
	}
	return list, true
}

// place is where a message stands, and its text if that is in memory.
type place struct {
	held         *held
	sequence     uint64
	offset, size uint32
	body         []byte
}

// placeOf is where h stands now. The lock is held.
func placeOf(h *held) place { return place{h, h.in.sequence, h.offset, h.size, h.body} }

// readBack returns the texts of messages, read from the store where need be. One
// that is not there any more has moved or left, and is left out.
func (m *Mailboxes) readBack(ctx context.Context, list []place) (map[*held][]byte, error) {
	texts := make(map[*held][]byte, len(list))
	var (
		entry []byte
		of    uint64
	)
	for _, p := range list {
		if p.body != nil {
			texts[p.held] = p.body
			continue
		}
		if p.sequence != of {
			read, err := m.cfg.Store.ReadMail(ctx, p.sequence)
			if errors.Is(err, store.ErrNoMail) {
				continue
			}
			if err != nil {
				return nil, err
			}
			entry, of = read, p.sequence
		}
		if uint64(p.offset)+uint64(p.size) > uint64(len(entry)) {
			return nil, fmt.Errorf("entry %d: %w", p.sequence, errEntry)
		}
		texts[p.held] = bytes.Clone(entry[p.offset : p.offset+p.size]) // takers keep it, and must not keep the entry
	}
	return texts, nil
}
