package doortest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/admit"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/hub"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// ErrListsDown is what reading a list fails with while the lists are down.
var ErrListsDown = fault.Retry(fault.FriendsUnavailable, 2*time.Second, "the friend list cannot be read now; nothing was subscribed")

// Roster is friend lists and blocks in memory.
type Roster struct {
	hub *hub.Hub

	mu    sync.Mutex // guards all below
	lists map[presence.UserID][]presence.UserID
	// strict: only friends see each other.
	strict  bool
	blocked map[presence.UserID][]blocked // by who may not see
	down    error
	held    map[presence.SessionID]bool
	rejoins []func([]presence.UserID) error
}

// blocked is one who may not be seen, since when, and his last seen then.
type blocked struct {
	user        presence.UserID
	since, seen presence.Time
}

var _ admit.Roster = (*Roster)(nil)

func newRoster() *Roster {
	return &Roster{
		lists: map[presence.UserID][]presence.UserID{}, blocked: map[presence.UserID][]blocked{}, held: map[presence.SessionID]bool{},
	}
}

// Hold implements admit.Roster.
func (r *Roster) Hold(_ context.Context, _ presence.User, id presence.SessionID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.strict && r.down != nil {
		return r.down
	}
	r.held[id] = true
	return nil
}

// Rejoin implements admit.Roster.
func (r *Roster) Rejoin(_ presence.User, id presence.SessionID, use func([]presence.UserID) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[id] = true
	if use != nil {
		r.rejoins = append(r.rejoins, use)
	}
}

// Gone implements admit.Roster.
func (r *Roster) Gone(id presence.SessionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held, id)
}

// Follow implements admit.Roster.
func (r *Roster) Follow(_ context.Context, user presence.User, use func([]presence.UserID) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return r.down
	}
	return use(r.lists[user.ID])
}

// SightOf implements admit.Roster.
func (r *Roster) SightOf(_ context.Context, user presence.User) (hub.Sight, error) {
	r.mu.Lock()
	down := r.down
	strict := r.strict
	r.mu.Unlock()
	if strict && down != nil {
		return nil, down
	}
	return r.Sight(user), nil
}

// Sight implements hub.Seer.
func (r *Roster) Sight(user presence.User) hub.Sight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.strict && len(r.blocked[user.ID]) == 0 {
		return nil
	}
	return &sight{r.strict, slices.Clone(r.lists[user.ID]), slices.Clone(r.blocked[user.ID])}
}

type sight struct {
	strict  bool
	friends []presence.UserID
	blocked []blocked
}

// Of implements hub.Sight.
func (s *sight) Of(u presence.UserID) (visible bool, since, seen presence.Time) {
	for _, b := range s.blocked {
		if b.user == u {
			return false, b.since, b.seen
		}
	}
	return !s.strict || slices.Contains(s.friends, u), 0, 0
}

// Befriend makes a user's list what is given, as a backend does.
func (r *Roster) Befriend(user presence.UserID, friends ...presence.UserID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.lists[user]
	r.lists[user] = friends
	without := func(a, b []presence.UserID) []presence.UserID {
		return slices.DeleteFunc(slices.Clone(a), func(u presence.UserID) bool { return slices.Contains(b, u) })
	}
	r.hub.FriendsChanged(presence.User{App: App, ID: user}, without(friends, old), without(old, friends))
}

// FriendsOnly makes only friends see each other, from the begin of a test on.
func (r *Roster) FriendsOnly() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.strict = true
}

// Block keeps target from the sight of a user from now on.
func (r *Roster) Block(user, target presence.UserID, seen presence.Time) {
	r.mu.Lock()
	r.blocked[user] = append(r.blocked[user], blocked{target, presence.At(time.Now()), seen})
	r.mu.Unlock()
	r.hub.SightChanged(presence.User{App: App, ID: user}, []presence.UserID{target})
}

// Unblock takes that back.
func (r *Roster) Unblock(user, target presence.UserID) {
	r.mu.Lock()
	r.blocked[user] = slices.DeleteFunc(r.blocked[user], func(b blocked) bool { return b.user == target })
	r.mu.Unlock()
	r.hub.SightChanged(presence.User{App: App, ID: user}, []presence.UserID{target})
}

// Fail makes reading lists fail with err; nil mends it.
func (r *Roster) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = err
}

// Rejoined gives friends to all who wait for them.
func (r *Roster) Rejoined(friends ...presence.UserID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, use := range r.rejoins {
		if err := use(friends); err != nil {
			return err
		}
	}
	r.rejoins = nil
	return nil
}

// Held is for how many sessions lists are held.
func (r *Roster) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

// ears hear of the tracker's changes, as in a whole node.
type ears struct {
	hub    *hub.Hub
	roster *Roster
	topics *topic.Topics
	also   *atomic.Pointer[func(*presence.Presence)]
}

// Changed implements tracker.Listener.
func (e ears) Changed(p *presence.Presence) {
	e.hub.Changed(p)
	e.topics.Changed(p)
	if f := e.also.Load(); f != nil {
		(*f)(p)
	}
}

// Gone implements tracker.Listener.
func (e ears) Gone(id presence.SessionID) { e.hub.Gone(id); e.roster.Gone(id) }

// seer is the roster as topics know it.
type seer struct{ *Roster }

// Sight implements topic.Seer.
func (s seer) Sight(user presence.User) topic.Sight {
	if sight := s.Roster.Sight(user); sight != nil {
		return sight
	}
	return nil
}
