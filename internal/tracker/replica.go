package tracker

import (
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// What the cluster asks of the table (cluster.Table).

// Apply takes changes of sessions that origin has.
func (t *Tracker) Apply(origin uint64, shard int, changes [][]byte) {
	for _, b := range changes {
		t.apply(origin, shard, b)
	}
}

// apply takes one and returns which session it tells of.
func (t *Tracker) apply(origin uint64, shard int, b []byte) (ref Ref, ok bool) {
	m, err := parseTold(b)
	if err != nil || t.shardIndex(m.ref.User) != shard || m.created {
		if more, say := t.peers.count(&t.peers.garbled, t.wheel.Now()); say {
			t.log.Warn("another node tells of sessions what this one cannot read; their statuses here are old until the versions agree",
				"origin", origin, "since", more, "error", err)
		}
		return ref, false
	}
	if m.epoch.Incarnation != origin {
		// It tells of a session that it is about to take over, or could not.
		t.hold(&m)
		return m.ref, true
	}
	sh := &t.shards[shard]
	sh.mu.Lock()
	after := t.hear(sh, &m)
	t.restOf(sh, m.ref.User)
	sh.mu.Unlock()
	after()
	return m.ref, true
}

// unreadEvery is how often it is said that what others tell cannot be read: they may
// tell thousands of such things a second.
const unreadEvery = 30 * time.Second

// unread counts what is not said each time; the peering's lock guards it.
type unread struct {
	since int           // there were since it was said
	at    time.Duration // the wheel's time at which it was; 0: never
}

// count counts one, and reports whether to say so, and how many there were since.
func (p *peering) count(u *unread, now time.Duration) (since int, say bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u.since++
	if u.at != 0 && now-u.at < unreadEvery {
		return 0, false
	}
	since, *u = u.since, unread{at: max(now, 1)}
	return since, true
}

// hold keeps a lost node's session open while another node takes it over, or
// does so no more.
func (t *Tracker) hold(m *told) {
	sh := t.shard(m.ref.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if u := sh.known(m.ref.User); u != nil {
		if s := u.session(m.ref.Session); s != nil && s.foreign && s.epoch == m.epoch && s.phase.Open() {
			t.keep(s, m.held)
		}
	}
}

// Dump gives f each session of this node's own in a shard.
func (t *Tracker) Dump(shard int, f func(b []byte)) {
	var all []told
	sh := &t.shards[shard]
	sh.mu.Lock()
	for _, u := range sh.users {
		for _, s := range u.sessions {
			if !s.foreign && !s.dead && !s.over && s.truth.Opened != 0 {
				all = append(all, s.told())
			}
		}
	}
	sh.mu.Unlock()
	var b []byte
	for i := range all {
		b = all[i].append(b[:0])
		f(b)
	}
}

// Digests fills d with a number for each shard of origin's sessions.
func (t *Tracker) Digests(origin uint64, d *[Shards]uint64) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		d[i] = sh.peers.digests[origin]
		sh.mu.Unlock()
	}
}

// Replace says that these are all the sessions that origin has in a shard. What
// is not among them goes only if the log told of its end: the log decides which
// sessions there are, and it may be read late here. Who tells of a session has read
// its opening there.
func (t *Tracker) Replace(origin uint64, shard int, changes [][]byte) {
	there := make(map[presence.SessionID]bool, len(changes))
	for _, b := range changes {
		if ref, ok := t.apply(origin, shard, b); ok {
			there[ref.Session] = true
		}
	}
	var afters []func()
	sh := &t.shards[shard]
	sh.mu.Lock()
	sh.wakeOf(origin)
	for _, u := range sh.users {
		for _, s := range u.sessions {
			if !s.foreign || s.epoch.Incarnation != origin || !s.phase.Open() || there[s.id] {
				continue
			}
			if f := u.folded.Session(s.id); f == nil || f.Phase == presence.FoldClaimed || f.Epoch.Compare(s.epoch) < 0 ||
				f.Phase == presence.FoldOpen && f.Epoch == s.epoch {
				continue
			}
			m := s.told()
			m.close(presence.ReasonLinkLost, t.now(), m.seen)
			afters = append(afters, t.merge(sh, &m))
		}
		t.rest(sh, u)
	}
	sh.mu.Unlock()
	for _, f := range afters {
		f()
	}
}

// close makes m tell that its session closed.
func (m *told) close(reason presence.Reason, at, seen presence.Time) {
	end := func(f *presence.Face) {
		if f.Opened != 0 && f.Closed == 0 {
			f.Closed, f.ClosedAt, f.Reason = 1, at, reason
		}
	}
	hidden := m.hidden()
	m.truth.Opened, m.truth.Changed = 1, 1
	end(&m.truth)
	end(&m.shown)
	m.status = nil
	m.seen = max(m.seen, seen)
	if !hidden {
		m.veiled = max(m.veiled, seen)
	}
}
