package natsstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// notesOfNodes is the stream of the notes that each node keeps of its own.
func (s *Store) notesOfNodes(ctx context.Context) (jetstream.Stream, error) {
	return s.lazily(ctx, &s.nodeNotes, jetstream.StreamConfig{
		Name:     nodeNoteStream,
		Subjects: []string{nodeNoteSubject + "*.*"},
	})
}

func nodeNoteName(incarnation uint64, group string) string {
	node := "*"
	if incarnation != 0 {
		node = strconv.FormatUint(incarnation, 10)
	}
	return nodeNoteSubject + node + "." + group
}

// SaveNotes implements store.NodeNotes.
func (s *Store) SaveNotes(ctx context.Context, incarnation uint64, group int, whole bool, data ...[]byte) error {
	stream, err := s.notesOfNodes(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: notes of a node: %w", err)
	}
	name := nodeNoteName(incarnation, strconv.Itoa(group))
	first := uint64(0)
	for _, b := range data {
		ack, err := s.publishInRoom(ctx, name, b)
		if err != nil {
			return fmt.Errorf("natsstore: notes of a node: %w", err)
		}
		if first == 0 {
			first = ack.Sequence
		}
	}
	if !whole || first == 0 {
		return nil
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject(name), jetstream.WithPurgeSequence(first)); err != nil {
		s.cfg.Logger.Warn("old notes of this node stay until they are next written", "group", group, "error", err)
	}
	return nil
}

// LoadNotes implements store.NodeNotes.
func (s *Store) LoadNotes(ctx context.Context, incarnation uint64, group int, f func(incarnation uint64, b []byte) error) error {
	stream, err := s.notesOfNodes(ctx)
	if err != nil {
		return fmt.Errorf("natsstore: notes of nodes: %w", err)
	}
	of := "*"
	if group >= 0 {
		of = strconv.Itoa(group)
	}
	return s.readAll(ctx, stream, nodeNoteName(incarnation, of), func(m jetstream.Msg, _ uint64) error {
		node, _, _ := strings.Cut(strings.TrimPrefix(m.Subject(), nodeNoteSubject), ".")
		n, err := strconv.ParseUint(node, 10, 64)
		if err != nil {
			return fmt.Errorf("natsstore: notes of a node on subject %s are not ours", m.Subject())
		}
		return f(n, m.Data())
	})
}

// ForgetNotes implements store.NodeNotes.
func (s *Store) ForgetNotes(ctx context.Context, incarnation uint64) error {
	if incarnation == 0 {
		return errors.New("natsstore: notes of no node")
	}
	stream, err := s.notesOfNodes(ctx)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(nodeNoteName(incarnation, "*")))
	}
	if err != nil {
		return fmt.Errorf("natsstore: notes of a node: %w", refineRead(err))
	}
	return nil
}
