package natsstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestAsked asks leaders that are dead, slow, or not elected yet.
func TestAsked(t *testing.T) {
	t.Parallel()
	dead := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	after := func(d time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			pause(ctx, d)
			return ctx.Err()
		}
	}
	says := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	leaderless := &jetstream.APIError{ErrorCode: codeNotAvailable}
	for name, c := range map[string]struct {
		elected time.Duration // when there is another leader
		before  func(context.Context) error
		within  time.Duration
		most    int32 // questions
		want    error
	}{
		"an answer at once":         {0, dead, 0, 1, nil},
		"a leader that was killed":  {3 * time.Second, dead, 4 * time.Second, 6, nil},
		"no leader, and it says so": {3 * time.Second, says(leaderless), 3*time.Second + tryPause, 31, nil},
		"nobody hears":              {3 * time.Second, says(nats.ErrNoResponders), 3*time.Second + tryPause, 31, nil},
		"a slow leader":             {time.Hour, after(700 * time.Millisecond), 700 * time.Millisecond, 2, nil},
		"nobody for too long":       {time.Hour, dead, electionPatience, 14, context.DeadlineExceeded},
		"what no other try betters": {time.Hour, says(jetstream.ErrMsgNotFound), 0, 1, jetstream.ErrMsgNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var questions atomic.Int32
				got, err := asked(t.Context(), &Store{several: several{clustered: true}}, func(ctx context.Context) (int, error) {
					questions.Add(1)
					if time.Since(began) >= c.elected {
						return 7, nil
					}
					return 7, c.before(ctx)
				})
				if took := time.Since(began); !errors.Is(err, c.want) || err == nil && got != 7 || took > c.within || questions.Load() > c.most {
					t.Errorf("got %d, %v after %v and %d questions, want %v within %v and %d", got, err, took, questions.Load(), c.want, c.within, c.most)
				}
			})
		})
	}
}
