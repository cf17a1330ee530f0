package storetest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/store"
)

var _ store.NodeNotes = (*Memory)(nil)

// notesOf names what one node keeps of a group.
type notesOf struct {
	incarnation uint64
	group       int
}

// SaveNotes implements store.NodeNotes.
func (m *Memory) SaveNotes(_ context.Context, incarnation uint64, group int, whole bool, data ...[]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopped:
		return store.ErrClosed
	case incarnation == 0 || group < 0 || group >= store.NoteGroups:
		return fmt.Errorf("notes of node %d, group %d: %w", incarnation, group, store.ErrRefused)
	}
	key := notesOf{incarnation, group}
	list := m.nodeNotes[key]
	if whole {
		list = nil
	}
	list = slices.Clip(list)
	for _, b := range data {
		list = append(list, bytes.Clone(b))
	}
	m.nodeNotes[key] = list
	return nil
}

// LoadNotes implements store.NodeNotes.
func (m *Memory) LoadNotes(_ context.Context, incarnation uint64, group int, f func(uint64, []byte) error) error {
	m.mu.Lock()
	stopped, all := m.stopped, maps.Clone(m.nodeNotes)
	m.mu.Unlock()
	if stopped {
		return store.ErrClosed
	}
	keys := slices.SortedFunc(maps.Keys(all), func(a, b notesOf) int {
		return cmp.Or(cmp.Compare(a.incarnation, b.incarnation), cmp.Compare(a.group, b.group))
	})
	for _, key := range keys {
		if incarnation != 0 && key.incarnation != incarnation || group >= 0 && key.group != group {
			continue
		}
		for _, b := range all[key] {
			if err := f(key.incarnation, bytes.Clone(b)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ForgetNotes implements store.NodeNotes.
func (m *Memory) ForgetNotes(_ context.Context, incarnation uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	maps.DeleteFunc(m.nodeNotes, func(key notesOf, _ [][]byte) bool { return key.incarnation == incarnation })
	return nil
}
