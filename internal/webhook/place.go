package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Where an endpoint begins is stored when it is first configured, at whichever node
// that is, before Start or SetEndpoints returns there: what happens after that is told,
// whoever serves the endpoint first, and whoever dies until then. It is cursors of
// term 0, under which nobody serves.

const (
	// placeWait bounds how long Start and SetEndpoints wait for a store that does not
	// answer: longer than it takes to elect a leader.
	placeWait = 15 * time.Second
	// placeAgain is the pause after a try that failed.
	placeAgain = 250 * time.Millisecond
)

// await waits until it is stored where the endpoints of slots begin; what takes longer
// than placeWait goes on behind it.
func (d *Deliverer) await(ctx context.Context, slots []*slot) {
	patience := time.NewTimer(placeWait)
	defer patience.Stop()
	for _, s := range slots {
		select {
		case <-s.placed:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		case <-d.soft.Done():
			return
		}
	}
}

// place tries until it is stored where the endpoint begins, or the process stops. What
// was first known counts, for as long as the endpoint is wanted.
func (s *slot) place() {
	say := time.Now().Add(beginAgain)
	for s.d.soft.Err() == nil {
		e := s.wanted()
		if e == nil {
			s.since, s.born = time.Time{}, nil
			s.wait(0)
			continue
		}
		if s.since.IsZero() {
			s.since = time.Now()
		}
		err := s.placeOnce(s.d.soft, *e)
		for range moveTries {
			if !errors.Is(err, store.ErrMoved) && !errors.Is(err, store.ErrTerm) {
				break
			}
			err = s.placeOnce(s.d.soft, *e) // another node was quicker
		}
		if err == nil {
			close(s.placed)
			return
		}
		s.tally.fail(err)
		s.tally.stop(doingStopped)
		if now := time.Now(); !now.Before(say) && s.d.soft.Err() == nil {
			say = now.Add(beginMost)
			s.d.cfg.Logger.Error("it is not stored where a webhook begins, and tried again; if it is new, and this node ends before, it may not be told what happens until then",
				"app", e.App, "endpoint", e.Name, "error", err)
		}
		s.wait(placeAgain)
	}
}

// placeOnce stores where the endpoint begins, if nobody did, or who did knew of a later
// place and nobody serves it yet.
func (s *slot) placeOnce(ctx context.Context, e Endpoint) error {
	c, readErr := s.d.cfg.Cursors.LoadCursors(ctx, store.Endpoint{App: e.App, Name: e.Name})
	switch {
	case readErr != nil || len(c.Lanes) == 0:
		if s.born != nil {
			break
		}
		from, err := s.first(ctx, e)
		if err != nil {
			return errors.Join(readErr, fmt.Errorf("find where to begin: %w", err))
		}
		s.born = &from
	case s.born == nil || c.Term > 0: // whoever stored it looked earlier than this node would now
		return nil
	default:
		if p, err := facts.ParsePosition(c.Lanes[0].Position); err != nil || !s.born.Before(p) {
			return err
		}
	}
	if readErr != nil {
		return fmt.Errorf("read the cursors: %w", readErr)
	}
	c.Lanes = make([]store.Cursor, e.withDefaults().Lanes)
	for i := range c.Lanes {
		c.Lanes[i].Position = s.born.String()
	}
	if _, err := s.d.cfg.Cursors.SaveCursors(ctx, c); err != nil {
		return fmt.Errorf("store where to begin: %w", err)
	}
	return nil
}

// first is where the endpoint begins as this node knows it.
func (s *slot) first(ctx context.Context, e Endpoint) (Position, error) {
	at, err := s.d.first(ctx, e)
	if err != nil || time.Since(s.since) < placeWait {
		return at, err
	}
	// Nobody waited for the answer: what happened until then is told, too.
	from, err := s.d.cfg.Reader.At(ctx, s.since)
	return older(at, from), err
}

// first is where an endpoint begins that nothing is known of.
func (d *Deliverer) first(ctx context.Context, e Endpoint) (Position, error) {
	if e.FromOldest {
		return d.cfg.Reader.Oldest(ctx)
	}
	return d.cfg.Reader.End(ctx)
}
