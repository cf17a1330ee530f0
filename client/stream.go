package client

import (
	"context"
	"time"
)

// What a session does with the frames of its stream.

// welcome takes up the first frame: it begins a round of the picture if the
// server starts over, and states anew what the server may not have. version is
// that of the status the stream was opened with.
func (k *keeper) welcome(ctx context.Context, token string, c *connected, version uint64) error {
	s := k.s
	startOver := k.fresh || c.resync || !c.resumed
	if c.resync || startOver && !k.fresh {
		k.restate = true
	}
	k.fresh = false
	s.mu.Lock()
	if startOver {
		s.pic.startOver()
	}
	s.pic.lostAt = time.Time{}
	clear(s.wants.friends.parted) // what was on its way is lost
	s.link.up, s.link.id = true, c.id
	if k.opened == nil {
		s.client.log.Info("presence link up", "resumed", !startOver)
		s.queue.push(Change{Kind: ChangeLinkUp, At: time.Now()})
	}
	owed := k.restate || s.wants.owed() || s.wants.version != version
	s.mu.Unlock()
	if d, ok := s.client.door.(*liveDoor); ok && k.opened == nil {
		d.topics.take(&liveMessage{Missed: true}) // what was told while the link was down
	}
	k.tell(nil)
	if !owed {
		return nil
	}
	err := s.state(ctx, token)
	k.restate = k.restate && err != nil
	return err
}

// take applies a frame to the picture.
func (k *keeper) take(f *frame) {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case f.notification != nil:
		// News of somebody just unwatched may still be on its way.
		if !s.wants.hears(f.notification.user) {
			return
		}
		if c, changed := s.pic.apply(f.notification); changed {
			s.queue.push(c)
		}
	case f.settled != nil:
		for _, c := range s.pic.settle(f.settled.user) {
			s.queue.push(c)
		}
		if f.settled.friends {
			s.forgetOthers()
		}
	case f.ended != nil:
		s.ended(f.ended)
	}
}

// beat calls Heartbeat while ctx lasts, often enough that one may get lost.
func (s *Session) beat(ctx context.Context) {
	s.mu.Lock()
	every := s.link.heartbeat
	s.mu.Unlock()
	if every <= 0 {
		every = defaultBeat
	}
	for wait(ctx, every) {
		next, err := s.Heartbeat(ctx)
		if err == nil && next > 0 {
			every = next / 2
		}
	}
}

// defaultBeat suits the server's default time-out of 35 s.
const defaultBeat = 10 * time.Second
