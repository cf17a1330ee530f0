package roster

import (
	"context"
	"slices"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Follow reads user's list and gives it to use, whose error it returns. No
// change of the list happens between the reading and the end of use, and the
// Listener is told of every one after it; so use should begin to watch, and
// must not block nor change the slice. It fails whole, with FriendsUnavailable,
// when the list cannot be read, and with LimitFriends when a source's list is
// longer than the app's limit. Where lists come from a source, those of users
// with a held session are asked for again every MaxAge from then on.
func (r *Roster) Follow(ctx context.Context, user presence.User, use func(friends []presence.UserID) error) error {
	p, err := r.open(ctx, user)
	if err != nil {
		return err
	}
	defer r.close(p)
	if err := r.current(ctx, p); err != nil {
		return err
	}
	if err := use(p.list.friends); err != nil {
		return err
	}
	p.following = true
	return nil
}

// Friends returns user's list; it fails as Follow does.
func (r *Roster) Friends(ctx context.Context, user presence.User) (friends []presence.UserID, err error) {
	p, err := r.open(ctx, user)
	if err != nil {
		return nil, err
	}
	defer r.close(p)
	if err := r.current(ctx, p); err != nil {
		return nil, err
	}
	return slices.Clone(p.list.friends), nil
}

// rejoin is a session whose subscription to friends waits for the list.
type rejoin struct {
	id  presence.SessionID
	use func([]presence.UserID) error
}

// Rejoin is Hold and then Follow for a session that was subscribed to its
// friends before and must not lose that because the list cannot be read just
// now: it returns at once and goes on trying behind, after half a second to 30 s
// each time, until use was called or the session is Gone. Until then the user
// sees only himself where only friends see each other. use is called at most
// once, with the user's turn held as Follow does; its error is logged and ends
// the trying. A nil use is Hold alone.
func (r *Roster) Rejoin(user presence.User, id presence.SessionID, use func(friends []presence.UserID) error) {
	r.mu.Lock()
	r.seat(id, user)
	p := r.page(user)
	waits := func(w rejoin) bool { return w.id == id }
	if use != nil || !slices.ContainsFunc(p.waiting, waits) { // else one that comes back again and again
		p.waiting = append(p.waiting, rejoin{id, use})
	}
	r.mu.Unlock()
	r.later(p, 0)
}

// plan sees to it that a page is read again when it will have to be; its turn
// is held.
func (r *Roster) plan(p *page) {
	app := r.app(p.user.App)
	r.mu.RLock()
	waits := p.again || len(p.waiting) > 0
	ages := app.Source != nil && p.sessions > 0 && p.list != nil && (p.following || app.Visibility == Friends)
	r.mu.RUnlock()
	switch {
	case (waits || ages) && p.failures > 0:
		r.later(p, backoff(p.failures-1))
	case waits:
		r.later(p, 0)
	case ages:
		r.later(p, max(0, time.Until(p.readAt.Add(app.MaxAge))))
	}
}

// later tends to a page after a while, unless that is going to be done before.
func (r *Roster) later(p *page, d time.Duration) {
	due := time.Now().Add(d)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !p.due.IsZero() && !due.Before(p.due) {
		return
	}
	p.due = due
	r.chores.after(d, func(ctx context.Context) { r.tend(ctx, p, due) })
}

// tend reads a page again and gives it to who waits for it.
func (r *Roster) tend(ctx context.Context, p *page, due time.Time) {
	r.mu.Lock()
	stale := !p.due.Equal(due) || r.pages[p.user] != p
	if !stale {
		p.due = time.Time{}
	}
	needed := !stale && (p.again || p.renew || p.sessions > 0 || len(p.waiting) > 0)
	p.renew = p.renew && stale
	r.mu.Unlock()
	if !needed {
		return
	}
	same, err := r.open(ctx, p.user)
	if err != nil {
		return // stopping
	}
	defer r.close(same)
	if r.fresh(ctx, same) != nil {
		return // close plans the next
	}
	r.mu.Lock()
	waiting := same.waiting
	same.waiting = nil
	r.mu.Unlock()
	for _, w := range waiting {
		if w.use == nil {
			continue
		}
		if err := w.use(same.list.friends); err != nil {
			r.log.Debug("a session's subscription to its friends was not taken up again", "app", same.user.App, "error", err)
			continue
		}
		same.following = true
	}
}
