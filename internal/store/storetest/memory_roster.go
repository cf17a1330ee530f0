package storetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

type rosterKey struct {
	kind store.RosterKind
	user presence.User
}

// rosters are a Memory's roster values; the Memory's mu guards them.
type rosters struct {
	values map[rosterKey]store.Roster
	last   uint64 // revision given last
	refuse error
	lose   []bool // what becomes of the next saves: stored, or not
	wakes  map[chan struct{}]bool
}

// changed wakes who watches.
func (r *rosters) changed() {
	for wake := range r.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// WatchRosters implements store.Rosters.
func (m *Memory) WatchRosters(ctx context.Context, kind store.RosterKind, f func(store.RosterChange) error) error {
	wake := make(chan struct{}, 1)
	m.mu.Lock()
	after := m.rosters.last
	if m.rosters.wakes == nil {
		m.rosters.wakes = map[chan struct{}]bool{}
	}
	m.rosters.wakes[wake] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.rosters.wakes, wake)
		m.mu.Unlock()
	}()
	if err := f(store.RosterChange{}); err != nil {
		return err
	}
	for {
		all, err := m.rosterChanges(kind, &after)
		if err != nil {
			return err
		}
		for _, c := range all {
			if err := f(c); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

// rosterChanges returns the values saved after a revision, which it moves on.
func (m *Memory) rosterChanges(kind store.RosterKind, after *uint64) (all []store.RosterChange, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, store.ErrClosed
	}
	for key, r := range m.rosters.values {
		if key.kind != kind || key.user.App == nameApp || r.Revision <= *after {
			continue
		}
		c := store.RosterChange{App: key.user.App, Mark: store.UserMark(key.user), Roster: r}
		if c.Value = bytes.Clone(r.Value); r.Value == nil {
			c.User = presence.User{}
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b store.RosterChange) int { return cmp.Compare(a.Revision, b.Revision) })
	*after = m.rosters.last
	return all, nil
}

// RefuseRosters makes every load and save of a roster from now on fail with an
// error that wraps store.ErrRefused and why; nil ends it.
func (m *Memory) RefuseRosters(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rosters.refuse = why
}

// LoseRosters makes the next n saves of a roster answer store.ErrUnknown;
// stored tells whether they are stored all the same.
func (m *Memory) LoseRosters(n int, stored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rosters.lose = append(m.rosters.lose, slices.Repeat([]bool{stored}, n)...)
}

// LoadRoster implements store.Rosters.
func (m *Memory) LoadRoster(ctx context.Context, kind store.RosterKind, user presence.User) (store.Roster, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.Roster{}, store.ErrClosed
	case m.rosters.refuse != nil:
		return store.Roster{}, fmt.Errorf("%w: %w", store.ErrRefused, m.rosters.refuse)
	case ctx.Err() != nil:
		return store.Roster{}, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
	r := m.rosters.values[rosterKey{kind, user}]
	r.User, r.Value = user, bytes.Clone(r.Value)
	return r, nil
}

// SaveRoster implements store.Rosters.
func (m *Memory) SaveRoster(ctx context.Context, kind store.RosterKind, r store.Roster) (uint64, error) {
	if len(r.Value) > store.MaxRosterValue || !presence.ValidUserID(string(r.User.ID)) || !presence.ValidAppID(string(r.User.App)) {
		return 0, fmt.Errorf("roster too large, or of a user without a valid name: %w", store.ErrRefused)
	}
	return m.saveValue(ctx, rosterKey{kind, r.User}, r)
}

// saveValue is SaveRoster of what may be stored.
func (m *Memory) saveValue(ctx context.Context, key rosterKey, r store.Roster) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return 0, store.ErrClosed
	case m.rosters.refuse != nil:
		return 0, fmt.Errorf("%w: %w", store.ErrRefused, m.rosters.refuse)
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	case m.rosters.values[key].Revision != r.Revision:
		return 0, fmt.Errorf("%w: %w", store.ErrRefused, store.ErrMoved)
	}
	stored, lost := true, len(m.rosters.lose) > 0
	if lost {
		stored, m.rosters.lose = m.rosters.lose[0], m.rosters.lose[1:]
	}
	if stored {
		m.rosters.last++
		r.Revision = m.rosters.last
		if r.Value = bytes.Clone(r.Value); len(r.Value) == 0 {
			r.Value = nil
		}
		m.rosters.values[key] = r
		m.rosters.changed()
	}
	if lost {
		return 0, fmt.Errorf("%w: lost", store.ErrUnknown)
	}
	return r.Revision, nil
}

// ScanRosters implements store.Rosters.
func (m *Memory) ScanRosters(ctx context.Context, kind store.RosterKind, app presence.AppID, f func(store.Roster) error) error {
	for after := uint64(0); ; {
		all, through, err := m.rostersAfter(kind, app, after)
		if err != nil || through == after {
			return err
		}
		after = through
		for _, r := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(r); err != nil {
				return err
			}
		}
	}
}

// rostersAfter returns the values saved after a revision, and the last
// revision there is.
func (m *Memory) rostersAfter(kind store.RosterKind, app presence.AppID, after uint64) (all []store.Roster, through uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return nil, 0, store.ErrClosed
	case m.rosters.refuse != nil:
		return nil, 0, m.rosters.refuse
	}
	for key, r := range m.rosters.values {
		if key.kind == kind && (app == "" && key.user.App != nameApp || app == key.user.App) && r.Revision > after && r.Value != nil {
			r.Value = bytes.Clone(r.Value)
			all = append(all, r)
		}
	}
	return all, m.rosters.last, nil
}
