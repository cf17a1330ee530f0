package hub

import (
	"maps"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// unsure are the users of whom watchers were told that nothing is known while a node
// was not heard that may know them.
type unsure struct {
	mu    sync.Mutex // guards all below; it is taken after a watcher's, before a shard's
	users map[presence.User]struct{}
	prune int // from so many on, those are forgotten whom nobody watches any more
}

// fewUnsure are kept without looking who still watches them.
const fewUnsure = 1024

// staler is a Source of which something may be old: since when, 0 that nothing is.
type staler interface{ Stale() presence.Time }

// silence is since when a node is not heard that may know a user of whom nothing is
// known; 0: there is none. Whoever it is told of is told again by Heard.
func (h *Hub) silence(user presence.User) presence.Time {
	s, ok := h.source.(staler)
	if !ok || s.Stale() == 0 {
		return 0
	}
	h.unsure.mu.Lock()
	if h.unsure.users == nil {
		h.unsure.users, h.unsure.prune = map[presence.User]struct{}{}, fewUnsure
	}
	if len(h.unsure.users) >= h.unsure.prune {
		// It may last for hours, and watchers come and go.
		maps.DeleteFunc(h.unsure.users, func(user presence.User, _ struct{}) bool { return h.watched(user) == nil })
		h.unsure.prune = max(fewUnsure, 2*len(h.unsure.users))
	}
	h.unsure.users[user] = struct{}{}
	h.unsure.mu.Unlock()
	return s.Stale() // after he is noted: a Heard in between may have missed him
}

// Heard says that nodes are heard again, or given up: once nothing is stale any more,
// watchers who were told so of users are told of these again, unless something
// became known of them.
func (h *Hub) Heard() {
	if s, ok := h.source.(staler); !ok || s.Stale() != 0 {
		return
	}
	h.unsure.mu.Lock()
	users := h.unsure.users
	h.unsure.users = nil
	h.unsure.mu.Unlock()
	for user := range users {
		if t := h.watched(user); t != nil && t.picture.Load().Version == 0 {
			t.again(&h.numbers)
		}
	}
}

// watched is the target that a user is, or nil when nobody watches him.
func (h *Hub) watched(user presence.User) *target {
	sh := h.shard(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.targets[user]
}

// again has every watcher of the target told of it once more.
func (t *target) again(watchers *table[Watcher]) {
	type end struct {
		w    *Watcher
		edge uint32
	}
	var ends []end
	t.mu.RLock() // a watcher takes its own lock first
	for _, s := range t.slots {
		if s.watcher != 0 {
			ends = append(ends, end{watchers.at(s.watcher), s.edge &^ veiled})
		}
	}
	t.mu.RUnlock()
	for _, e := range ends {
		e.w.again(t, e.edge)
	}
}

func (w *Watcher) again(t *target, i uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone || int(i) >= len(w.edges) || w.edges[i].target != t.number {
		return // it ended meanwhile
	}
	e := &w.edges[i]
	if e.bits&owes != 0 || e.sequence == 0 {
		return // its end, or its first picture, waits in the queue
	}
	e.setSend(max(e.send(), sendAsked))
	w.queue.push(i)
}
