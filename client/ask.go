package client

import (
	"context"
	"errors"
	"slices"
	"time"
)

// The calls by which a program asks for something during a session.

// errNoSession is for calls between two sessions, or before the first frame.
var errNoSession = &Error{Code: CodeUnavailable, Detail: "the session is being made anew"}

// Set replaces the session's status. When it returns nil the new status is
// what everybody sees from now on. An equal status is not announced again.
func (s *Session) Set(ctx context.Context, status Status) error {
	if err := status.check(); err != nil {
		return err
	}
	status = status.clone()
	return s.alter(ctx, func(Status) Status { return status }, nil)
}

// SetPartial alters the session's status and leaves alone what p leaves zero.
func (s *Session) SetPartial(ctx context.Context, p Patch) error {
	if err := p.check(); err != nil {
		return err
	}
	return s.alter(ctx, func(old Status) Status { return old.patched(p) }, &p)
}

// alter brings the server the status that next makes of the present wish. When
// the server has that wish, a patch is enough.
func (s *Session) alter(ctx context.Context, next func(Status) Status, patch *Patch) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	token, inStep := s.link.token, s.wants.pending == nil
	status := next(s.wants.wish())
	s.mu.Unlock()

	err := s.tell(token, func() error {
		if patch != nil && inStep {
			return s.client.door.patch(ctx, token, *patch)
		}
		return s.client.door.set(ctx, token, status)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.wants.took(status)
	case temporary(err):
		s.wants.pending = &status
		s.owe(err)
	}
	return err
}

// owe has the server told later what err kept from it. While the link is down
// that is done when it comes back. The caller holds mu.
func (s *Session) owe(err error) {
	if s.link.retell != nil && !s.wants.telling {
		s.wants.telling = true
		s.link.retell(err)
	}
}

// whyLimit is how long the stream of a session that is gone may take to say why. It
// is on its way by then, and what is owed is not told again any sooner.
const whyLimit = 250 * time.Millisecond

// tell runs call, if there is a session to make it on. When the server has lost
// the session the stream is cut, so that a new one is made soon. The stream goes
// first if it says by itself why the session ended: from some ends nobody comes
// back, and the answer to a call does not tell which it was.
func (s *Session) tell(token string, call func() error) error {
	if token == "" {
		return errNoSession
	}
	err := call()
	if sessionLost(ReasonOf(err)) {
		s.mu.Lock()
		cut := s.link.cut
		if s.link.token != token {
			cut = nil // a newer session is there already
		}
		s.mu.Unlock()
		if cut != nil {
			time.AfterFunc(whyLimit, func() { cut(err) })
		}
	}
	return err
}

// Watch begins to watch users; their present follows through Changes and
// Presence. Who is watched already is left alone. More than 200 take several
// calls; when one fails, the users of the calls before it stay watched.
//
// The server answers users who are unknown, or who hide from us, like anybody
// who is offline. With ReasonWatchRejected those in Error.Fields are not
// watched, the others are.
func (s *Session) Watch(ctx context.Context, users ...string) error {
	if err := checkUsers(users); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	token := s.link.token
	fresh := make([]string, 0, len(users))
	for _, u := range users {
		if s.wants.watches(u) {
			continue
		}
		delete(s.wants.friends.parted, u)
		// Noted before the call: news may come before its answer does.
		s.wants.watched[u] = struct{}{}
		fresh = append(fresh, u)
	}
	s.mu.Unlock()
	refused, err := s.watch(ctx, token, fresh)
	switch {
	case temporary(err):
		s.mu.Lock()
		s.wants.watchOwed = true
		s.owe(err)
		s.mu.Unlock()
		return err
	case len(refused) > 0:
		s.disown(refused, false)
		if err == nil {
			err = rejected(refused)
		}
	}
	return err
}

// watch tells the server to watch users, in as many calls as it takes. It
// returns who is not watched after it: those the server refused, and with an
// error that is not temporary also all whose call failed or was not made.
func (s *Session) watch(ctx context.Context, token string, users []string) (refused []string, err error) {
	if len(users) == 0 {
		return nil, nil
	}
	// Whom the server still watches from before an Unwatch that did not reach
	// it, it would not tell of again.
	if err := s.unwatch(ctx, token, s.stillWatched(users)); temporary(err) {
		return nil, err
	}
	s.mu.Lock()
	most := chunk
	if b := s.link.batch; b > 0 {
		most = min(most, b)
	}
	s.mu.Unlock()
	for len(users) > 0 {
		part := users[:min(most, len(users))]
		err := s.tell(token, func() (err error) {
			r, err := s.client.door.watch(ctx, token, part)
			refused = append(refused, r...)
			return err
		})
		if err != nil {
			return append(refused, users...), err
		}
		users = users[len(part):]
	}
	return refused, nil
}

// stillWatched returns those of users whose Unwatch did not reach the server.
func (s *Session) stillWatched(users []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var still []string
	for _, u := range users {
		if _, ok := s.wants.unwatched[u]; ok {
			still = append(still, u)
		}
	}
	return still
}

// disown forgets users whom the server does not watch; tell says so to the
// reader of Changes.
func (s *Session) disown(users []string, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range users {
		if !s.wants.watches(u) {
			continue
		}
		delete(s.wants.watched, u)
		if s.wants.friends.wanted && !tell {
			continue // he may be a friend, which the server's answer says
		}
		s.drop(u)
		if tell {
			s.queue.push(Change{Kind: ChangeUnwatched, User: u, At: time.Now()})
		}
	}
}

// Unwatch ends watching users: they leave the picture at once, and no Change
// about them follows any more, save one already on its way to the reader. While
// the friends are watched too, those who are friends stay, and who is not leaves
// with the server's answer. It takes one call for each.
func (s *Session) Unwatch(ctx context.Context, users ...string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	token := s.link.token
	users = slices.DeleteFunc(slices.Clone(users), func(u string) bool { return !s.wants.watches(u) })
	for _, u := range users {
		s.wants.unwatched[u] = struct{}{}
	}
	s.mu.Unlock()
	s.disown(users, false)
	err := s.unwatch(ctx, token, users)
	if temporary(err) {
		s.mu.Lock()
		s.owe(err)
		s.mu.Unlock()
	}
	return err
}

// unwatch tells the server about users who are no longer wanted.
func (s *Session) unwatch(ctx context.Context, token string, users []string) error {
	var failed []error
	for _, u := range users {
		friend := false
		err := s.tell(token, func() (err error) {
			friend, err = s.client.door.unwatch(ctx, token, u)
			return err
		})
		if temporary(err) {
			return err // this one and the rest stay noted
		}
		if err != nil {
			failed = append(failed, err)
		}
		s.mu.Lock()
		delete(s.wants.unwatched, u)
		if !friend && !s.wants.watches(u) {
			s.part(u)
		}
		s.mu.Unlock()
	}
	return errors.Join(failed...)
}

// Heartbeat tells the server that this session is alive, and returns within
// what time to do it again. From the first call on the server counts nothing
// else as a sign of life of this session, so a program that begins with it must
// go on; Options.Heartbeat does all of that by itself.
func (s *Session) Heartbeat(ctx context.Context) (next time.Duration, err error) {
	s.mu.Lock()
	token, cut, err := s.link.token, s.link.cut, s.err
	up := s.link.up
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	attached := true
	err = s.tell(token, func() (err error) {
		next, attached, err = s.client.door.heartbeat(ctx, token)
		return err
	})
	if err == nil && up && !attached {
		cut(errDetached) // the stream of before the call: there may be a newer one
	}
	return next, err
}
