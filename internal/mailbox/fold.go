package mailbox

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// held is one message in the index. Its number is that of its place when it was
// put, and stays: the entry's sequence and its rank among the entry's messages.
type held struct {
	number  uint64
	in      *entry // where it stands now; nil once it has left its queue
	queue   *queue
	offset  uint32 // of the body in the entry
	size    uint32
	cost    uint32 // of the whole record, about
	at      presence.Time
	expires presence.Time // 0: never
	hash    uint64
	body    []byte // nil: to be read back from the store
	void    bool   // it left because it was revoked or erased: not to be told any more
}

// dead reports a message whose time is over.
func (h *held) dead(now presence.Time) bool { return h.expires != 0 && h.expires <= now }

// entryCost is what an entry takes beyond its bytes, on disk and in the index.
const entryCost = 128

// numbersPerEntry bounds the messages of an entry; a number is a sequence and a rank.
const numbersPerEntry = 1 << 14

// queue holds what one publisher has for one user, in the order of numbers.
type queue struct {
	box       *box
	publisher string
	held      []*held
}

// box is the mailbox of one user: his queues, and the connections that take from
// them. It is in the index while it has either.
type box struct {
	user   presence.User
	queues map[string]*queue
	takers []*Taker
	wrote  uint64 // the highest number that a connection has written
	handed uint64 // through this number everything was handed over, and is on its way out
	waits  bool   // the store has not noted it yet
	due    bool   // a window is open: takers get time to write what they were given
}

// entry is one entry of the stream, as far as something stands in it.
type entry struct {
	sequence uint64
	size     int
	live     []*held // what was put or moved there; those that left it may still be on it
	count    int     // that have not left
	puts     int     // messages put so far
	latest   presence.Time
	lasting  bool // something in it never expires
}

// index is the fold of the stream. The goroutine of commit.go changes it, with the
// lock of Mailboxes held.
type index struct {
	boxes   map[presence.User]*box
	entries []*entry      // in order; the first has something live in it
	last    uint64        // sequence of the last entry folded
	clock   presence.Time // the latest time that messages were judged by
	total   int64         // bytes of entries
	live    int64         // of messages in queues
	count   int           // messages in queues
	byApp   map[presence.AppID]int64

	text      int64 // bytes of bodies in memory
	textBound int64
	cooled    uint64 // entries through this sequence have given theirs up
}

func newIndex(textBound int64) index {
	return index{boxes: map[presence.User]*box{}, byApp: map[presence.AppID]int64{}, textBound: textBound}
}

// folded is what an entry did.
type folded struct {
	name  uint64
	came  []*box // who has a new message
	erase bool   // somebody was erased

	outrun []*Taker // that were not given what has left
}

// fold takes one entry. An entry that cannot be read changes nothing.
func (x *index) fold(sequence uint64, raw []byte) (did folded, err error) {
	var records []*record
	err = parseEntry(raw, func(name uint64, at presence.Time) {
		did.name = name
		x.clock = max(x.clock, at)
	}, func(r *record) { records = append(records, r) })
	if err != nil {
		return folded{}, fmt.Errorf("entry %d: %w", sequence, err)
	}
	e := &entry{sequence: sequence, size: len(raw)}
	x.passed(sequence)
	x.last = sequence
	x.entries = append(x.entries, e)
	x.total += entryCost + int64(e.size)
	for _, r := range records {
		x.take(e, r, &did)
	}
	x.cool()
	return did, nil
}

func (x *index) take(e *entry, r *record, did *folded) {
	switch r.kind {
	case recordPut:
		q := x.queueOf(r.user, r.publisher)
		x.put(e, q, r)
		if !slices.Contains(did.came, q.box) {
			did.came = append(did.came, q.box)
		}
		return
	case recordMove:
		x.move(e, x.queueOf(r.user, r.publisher), r)
	}
	did.erase = did.erase || r.kind == recordErase
	b := x.boxes[r.user]
	if b == nil {
		return
	}
	switch r.kind {
	case recordErase, recordPurge:
		b.void(r)
	case recordTaken:
		did.outrun = append(did.outrun, x.outrun(b, r.number)...)
	}
	for name, q := range b.queues {
		switch {
		case r.kind == recordTaken:
			x.drop(q, func(h *held) bool { return h.number <= r.number })
		case r.kind == recordErase, r.kind == recordPurge && name == r.publisher:
			x.drop(q, func(*held) bool { return true })
		}
	}
	x.tidy(b)
}

// void makes what takers were given and have not taken be told no more, also what
// has left its queue because another wrote it.
func (b *box) void(r *record) {
	for _, t := range b.takers {
		for _, p := range t.given {
			p.void = p.void || r.kind == recordErase || p.queue.publisher == r.publisher
		}
	}
}

// put adds a message, in place of the one that gave way to it.
func (x *index) put(e *entry, q *queue, r *record) {
	x.drop(q, func(h *held) bool { return h.dead(x.clock) })
	if d := r.dropped; d.some {
		if d.here {
			d.number += e.sequence * numbersPerEntry
		}
		x.drop(q, func(h *held) bool { return h.number == d.number })
	}
	h := &held{number: e.sequence*numbersPerEntry + uint64(e.puts), queue: q, at: r.at, expires: r.expires(), hash: r.hash}
	e.puts++
	x.place(h, e, r)
	q.held = append(q.held, h)
	x.count++
	x.live += int64(h.cost)
	x.byApp[q.box.user.App] += int64(h.cost)
}

// move makes a message stand in e. One that is not known was cut away with the
// entry it stood in before this fold began.
func (x *index) move(e *entry, q *queue, r *record) {
	i, known := slices.BinarySearchFunc(q.held, r.number, func(h *held, n uint64) int { return cmp.Compare(h.number, n) })
	if known {
		h := q.held[i]
		x.text -= int64(len(h.body))
		h.in.count--
		x.place(h, e, r)
		return
	}
	h := &held{number: r.number, queue: q, at: r.at, expires: r.expires(), hash: r.hash}
	x.place(h, e, r)
	q.held = slices.Insert(q.held, i, h)
	x.count++
	x.live += int64(h.cost)
	x.byApp[q.box.user.App] += int64(h.cost)
}

// place makes h stand in e as r says.
func (x *index) place(h *held, e *entry, r *record) {
	h.in, h.offset, h.size, h.cost = e, uint32(r.offset), uint32(len(r.body)), r.cost()
	h.body = bytes.Clone(r.body)
	x.text += int64(len(h.body))
	e.live = append(e.live, h)
	e.count++
	e.latest = max(e.latest, h.expires)
	e.lasting = e.lasting || h.expires == 0
}

// drop takes messages out of a queue.
func (x *index) drop(q *queue, which func(h *held) bool) {
	q.held = slices.DeleteFunc(q.held, func(h *held) bool {
		gone := which(h)
		if gone {
			x.leave(h)
		}
		return gone
	})
}

// leave does the sums when a message leaves its queue. Its text stays with takers
// that were given it.
func (x *index) leave(h *held) {
	h.in.count--
	if h.in.count == 0 {
		h.in.live = nil
	}
	h.in = nil
	x.count--
	x.live -= int64(h.cost)
	if x.byApp[h.queue.box.user.App] -= int64(h.cost); x.byApp[h.queue.box.user.App] == 0 {
		delete(x.byApp, h.queue.box.user.App)
	}
	x.text -= int64(len(h.body))
}

// boxOf and queueOf make what is missing.
func (x *index) boxOf(user presence.User) *box {
	b := x.boxes[user]
	if b == nil {
		b = &box{user: user}
		x.boxes[user] = b
	}
	return b
}

func (x *index) queueOf(user presence.User, publisher string) *queue {
	b := x.boxOf(user)
	q := b.queues[publisher]
	if q == nil {
		q = &queue{box: b, publisher: publisher}
		if b.queues == nil {
			b.queues = map[string]*queue{}
		}
		b.queues[publisher] = q
	}
	return q
}

// tidy forgets queues and a box that hold nothing.
func (x *index) tidy(b *box) {
	for name, q := range b.queues {
		if len(q.held) == 0 {
			delete(b.queues, name)
		}
	}
	if len(b.queues) == 0 && len(b.takers) == 0 && !b.due && x.boxes[b.user] == b {
		delete(x.boxes, b.user)
	}
}

// cool gives up the texts of the oldest entries until the rest are within the bound.
func (x *index) cool() {
	if x.text <= x.textBound {
		return
	}
	i, _ := slices.BinarySearchFunc(x.entries, x.cooled+1, func(e *entry, n uint64) int { return cmp.Compare(e.sequence, n) })
	for ; i < len(x.entries) && x.text > x.textBound; i++ {
		for _, h := range x.entries[i].live {
			if h.in == x.entries[i] {
				x.text -= int64(len(h.body))
				h.body = nil
			}
		}
		x.cooled = x.entries[i].sequence
	}
}

// trim forgets entries at the front in which nothing is left, and returns the
// sequence that the stream may be cut before.
func (x *index) trim() uint64 {
	n := 0
	for ; n < len(x.entries) && x.entries[n].count == 0; n++ {
		x.total -= entryCost + int64(x.entries[n].size)
	}
	x.entries = slices.Delete(x.entries, 0, n)
	if len(x.entries) == 0 {
		return x.last
	}
	return x.entries[0].sequence
}

// sweep drops messages whose time is over from up to n entries, beginning with the
// i-th, and returns where to go on; 0 is the end. The clock must be set before.
func (x *index) sweep(i, n int) (next int) {
	for end := min(i+n, len(x.entries)); i < end; i++ {
		e := x.entries[i]
		if e.count == 0 || e.latest > x.clock && len(e.live) < sweepWhole || e.latest == 0 {
			continue
		}
		for _, h := range slices.Clone(e.live) {
			if h.in == e && h.dead(x.clock) {
				x.drop(h.queue, func(o *held) bool { return o.dead(x.clock) })
				x.tidy(h.queue.box)
			}
		}
	}
	if i >= len(x.entries) {
		return 0
	}
	return i
}

// sweepWhole is from how many messages on an entry is swept although some of them
// still have time.
const sweepWhole = 64
