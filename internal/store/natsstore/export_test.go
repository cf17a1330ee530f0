package natsstore

import (
	"context"
	"time"
)

// ExpireLetters drops letters older than that, as the store does by the hour
// with those older than 30 days.
func (s *Store) ExpireLetters(ctx context.Context, most time.Duration) { s.expireLetters(ctx, most) }

// HoldBases stands for a base that is being written, until it is let go.
func (s *Store) HoldBases() (let func()) {
	s.basing.Lock()
	return s.basing.Unlock
}
