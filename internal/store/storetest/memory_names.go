package storetest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// A Memory keeps named values among its rosters, under an app that no app can
// be: they share what makes rosters fail.
const nameApp = "@"

func nameKey(kind store.NameKind, name string) rosterKey {
	return rosterKey{store.RosterKind(kind), presence.User{App: nameApp, ID: presence.UserID(name)}}
}

// LoadName implements store.Names.
func (m *Memory) LoadName(ctx context.Context, kind store.NameKind, name string) (store.Named, error) {
	key := nameKey(kind, name)
	r, err := m.LoadRoster(ctx, key.kind, key.user)
	if err != nil {
		return store.Named{}, err
	}
	return store.Named{Name: name, Value: r.Value, Revision: r.Revision}, nil
}

// SaveName implements store.Names.
func (m *Memory) SaveName(ctx context.Context, kind store.NameKind, n store.Named) (uint64, error) {
	if len(n.Name) > store.MaxName || !presence.ValidUserID(n.Name) || len(n.Value) > store.MaxNameValue {
		return 0, fmt.Errorf("value too large, or without a valid name: %w", store.ErrRefused)
	}
	key := nameKey(kind, n.Name)
	return m.saveValue(ctx, key, store.Roster{User: key.user, Value: bytes.Clone(n.Value), Revision: n.Revision})
}

// ScanNames implements store.Names.
func (m *Memory) ScanNames(ctx context.Context, kind store.NameKind, f func(store.Named) error) error {
	return m.ScanRosters(ctx, store.RosterKind(kind), nameApp, func(r store.Roster) error {
		return f(store.Named{Name: string(r.User.ID), Value: r.Value, Revision: r.Revision})
	})
}
