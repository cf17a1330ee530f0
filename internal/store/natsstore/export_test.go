package natsstore

import (
	"context"
	"time"
)

// ExpireLetters drops letters older than that, as the store does by the hour
// with those older than 30 days.
func (s *Store) ExpireLetters(ctx context.Context, most time.Duration) { s.expireLetters(ctx, most) }
