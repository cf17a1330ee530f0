package roster

import (
	"context"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// turns are locks by user, which are waited for with a context. The zero value
// is ready.
type turns struct {
	mu   sync.Mutex // guards held
	held map[presence.User]*turn
}

type turn struct {
	taken chan struct{} // holds one while somebody has it
	users int           // who has it or waits for it
}

// take waits for the user's turn. Call pass when done with it.
func (t *turns) take(ctx context.Context, user presence.User) (pass func(), err error) {
	t.mu.Lock()
	own := t.held[user]
	if own == nil {
		if t.held == nil {
			t.held = map[presence.User]*turn{}
		}
		own = &turn{taken: make(chan struct{}, 1)}
		t.held[user] = own
	}
	own.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(t.held, user)
		}
	}
	select {
	case own.taken <- struct{}{}:
		return func() { <-own.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
