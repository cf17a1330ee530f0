package topic

import (
	"cmp"
	"context"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// mostSights bounds the targets of one change of sight that are told of: a block is
// one. A whole friend list that was read anew is no news, and reads no records.
const mostSights = 64

// SightChanged hears that what a user may see of targets has changed
// (roster.Listener); the new Sight must be readable before. To his subscriptions
// whoever he may not see any more has gone, and whoever he may see again has come:
// a block tells in topics what a user tells who leaves. Of nil targets, everybody,
// nothing is told. It never blocks: the topics are told behind it.
func (t *Topics) SightChanged(user presence.User, targets []presence.UserID) {
	a := t.known(user.App)
	if a == nil || t.cfg.Seer == nil || len(targets) > mostSights || len(a.of(user.ID)) == 0 {
		return
	}
	for _, id := range targets {
		t.lanes.push(turn{picture: &presence.Presence{User: presence.User{App: user.App, ID: id}}, watcher: user.ID})
	}
}

// looked tells a watcher's subscriptions that a user went out of his sight, or came
// back into it.
func (t *Topics) looked(ctx context.Context, target presence.User, watcher presence.UserID) {
	a := t.known(target.App)
	if a == nil {
		return
	}
	pass, err := t.turns.take(ctx, target)
	if err != nil {
		return // stopping
	}
	defer pass()
	subscriptions := a.of(watcher)
	if len(subscriptions) == 0 {
		return
	}
	r, revision, err := t.load(ctx, target)
	if err != nil {
		_ = t.refine(ctx, err, target.App) // logs it
		return
	}
	p := t.cfg.Source.Presence(target)
	shown := r.show(target, revision, p)
	there := p.Available(false) != presence.Unavailable
	for _, s := range subscriptions {
		visible, since := true, presence.Time(0)
		if sight := t.cfg.Seer.Sight(s.user); sight != nil {
			visible, since, _ = sight.Of(target.ID)
		}
		if !s.cover(target.ID, !visible) || !there {
			continue
		}
		value, at := online, turnedAt(p)
		if !visible {
			value, at = offline, cmp.Or(since, presence.At(time.Now()))
		}
		for _, m := range shown.Map {
			if m.Attribute == OnlineStatus && s.has(m.Topic) {
				s.push(&Message{App: target.App, Topic: m.Topic, User: target.ID, Attribute: OnlineStatus, Value: value, At: at, CallEnded: shown.Calls == 0})
			}
		}
	}
}

// cover notes that a user is out of the subscriber's sight, or not, and reports
// whether that is news. Who is seen without having been noted was hidden before the
// subscription began.
func (s *Subscription) cover(id presence.UserID, hidden bool) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was := s.hidden[id]
	if !hidden {
		delete(s.hidden, id)
		return true
	}
	if s.hidden == nil {
		s.hidden = map[presence.UserID]struct{}{}
	}
	s.hidden[id] = struct{}{}
	return !was
}

// has reports whether a topic is subscribed to.
func (s *Subscription) has(topic string) bool {
	for i := range s.places {
		if s.places[i].crowd.name == topic {
			return true
		}
	}
	return false
}

// of are the subscriptions of a user.
func (a *appTopics) of(user presence.UserID) []*Subscription {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return append([]*Subscription(nil), a.users[user]...)
}
