package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

const (
	// saveEvery is the least time between two writes of an endpoint's cursors:
	// what a crash repeats is what was delivered since, and one write serves all
	// lanes that moved.
	saveEvery = 20 * time.Millisecond
	// saveIdle is how often cursors are written that moved without a delivery.
	saveIdle = 5 * time.Second
	// saveAgain is the pause after a write that failed.
	saveAgain = time.Second
)

// keeper writes the cursors of a run behind its deliveries: the store is never
// ahead of what was delivered or buried.
type keeper struct {
	run  *run
	term uint64
	// moved and passed are signals: a delivery is done, something was read.
	moved, passed chan struct{}
	saved         store.Cursors
	failed        bool // the last write
	// former is how far lanes were when there was another number of them: what
	// they delivered is not delivered again.
	former []layout

	mu     sync.Mutex // guards what follows
	stored []Position // by lane
	grown  chan struct{}
}

// maxPositionText is the longest text of a position, which stands beside what is
// stored of former lanes.
const maxPositionText = 42

// maxFormer bounds the former layouts, because what is stored is.
const maxFormer = 2

// layout is how far each of so many lanes is.
type layout []Position

// delivered says whether a lane of the layout is through with what stands there.
func (o layout) delivered(user presence.UserID, at Position) bool {
	return !o[laneOf(user, len(o))].Before(at)
}

// newest is how far the first of its lanes is.
func (o layout) newest() (p Position) {
	for _, at := range o {
		p = newer(p, at)
	}
	return p
}

func newKeeper(r *run) *keeper {
	return &keeper{run: r, moved: make(chan struct{}, 1), passed: make(chan struct{}, 1), grown: make(chan struct{})}
}

func (k *keeper) poke() { signal(k.moved) }

func (k *keeper) name() store.Endpoint {
	return store.Endpoint{App: k.run.endpoint.App, Name: k.run.endpoint.Name}
}

// load says where each lane begins, and stores that under the term before anything
// else. There are cursors of every endpoint (see place); one whose cursors were taken
// away begins anew.
func (k *keeper) load(ctx context.Context) ([]Position, error) {
	k.term, _ = k.run.d.cfg.Owner.Owned(k.run.endpoint.App, k.run.endpoint.Name)
	if k.term == 0 {
		return nil, errOwner
	}
	stored, err := k.run.d.cfg.Cursors.LoadCursors(ctx, k.name())
	if err != nil {
		return nil, fmt.Errorf("read the cursors: %w", err)
	}
	if stored.Term > k.term {
		return nil, errOutdone
	}
	lanes := k.run.endpoint.Lanes
	at := make([]Position, lanes)
	if len(stored.Lanes) == 0 {
		from, err := k.run.d.first(ctx, k.run.endpoint)
		if err != nil {
			return nil, fmt.Errorf("find where to begin: %w", err)
		}
		for i := range at {
			at[i] = from
		}
	} else if at, err = k.placed(stored.Lanes, lanes); err != nil {
		return nil, err
	}
	k.saved = stored
	return at, k.save(ctx, at)
}

// placed gives the stored cursors to lanes: one to one, or, when their number
// changed and users moved with it, the oldest to all.
func (k *keeper) placed(stored []store.Cursor, lanes int) ([]Position, error) {
	was := make(layout, len(stored))
	for i := range stored {
		var err error
		if was[i], err = facts.ParsePosition(stored[i].Position); err != nil {
			return nil, fmt.Errorf("cursor of lane %d: %w", i, err)
		}
	}
	if err := k.recall(stored[0].State); err != nil {
		return nil, err
	}
	if len(was) == lanes {
		return was, nil
	}
	oldest := was[0]
	for _, p := range was {
		oldest = older(oldest, p)
	}
	if k.former = append(k.former, was); len(k.former) > maxFormer {
		k.former = k.former[1:]
	}
	at := make([]Position, lanes)
	for i := range at {
		at[i] = oldest
	}
	return at, nil
}

// delivered says whether lanes of before were through with an event already.
func (k *keeper) delivered(e *Event) bool {
	for _, was := range k.former {
		if was.delivered(e.User.ID, e.Position) {
			return true
		}
	}
	return false
}

// recall reads the former layouts; remember writes those that still matter to
// lanes that are there.
func (k *keeper) recall(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	var former [][]string
	if err := json.Unmarshal(b, &former); err != nil {
		return fmt.Errorf("former cursors: %w", err)
	}
	for _, texts := range former {
		was := make(layout, len(texts))
		for i, s := range texts {
			var err error
			if was[i], err = facts.ParsePosition(s); err != nil {
				return fmt.Errorf("former cursor of lane %d: %w", i, err)
			}
		}
		if len(was) > 0 {
			k.former = append(k.former, was)
		}
	}
	return nil
}

func (k *keeper) remember(at []Position) []byte {
	var former [][]string
	for _, was := range k.former {
		matters := false
		for _, p := range at {
			matters = matters || p.Before(was.newest())
		}
		if !matters {
			continue
		}
		texts := make([]string, len(was))
		for i, p := range was {
			texts[i] = p.String()
		}
		former = append(former, texts)
	}
	if former == nil {
		return nil
	}
	b, err := json.Marshal(former)
	if err != nil || len(b) > store.MaxCursorState-maxPositionText {
		return nil // events may come again; none is lost
	}
	return b
}

// wait returns when it is stored that the lane is so far, or ctx ended.
func (k *keeper) wait(ctx context.Context, lane int, through Position) bool {
	for {
		k.mu.Lock()
		there, grown := lane < len(k.stored) && !k.stored[lane].Before(through), k.grown
		k.mu.Unlock()
		if there {
			return true
		}
		k.poke()
		select {
		case <-grown:
		case <-ctx.Done():
			return false
		}
	}
}

// keep notes what is stored.
func (k *keeper) keep(c store.Cursors, at []Position) {
	k.saved = c
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stored = at
	close(k.grown)
	k.grown = make(chan struct{})
}

// serve writes until ctx ends, and then a last time; hard bounds a write. It
// returns an error when another node serves the endpoint.
func (k *keeper) serve(ctx, hard context.Context) error {
	idle := time.NewTimer(saveIdle)
	defer idle.Stop()
	idle.Stop()
	for {
		select {
		case <-k.moved:
		case <-k.passed:
			idle.Reset(saveIdle)
			select {
			case <-k.moved:
			case <-idle.C:
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return k.write(hard)
		}
		if err := k.write(hard); err != nil {
			return err
		}
		pause := time.NewTimer(saveEvery)
		if k.failed {
			pause.Reset(saveAgain)
			k.poke()
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// write stores the cursors if one moved.
func (k *keeper) write(ctx context.Context) error {
	at := make([]Position, len(k.run.lanes))
	for i, l := range k.run.lanes {
		at[i] = l.cursor()
	}
	err := k.save(ctx, at)
	k.failed = err != nil
	if errors.Is(err, errOwner) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		k.run.tally.fail(err)
		k.run.d.cfg.Logger.Warn("a webhook's cursors were not stored; what is delivered meanwhile comes again after a crash",
			"app", k.run.endpoint.App, "endpoint", k.run.endpoint.Name, "error", err)
	}
	return nil
}

func (k *keeper) save(ctx context.Context, at []Position) error {
	c := store.Cursors{Endpoint: k.name(), Term: k.term, Revision: k.saved.Revision, Lanes: make([]store.Cursor, len(at))}
	same := len(k.saved.Lanes) == len(at) && k.saved.Term == k.term
	for i := range at {
		c.Lanes[i].Position = at[i].String()
		same = same && k.saved.Lanes[i].Position == c.Lanes[i].Position
	}
	c.Lanes[0].State = k.remember(at)
	if same && bytes.Equal(k.saved.Lanes[0].State, c.Lanes[0].State) {
		k.keep(k.saved, at)
		return nil
	}
	revision, err := k.run.d.cfg.Cursors.SaveCursors(ctx, c)
	switch {
	case err == nil:
		c.Revision = revision
		k.keep(c, at)
		return nil
	case errors.Is(err, store.ErrTerm):
		return fmt.Errorf("%w: %w", errOwner, err)
	}
	// It may have been stored after all: what is there decides.
	if now, loadErr := k.run.d.cfg.Cursors.LoadCursors(ctx, k.name()); loadErr == nil {
		if now.Term > k.term {
			return errOutdone
		}
		k.saved = now
	}
	return fmt.Errorf("store the cursors: %w", err)
}
