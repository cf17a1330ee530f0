package mailbox

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// MaxWaiting is how many messages one connection may have been given without
// taking them. The rest waits in the mailbox.
const MaxWaiting = 256

// takeBytes bounds what one Take returns, but for the last message.
const takeBytes = 8 << 10

// ErrSlow ends a taker: others have written messages that it had no room for, and
// they are gone. Its door closes the connection, which may come back at once.
var ErrSlow = errors.New("mailbox: the connection takes too slowly")

// Taker is one connection that takes a user's messages. Its methods may be called
// by one goroutine at a time.
type Taker struct {
	m    *Mailboxes
	box  *box
	wake func()

	// Guarded by the lock of Mailboxes.
	given   []parcel // and not taken
	through uint64   // number of the last one given
	taken   uint64   // and taken
	written uint64   // and written
	feeding bool     // older ones are being read back: nothing is given meanwhile
	ended   bool
	slow    bool
}

// parcel is a message on its way, with its text whatever becomes of it.
type parcel struct {
	*held
	body []byte
}

// Attach makes a connection of the user take messages: what his queues hold, oldest
// first, and what comes. wake is called when there is something to Take; it must not
// block or call back. Attach waits for the store when texts are to be read back. Call
// Close when the connection ends.
func (m *Mailboxes) Attach(ctx context.Context, user presence.User, wake func()) *Taker {
	m.mu.Lock()
	b := m.boxOf(user)
	t := &Taker{m: m, box: b, wake: wake, through: b.handed, taken: b.handed, written: b.handed}
	b.takers = append(b.takers, t)
	m.takers++
	m.mu.Unlock()
	m.feed(ctx, t)
	return t
}

// Close ends the taker. What it was given and has not written stays for the next,
// unless another connection wrote it.
func (t *Taker) Close() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if t.ended {
		return
	}
	t.ended, t.given = true, nil
	t.m.takers--
	t.box.takers = slices.DeleteFunc(t.box.takers, func(o *Taker) bool { return o == t })
	t.m.settle(t.box, t.written)
	t.m.tidy(t.box)
}

// Take appends up to n messages to dst, of about 8 KB at most, and reports whether more wait. Messages
// whose time is over are left out. Call Wrote when what it returned has reached the
// connection. The error is ErrSlow, or nil.
func (t *Taker) Take(dst []Message, n int) (list []Message, more bool, err error) {
	now := t.m.now()
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if t.slow {
		return dst, false, ErrSlow
	}
	i, bytes := 0, 0
	for ; i < len(t.given) && n > 0 && bytes < takeBytes; i++ {
		h := t.given[i]
		bytes += len(h.body)
		t.taken = h.number
		if h.void || h.dead(now) {
			continue
		}
		msg, err := parseBody(h.body)
		if err != nil {
			t.m.log.Error("a message of a mailbox cannot be read", "app", t.box.user.App, "error", err)
			continue
		}
		msg.Publisher, msg.At, msg.Expires = h.queue.publisher, h.at, h.expires
		dst = append(dst, msg)
		n--
	}
	t.given = slices.Delete(t.given, 0, i)
	if len(t.given) == 0 {
		t.given = nil // an idle connection keeps nothing
		t.m.again(t)
	}
	return dst, len(t.given) > 0, nil
}

// Wrote says that everything taken so far was written to the connection.
func (t *Taker) Wrote() {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if t.ended || t.written == t.taken {
		return
	}
	t.written = t.taken
	t.m.settle(t.box, t.written)
}

// next are the messages of the box that t was not given yet, in order, as many as
// it has room for.
func (t *Taker) next() (list []*held, more bool) {
	room, now := MaxWaiting-len(t.given), t.m.now()
	after := max(t.through, t.box.handed)
	for _, q := range t.box.queues {
		i, _ := slices.BinarySearchFunc(q.held, after+1, func(h *held, n uint64) int { return cmp.Compare(h.number, n) })
		for _, h := range q.held[i:] {
			if !h.dead(now) { // its text may be gone: other nodes' clocks are not this one's
				list = append(list, h)
			}
		}
	}
	slices.SortFunc(list, func(a, b *held) int { return cmp.Compare(a.number, b.number) })
	if len(list) > room {
		return list[:room], true
	}
	return list, false
}

// give hands t what it was not given yet, as far as there is room, or returns which
// texts are missing that are neither in memory nor among texts. The lock is held.
func (m *Mailboxes) give(t *Taker, texts map[*held][]byte) (missing []place) {
	list, _ := t.next()
	parcels := make([]parcel, 0, len(list))
	for _, h := range list {
		body := h.body
		if body == nil {
			body = texts[h]
		}
		if body == nil {
			missing = append(missing, placeOf(h))
		}
		parcels = append(parcels, parcel{h, body})
	}
	if len(missing) > 0 || len(list) == 0 {
		return missing
	}
	t.given = append(t.given, parcels...)
	t.through = list[len(list)-1].number
	m.open(t.box)
	t.wake()
	return nil
}

// feed gives t what it was not given yet, and reads back what it takes for that.
func (m *Mailboxes) feed(ctx context.Context, t *Taker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.feeding || t.ended {
		return
	}
	t.feeding = true
	missing := m.give(t, nil)
	for try, wait := 0, firstBackoff; len(missing) > 0 && !t.ended && try < readTries; try, wait = try+1, 2*wait {
		m.mu.Unlock()
		texts, err := m.readBack(ctx, missing)
		if err == nil && len(texts) < len(missing) && m.cfg.Tell != nil {
			m.Missed() // another node has written them anew, and this one has not heard of it
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		m.mu.Lock()
		if err != nil {
			m.log.Warn("messages of a mailbox wait until the next one comes: their text cannot be read", "app", t.box.user.App, "error", err)
			break
		}
		missing = m.give(t, texts)
	}
	t.feeding = false
}

// again goes on with what a taker had no room for. The lock is held.
func (m *Mailboxes) again(t *Taker) {
	if list, _ := t.next(); len(list) == 0 || t.feeding || t.ended {
		return
	}
	if len(m.give(t, nil)) > 0 {
		m.spawn(func(ctx context.Context) { m.feed(ctx, t) })
	}
}

// arrive gives the takers of a box what is new. The lock is held.
func (m *Mailboxes) arrive(b *box) {
	for _, t := range b.takers {
		if !t.feeding {
			m.again(t)
		}
	}
}

// settle decides what of a box was handed over, when a taker has written through a
// number or has gone: what all have written; and what one has written, when the
// others had their time. The lock is held.
func (m *Mailboxes) settle(b *box, written uint64) {
	b.wrote = max(b.wrote, written)
	all := b.wrote
	if b.due {
		for _, t := range b.takers {
			all = min(all, t.written)
		}
	}
	if all <= b.handed {
		return
	}
	b.handed = all
	for _, t := range b.takers {
		if t.through < all {
			t.slow, t.given = true, nil
			t.wake()
		}
	}
	if !b.waits {
		b.waits = true
		m.handed = append(m.handed, b)
	}
	m.poke()
}
