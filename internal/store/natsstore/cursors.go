package natsstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Cursors are one message:
//
//	version, term, count of lanes, each: position, state
//
// The version alone stands for cursors that were dropped, as with rosters.
const cursorVersion = 1

var errCursor = errors.New("stored cursors are of a newer version, or damaged")

func cursorName(e store.Endpoint) string {
	return cursorSubject + string(e.App) + "." + base64.RawURLEncoding.EncodeToString([]byte(e.Name))
}

// endpointOf reads the last two tokens of a subject.
func endpointOf(app, name string) (e store.Endpoint, err error) {
	b, err := base64.RawURLEncoding.DecodeString(name)
	return store.Endpoint{App: presence.AppID(app), Name: string(b)}, err
}

func checkEndpoint(e store.Endpoint) error {
	if !presence.ValidAppID(string(e.App)) || e.Name == "" || len(e.Name) > store.MaxEndpointName {
		return fmt.Errorf("natsstore: endpoint %.70q of app %.16q: names must be valid and have at most %d bytes: %w", e.Name, e.App, store.MaxEndpointName, store.ErrRefused)
	}
	return nil
}

func appendCursors(dst []byte, c *store.Cursors) []byte {
	dst = presence.AppendNumber(append(dst, cursorVersion), c.Term)
	dst = presence.AppendNumber(dst, uint64(len(c.Lanes)))
	for i := range c.Lanes {
		dst = presence.AppendText(dst, c.Lanes[i].Position)
		dst = presence.AppendText(dst, string(c.Lanes[i].State))
	}
	return dst
}

// parseCursors reads what appendCursors wrote, but for the endpoint.
func parseCursors(b []byte) (c store.Cursors, err error) {
	if len(b) == 0 || b[0] != cursorVersion {
		return c, errCursor
	}
	if len(b) == 1 {
		return c, nil
	}
	term, b, err := presence.ParseNumber(b[1:])
	if err != nil {
		return c, errCursor
	}
	count, b, err := presence.ParseNumber(b)
	if err != nil || count > store.MaxLanes {
		return c, errCursor
	}
	c.Term, c.Lanes = term, make([]store.Cursor, count)
	for i := range c.Lanes {
		var state string
		if c.Lanes[i].Position, b, err = presence.ParseText(b); err != nil {
			return store.Cursors{}, errCursor
		}
		if state, b, err = presence.ParseText(b); err != nil {
			return store.Cursors{}, errCursor
		}
		if state != "" {
			c.Lanes[i].State = []byte(state)
		}
	}
	if len(b) > 0 {
		return store.Cursors{}, errCursor
	}
	return c, nil
}

// LoadCursors implements store.CursorKeeper.
func (s *Store) LoadCursors(ctx context.Context, e store.Endpoint) (store.Cursors, error) {
	if err := s.closed(); err != nil {
		return store.Cursors{}, err
	}
	if err := checkEndpoint(e); err != nil {
		return store.Cursors{}, err
	}
	m, err := s.cursors.GetLastMsgForSubject(ctx, cursorName(e))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return store.Cursors{Endpoint: e}, nil
	}
	if err != nil {
		return store.Cursors{}, fmt.Errorf("natsstore: cannot read cursors: %w: %w", store.ErrUnknown, refineRead(err))
	}
	c, err := parseCursors(m.Data)
	if err != nil {
		return store.Cursors{}, fmt.Errorf("natsstore: cursors of endpoint %q of app %s: %w", e.Name, e.App, err)
	}
	c.Endpoint, c.Revision = e, m.Sequence
	s.mu.Lock()
	s.terms[e] = term{m.Sequence, c.Term}
	s.mu.Unlock()
	return c, nil
}

// term is the term that is stored at a revision of an endpoint's cursors.
type term struct{ revision, term uint64 }

// SaveCursors implements store.CursorKeeper.
func (s *Store) SaveCursors(ctx context.Context, c store.Cursors) (revision uint64, err error) {
	if err := checkEndpoint(c.Endpoint); err != nil {
		return 0, err
	}
	if len(c.Lanes) > store.MaxLanes {
		return 0, fmt.Errorf("natsstore: cursors of %d lanes, at most %d: %w", len(c.Lanes), store.MaxLanes, store.ErrRefused)
	}
	for i := range c.Lanes {
		if l := &c.Lanes[i]; len(l.State)+len(l.Position) > store.MaxCursorState {
			return 0, fmt.Errorf("natsstore: cursor of lane %d has %d bytes, at most %d: %w", i, len(l.State)+len(l.Position), store.MaxCursorState, store.ErrRefused)
		}
	}
	s.mu.Lock()
	known, ok := s.terms[c.Endpoint]
	s.mu.Unlock()
	if !ok || known.revision != c.Revision {
		stored, err := s.LoadCursors(ctx, c.Endpoint)
		if err != nil {
			return 0, err
		}
		known = term{stored.Revision, stored.Term}
	}
	switch {
	case c.Term < known.term:
		return 0, fmt.Errorf("natsstore: cursors of endpoint %q: term %d: %w", c.Endpoint.Name, c.Term, store.ErrTerm)
	case c.Revision != known.revision:
		return 0, fmt.Errorf("natsstore: cursors of endpoint %q: %w", c.Endpoint.Name, errMoved)
	}
	return s.putCursors(ctx, c, appendCursors(nil, &c))
}

func (s *Store) putCursors(ctx context.Context, c store.Cursors, body []byte) (uint64, error) {
	// Small, few, and what a full disk must not stop: lanes that stand still
	// would make dead letters.
	ack, err := s.publish(ctx, cursorName(c.Endpoint), body, jetstream.WithExpectLastSequencePerSubject(c.Revision))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.terms, c.Endpoint) // perhaps it is stored: look before the next
		return 0, fmt.Errorf("natsstore: cursors: %w", err)
	}
	s.terms[c.Endpoint] = term{ack.Sequence, c.Term}
	return ack.Sequence, nil
}

// ListCursors implements store.CursorKeeper.
func (s *Store) ListCursors(ctx context.Context, f func(store.Cursors) error) error {
	if err := s.closed(); err != nil {
		return err
	}
	all := map[store.Endpoint]store.Cursors{} // one that moves meanwhile comes twice
	err := s.readAll(ctx, s.cursors, "", func(m jetstream.Msg, seq uint64) error {
		names := strings.Split(m.Subject(), ".")
		e, err := endpointOf(names[len(names)-2], names[len(names)-1])
		if err != nil {
			return fmt.Errorf("natsstore: cursors on subject %s are not ours", m.Subject())
		}
		c, err := parseCursors(m.Data())
		if err != nil {
			return fmt.Errorf("natsstore: cursors of endpoint %q of app %s: %w", e.Name, e.App, err)
		}
		if len(m.Data()) == 1 {
			delete(all, e)
			return nil
		}
		c.Endpoint, c.Revision = e, seq
		all[e] = c
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// DropCursors implements store.CursorKeeper.
func (s *Store) DropCursors(ctx context.Context, e store.Endpoint) error {
	c, err := s.LoadCursors(ctx, e)
	if err != nil || c.Revision == 0 {
		return err
	}
	c.Term = 0
	_, err = s.putCursors(ctx, c, []byte{cursorVersion})
	return err
}
