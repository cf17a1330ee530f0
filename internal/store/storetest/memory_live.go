package storetest

import (
	"context"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// Renew implements store.Liveness.
func (m *Memory) Renew(ctx context.Context, name string, incarnation uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.ErrClosed
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	case m.lives[name].Incarnation > incarnation:
		return store.ErrReplaced
	}
	if m.lives == nil {
		m.lives = map[string]store.Life{}
	}
	m.renewal++
	m.lives[name] = store.Life{Name: name, Incarnation: incarnation, Renewal: m.renewal}
	return nil
}

// Leave implements store.Liveness.
func (m *Memory) Leave(_ context.Context, name string, incarnation uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	if m.lives[name].Incarnation == incarnation {
		delete(m.lives, name)
	}
	return nil
}

// Members implements store.Liveness.
func (m *Memory) Members(context.Context) (all []store.Life, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, store.ErrClosed
	}
	for _, l := range m.lives {
		all = append(all, l)
	}
	return all, nil
}
