package natsstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	mailVersion = 1

	// mostMail is what mailboxes may take of the disk, and mailShare the part of
	// the log's limit that they may take when that is less.
	mostMail  = 2 << 30
	mailShare = 2

	// leastMail is what they get all the same: their writer needs room to write
	// anew what is left, before it can forget what has gone.
	leastMail = 16 << 20
)

var errMail = errors.New("natsstore: a stored entry of the mailboxes is of a newer version, or damaged")

// openMail opens the stream of the mailboxes.
func (s *Store) openMail(ctx context.Context) (err error) {
	s.maxMail = min(mostMail, max(leastMail, s.maxLog/mailShare))
	s.mail, err = s.openStream(ctx, jetstream.StreamConfig{
		Name:     mailStream,
		Subjects: []string{mailSubject},
		MaxBytes: s.maxMail,
		Discard:  jetstream.DiscardNew, // nothing acknowledged makes room for what is new
	})
	return err
}

// parseMail returns a stored entry in memory of its own.
func parseMail(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != mailVersion {
		return nil, errMail
	}
	return bytes.Clone(b[1:]), nil
}

// AppendMail implements store.Mailboxes. It waits at most 5 s for the disk.
func (s *Store) AppendMail(ctx context.Context, after uint64, entry []byte) (sequence uint64, err error) {
	if len(entry) == 0 || len(entry) > store.MaxMail {
		return 0, fmt.Errorf("natsstore: entry of the mailboxes of %d bytes: at least 1 and at most %d: %w", len(entry), store.MaxMail, store.ErrRefused)
	}
	body := append(append(make([]byte, 0, 1+len(entry)), mailVersion), entry...)
	ack, err := s.publishInRoom(ctx, mailSubject, body, jetstream.WithExpectLastSequence(after))
	if err != nil {
		return 0, fmt.Errorf("natsstore: mailboxes: %w", err)
	}
	return ack.Sequence, nil
}

// ReplayMail implements store.Mailboxes.
func (s *Store) ReplayMail(ctx context.Context, from uint64, f func(sequence uint64, entry []byte) error) (last uint64, err error) {
	if err := s.closed(); err != nil {
		return 0, err
	}
	info, err := s.mail.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("natsstore: mailboxes: %w: %w", store.ErrUnknown, refineRead(err))
	}
	part := span{from: max(from, info.State.FirstSeq), through: info.State.LastSeq}
	err = s.read(ctx, s.mail, part, func(m jetstream.Msg, seq uint64) error {
		entry, err := parseMail(m.Data())
		if err != nil {
			return fmt.Errorf("entry %d: %w", seq, err)
		}
		return f(seq, entry)
	})
	return info.State.LastSeq, err
}

// ReadMail implements store.Mailboxes.
func (s *Store) ReadMail(ctx context.Context, sequence uint64) (entry []byte, err error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	if sequence == 0 {
		return nil, store.ErrNoMail
	}
	m, err := s.mail.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, store.ErrNoMail
	}
	if err != nil {
		return nil, fmt.Errorf("natsstore: cannot read the mailboxes: %w: %w", store.ErrUnknown, refineRead(err))
	}
	if entry, err = parseMail(m.Data); err != nil {
		return nil, fmt.Errorf("entry %d: %w", sequence, err)
	}
	return entry, nil
}

// CutMail implements store.Mailboxes.
func (s *Store) CutMail(ctx context.Context, before uint64) error {
	if err := s.closed(); err != nil {
		return err
	}
	info, err := s.mail.Info(ctx)
	if err == nil {
		// The last entry stays: it is what the engine knows its numbers by, should
		// it lose its own notes of them.
		if before = min(before, info.State.LastSeq); before <= info.State.FirstSeq {
			return nil
		}
		err = s.mail.Purge(ctx, jetstream.WithPurgeSequence(before))
	}
	if err != nil {
		return fmt.Errorf("natsstore: cannot cut the mailboxes: %w: %w", store.ErrUnknown, refineRead(err))
	}
	return nil
}

// MailLimit implements store.Mailboxes.
func (s *Store) MailLimit() int64 { return s.maxMail }
