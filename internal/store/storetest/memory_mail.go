package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/porchlight-dev/porchlight/internal/store"
)

// memoryMail is how many bytes of entries a Memory takes.
const memoryMail = 64 << 20

// mail are a Memory's mailboxes; the Memory's mu guards them.
type mail struct {
	first   uint64 // how many were cut: the sequence before that of entries[0]
	entries [][]byte
	limit   int64
	bytes   int64
	refuse  error
	lose    []bool        // what becomes of the next entries: stored, or not
	appends int           // tries
	held    chan struct{} // closed when appends may go on
	reads   int
}

func (l *mail) last() uint64 { return l.first + uint64(len(l.entries)) }

func (l *mail) clone() mail {
	return mail{first: l.first, entries: slices.Clone(l.entries), limit: l.limit, bytes: l.bytes}
}

// LimitMail sets how many bytes of entries are taken.
func (m *Memory) LimitMail(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail.limit = bytes
}

// RefuseMail makes every entry from now on fail with an error that wraps
// store.ErrRefused and why; nil ends it.
func (m *Memory) RefuseMail(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail.refuse = why
}

// LoseMail makes the next n appends of entries answer store.ErrUnknown; stored
// tells whether they are stored all the same.
func (m *Memory) LoseMail(n int, stored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail.lose = append(m.mail.lose, slices.Repeat([]bool{stored}, n)...)
}

// HoldMail makes appends of entries wait until release is called, once.
func (m *Memory) HoldMail() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make(chan struct{})
	m.mail.held = held
	return func() {
		m.mu.Lock()
		m.mail.held = nil
		m.mu.Unlock()
		close(held)
	}
}

// MailEntries returns how many entries there are, their bytes, and how many
// were asked for one by one.
func (m *Memory) MailEntries() (entries int, bytes int64, reads int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mail.entries), m.mail.bytes, m.mail.reads
}

// AppendMail implements store.Mailboxes.
func (m *Memory) AppendMail(ctx context.Context, after uint64, entry []byte) (uint64, error) {
	m.mu.Lock()
	held := m.mail.held
	m.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail.appends++
	switch {
	case m.stopped:
		return 0, store.ErrClosed
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	case m.mail.refuse != nil:
		return 0, fmt.Errorf("%w: %w", store.ErrRefused, m.mail.refuse)
	case len(entry) == 0 || len(entry) > store.MaxMail:
		return 0, fmt.Errorf("entry of %d bytes: %w", len(entry), store.ErrRefused)
	case after != m.mail.last():
		return 0, fmt.Errorf("%w: %w", store.ErrRefused, store.ErrMoved)
	case m.mail.bytes+int64(len(entry)) > m.mail.limit:
		return 0, fmt.Errorf("full: %w", store.ErrRefused)
	}
	stored, lost := true, len(m.mail.lose) > 0
	if lost {
		stored, m.mail.lose = m.mail.lose[0], m.mail.lose[1:]
	}
	if stored {
		m.mail.entries = append(m.mail.entries, bytes.Clone(entry))
		m.mail.bytes += int64(len(entry))
	}
	if lost {
		return 0, store.ErrUnknown
	}
	return m.mail.last(), nil
}

// ReplayMail implements store.Mailboxes.
func (m *Memory) ReplayMail(ctx context.Context, from uint64, f func(sequence uint64, entry []byte) error) (uint64, error) {
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return 0, store.ErrClosed
	}
	l := m.mail.clone()
	m.mu.Unlock()
	for i, entry := range l.entries {
		seq := l.first + uint64(i) + 1
		if seq < from {
			continue
		}
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("%w: %w", store.ErrUnknown, err)
		}
		if err := f(seq, bytes.Clone(entry)); err != nil {
			return 0, err
		}
	}
	return l.last(), nil
}

// ReadMail implements store.Mailboxes.
func (m *Memory) ReadMail(_ context.Context, sequence uint64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mail.reads++
	switch {
	case m.stopped:
		return nil, store.ErrClosed
	case sequence <= m.mail.first || sequence > m.mail.last():
		return nil, store.ErrNoMail
	}
	return bytes.Clone(m.mail.entries[sequence-m.mail.first-1]), nil
}

// CutMail implements store.Mailboxes.
func (m *Memory) CutMail(_ context.Context, before uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return store.ErrClosed
	}
	before = min(before, m.mail.last())
	for m.mail.first+1 < before {
		m.mail.bytes -= int64(len(m.mail.entries[0]))
		m.mail.entries = m.mail.entries[1:]
		m.mail.first++
	}
	return nil
}

// MailLimit implements store.Mailboxes.
func (m *Memory) MailLimit() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mail.limit
}
