package hub

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Source gives the newest picture of a user. It never returns nil and never
// blocks for long; tracker.Tracker is one.
type Source interface {
	Presence(presence.User) *presence.Presence
}

const shardCount = 256

// Hub is the fan-out of one node. Make it with New; it starts no goroutine.
type Hub struct {
	source Source
	seer   Seer // nil: everybody sees everybody
	seed   maphash.Seed
	shards [shardCount]shard
	// What edges and slots name by number: each holds the other's.
	targets table[target]
	numbers table[Watcher]

	mu       sync.RWMutex // guards watchers, viewers and each watcher's sibling
	watchers map[presence.SessionID]*Watcher
	sent     uint64                     // by watchers that are gone
	viewers  map[presence.User]*Watcher // the watchers of a user, chained by sibling

	// age grows when encoders may answer differently from then on.
	age atomic.Uint32

	unsure unsure

	several bool // this node is one of several
}

// shard holds the targets whose name falls to it. Only watched users are in it.
type shard struct {
	mu      sync.RWMutex // guards targets and each target's refs
	targets map[presence.User]*target
}

// New returns a hub that takes pictures for snapshots from source. seer says who
// may see whom; with nil everybody sees everybody.
func New(source Source, seer Seer) *Hub {
	h := &Hub{
		source: source, seer: seer, seed: maphash.MakeSeed(),
		watchers: map[presence.SessionID]*Watcher{}, viewers: map[presence.User]*Watcher{},
	}
	h.age.Store(1)
	for i := range h.shards {
		h.shards[i].targets = map[presence.User]*target{}
	}
	return h
}

// OneOfSeveral says, before anything else, that devices may come here from other
// nodes: the number that one has may then be of a node that it was at without this
// one's knowing.
func (h *Hub) OneOfSeveral() { h.several = true }

func (h *Hub) shard(u presence.User) *shard {
	return &h.shards[maphash.Comparable(h.seed, u)%shardCount]
}

// Changed tells the watchers of p's user. It never blocks on a watcher; pictures
// may come in any order, older ones than the newest seen are ignored.
func (h *Hub) Changed(p *presence.Presence) {
	sh := h.shard(p.User)
	sh.mu.RLock()
	t := sh.targets[p.User]
	sh.mu.RUnlock()
	if t != nil && t.show(p) {
		t.tell(&h.numbers, 0)
	}
}

// Forget makes everything that is told from now on be encoded anew, because
// encoders have changed their minds (their texts were replaced). Nobody is told
// again of what he knows.
func (h *Hub) Forget() { h.age.Add(1) }

// Rest gives up what is kept to be quick while much happens: encoded forms, and
// the room that lists of watchers have left. It is for quiet times; whatever is
// needed again is made again.
func (h *Hub) Rest() {
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.RLock()
		for _, t := range sh.targets {
			t.rest()
		}
		sh.mu.RUnlock()
	}
}

// Watcher returns the watcher of a session, or nil when it has none.
func (h *Hub) Watcher(id presence.SessionID) *Watcher {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.watchers[id]
}

// Join returns the watcher of a session, made with p when it has none yet.
func (h *Hub) Join(id presence.SessionID, p Params) *Watcher {
	if w := h.Watcher(id); w != nil {
		return w
	}
	made := &Watcher{hub: h, params: p}
	made.look(nil) // before anybody can watch with it
	h.mu.Lock()
	w := h.watchers[id]
	if w == nil {
		w = made
		w.number = h.numbers.add(w)
		h.watchers[id] = w
		w.sibling = h.viewers[p.User]
		h.viewers[p.User] = w
	}
	h.mu.Unlock()
	if w == made {
		w.look(nil) // what changed before it was in viewers, nobody told it
	}
	return w
}

// Gone forgets the watcher of a session and all it watched. Unknown sessions
// are ignored.
func (h *Hub) Gone(id presence.SessionID) {
	h.mu.Lock()
	w := h.watchers[id]
	if w != nil {
		h.sent += w.sent.Load()
		delete(h.watchers, id)
		h.unchain(w)
	}
	h.mu.Unlock()
	if w != nil {
		w.clear()
	}
}

// unchain takes w out of viewers. The lock is held.
func (h *Hub) unchain(w *Watcher) {
	user := w.params.User
	first := h.viewers[user]
	if first == w {
		first = w.sibling
	}
	for o := first; o != nil; o = o.sibling {
		if o.sibling == w {
			o.sibling = w.sibling
		}
	}
	if h.viewers[user] = first; first == nil {
		delete(h.viewers, user)
	}
}

// watchersOf lists the watchers of a user's sessions.
func (h *Hub) watchersOf(user presence.User) (list []*Watcher) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for w := h.viewers[user]; w != nil; w = w.sibling {
		list = append(list, w)
	}
	return list
}

// Watches returns what the session explicitly watches, and whether it follows
// its user's friends, for the checkpoint.
func (h *Hub) Watches(id presence.SessionID) (users []presence.UserID, friends bool) {
	if w := h.Watcher(id); w != nil {
		return w.Watches()
	}
	return nil, false
}

// Counts are the sizes of the hub, for metrics and tests.
type Counts struct {
	Watchers, Targets, Edges int
	// Sent is how many messages were drained since the start.
	Sent uint64
}

// Counts walks all shards and watchers: for metrics, not for a hot path.
func (h *Hub) Counts() (c Counts) {
	h.mu.RLock()
	c.Watchers, c.Sent = len(h.watchers), h.sent
	for _, w := range h.watchers {
		c.Sent += w.sent.Load()
	}
	h.mu.RUnlock()
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.RLock()
		c.Targets += len(sh.targets)
		for _, t := range sh.targets {
			c.Edges += int(t.refs)
		}
		sh.mu.RUnlock()
	}
	return c
}

// enter puts an edge of w into the target u, which it makes when it is new.
func (h *Hub) enter(u presence.User, w *Watcher, edge uint32) (*target, uint32) {
	sh := h.shard(u)
	sh.mu.Lock()
	t := sh.targets[u]
	if t == nil {
		t = &target{}
		t.free, t.number = none, h.targets.add(t)
		sh.targets[u] = t
	}
	t.refs++
	sh.mu.Unlock()
	slot := t.add(w.number, edge)
	// Only now, with the edge in place, the picture is read: a change that comes
	// before this line is in the picture, one that comes after finds the edge.
	// Then the others must be told here, for Changed finds nothing new later.
	if t.show(h.source.Presence(u)) {
		t.tell(&h.numbers, w.number)
	}
	return t, slot
}

// leave takes an edge of w out of its target, and the target out of the hub with
// its last edge.
func (h *Hub) leave(w *Watcher, e edge) {
	t := w.target(&e)
	t.remove(w.number, e.slot())
	u := t.picture.Load().User
	sh := h.shard(u)
	sh.mu.Lock()
	if t.refs--; t.refs == 0 {
		delete(sh.targets, u)
		h.targets.remove(t.number)
	}
	sh.mu.Unlock()
}
