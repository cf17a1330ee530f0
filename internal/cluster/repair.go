package cluster

import (
	"context"
	"time"
)

const (
	// pullShards is how many shards are asked for at once, and maxPulls how often
	// that is under way with one node: some megabytes at most wait here and in the
	// transport, whatever there is to copy.
	pullShards = 32
	maxPulls   = 4
	// pullTimeout is when an answer counts as lost of which no part came for so long,
	// and pullLimit how long it may take in all: a slow link must not begin anew for ever.
	pullTimeout, pullLimit = 3 * time.Second, 30 * time.Second
	// A drift that repairs do not end is a fault of the tables: then repairs wait,
	// ever longer.
	driftWait, maxDriftWait = 500 * time.Millisecond, 8 * time.Second
	// comparisonsBehind is how many comparisons one after the other must find nothing
	// to copy until a node that is heard again is caught up with: a difference that no
	// known loss explains counts when it is met a second time.
	comparisonsBehind = 2
	// What was refused or lost is asked for again after askWait.
	askWait = 200 * time.Millisecond
)

// repair is what is copied anew from one node. It is guarded by the origin's mu.
type repair struct {
	want    [Shards]Reason // not zero: wanted, or under way
	wanted  int
	under   [Shards]bool // under way
	waiting int          // wanted, and not under way
	cursor  int          // where the search for the next one begins
	pulls   map[uint64]*pull
	after   time.Duration // nothing is asked for before
	stats   Repairs

	drift      time.Duration // no drift is repaired before
	driftWaits time.Duration
}

// pull is one question for shards.
type pull struct {
	id       uint64
	shards   []int
	until    time.Duration
	asked    bool // the answer says how many parts there are
	parts    [][]byte
	missing  int
	position uint64 // what the shards contain for sure
	// since are the changes that were applied after the question, by shard: the
	// shards may be older than they are.
	since  map[int][][]byte
	cancel context.CancelFunc
}

// compare holds the digests that stand at this place of the log against the
// replica. What differs after a loss, or twice in the same way, is wanted: a
// change that is under way makes a difference only once. mu is held.
func (o *origin) compare() {
	o.c.cfg.Table.Digests(o.incarnation, &o.ours)
	now, p := o.c.now(), &o.repair
	drifts := 0
	for i := range o.theirs {
		x := o.theirs[i] ^ o.ours[i]
		if x != 0 && p.want[i] == NoRepair {
			if o.cause != NoRepair {
				p.add(i, o.cause)
			} else if x == o.differed[i] && now >= p.drift {
				drifts++
				p.add(i, Drift)
			}
		}
		o.differed[i] = x
	}
	switch {
	case drifts > 0:
		p.driftWaits = min(max(2*p.driftWaits, driftWait), maxDriftWait)
		p.drift = now + p.driftWaits
	case now > p.drift+2*p.driftWaits:
		p.driftWaits = 0
	}
	o.met, o.cause = true, NoRepair
	if p.wanted == 0 {
		o.loaded.Store(true)
	}
	o.caught()
	o.c.counts.compared.Add(1)
	o.pump()
}

// caught tells, after a comparison, when nothing is missing of what the node told
// while it was not heard. mu is held.
func (o *origin) caught() {
	if o.behind == 0 {
		return
	}
	if o.repair.wanted > 0 {
		o.behind = comparisonsBehind
		return
	}
	if o.behind--; o.behind == 0 {
		o.c.cfg.Listener.Caught(o.incarnation)
	}
}

// add wants a shard.
func (p *repair) add(shard int, why Reason) {
	p.want[shard] = why
	p.wanted++
	p.waiting++
}

// note keeps changes that were applied while their shard is under way.
func (p *repair) note(shard int, changes [][]byte) {
	if shard < 0 || !p.under[shard] {
		return
	}
	for _, l := range p.pulls {
		if _, mine := l.since[shard]; mine {
			l.since[shard] = append(l.since[shard], changes...)
		}
	}
}

// pump asks for what is wanted, as far as the limits go. mu is held.
func (o *origin) pump() {
	now, p := o.c.now(), &o.repair
	for id, l := range p.pulls {
		if now >= l.until {
			o.c.counts.pullsLost.Add(1)
			p.forget(id)
		}
	}
	if o.over || now < p.after {
		return
	}
	for len(p.pulls) < maxPulls && p.waiting > 0 {
		l := &pull{id: o.c.pullID.Add(1), until: now + pullTimeout, since: map[int][][]byte{}}
		p.choose(l)
		ctx, cancel := context.WithTimeout(o.c.ctx, pullLimit)
		l.cancel = cancel
		ask := appendPull(nil, l)
		if !o.c.goes(func() { o.ask(ctx, l, ask) }) {
			p.forget(l.id)
			return
		}
	}
}

// choose gives a pull its shards.
func (p *repair) choose(l *pull) {
	for range Shards {
		if p.waiting == 0 || len(l.shards) == pullShards {
			break
		}
		if i := p.cursor; p.want[i] != NoRepair && !p.under[i] {
			p.under[i] = true
			p.waiting--
			l.shards, l.since[i] = append(l.shards, i), nil
		}
		p.cursor = (p.cursor + 1) % Shards
	}
	if p.pulls == nil {
		p.pulls = map[uint64]*pull{}
	}
	p.pulls[l.id] = l
}

// forget ends a pull; what it asked for is wanted still.
func (p *repair) forget(id uint64) {
	l := p.pulls[id]
	if l == nil {
		return
	}
	l.cancel()
	delete(p.pulls, id)
	for _, s := range l.shards {
		p.under[s] = false
		if p.want[s] != NoRepair {
			p.waiting++
		}
	}
}

// drop ends everything.
func (p *repair) drop() {
	for id := range p.pulls {
		p.forget(id)
	}
	clear(p.want[:])
	p.wanted, p.waiting = 0, 0
}

// ask sends the question. The shards come on a subject of their own; the answer
// says how many parts they are.
func (o *origin) ask(ctx context.Context, l *pull, ask []byte) {
	defer l.cancel()
	answer, err := o.c.ask(ctx, o.incarnation, methodShards, ask)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.repair.pulls[l.id] != l {
		return
	}
	r := reader{b: answer}
	parts, position := r.number(), r.number()
	if err != nil || r.bad || parts > maxParts {
		o.repair.forget(l.id)
		o.repair.after = o.c.now() + askWait
		return
	}
	l.asked, l.position = true, position
	l.grow(int(parts))
	o.finish()
}

// grow makes room for so many parts.
func (l *pull) grow(parts int) {
	for len(l.parts) < parts {
		l.parts = append(l.parts, nil)
		l.missing++
	}
}

// maxParts bounds what an answer may claim: 32 shards of ten million sessions each.
const maxParts = 1 << 16

// part takes one message of the subject on which shards come.
func (c *Cluster) part(b []byte) {
	r := reader{b: b}
	protocol, kind, from := r.byte(), r.byte(), r.fixed()
	id, part := r.number(), r.number()
	if r.bad || protocol != Protocol || kind != frameShards || part >= maxParts {
		c.counts.unread.Add(1)
		return
	}
	o := c.originOf(from)
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.repair.pulls[id]
	if l == nil || o.over {
		return
	}
	l.grow(int(part) + 1)
	if l.parts[part] == nil {
		l.parts[part] = r.b
		l.missing--
	}
	l.until = o.c.now() + pullTimeout // it comes, however slowly
	o.finish()
}

// finish puts in place what has come whole, once all is applied that it is known
// to contain. mu is held.
func (o *origin) finish() {
	for id, l := range o.repair.pulls {
		if !l.asked || l.missing > 0 || l.position >= o.next {
			continue
		}
		o.place(l)
		o.repair.forget(id)
	}
	o.pump()
}

// place replaces the shards of a pull. mu is held.
func (o *origin) place(l *pull) {
	p := &o.repair
	changes := map[int][][]byte{}
	whole := map[int]bool{}
	for _, b := range l.parts {
		if parseShards(b, changes, whole) != nil {
			o.c.counts.unread.Add(1)
			p.after = o.c.now() + askWait
			return
		}
	}
	for _, shard := range l.shards {
		if !whole[shard] {
			continue // asked for again
		}
		// What was told since is among them: it must not be gone for a moment.
		o.c.cfg.Table.Replace(o.incarnation, shard, append(changes[shard], l.since[shard]...))
		p.stats.Shards++
		p.stats.Sessions += uint64(len(changes[shard]))
		p.stats.Last, p.stats.Reason = time.Now(), p.want[shard]
		o.c.counts.repaired[p.want[shard]].Add(1)
		o.c.counts.repairedAt[p.want[shard]].Store(p.stats.Last.UnixMilli())
		o.c.counts.copied.Add(uint64(len(changes[shard])))
		o.differed[shard], p.want[shard] = 0, NoRepair
		p.wanted--
	}
	shown := p.stats
	o.shown.Store(&shown)
	o.loaded.Store(o.met && p.wanted == 0)
}
