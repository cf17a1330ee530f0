package cluster

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// holdFor is how long a batch waits for those before it. The transport keeps
	// the order of one sender save around its own reconnects.
	holdFor = 100 * time.Millisecond
	// maxHeld batches are held; more of them are no disorder but a loss.
	maxHeld = 64
	// muteAfter is how long a node may be heard without any of its batches: there
	// is one every 500 ms.
	muteAfter = 3 * time.Second
)

// origin is the log of another node as it arrives here.
type origin struct {
	c           *Cluster
	incarnation Incarnation

	// mu is held over every call of the table, the topics and the listener about
	// this node, and guards what follows. The cluster's mu is never taken before it.
	mu       sync.Mutex
	next     uint64 // number of the next batch
	held     []held // later ones, in order
	cause    Reason // not zero: the next comparison repairs whatever differs
	met      bool   // digests were compared once
	over     bool   // it left or is gone: nothing of it counts any more
	behind   int    // it is heard again: so many comparisons more must find nothing to copy
	arrived  time.Duration
	hearing  bool   // it is being subscribed to
	stop     func() // of the subscription
	differed Digests
	theirs   Digests // scratch of compare
	ours     Digests
	repair   repair
	awaited  []passage // who waits for batches that did not come yet

	// What others may ask for while mu is held.
	position atomic.Uint64 // of the last batch that was applied
	loaded   atomic.Bool   // all of the node's sessions were copied once
	shown    atomic.Pointer[Repairs]
}

// held is a batch that came before its turn.
type held struct {
	number uint64
	b      []byte // its entries
	until  time.Duration
}

// listen subscribes to the log behind the position that a heartbeat told.
func (o *origin) listen(position uint64, cause Reason) {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return
	}
	o.next, o.cause, o.held = position+1, cause, nil
	o.position.Store(position)
	o.arrived = o.c.now()
	old := o.stop
	o.stop = nil
	o.missed() // whatever it told before, as this incarnation or an earlier one
	o.mu.Unlock()
	if old != nil {
		old()
	}
	stop, err := o.c.cfg.Transport.Subscribe(o.c.subject("ch", o.incarnation), func(_ string, b []byte, _ func([]byte)) { o.receive(b) })
	if err != nil {
		o.c.log.Warn("cannot subscribe to a node's changes; trying again", "incarnation", o.incarnation, "error", err)
		return
	}
	o.mu.Lock()
	// Stop ends those that it finds, and this may not be among them any more.
	if !o.over && o.c.ctx.Err() == nil {
		stop, o.stop = o.stop, stop
	}
	o.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// listenSoon is listen to a log that is new, or from which nothing comes; hearing is
// set. It waits for the transport, which may be what is broken: the heartbeats of this
// node, and those that it hears, must not.
func (o *origin) listenSoon(position uint64, cause Reason) {
	o.c.goes(func() {
		o.listen(position, cause)
		o.mu.Lock()
		o.hearing = false
		o.mu.Unlock()
	})
}

// end ends all that goes on for the log: nothing of it counts any more.
func (o *origin) end() {
	o.mu.Lock()
	o.over = true
	stop := o.stop
	o.stop, o.held = nil, nil
	o.repair.drop()
	o.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// receive takes one batch from the transport.
func (o *origin) receive(b []byte) {
	r := reader{b: b}
	protocol, kind, from, number := r.byte(), r.byte(), r.fixed(), r.fixed()
	if r.bad || protocol != Protocol || kind != frameBatch || from != o.incarnation {
		o.c.counts.unread.Add(1)
		return
	}
	o.c.counts.receivedBatches.Add(1)
	o.c.counts.receivedBytes.Add(uint64(len(b)))
	now := o.c.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	o.arrived = now
	switch {
	case number < o.next:
		o.c.counts.late.Add(1)
		return
	case number > o.next:
		o.hold(held{number, r.b, now + holdFor})
	default:
		o.apply(r.b)
	}
	o.unhold(now)
	o.finish()
}

// hold keeps a batch that came before its turn. mu is held.
func (o *origin) hold(h held) {
	at, there := slices.BinarySearchFunc(o.held, h.number, func(a held, n uint64) int {
		switch {
		case a.number < n:
			return -1
		case a.number > n:
			return 1
		}
		return 0
	})
	if there {
		o.c.counts.late.Add(1)
		return
	}
	o.held = slices.Insert(o.held, at, h)
}

// unhold applies what is held and whose turn it is, and gives up what should
// have come before it. mu is held.
func (o *origin) unhold(now time.Duration) {
	for len(o.held) > 0 {
		h := o.held[0]
		if h.number > o.next {
			if len(o.held) <= maxHeld && !slices.ContainsFunc(o.held, func(h held) bool { return now >= h.until }) {
				return
			}
			o.c.counts.gaps.Add(1)
			o.c.counts.skipped.Add(h.number - o.next)
			o.cause = max(o.cause, Gap)
			o.missed()
			o.next = h.number
		}
		o.held = slices.Delete(o.held, 0, 1)
		if h.number == o.next {
			o.apply(h.b)
		}
	}
}

// missed tells every topic that messages were lost. mu is held.
func (o *origin) missed() {
	for _, t := range o.c.topics {
		t.Missed(o.incarnation)
	}
}

// apply applies the entries of the next batch. mu is held.
func (o *origin) apply(b []byte) {
	o.position.Store(o.next)
	o.next++
	r := reader{b: b}
	var group [][]byte
	shard := -1
	give := func() {
		if len(group) > 0 {
			o.c.cfg.Table.Apply(o.incarnation, shard, group)
			o.repair.note(shard, group)
			o.c.counts.applied.Add(uint64(len(group)))
			group = group[:0]
		}
	}
	for len(r.b) > 0 {
		switch entry := r.number(); {
		case entry == entryDigests:
			give()
			if r.digests(&o.theirs); !r.bad {
				o.compare()
			}
		case entry == entryTell:
			give()
			o.told(&r)
		case entry-entryChange < Shards:
			if at := int(entry - entryChange); at != shard {
				give()
				shard = at
			}
			if b := r.bytes(); !r.bad {
				group = append(group, b)
			}
		default:
			r.fail()
		}
	}
	give()
	o.passes()
	if r.bad {
		o.c.counts.unread.Add(1)
		o.cause = max(o.cause, Gap)
		o.missed()
	}
}

// told gives a message to its topic. mu is held.
func (o *origin) told(r *reader) {
	topic, b := r.text(), r.bytes()
	if r.bad {
		return
	}
	o.c.counts.told.Add(1)
	if t := o.c.topics[topic]; t != nil {
		t.Told(o.incarnation, b)
	}
}

// tick does what waits for time: batches that were held long enough, shards to
// ask for again, a log that has fallen silent. heard says whether the node itself
// is heard, and position where its log stood then.
func (o *origin) tick(heard bool, position uint64) {
	// Whoever holds it does so for the table or the listener, for as long as they
	// take. The heartbeats of this node must not wait for them.
	if !o.mu.TryLock() {
		return
	}
	now := o.c.now()
	if o.over {
		o.mu.Unlock()
		return
	}
	o.unhold(now)
	o.finish()
	o.pump()
	mute := heard && !o.hearing && now-o.arrived > muteAfter
	o.hearing = o.hearing || mute
	o.mu.Unlock()
	if mute {
		o.c.counts.mute.Add(1)
		o.listenSoon(position, Mute)
	}
}
