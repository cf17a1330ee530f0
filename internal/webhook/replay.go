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
// it began, beside live delivery. It lives as long as the process: after a
// restart it is begun again by whoever wants it.
type replay struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu sync.Mutex // guards what follows
	Replay
	cancelled bool
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
	if term, _ := d.cfg.Owner.Owned(app, name); term == 0 {
		return Replay{}, passing(app, name)
	}
	run, cancel := context.WithCancel(d.soft)
	r := &replay{cancel: cancel, done: make(chan struct{})}
	r.Replay = Replay{ID: "rp_" + rand.Text()[:12], Doing: "running", From: begin, To: head, At: begin, Begun: time.Now()}
	if err := s.admit(r); err != nil {
		cancel()
		return Replay{}, err
	}
	d.running.Go(func() {
		defer cancel()
		defer close(r.done)
		r.finish(newRun(d, s.tally, e).replay(run, r, from.Time))
	})
	return r.now(), nil
}

// CancelReplay ends a replay and returns how far it came. It fails with
// ErrNoEndpoint or ErrNoReplay.
func (d *Deliverer) CancelReplay(ctx context.Context, app presence.AppID, name, id string) (Replay, error) {
	s, _, err := d.find(app, name)
	if err != nil {
		return Replay{}, err
	}
	s.mu.Lock()
	i := slices.IndexFunc(s.replays, func(r *replay) bool { return r.ID == id })
	var r *replay
	if i >= 0 {
		r = s.replays[i]
	}
	s.mu.Unlock()
	if r == nil {
		return Replay{}, fmt.Errorf("%w %q of webhook %s in app %s", ErrNoReplay, id, name, app)
	}
	r.abandon("")
	select {
	case <-r.done:
		return r.now(), nil
	case <-ctx.Done():
		return r.now(), ctx.Err()
	}
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

// admit takes a new replay in if none runs.
func (s *slot) admit(r *replay) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.replays {
		if now := o.now(); now.Doing == "running" {
			return fault.Invalid("replay", "%s runs already, and is at %s; cancel it or wait", now.ID, now.At)
		}
	}
	s.replays = append(s.replays, r)
	if len(s.replays) > maxReplays {
		s.replays = slices.Delete(s.replays, 0, len(s.replays)-maxReplays)
	}
	return nil
}

func (r *replay) now() Replay {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Replay
}

func (r *replay) finish(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Ended = time.Now()
	switch {
	case r.cancelled:
		r.Doing = "cancelled"
	case err != nil:
		r.Doing, r.Error = "failed", detail(err.Error())
	default:
		r.Doing = "done"
	}
}

// replay reads and delivers until it is where it ends.
func (r *run) replay(ctx context.Context, of *replay, since presence.Time) error {
	defer r.sender.Close()
	r.keeper = newKeeper(r)
	r.keeper.term, _ = r.d.cfg.Owner.Owned(r.endpoint.App, r.endpoint.Name)
	var owner error
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r.end = func(err error) { owner = err; end(err) }
	var waiting []Event
	params := facts.Params{App: r.endpoint.App, After: of.now().From}
	err := r.d.cfg.Reader.Follow(ctx, params, func(events []*facts.Event, through Position) error {
		through = older(through, of.To)
		for _, e := range r.seen(events) {
			if !of.To.Before(e.Position) && e.Time >= since {
				waiting = append(waiting, e)
			}
		}
		last := !through.Before(of.To)
		if len(waiting) >= replayStretch || last {
			if !r.again(ctx, of, waiting) {
				return context.Cause(ctx)
			}
			waiting = waiting[:0]
			of.mu.Lock()
			of.At = through
			of.mu.Unlock()
		}
		if last {
			return errReplayed
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
