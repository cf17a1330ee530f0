package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// Telling the server again what is wanted, because it may have lost it or
// never got it.

// state tells the server all that is wanted. It is harmless to repeat. What
// comes on the stream meanwhile waits in the transport; the server answers
// these calls without waiting for it.
func (s *Session) state(ctx context.Context, token string) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	still := slices.Sorted(maps.Keys(s.wants.unwatched))
	status, accepted := s.wants.wish(), s.wants.status
	s.mu.Unlock()

	if err := s.unwatch(ctx, token, still); temporary(err) {
		return err
	}
	if err := s.watchAll(ctx, token, false); err != nil {
		return err
	}
	if err := s.follow(ctx, token); temporary(err) {
		return err
	}
	err := s.tell(token, func() error { return s.client.door.set(ctx, token, status) })
	if err != nil && !refusal(err) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// Asked for while nobody could say so.
		s.client.log.Warn("the server refused the status; the one before stays", "error", err)
		status = accepted
	}
	s.wants.took(status)
	s.wants.watchOwed = false
	return nil
}

// watchAll states the whole list of watched users. Whom the server refuses is
// no longer watched, which the reader is told; while opening it is an error.
func (s *Session) watchAll(ctx context.Context, token string, opening bool) error {
	s.mu.Lock()
	users := s.wants.users()
	s.mu.Unlock()
	refused, err := s.watch(ctx, token, users)
	switch {
	case err != nil && (opening || !refusal(err)):
		return err
	case len(refused) == 0:
		return nil
	case opening:
		return rejected(refused)
	}
	s.client.log.Warn("the server refused watches", "error", err, "users", len(refused))
	s.disown(refused, true)
	return nil
}

// pay tells the server what is owed, with pauses, until nothing is, or the link
// goes down: then it is told when the link is back. err is the failure that
// left it owed.
func (s *Session) pay(ctx context.Context, token string, err error) {
	for failures := 1; ; failures++ {
		var e *Error
		asked := time.Duration(0)
		if errors.As(err, &e) {
			asked = e.RetryAfter
		}
		down := !wait(ctx, s.client.cfg.Backoff.pause(failures, asked))
		if s.paid(down) {
			return
		}
		if err = s.state(ctx, token); err == nil {
			err = s.friendsErr() // what is still owed then
		}
		if s.paid(err != nil && !temporary(err)) {
			return
		}
	}
}

// paid reports whether nothing is owed any more, or the payer gives up; from
// then on whoever owes anew starts another. One lock for both, so that no debt
// falls in between.
func (s *Session) paid(giveUp bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wants.owed() && !giveUp {
		return false
	}
	s.wants.telling = false
	return true
}
