package topic

import (
	"context"
	"hash/maphash"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// turns are locks by user, which are waited for with a context. Users share
// them by hash.
type turns struct {
	seed maphash.Seed
	held [256]chan struct{} // each holds one while somebody has it
}

func (t *turns) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.held {
		t.held[i] = make(chan struct{}, 1)
	}
}

// take waits for the user's turn. Call pass when done with it.
func (t *turns) take(ctx context.Context, user presence.User) (pass func(), err error) {
	own := t.held[maphash.Comparable(t.seed, user)%uint64(len(t.held))]
	select {
	case own <- struct{}{}:
		return func() { <-own }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
