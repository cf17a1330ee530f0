package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// The replays of an endpoint are kept beside its cursors, as cursors of a name that
// no endpoint has: one for each replay, at its position. So whoever serves the
// endpoint next goes on with them, a term says who that is, and what a program of
// before knew is as it was.

// notesName ends the name of an endpoint's replays in the store.
const notesName = "/replays"

// doingReplay is of a replay that has not ended.
const doingReplay = "running"

// moveTries is how often a write is tried that another one came before.
const moveTries = 10

// notes are the replays of a slot as they are stored.
type notes struct {
	term    atomic.Uint64 // under which they were taken over; 0: they were not
	writing sync.Mutex    // over changes of it, writes and what follows
	saved   store.Cursors
}

// noted is what stands of a replay beside its position.
type noted struct {
	ID, Doing      string
	From, To       string
	Since          presence.Time
	Host           string
	Events, Failed uint64
	Begun, Ended   time.Time
	Error          string
}

func notesOf(app presence.AppID, endpoint string) store.Endpoint {
	return store.Endpoint{App: app, Name: endpoint + notesName}
}

// cursor is what is stored of a replay.
func (r *replay) cursor() (store.Cursor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(noted{
		ID: r.ID, Doing: r.Doing, From: r.From.String(), To: r.To.String(), Since: r.since, Host: r.host,
		Events: r.Events, Failed: r.Failed, Begun: r.Begun, Ended: r.Ended, Error: r.Error,
	})
	return store.Cursor{Position: r.At.String(), State: b}, err
}

// replayOf reads what cursor wrote.
func replayOf(c store.Cursor) (*replay, error) {
	var n noted
	if err := json.Unmarshal(c.State, &n); err != nil {
		return nil, fmt.Errorf("a stored replay: %w", err)
	}
	r := &replay{since: n.Since, host: n.Host, cancel: func() {}, done: make(chan struct{})}
	close(r.done)
	r.Replay = Replay{ID: n.ID, Doing: n.Doing, Events: n.Events, Failed: n.Failed, Begun: n.Begun, Ended: n.Ended, Error: n.Error}
	for text, to := range map[string]*Position{n.From: &r.From, n.To: &r.To, c.Position: &r.At} {
		var err error
		if *to, err = facts.ParsePosition(text); err != nil {
			return nil, fmt.Errorf("stored replay %.32q: %w", n.ID, err)
		}
	}
	return r, nil
}

// storedReplays reads the replays of an endpoint. What cannot be read is left out.
func (d *Deliverer) storedReplays(ctx context.Context, of store.Endpoint) (all []*replay, c store.Cursors, err error) {
	if c, err = d.cfg.Cursors.LoadCursors(ctx, of); err != nil {
		return nil, c, fmt.Errorf("read the replays: %w", err)
	}
	for _, one := range c.Lanes {
		r, err := replayOf(one)
		if err != nil {
			d.cfg.Logger.Error("a replay cannot go on; begin it again", "app", of.App, "endpoint", of.Name, "error", err)
			continue
		}
		all = append(all, r)
	}
	return all, c, nil
}

// adopted is adopt for a run: it tries until ctx ends.
func (s *slot) adopted(ctx context.Context, e Endpoint, term uint64) error {
	for {
		err := s.adopt(ctx, e, term)
		if err == nil || errors.Is(err, errOwner) || ctx.Err() != nil {
			return ignoreEnd(err)
		}
		s.tally.fail(err)
		s.d.cfg.Logger.Warn("the replays of a webhook wait: where they are cannot be read", "app", e.App, "endpoint", e.Name, "error", err)
		timer := time.NewTimer(saveAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// adopt takes the stored replays over for a term, once, and goes on with those that
// had not ended.
func (s *slot) adopt(ctx context.Context, e Endpoint, term uint64) error {
	if err := s.letGo(ctx, term); err != nil {
		return err
	}
	s.notes.writing.Lock()
	defer s.notes.writing.Unlock()
	if s.notes.term.Load() >= term {
		return nil
	}
	_, alone := s.d.cfg.Owner.(Alone)
	name := notesOf(e.App, e.Name)
	for range moveTries {
		all, c, err := s.d.storedReplays(ctx, name)
		switch {
		case err != nil:
			return err
		case c.Term > term:
			return errOutdone
		}
		for _, r := range all {
			if r.Doing == doingReplay && r.host != host(e.URL) {
				r.Doing, r.Error, r.Ended = "cancelled", "the endpoint was changed", time.Now()
			}
		}
		s.notes.saved = c
		// Written even if there is none: who had the endpoint before may be about to
		// begin one, and is refused from now on.
		if !alone || running(all) != nil {
			if err = s.write(ctx, all, term); errors.Is(err, store.ErrMoved) {
				continue
			}
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.replays = all
		for _, r := range all {
			if r.Doing == doingReplay {
				s.begin(r, e, term)
			}
		}
		s.notes.term.Store(term)
		return nil
	}
	return fmt.Errorf("take the replays over: %w", store.ErrMoved)
}

// letGo ends what runs here, if it was not taken over under that term.
func (s *slot) letGo(ctx context.Context, term uint64) error {
	if s.notes.term.Load() >= term {
		return nil
	}
	s.mu.Lock()
	all := slices.Clone(s.replays)
	s.mu.Unlock()
	for _, r := range all {
		r.cancel()
		select {
		case <-r.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// running is the one of them that has not ended.
func running(all []*replay) *replay {
	for _, r := range all {
		if r.now().Doing == doingReplay {
			return r
		}
	}
	return nil
}

// admit stores a new replay if none runs, and begins it.
func (s *slot) admit(ctx context.Context, r *replay, e Endpoint, term uint64) error {
	s.notes.writing.Lock()
	defer s.notes.writing.Unlock()
	if s.notes.term.Load() != term {
		return errOutdone
	}
	s.mu.Lock()
	all := append(slices.Clone(s.replays), r)
	s.mu.Unlock()
	if running(all[:len(all)-1]) != nil { // or was cancelled at another node
		if err := s.heed(ctx); err != nil {
			return err
		}
	}
	if o := running(all[:len(all)-1]); o != nil {
		now := o.now()
		return fault.Invalid("replay", "%s runs already, and is at %s; cancel it or wait", now.ID, now.At)
	}
	all = all[max(0, len(all)-maxReplays):]
	if err := s.write(ctx, all, term); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replays = all
	s.begin(r, e, term)
	return nil
}

// note stores how the replays of a term are, and tries until ctx ends.
func (s *slot) note(ctx context.Context, r *replay) error {
	for {
		err := s.noteOnce(ctx, r)
		if err == nil || errors.Is(err, errOwner) || ctx.Err() != nil {
			return err
		}
		s.tally.fail(err)
		s.d.cfg.Logger.Warn("how far a replay is was not stored; it waits", "replay", r.ID, "error", err)
		timer := time.NewTimer(saveAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (s *slot) noteOnce(ctx context.Context, r *replay) (err error) {
	s.notes.writing.Lock()
	defer s.notes.writing.Unlock()
	if s.notes.term.Load() != r.term {
		return errOutdone
	}
	for range moveTries {
		s.mu.Lock()
		all := slices.Clone(s.replays)
		s.mu.Unlock()
		if err = s.write(ctx, all, r.term); !errors.Is(err, store.ErrMoved) {
			return err
		}
		if err := s.heed(ctx); err != nil {
			return err
		}
	}
	return err
}

// heed reads what another node wrote: that a replay is cancelled.
func (s *slot) heed(ctx context.Context) error {
	said, c, err := s.d.storedReplays(ctx, s.notes.saved.Endpoint)
	if err != nil {
		return err
	}
	s.notes.saved = c
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.replays {
		i := slices.IndexFunc(said, func(o *replay) bool { return o.ID == r.ID })
		r.mu.Lock()
		if i >= 0 && r.Doing == doingReplay && said[i].Doing != doingReplay {
			r.Doing, r.Ended, r.Error = said[i].Doing, said[i].Ended, said[i].Error
			r.cancel()
		}
		r.mu.Unlock()
	}
	return nil
}

// write stores the replays under a term; writing is held. On store.ErrMoved there
// is something else than was known.
func (s *slot) write(ctx context.Context, all []*replay, term uint64) error {
	c := store.Cursors{Endpoint: s.notes.saved.Endpoint, Term: term, Revision: s.notes.saved.Revision}
	for _, r := range all {
		one, err := r.cursor()
		if err != nil {
			return fmt.Errorf("store the replays: %w", err)
		}
		c.Lanes = append(c.Lanes, one)
	}
	revision, err := s.d.cfg.Cursors.SaveCursors(ctx, c)
	switch {
	case err == nil:
		c.Revision = revision
		s.notes.saved = c
		return nil
	case errors.Is(err, store.ErrTerm):
		return errOutdone
	case !errors.Is(err, store.ErrMoved) && s.wrote(ctx, c):
		return nil
	}
	return fmt.Errorf("store the replays: %w", err)
}

// wrote reports that a write of unknown result was stored after all.
func (s *slot) wrote(ctx context.Context, c store.Cursors) bool {
	now, err := s.d.cfg.Cursors.LoadCursors(ctx, c.Endpoint)
	same := func(a, b store.Cursor) bool { return a.Position == b.Position && string(a.State) == string(b.State) }
	if err != nil || now.Revision == c.Revision || now.Term != c.Term || !slices.EqualFunc(now.Lanes, c.Lanes, same) {
		return false
	}
	s.notes.saved = now
	return true
}

// cancelNoted is CancelReplay for what nobody runs just now: who goes on with the
// endpoint finds it cancelled, and who runs it after all at his next write.
func (d *Deliverer) cancelNoted(ctx context.Context, app presence.AppID, name, id string) (Replay, error) {
	if _, _, err := d.find(app, name); err != nil {
		return Replay{}, err
	}
	for range moveTries {
		all, c, err := d.storedReplays(ctx, notesOf(app, name))
		if err != nil {
			return Replay{}, err
		}
		i := slices.IndexFunc(all, func(r *replay) bool { return r.ID == id })
		if i < 0 {
			break
		}
		r := all[i]
		if r.Doing != doingReplay {
			return r.Replay, nil
		}
		r.Doing, r.Ended = "cancelled", time.Now()
		at := slices.IndexFunc(c.Lanes, func(one store.Cursor) bool { o, err := replayOf(one); return err == nil && o.ID == id })
		if c.Lanes[at], err = r.cursor(); err != nil {
			return Replay{}, err
		}
		_, err = d.cfg.Cursors.SaveCursors(ctx, c)
		switch {
		case err == nil:
			return r.Replay, nil
		case !errors.Is(err, store.ErrMoved) && !errors.Is(err, store.ErrTerm):
			return Replay{}, fmt.Errorf("store that a replay is cancelled: %w", err)
		}
	}
	return Replay{}, fmt.Errorf("%w %q of webhook %s in app %s", ErrNoReplay, id, name, app)
}

// replays are those of an endpoint, as this node knows them. One that has its
// term and has not taken them over yet reads what is stored.
func (d *Deliverer) replays(ctx context.Context, s *slot, e Endpoint) (all []Replay, err error) {
	term, _ := d.cfg.Owner.Owned(e.App, e.Name)
	adopted := s.notes.term.Load() == term
	s.mu.Lock()
	known := slices.Clone(s.replays)
	s.mu.Unlock()
	if term != 0 && !adopted {
		if known, _, err = d.storedReplays(ctx, notesOf(e.App, e.Name)); err != nil {
			return nil, err
		}
	}
	for _, r := range known {
		all = append(all, r.now())
	}
	return all, nil
}
