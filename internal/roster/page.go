package roster

import (
	"container/list"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// page is one user's list as it is known.
type page struct {
	user presence.User
	turn chan struct{} // holds one while somebody has the turn

	// Of whoever has the turn.
	revision  uint64    // of the stored value
	stored    bool      // the stored value was read
	readAt    time.Time // when the source gave the list
	failures  int       // in a row, of reading the list
	following bool      // a session follows the list

	// Written with the turn and Roster.mu, read with either.
	list *friendList // nil: not known

	// Guarded by Roster.mu; the sight changes with the turn, and goes when the app
	// changes.
	sight    *sight // nil: not known, or everybody may be seen
	users    int    // who has the turn or waits for it
	sessions int    // that need the page
	waiting  []rejoin
	again    bool          // read it again whatever is known, and tell
	renew    bool          // a list that is a little old was used: ask for it behind
	due      time.Time     // of the chore that counts; zero: none
	idle     *list.Element // in Roster.idle
	size     int           // in Roster.bytes, while idle

	blind atomic.Bool // somebody was given a Sight without knowing the list
}

// pageCost is about what a page costs in memory beside its list: without it,
// users who have no friends would cost nothing and never go.
const pageCost = 512

// seat is what is known of a session.
type seat struct {
	user presence.User
	page *page // nil: none is needed
}

// page returns a user's page, made if need be, that will not go until leave;
// Roster.mu is held.
func (r *Roster) page(user presence.User) *page {
	p := r.pages[user]
	if p == nil {
		p = &page{user: user, turn: make(chan struct{}, 1)}
		r.pages[user] = p
	}
	if p.idle != nil {
		r.idle.Remove(p.idle)
		r.bytes -= p.size
		p.idle = nil
	}
	return p
}

// open waits for the turn of a user's page.
func (r *Roster) open(ctx context.Context, user presence.User) (*page, error) {
	r.mu.Lock()
	p := r.page(user)
	p.users++
	r.mu.Unlock()
	select {
	case p.turn <- struct{}{}:
		return p, nil
	case <-ctx.Done():
		r.leave(p)
		return nil, ctx.Err()
	}
}

// openBoth opens two pages in the order that everybody opens them in.
func (r *Roster) openBoth(ctx context.Context, a, b presence.User) (pa, pb *page, err error) {
	first, second := a, b
	if b.ID < a.ID { // of one app
		first, second = b, a
	}
	p, err := r.open(ctx, first)
	if err != nil {
		return nil, nil, err
	}
	q, err := r.open(ctx, second)
	if err != nil {
		r.close(p)
		return nil, nil, err
	}
	if first == a {
		return p, q, nil
	}
	return q, p, nil
}

// close passes the turn on, after seeing to it that the page is read again when
// it will have to be.
func (r *Roster) close(p *page) {
	r.plan(p)
	<-p.turn
	r.leave(p)
}

func (r *Roster) leave(p *page) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.users--
	r.settle(p)
}

// settle lets go of a page that nobody needs, or of the oldest such when there
// are too many; mu is held.
func (r *Roster) settle(p *page) {
	if p.users > 0 || p.sessions > 0 || len(p.waiting) > 0 || p.again || p.idle != nil {
		return
	}
	if p.list == nil {
		delete(r.pages, p.user)
		return
	}
	p.following = false
	p.size = p.list.size + pageCost
	p.idle = r.idle.PushFront(p)
	for r.bytes += p.size; r.bytes > r.cfg.CacheBytes; {
		r.drop(r.idle.Back().Value.(*page))
	}
}

// drop forgets a page that nobody needs, and reports whether it did; mu is held.
func (r *Roster) drop(p *page) bool {
	if p.idle == nil {
		return false
	}
	r.idle.Remove(p.idle)
	r.bytes -= p.size
	delete(r.pages, p.user)
	return true
}

// seat gives a session its page, if its app needs one; mu is held.
func (r *Roster) seat(id presence.SessionID, user presence.User) {
	s, ok := r.sessions[id]
	if !ok {
		s = seat{user: user}
	}
	if app := r.app(user.App); s.page == nil && (app.Visibility == Friends || app.Source != nil || r.cfg.Shared) {
		s.page = r.page(user)
		s.page.sessions++
	}
	r.sessions[id] = s
}

// Hold keeps what the Sight of a session's user needs in memory until Gone(id):
// call it before the session may watch. Where nothing needs reading it is one
// entry in a map. Where only friends see each other the list is read; while a
// source does not answer, what it said last will do, however old. If nothing is
// known of the list it fails with FriendsUnavailable, and the session is not
// held. A second call for a session that is held costs one look.
func (r *Roster) Hold(ctx context.Context, user presence.User, id presence.SessionID) error {
	r.mu.Lock()
	_, held := r.sessions[id]
	r.seat(id, user)
	known := held && r.sessions[id].page != nil && r.sessions[id].page.sight != nil
	r.mu.Unlock()
	if known || r.app(user.App).Visibility != Friends {
		return nil
	}
	err := r.known(ctx, user)
	if err != nil && !held {
		r.Gone(id)
	}
	return err
}

// known reads what user's Sight needs, the newest that can be had.
func (r *Roster) known(ctx context.Context, user presence.User) error {
	p, err := r.open(ctx, user)
	if err != nil {
		return err
	}
	defer r.close(p)
	if err := r.current(ctx, p); err != nil && !r.sees(p) {
		return err
	}
	return nil
}

// Gone lets go of what was held for a session. Of a session that is not held it
// does nothing.
func (r *Roster) Gone(id presence.SessionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.sessions[id]
	if !ok {
		return
	}
	delete(r.sessions, id)
	p := s.page
	if p == nil {
		p = r.pages[s.user]
	} else {
		p.sessions--
	}
	if p != nil {
		p.waiting = slices.DeleteFunc(p.waiting, func(w rejoin) bool { return w.id == id })
		r.settle(p)
	}
}
