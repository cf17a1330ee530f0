package roster

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Sight says whom one user may see. It never changes and may be kept; the
// Listener is told when there is a newer one.
type Sight interface {
	// Of reports whether target may be seen. If not, since is when he went out of
	// sight, 0 if he never was in it, and seen the last seen that may be known of
	// him, 0 if none. It costs at most two look-ups in maps.
	Of(target presence.UserID) (visible bool, since, seen presence.Time)
}

// sight is a Sight.
type sight struct {
	own     presence.UserID
	blocked map[presence.UserID]veil // who blocks him
	limited bool                     // he sees only his friends
	friends map[presence.UserID]struct{}
	former  map[presence.UserID]veil
}

var _ Sight = (*sight)(nil)

// Of implements Sight.
func (s *sight) Of(target presence.UserID) (visible bool, since, seen presence.Time) {
	if target == s.own {
		return true, 0, 0
	}
	if v, ok := s.blocked[target]; ok {
		return false, v.since, v.seen
	}
	if !s.limited {
		return true, 0, 0
	}
	if _, ok := s.friends[target]; ok {
		return true, 0, 0
	}
	v := s.former[target]
	return false, v.since, v.seen
}

// Sight returns what user may see as far as it is in memory, and nil when he
// sees everybody, which costs next to nothing where nobody blocks anybody. It
// never waits. A user whose list is needed and not there, because he was not
// held, sees only himself.
func (r *Roster) Sight(user presence.User) Sight {
	if s := r.sight(user); s != nil {
		return s
	}
	return nil
}

func (r *Roster) sight(user presence.User) *sight {
	friends := r.app(user.App).Visibility == Friends
	if !friends && r.limited.Load() == 0 {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	veils := r.veils[user]
	if !friends {
		return veils
	}
	if p := r.pages[user]; p != nil {
		if p.sight != nil {
			return p.sight
		}
		p.blind.Store(true)
	}
	return look(user, nil, veils)
}

// look makes the sight of a user who sees only his friends; l may be nil, then
// he has none.
func look(user presence.User, l *friendList, veils *sight) *sight {
	s := &sight{own: user.ID, limited: true}
	if veils != nil {
		s.blocked = veils.blocked
	}
	if l != nil {
		s.friends, s.former = l.index(), l.veils()
	}
	return s
}

// SightOf returns what user may see, nil when everybody, for one question
// without a session: what is needed is read first, as Hold does.
func (r *Roster) SightOf(ctx context.Context, user presence.User) (Sight, error) {
	if r.app(user.App).Visibility != Friends {
		return r.Sight(user), nil
	}
	p, err := r.open(ctx, user)
	if err != nil {
		return nil, err
	}
	defer r.close(p)
	if err := r.current(ctx, p); err != nil && !r.sees(p) {
		return nil, err
	}
	return r.Sight(user), nil
}

// freeze returns what user may know of target from now on, if he may not see
// him any more. His page's turn is held.
func (r *Roster) freeze(user presence.User, target presence.UserID, now presence.Time) veil {
	if s := r.sight(user); s != nil {
		if visible, since, seen := s.Of(target); !visible {
			return veil{since, seen}
		}
	}
	p := r.cfg.Present(presence.User{App: user.App, ID: target})
	switch {
	case p == nil:
		return veil{since: now}
	case p.Available(false) != presence.Unavailable:
		return veil{since: now, seen: now}
	}
	return veil{since: now, seen: p.Seen(false)}
}
