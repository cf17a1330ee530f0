package client

import (
	"context"
	"time"
)

// Watching the user's friends: those on the list that the server has.

// friends is what is wanted of the server about the friend list, and how much
// of it the server may not know yet.
type friends struct {
	wanted bool
	owed   bool // the server may not watch the friends though they are wanted
	left   bool // the server may still watch them though they are not
	// err is why it does not; nil while it does, or nothing is known.
	err error
	// parted are users whose news are none of a friend: they were unwatched by
	// name, and the server's word that nothing follows is on its way.
	parted map[string]struct{}
}

// hears reports whether news of a user are wanted. Of friends only the server
// knows the names.
func (w *wants) hears(user string) bool {
	if w.watches(user) {
		return true
	}
	_, parted := w.friends.parted[user]
	return w.friends.wanted && !parted
}

// WatchFriends begins to watch the user's friends; their present follows through
// Changes and Presence, and so does everybody who is added to the list. Who is
// removed from it leaves the picture with ChangeUnwatched, unless he is watched
// by name too.
//
// With ReasonFriendsUnavailable the list cannot be read now; like every other
// temporary failure it is tried again, with pauses, until it can.
func (s *Session) WatchFriends(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	token, had := s.link.token, s.wants.friends.wanted
	s.wants.friends.wanted = true // news may come before the answer does
	s.wants.friends.owed = s.wants.friends.owed || !had
	s.mu.Unlock()
	err := s.befriend(ctx, token)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case temporary(err):
		s.owe(err)
	case err != nil && !had:
		s.wants.friends.wanted = false
	}
	return err
}

// UnwatchFriends ends that: friends who are not watched by name leave the
// picture at once, and no Change about them follows any more, save one already
// on its way to the reader.
func (s *Session) UnwatchFriends(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.finish()
	s.mu.Lock()
	token, had := s.link.token, s.wants.friends.wanted
	s.wants.friends.wanted, s.wants.friends.owed, s.wants.friends.err = false, false, nil
	s.wants.friends.left = s.wants.friends.left || had
	s.queue.drop(keyOfFriends)
	for u := range s.pic.people {
		if !s.wants.watches(u) {
			s.drop(u)
		}
	}
	s.mu.Unlock()
	if !had {
		return nil
	}
	err := s.unfriend(ctx, token)
	if temporary(err) {
		s.mu.Lock()
		s.owe(err)
		s.mu.Unlock()
	}
	return err
}

// follow tells the server what is wanted about the friends. That their list
// cannot be read is no error here: it stays owed.
func (s *Session) follow(ctx context.Context, token string) error {
	if err := s.unfriend(ctx, token); temporary(err) {
		return err
	}
	s.mu.Lock()
	wanted := s.wants.friends.wanted
	s.mu.Unlock()
	if !wanted {
		return nil
	}
	err := s.befriend(ctx, token)
	if ReasonOf(err) == ReasonFriendsUnavailable {
		s.mu.Lock()
		s.owe(err)
		s.mu.Unlock()
		return nil
	}
	return err
}

// befriend makes the call, after one that is owed to the contrary, and tells the
// reader when it begins to fail and when it no longer does.
func (s *Session) befriend(ctx context.Context, token string) error {
	// Whom the server still watches from before, it would not tell of again.
	err := s.unfriend(ctx, token)
	if !temporary(err) {
		err = s.tell(token, func() error { return s.client.door.watchFriends(ctx, token) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.wants.friends
	f.owed = temporary(err)
	old := f.err
	switch reason := ReasonOf(err); {
	case err == nil:
		f.err = nil
		if old != nil {
			s.queue.push(Change{Kind: ChangeFriendsUp, At: time.Now()})
		}
	case reason == ReasonFriendsUnavailable || !f.owed:
		// Other failures are of the link, which has a Change of its own.
		f.err = err
		if ReasonOf(old) != reason {
			s.client.log.Warn("the server does not watch the friends", "error", err)
			s.queue.push(Change{Kind: ChangeFriendsDown, At: time.Now(), Err: err})
		}
	}
	return err
}

// unfriend tells the server that the friends are no longer wanted, if it may not
// know.
func (s *Session) unfriend(ctx context.Context, token string) error {
	s.mu.Lock()
	left := s.wants.friends.left
	s.mu.Unlock()
	if !left {
		return nil
	}
	err := s.tell(token, func() error { return s.client.door.unwatchFriends(ctx, token) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wants.friends.left = temporary(err)
	return err
}

// friendsErr is why the friends are owed; nil when they are not.
func (s *Session) friendsErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wants.friends.owed {
		return nil
	}
	return s.wants.friends.err
}

// part takes a user out of the picture who is watched for no reason any more.
// The caller holds mu.
func (s *Session) part(user string) {
	if s.wants.friends.wanted {
		s.wants.friends.parted[user] = struct{}{}
	}
	s.drop(user)
}

// drop takes a user out of the picture and of what waits for the reader. The
// caller holds mu.
func (s *Session) drop(user string) {
	s.pic.forget(user)
	s.queue.drop(user)
}

// ended takes up the server's word that nothing of a user follows. The caller
// holds mu.
func (s *Session) ended(e *endedWatch) {
	delete(s.wants.friends.parted, e.user)
	if s.wants.watches(e.user) {
		return // he is watched by name again, or that is owed
	}
	if _, known := s.pic.people[e.user]; !known {
		return
	}
	s.drop(e.user)
	if e.unfriended {
		s.queue.push(Change{Kind: ChangeUnwatched, User: e.user, At: time.Now()})
	}
}

// forgetOthers takes out of the picture who was a friend and is none any more:
// when all friends were told of since the server last started over, and he was
// not. The caller holds mu.
func (s *Session) forgetOthers() {
	for u, q := range s.pic.people {
		if !s.wants.watches(u) && q.told != s.pic.round {
			s.ended(&endedWatch{user: u, unfriended: true})
		}
	}
}
