package tracker

import (
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// What another node noted of its sessions, for whoever takes them over.

const (
	// keepLists is how long what a gone node noted is kept in memory once somebody
	// asked, and askAgain while that node may still write.
	keepLists = 3 * time.Minute
	askAgain  = 2 * time.Second

	// listsAtOnce is how many groups are read at once. All devices of a dead node come
	// back in the same seconds, in which the store's leaders are few and busy: what
	// is asked of them beyond that only makes each answer later.
	listsAtOnce = 4
)

// listKey names what a node noted of a group.
type listKey struct {
	owner uint64
	group int
}

// listing is what it noted, once somebody asked.
type listing struct {
	of   map[presence.SessionID]listed
	at   time.Duration // the wheel's time before it was read
	done chan struct{} // closed when of is there, or could not be read
	err  error
}

// listed is what a session watched at an epoch, and the newest that it said.
type listed struct {
	watched
	epoch presence.Epoch
	known bool // else it said something, and what it watched is not known
	said  said
}

// said is a status, as the node that had the session then noted it.
type said struct {
	status   *presence.Status
	epoch    presence.Epoch
	revision uint64
}

// take takes in a note, which is no older than those before it.
func (l *listed) take(n *note) {
	if !n.same && n.epoch.Compare(l.epoch) >= 0 {
		l.watched, l.epoch, l.known = watched{n.watches, n.friends}, n.epoch, true
	}
	if c := n.epoch.Compare(l.said.epoch); c > 0 || c == 0 && n.revision >= l.said.revision {
		l.said = said{n.status, n.epoch, n.revision}
	}
}

// noted is the status of a session of another node that it said last, if that node
// noted it and this one did not hear it. What it said before it last hid or showed
// itself does not count: that is in the log. The lock is held.
func (s *session) noted(n said) (status *presence.Status, ok bool) {
	f := s.user.folded.Session(s.id)
	if n.epoch != s.epoch || n.revision <= s.revision || f != nil && f.Epoch == n.epoch && n.revision < f.HiddenRev {
		return nil, false
	}
	old := s.status
	if status = n.status; status == nil {
		status = &presence.Status{}
	}
	if old == nil {
		old = &presence.Status{}
	}
	return status, status.Invisible == old.Invisible && !status.Equal(old)
}

// listOf is what a session of a node that does not answer watched, as that node
// noted it, or, when the session had just come there, whoever had it before; false
// when nothing is known of it.
func (t *Tracker) listOf(ctx context.Context, ref Ref, owner uint64) (list listed, known bool, err error) {
	if t.peers.Notes == nil {
		return list, false, nil
	}
	over := t.overSince(owner)
	group := t.shardIndex(ref.User) % store.NoteGroups
	list, known, err = t.listedBy(ctx, ref.Session, listKey{owner, group}, over)
	if err == nil && !known && over != 0 {
		list, known, err = t.listedBy(ctx, ref.Session, listKey{0, group}, over)
	}
	return list, known, err
}

// listedBy looks for a session in what a node noted of a group, or all nodes did.
// over is when the node that has it was gone for good, by the wheel; 0: it may
// still write. What was read before may lack its last notes.
func (t *Tracker) listedBy(ctx context.Context, id presence.SessionID, key listKey, over time.Duration) (list listed, known bool, err error) {
	p, now := t.peers, t.wheel.Now()
	p.mu.Lock()
	l := p.lists[key]
	mine := l == nil || l.at < over || over == 0 && now-l.at > askAgain || now-l.at > keepLists
	if mine {
		l = &listing{at: now, done: make(chan struct{})}
		p.lists[key] = l
	}
	p.mu.Unlock()
	if mine {
		l.of, l.err = t.loadLists(ctx, key)
		if l.err != nil {
			p.mu.Lock()
			if p.lists[key] == l {
				delete(p.lists, key)
			}
			p.mu.Unlock()
		}
		close(l.done)
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		return list, false, errElsewhere
	}
	if l.err != nil {
		return list, false, errElsewhere
	}
	list = l.of[id]
	return list, list.known, nil
}

// loadLists reads what a node noted of a group, in its turn.
func (t *Tracker) loadLists(ctx context.Context, key listKey) (map[presence.SessionID]listed, error) {
	ctx, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	select {
	case t.peers.reading <- struct{}{}:
		defer func() { <-t.peers.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	of := map[presence.SessionID]listed{}
	err := t.peers.Notes.LoadNotes(ctx, key.owner, key.group, func(_ uint64, b []byte) error {
		_, list, err := parseNotes(b)
		for _, n := range list {
			l := of[n.ref.Session]
			l.take(&n)
			of[n.ref.Session] = l
		}
		return err
	})
	if err == nil {
		return of, nil
	}
	if since, say := t.peers.count(&t.peers.unlisted, t.wheel.Now()); say {
		t.log.Warn("what a gone node's sessions watched cannot be read; their devices are told to try again", "node", key.owner, "groups_since", since, "error", err)
	}
	return nil, err
}

// youngest is the age up to which a session may have no note when its node ends:
// notes are half a second behind, and during an election of the store's leader
// some seconds.
const youngest = 15 * time.Second

// isYoung reports whether the session had been open for less than that when its
// node was last alive: all that it watched was said then, and its device is told
// to say it again.
func (t *Tracker) isYoung(s *session) bool {
	p := t.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origins[s.epoch.Incarnation]
	return o != nil && o.alive.Sub(s.truth.Since) < youngest
}
