package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// handOver is how long connections have to write what they were given, once
	// one of them has (protocol note C4).
	handOver = time.Second

	// maxTaken is how many hand-overs one entry takes.
	maxTaken = 4096

	// maxEntry is from how many bytes on an entry takes no further call. Smaller
	// ones are quicker to read back for one message.
	maxEntry = 512 << 10

	// Unknown results are tried again with growing waits, for storeFor at most.
	storeFor     = 10 * time.Second
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second

	// upkeepEvery is how often messages whose time is over are dropped, and the
	// stream is cut.
	upkeepEvery = 5 * time.Second

	// purgeAgain is how soon a hand-over that the store refused to note is noted
	// again. Until then only this process knows of it.
	purgeAgain = time.Second
)

// window is the time that connections have to write.
type window struct {
	box *box
	end time.Time
}

// open gives the takers of a box their time. The lock is held.
func (m *Mailboxes) open(b *box) {
	if b.due {
		return
	}
	b.due = true
	m.windows = append(m.windows, window{b, time.Now().Add(handOver)})
	if len(m.windows) == 1 {
		m.poke()
	}
}

// shut ends the windows whose time is over, and returns when the next ends.
func (m *Mailboxes) shut() (next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for ; n < len(m.windows) && !m.windows[n].end.After(time.Now()); n++ {
		b := m.windows[n].box
		b.due = false
		m.settle(b, 0)
		m.tidy(b)
	}
	m.windows = slices.Delete(m.windows, 0, n)
	if len(m.windows) == 0 {
		return time.Time{}
	}
	return m.windows[0].end
}

// run stores what waits until Stop.
func (m *Mailboxes) run(ctx context.Context) {
	defer close(m.ended)
	upkeep := time.NewTicker(upkeepEvery)
	defer upkeep.Stop()
	timer := time.NewTimer(handOver)
	defer timer.Stop()
	for {
		next := m.shut()
		unheard := m.hear(ctx)
		more, err := m.commit(ctx)
		if err == nil && m.crowded() {
			m.upkeep(ctx)
		}
		err = errors.Join(err, unheard)
		if err != nil && (next.IsZero() || next.After(time.Now().Add(purgeAgain))) {
			next = time.Now().Add(purgeAgain)
		}
		if ctx.Err() != nil || !more && m.done(err) {
			m.abandon()
			return
		}
		if more {
			select {
			case <-upkeep.C: // not only who pauses leaves time for it
				m.upkeep(ctx)
			default:
			}
			continue
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-m.wake:
		case <-timer.C:
		case <-upkeep.C:
			if m.cfg.Tell != nil {
				m.Missed() // should all words of an entry have been lost
			}
			m.upkeep(ctx)
		case <-ctx.Done():
		}
	}
}

// done reports that Stop was called and nothing waits, or cannot be stored.
func (m *Mailboxes) done(err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closing && len(m.waiting) == 0 && (len(m.handed) == 0 || err != nil)
}

// abandon gives back what is left when there is no time any more.
func (m *Mailboxes) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closing = true
	for _, c := range m.waiting {
		c.done <- fault.Retry(fault.LogUnavailable, retryAfter, "the node stops")
	}
	m.waiting, m.queued = nil, 0
}

// taken is a hand-over on its way into the stream.
type taken struct {
	box    *box
	number uint64
}

// batch is what goes into one entry.
type batch struct {
	changes []*change
	taken   []taken
}

// gather takes what waits, as much as one entry holds. Messages that waited while this
// node stood still are refused.
func (m *Mailboxes) gather() (b batch) {
	late := m.cfg.Takes()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, box := range m.handed[:min(len(m.handed), maxTaken)] {
		b.taken = append(b.taken, taken{box, box.handed})
	}
	bytes, records := 0, 0
	for len(m.waiting) > 0 && bytes < maxEntry && records+len(m.waiting[0].records) <= numbersPerEntry {
		c := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.queued -= c.bytes
		if late != nil && c.records[0].kind == recordPut {
			c.done <- late
			continue
		}
		bytes, records = bytes+c.bytes, records+len(c.records)
		b.changes = append(b.changes, c)
	}
	m.storing = !b.empty()
	return b
}

func (b *batch) empty() bool { return len(b.changes)+len(b.taken) == 0 }

// plan makes the records of an entry that comes next, and the sizes. The lock is held.
func (b *batch) plan(x *index, at presence.Time) []byte {
	p := newPlan(x, at)
	for _, t := range b.taken {
		p.add(&record{kind: recordTaken, user: t.box.user, number: t.number})
	}
	for _, c := range b.changes {
		c.sizes = make([]int, len(c.records))
		for i := range c.records {
			c.sizes[i] = p.add(&c.records[i])
		}
	}
	if p.records == nil {
		return []byte{} // all were there already
	}
	return p.records
}

// commit stores one entry of what waits, and reports whether more does.
func (m *Mailboxes) commit(ctx context.Context) (more bool, err error) {
	b := m.gather()
	if b.empty() {
		return false, nil
	}
	err = m.write(ctx, b.plan)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.storing = false
	if err != nil {
		m.stats.Refused += uint64(len(b.changes))
		m.log.Warn("mailboxes cannot be stored", "calls", len(b.changes), "hand_overs", len(b.taken), "error", err)
		for _, c := range b.changes {
			c.done <- fault.Retry(fault.LogUnavailable, retryAfter, "%s", reasonOf(err))
		}
		return len(m.waiting) > 0, err
	}
	for _, t := range b.taken {
		if t.box.handed == t.number {
			t.box.waits = false
		}
	}
	if len(b.taken) > 0 {
		m.handed = slices.DeleteFunc(m.handed, func(o *box) bool { return !o.waits })
	}
	for _, c := range b.changes {
		if c.records[0].kind == recordPut {
			m.stats.Put += uint64(len(c.records))
		}
		c.done <- nil
	}
	return len(m.waiting) > 0 || len(m.handed) > 0, nil
}

// reasonOf tells callers why the store did not take their messages; details are logged.
func reasonOf(err error) string {
	if errors.Is(err, store.ErrRefused) {
		return "the store refuses messages, perhaps its disk is full; nothing was put"
	}
	return "the store did not answer; what was asked may be done or not"
}

// errOthers: somebody else has written since an entry was made that cannot be made anew.
var errOthers = errors.New("mailbox: another node has written meanwhile")

// write stores an entry behind the last, and folds it and all that others have stored
// before it. The records are made for the queues as they are, and made anew
// when others were first; nil is to give up then.
func (m *Mailboxes) write(ctx context.Context, records func(x *index, at presence.Time) []byte) error {
	end, wait := time.Now().Add(storeFor), firstBackoff
	raw, name := m.entry(records)
	for {
		if raw == nil {
			return errOthers
		}
		seq, err := m.cfg.Store.AppendMail(ctx, m.last, raw)
		if err == nil {
			m.tell(seq, raw)
			_, err = m.apply(seq, raw)
			return err
		}
		moved := errors.Is(err, store.ErrMoved)
		if !moved && !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrClosed) {
			return err
		}
		// Somebody was first, or it is stored and nobody told us.
		switch mine, readErr := m.catchUp(ctx, name); {
		case readErr == nil && mine:
			m.tell(0, nil)
			return nil
		case readErr == nil && moved:
			raw, name = m.entry(records)
			continue
		case time.Now().After(end) || ctx.Err() != nil:
			return fmt.Errorf("%w: %w", store.ErrUnknown, errors.Join(err, readErr))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastBackoff)
	}
}

// entry makes an entry of records, which may be none; nil if there are none to be.
func (m *Mailboxes) entry(records func(x *index, at presence.Time) []byte) (raw []byte, name uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, name := m.judge(), rand.Uint64()
	body := records(&m.index, at)
	if body == nil {
		return nil, 0
	}
	return append(appendEntry(make([]byte, 0, len(body)+24), name, at), body...), name
}

// apply folds an entry and gives what came to who takes it.
func (m *Mailboxes) apply(seq uint64, raw []byte) (folded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	did, err := m.fold(seq, raw)
	if err != nil {
		return did, err
	}
	m.stats.Entries++
	if did.erase {
		m.scrub = seq
		m.due = time.Now().Add(scrubDelay)
	}
	for _, b := range did.came {
		m.arrive(b)
	}
	for _, t := range did.outrun {
		t.wake()
	}
	return did, nil
}

// catchUp folds what is stored behind the last entry known, and reports
// whether the entry of that name is among it.
func (m *Mailboxes) catchUp(ctx context.Context, name uint64) (mine bool, err error) {
	last, err := m.cfg.Store.ReplayMail(ctx, m.last+1, func(seq uint64, raw []byte) error {
		did, err := m.apply(seq, raw)
		mine = mine || err == nil && did.name == name
		return err
	})
	if err == nil {
		m.mu.Lock()
		m.last = max(m.last, last)
		m.mu.Unlock()
	}
	return mine, err
}

// judge sets the clock that messages are judged by. The lock is held.
func (m *Mailboxes) judge() presence.Time {
	m.clock = max(m.clock, m.now())
	return m.clock
}
