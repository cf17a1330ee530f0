package cluster_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

// sessions is a table for tests: numbered sessions of one value each. A change is
// the session's number, the number of the change within the whole log of its
// origin, and whether the session is there still. It notes what must never happen.
type sessions struct {
	mu       sync.Mutex // guards what follows
	self     cluster.Incarnation
	own      shards
	of       map[cluster.Incarnation]*replica
	changes  uint64
	events   []string
	lost     []verdict
	bye      presence.Time // of the last who left
	trouble  []string
	joined   []cluster.Incarnation
	pad      int // bytes added to each change
	onChange func(shard int, b []byte)
}

// verdict is one Lost.
type verdict struct {
	origin cluster.Incarnation
	alive  presence.Time
	since  presence.Time
}

// replica is what is known of one origin.
type replica struct {
	shards
	busy     atomic.Bool
	last     uint64            // highest number of a change
	replaced int               // shard of the last call, when that was Replace; else -1
	vanished map[uint64]uint64 // what that took away
	left     bool
	told     uint64 // last number that a topic was told
	missed   bool   // since then
	tells    int
}

// shards are sessions by shard, with their digests.
type shards struct {
	at     [cluster.Shards]map[uint64]uint64 // session → number of its last change
	digest cluster.Digests
	count  int
}

func hash(id, n uint64) uint64 {
	x := id*0x9e3779b97f4a7c15 ^ n*0xd1b54a32d192ed03
	x = (x ^ x>>32) * 0xd6e8feb86659fd93
	return x ^ x>>32
}

func (s *shards) set(shard int, id, n uint64, gone bool) {
	m := s.at[shard]
	if m == nil {
		m = map[uint64]uint64{}
		s.at[shard] = m
	}
	old, there := m[id]
	if there {
		if old >= n {
			return
		}
		s.digest[shard] ^= hash(id, old)
		s.count--
	}
	if gone {
		delete(m, id)
		return
	}
	m[id] = n
	s.digest[shard] ^= hash(id, n)
	s.count++
}

func (s *shards) clear(shard int) {
	s.count -= len(s.at[shard])
	s.at[shard], s.digest[shard] = nil, 0
}

func newSessions() *sessions { return &sessions{of: map[cluster.Incarnation]*replica{}} }

func encode(dst []byte, id, n uint64, gone bool, pad int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, id)
	dst = binary.LittleEndian.AppendUint64(dst, n)
	b := byte(0)
	if gone {
		b = 1
	}
	dst = append(dst, b)
	return append(dst, make([]byte, pad)...)
}

func decode(b []byte) (id, n uint64, gone bool) {
	return binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), b[16] == 1
}

// change changes one of this node's sessions, and tells.
func (t *sessions) change(id uint64, gone bool) {
	shard := int(id % cluster.Shards)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes++
	t.own.set(shard, id, t.changes, gone)
	t.onChange(shard, encode(nil, id, t.changes, gone, t.pad))
}

// grow adds bytes to each change from now on.
func (t *sessions) grow(pad int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pad = pad
}

func (t *sessions) replica(origin cluster.Incarnation) *replica {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.of[origin]
	if r == nil {
		r = &replica{replaced: -1}
		t.of[origin] = r
	}
	return r
}

func (t *sessions) fail(format string, args ...any) {
	t.trouble = append(t.trouble, fmt.Sprintf(format, args...))
}

// enter notes calls for one origin at the same time. The caller holds mu
// afterwards.
func (t *sessions) enter(origin cluster.Incarnation, what string) (r *replica, leave func()) {
	r = t.replica(origin)
	twice := !r.busy.CompareAndSwap(false, true)
	t.mu.Lock()
	if twice {
		t.fail("%s of %d while another call for it runs", what, origin)
	}
	if r.left {
		t.fail("%s of %d after it left", what, origin)
	}
	return r, func() { t.mu.Unlock(); r.busy.Store(false) }
}

// Apply is cluster.Table's.
func (t *sessions) Apply(origin cluster.Incarnation, shard int, changes [][]byte) {
	r, leave := t.enter(origin, "Apply")
	defer leave()
	again := r.replaced == shard
	r.replaced = -1
	for _, b := range changes {
		id, n, gone := decode(b)
		if n <= r.last && !again {
			t.fail("change %d of %d came after %d", n, origin, r.last)
		}
		if old, there := r.vanished[id]; there && again && !gone && old >= n {
			t.fail("session %d of %d was gone for a moment", id, origin)
		}
		r.last = max(r.last, n)
		r.set(shard, id, n, gone)
	}
}

// Dump is cluster.Table's.
func (t *sessions) Dump(shard int, f func([]byte)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, n := range t.own.at[shard] {
		f(encode(nil, id, n, false, t.pad))
	}
}

// Digests is cluster.Table's.
func (t *sessions) Digests(origin cluster.Incarnation, d *cluster.Digests) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r := t.of[origin]; {
	case origin == t.self:
		*d = t.own.digest
	case r != nil:
		*d = r.digest
	default:
		*d = cluster.Digests{}
	}
}

// Replace is cluster.Table's.
func (t *sessions) Replace(origin cluster.Incarnation, shard int, changes [][]byte) {
	r, leave := t.enter(origin, "Replace")
	defer leave()
	before := r.at[shard]
	r.clear(shard)
	r.replaced = shard
	for _, b := range changes {
		id, n, gone := decode(b)
		if !gone {
			delete(before, id)
		}
		r.set(shard, id, n, gone)
	}
	r.vanished = before
}

func (t *sessions) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, fmt.Sprintf(format, args...))
}

func (t *sessions) Silent(origin cluster.Incarnation, _ presence.Time) { t.note("silent %d", origin) }
func (t *sessions) Returned(origin cluster.Incarnation)                { t.note("returned %d", origin) }
func (t *sessions) Caught(origin cluster.Incarnation)                  { t.note("caught %d", origin) }
func (t *sessions) Isolated()                                          { t.note("isolated") }
func (t *sessions) Frozen()                                            { t.note("frozen") }

func (t *sessions) Lost(origin cluster.Incarnation, alive, since presence.Time) {
	t.note("lost %d", origin)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = append(t.lost, verdict{origin, alive, since})
}

func (t *sessions) Left(origin cluster.Incarnation, alive presence.Time) {
	t.note("left %d", origin)
	t.mu.Lock()
	t.bye = alive
	t.mu.Unlock()
	_, leave := t.enter(origin, "Left")
	defer leave()
	t.of[origin].left = true
}

// goodbye is when the last who left said so.
func (t *sessions) goodbye() presence.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bye
}

// Joined is cluster.Listener's. Another incarnation opens everything anew.
func (t *sessions) Joined(self cluster.Incarnation) {
	t.note("joined %d", self)
	t.mu.Lock()
	anew := t.self != 0 && t.self != self
	t.self = self
	t.joined = append(t.joined, self)
	var ids []uint64
	if anew {
		for i := range t.own.at {
			for id := range t.own.at[i] {
				ids = append(ids, id)
			}
		}
	}
	t.mu.Unlock()
	for _, id := range slices.Sorted(slices.Values(ids)) {
		t.change(id, false)
	}
}

// Told is cluster.Topic's: messages are numbered.
func (t *sessions) Told(origin cluster.Incarnation, b []byte) {
	r, leave := t.enter(origin, "Told")
	defer leave()
	n := binary.LittleEndian.Uint64(b)
	if n <= r.told || n != r.told+1 && !r.missed {
		t.fail("topic message %d of %d came after %d, missed %v", n, origin, r.told, r.missed)
	}
	r.told, r.missed = n, false
	r.tells++
}

// Missed is cluster.Topic's.
func (t *sessions) Missed(origin cluster.Incarnation) {
	r, leave := t.enter(origin, "Missed")
	defer leave()
	r.missed = true
}

// seen returns what happened, and forgets it.
func (t *sessions) seen() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.events
	t.events = nil
	return e
}

// digests returns a copy, of an origin's sessions or of this node's own (0).
func (t *sessions) digests(origin cluster.Incarnation) (d cluster.Digests, count int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if origin == 0 {
		return t.own.digest, t.own.count
	}
	if r := t.of[origin]; r != nil {
		return r.digest, r.count
	}
	return d, 0
}
