package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
)

const (
	// maxReplays is how many ended replays an endpoint's status tells of.
	maxReplays = 10
	// replayStretch is how many events a replay reads before it delivers them.
	replayStretch = 2048
)

// replay delivers again what happened after From, up to where the log was when
// it began, beside live delivery. It belongs to its endpoint, not to the process:
// who serves the endpoint next goes on with it (see notes.go).
type replay struct {
	since  presence.Time // what happened before is not told
	host   string        // of the address it goes to
	term   uint64        // under which it runs here
	cancel context.CancelFunc
	done   chan struct{}

	mu sync.Mutex // guards what follows
	Replay
	cancelled bool
	moved     bool // another node goes on with it, or this one under another term
}

// errReplayed ends the reading of a replay that is through.
var errReplayed = errors.New("webhook: replayed")

// Replay begins a replay. It fails with ErrNoEndpoint, with fault.FieldInvalid when
// one runs already or From is none, and with fault.NodeUnavailable where another node
// serves the endpoint.
func (d *Deliverer) Replay(ctx context.Context, app presence.AppID, name string, from From) (Replay, error) {
	s, e, err := d.find(app, name)
	if err != nil {
		return Replay{}, err
	}
	begin := Position{}
	switch {
	case from.Position != nil:
		begin = *from.Position
	case from.Time != 0:
		if begin, err = d.cfg.Reader.At(ctx, from.Time.Time()); err != nil {
			return Replay{}, err
		}
	default:
		return Replay{}, fault.Invalid("from", "a position or a time is needed")
	}
	head, err := d.cfg.Reader.End(ctx)
	if err != nil {
		return Replay{}, err
	}
	if head.Before(begin) {
		return Replay{}, fault.Invalid("from", "position %s lies behind the end of the log at %s: it was given by another server, or before the data directory was replaced", begin, head)
	}
	term, _ := d.cfg.Owner.Owned(app, name)
	if term == 0 {
		return Replay{}, passing(app, name)
	}
	r := &replay{since: from.Time, host: host(e.URL)}
	r.Replay = Replay{ID: "rp_" + rand.Text()[:12], Doing: doingReplay, From: begin, To: head, At: begin, Begun: time.Now()}
	if err = s.adopt(ctx, e, term); err == nil {
		err = s.admit(ctx, r, e, term)
	}
	if errors.Is(err, errOwner) {
		err = passing(app, name)
	}
	if err != nil {
		return Replay{}, err
	}
	return r.now(), nil
}

// CancelReplay ends a replay and returns how far it came. It fails with
// ErrNoEndpoint or ErrNoReplay.
func (d *Deliverer) CancelReplay(ctx context.Context, app presence.AppID, name, id string) (Replay, error) {
	r, err := d.cancelHere(ctx, app, name, id)
	if errors.Is(err, ErrNoReplay) {
		return d.cancelNoted(ctx, app, name, id)
	}
	return r, err
}

// cancelHere is CancelReplay for what this node runs, or ran.
func (d *Deliverer) cancelHere(ctx context.Context, app presence.AppID, name, id string) (Replay, error) {
	s, _, err := d.find(app, name)
	if err != nil {
		return Replay{}, err
	}
	none := fmt.Errorf("%w %q of webhook %s in app %s", ErrNoReplay, id, name, app)
	s.mu.Lock()
	i := slices.IndexFunc(s.replays, func(r *replay) bool { return r.ID == id })
	var r *replay
	if i >= 0 {
		r = s.replays[i]
	}
	s.mu.Unlock()
	if r == nil {
		return Replay{}, none
	}
	r.abandon("")
	select {
	case <-r.done:
	case <-ctx.Done():
		return r.now(), ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.moved {
		return Replay{}, none
	}
	return r.Replay, nil
}

// abandon ends a replay that runs, for a reason.
func (r *replay) abandon(why string) {
	r.mu.Lock()
	if r.Ended.IsZero() {
		r.cancelled = true
		if why != "" {
			r.Error = why
		}
	}
	r.mu.Unlock()
	r.cancel()
}

func (r *replay) now() Replay {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Replay
}

// begin runs a replay until it ends.
func (s *slot) begin(r *replay, e Endpoint, term uint64) {
	ctx, cancel := context.WithCancel(s.d.soft)
	r.cancel, r.done, r.term = cancel, make(chan struct{}), term
	s.d.running.Go(func() {
		defer close(r.done)
		defer cancel()
		s.finish(r, s.replay(ctx, r, e))
	})
}

// replay runs a replay, again and again while the log cannot be read.
func (s *slot) replay(ctx context.Context, r *replay, e Endpoint) error {
	for pause := beginAgain; ; pause = min(2*pause, beginMost) {
		err := newRun(s.d, s.tally, e).replay(ctx, s, r)
		var gap *facts.GapError
		var beyond *facts.BeyondError
		if err == nil || ctx.Err() != nil || errors.Is(err, errOwner) || errors.Is(err, errGone) || errors.As(err, &gap) || errors.As(err, &beyond) {
			return err
		}
		r.mu.Lock()
		r.Error = detail(err.Error())
		r.mu.Unlock()
		s.d.cfg.Logger.Warn("a replay cannot go on, and tries again", "app", e.App, "endpoint", e.Name, "replay", r.ID, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// finish says how a replay ended, if it did: it has not where another node goes on
// with it, or where this process stops.
func (s *slot) finish(r *replay, err error) {
	r.mu.Lock()
	switch {
	case !r.Ended.IsZero(): // cancelled at another node
	case r.cancelled:
		r.Doing, r.Ended = "cancelled", time.Now()
	case errors.Is(err, errOwner) || s.d.soft.Err() != nil || errors.Is(err, context.Canceled):
		r.moved = true
	case err != nil:
		r.Doing, r.Error, r.Ended = "failed", detail(err.Error()), time.Now()
	default:
		r.Doing, r.Ended = "done", time.Now()
	}
	moved := r.moved
	r.mu.Unlock()
	if !moved {
		err = s.note(s.d.hard, r)
	}
	if !errors.Is(err, errOwner) {
		return
	}
	// What it became here nobody knows. It stays as it is until it is taken over
	// again: what is written of another one must not forget it.
	r.mu.Lock()
	r.moved = true
	r.mu.Unlock()
	s.notes.term.CompareAndSwap(r.term, 0)
	signal(s.outdone)
}

// replay reads and delivers until it is where it ends. How far it is is stored
// after each stretch: that much comes again after a crash.
func (r *run) replay(ctx context.Context, s *slot, of *replay) error {
	defer r.sender.Close()
	r.keeper = newKeeper(r)
	r.keeper.term = of.term
	var owner error
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var once sync.Once // lanes may say it beside each other
	r.end = func(err error) { once.Do(func() { owner = err; end(err) }) }
	var waiting []Event
	flushed := time.Now()
	params := facts.Params{App: r.endpoint.App, After: of.now().At}
	err := r.d.cfg.Reader.Follow(ctx, params, func(events []*facts.Event, through Position) error {
		through = older(through, of.To)
		for _, e := range r.seen(events) {
			if !of.To.Before(e.Position) && e.Time >= of.since {
				waiting = append(waiting, e)
			}
		}
		last := !through.Before(of.To)
		if len(waiting) >= replayStretch || last || time.Since(flushed) >= saveIdle {
			if !r.again(ctx, of, waiting) {
				return context.Cause(ctx)
			}
			waiting = waiting[:0]
			of.mu.Lock()
			of.At = through
			of.mu.Unlock()
			if last {
				return errReplayed // which is stored
			}
			if err := s.note(ctx, of); err != nil {
				return err
			}
			flushed = time.Now()
		}
		return nil
	})
	switch {
	case errors.Is(err, errReplayed):
		return nil
	case owner != nil:
		return owner
	}
	return err
}

// again delivers a stretch of a replay: users beside each other, each in order.
func (r *run) again(ctx context.Context, of *replay, events []Event) bool {
	queue := make([]queued, len(events))
	for i := range events {
		queue[i].Event = events[i]
		if r.holder != nil {
			queue[i].hold = r.holder.Hold(&events[i])
		}
	}
	void := voided(r.holder, queue)
	lanes := make([][]Event, r.endpoint.Lanes)
	for i := range events {
		if !void[i] {
			n := laneOf(events[i].User.ID, len(lanes))
			lanes[n] = append(lanes[n], events[i])
		}
	}
	var sent sync.WaitGroup
	for n, events := range lanes {
		sent.Go(func() {
			for batch := range slices.Chunk(events, r.policy.Batch.Events) {
				if !r.replayed(ctx, of, n, batch) {
					return
				}
			}
		})
	}
	sent.Wait()
	return ctx.Err() == nil
}

func (r *run) replayed(ctx context.Context, of *replay, lane int, batch []Event) bool {
	d := &Delivery{App: r.endpoint.App, Endpoint: r.endpoint.Name, Events: batch, Replay: of.ID}
	d.ID = deliveryID(d)
	t := r.attempts(ctx, d, sending{retry: r.policy.Retry, lane: lane, began: of.Begun})
	if t.ended {
		return false
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if t.Outcome == Delivered {
		of.Events += uint64(len(d.Events))
		return true
	}
	of.Failed += uint64(len(batch))
	of.Error = t.Detail
	if t.Outcome == Gone {
		r.end(errGone)
		return false
	}
	return true
}
