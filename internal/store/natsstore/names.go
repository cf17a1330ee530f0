package natsstore

import (
	"context"
	"fmt"
	"strconv"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Named values are stored as rosters are (see roster.go), with the name in place
// of a user's id; a subject has its hash, so that what was taken away leaves no
// name behind.

func nameOf(kind store.NameKind, name string) string {
	return nameSubject + strconv.Itoa(int(kind)) + "." + userToken(presence.UserID(name))
}

// LoadName implements store.Names.
func (s *Store) LoadName(ctx context.Context, kind store.NameKind, name string) (store.Named, error) {
	value, revision, err := s.loadValue(ctx, s.names, nameOf(kind, name), presence.UserID(name))
	if err != nil {
		return store.Named{}, err
	}
	return store.Named{Name: name, Value: value, Revision: revision}, nil
}

// SaveName implements store.Names. It waits at most 5 s for the disk.
func (s *Store) SaveName(ctx context.Context, kind store.NameKind, n store.Named) (revision uint64, err error) {
	if len(n.Name) > store.MaxName || !presence.ValidUserID(n.Name) || len(n.Value) > store.MaxNameValue {
		return 0, fmt.Errorf("natsstore: a value of %d bytes under a name of %d: values end at %d bytes, and names are 1 to %d bytes of text: %w",
			len(n.Value), len(n.Name), store.MaxNameValue, store.MaxName, store.ErrRefused)
	}
	body := appendRoster(nil, presence.UserID(n.Name), n.Value)
	return s.saveValue(ctx, nameOf(kind, n.Name), body, n.Revision, len(n.Value) == 0)
}

// ScanNames implements store.Names.
func (s *Store) ScanNames(ctx context.Context, kind store.NameKind, f func(store.Named) error) error {
	return s.scanValues(ctx, s.names, nameSubject+strconv.Itoa(int(kind))+".*", func(v scannedValue) error {
		return f(store.Named{Name: string(v.name), Value: v.value, Revision: v.revision})
	})
}
