package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// Errors that end a run.
var (
	errGone  = errors.New("the receiver answered that it wants nothing more (410)")
	errOwner = errors.New("another node serves the endpoint")
	// errOutdone is an errOwner of whom a later term has come.
	errOutdone = fmt.Errorf("%w: %w", errOwner, store.ErrTerm)
)

// run serves one endpoint as it is configured, from its start, or from a reload
// that changed it, to the next.
type run struct {
	d        *Deliverer
	slot     *slot // nil: of a replay, or a resend
	tally    *tally
	endpoint Endpoint
	policy   Policy
	holder   Holder // nil: nothing is held
	sender   Sender
	breaker  *breaker
	keeper   *keeper
	lanes    []*lane
	live     *pass
	end      context.CancelCauseFunc
	known    Position // where the log ended when the run began: until it has read so far, nobody knows what waits

	// wanted is the signal that lanes are behind.
	wanted chan struct{}

	mu     sync.Mutex // guards what follows, and pass.reading
	behind map[*lane]bool
}

func newRun(d *Deliverer, t *tally, e Endpoint) *run {
	e = e.withDefaults()
	r := &run{
		d: d, tally: t, endpoint: e, policy: e.policy(), wanted: make(chan struct{}, 1), behind: map[*lane]bool{},
	}
	r.holder, _ = e.Format.(Holder)
	r.sender = d.cfg.Dial(outbound.Config{Timeout: r.policy.Timeout, MaxAnswer: r.policy.MaxAnswer, AllowPrivate: e.AllowPrivate})
	r.breaker = newBreaker(r.policy.Breaker, e.Lanes)
	r.live = &pass{run: r}
	return r
}

// serve delivers until ctx ends, and returns why it ended sooner. Requests that
// are under way then are answered first, unless hard ends too.
func (r *run) serve(ctx, hard context.Context) error {
	defer r.sender.Close()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r.end = end
	from, err := r.begin(ctx)
	if err != nil {
		return err
	}
	r.tally.running(r)
	defer r.tally.running(nil)

	var lanes, readers, keeps sync.WaitGroup
	for _, l := range r.lanes {
		lanes.Go(func() { l.serve(ctx) })
	}
	readers.Go(func() { end(r.readLive(ctx, from)) })
	readers.Go(func() {
		if err := r.catchUp(ctx); err != nil {
			end(err)
		}
	})
	readers.Go(func() {
		if err := r.slot.adopted(ctx, r.endpoint, r.keeper.term); err != nil {
			end(err)
		}
	})
	keeping, stopKeeping := context.WithCancel(hard) // longer than ctx: the lanes end first
	defer stopKeeping()
	keeps.Go(func() {
		if err := r.keeper.serve(keeping, hard); err != nil {
			end(err)
		}
	})
	readers.Wait()
	lanes.Wait()
	stopKeeping()
	keeps.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// begin loads the cursors, makes the lanes and says where to read from.
func (r *run) begin(ctx context.Context) (from Position, err error) {
	r.keeper = newKeeper(r)
	at, err := r.keeper.load(ctx)
	if err != nil {
		return from, err
	}
	if r.known, err = r.d.cfg.Reader.End(ctx); err != nil {
		return from, err
	}
	newest := Position{}
	for n, p := range at {
		r.lanes = append(r.lanes, newLane(r, n, p))
		newest = newer(newest, p)
	}
	from = newest
	for _, l := range r.lanes {
		if l.taken.Sequence+farBehind >= newest.Sequence {
			l.from = r.live
			from = older(from, l.taken)
		}
	}
	for _, l := range r.lanes {
		if l.from == nil {
			r.recovered(l)
		}
	}
	return from, nil
}

// readLive reads until ctx ends.
func (r *run) readLive(ctx context.Context, from Position) error {
	for {
		err := r.live.follow(ctx, from)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = errors.New("the reader ended by itself")
		}
		if err := r.skipGap(ctx, err); err != nil {
			return err
		}
		if from, err = r.liveFrom(); err != nil {
			return err
		}
	}
}

// liveFrom is where the live pass goes on after a gap.
func (r *run) liveFrom() (from Position, err error) {
	any := false
	for _, l := range r.lanes {
		l.mu.Lock()
		if l.from == r.live {
			if !any {
				from, any = l.taken, true
			}
			from = older(from, l.taken)
		}
		l.mu.Unlock()
	}
	if !any {
		r.mu.Lock()
		from = r.live.reading
		r.mu.Unlock()
	}
	return from, nil
}

// skipGap tells of a gap and goes on behind it; any other error it returns.
func (r *run) skipGap(ctx context.Context, err error) error {
	var lost *facts.GapError
	if !errors.As(err, &lost) {
		return fmt.Errorf("read the log: %w", err)
	}
	gap := Gap{From: lost.From, To: lost.To, Time: presence.At(time.Now())}
	r.d.cfg.Logger.Error("a webhook was behind for longer than the log reaches back: events are lost to it; read a snapshot to have the present",
		"app", r.endpoint.App, "endpoint", r.endpoint.Name, "from", gap.From.String(), "to", gap.To.String())
	r.tally.gap()
	if r.policy.Gaps && !r.tell(ctx, &gap) {
		return nil // ctx ended; the gap is seen again
	}
	for _, l := range r.lanes {
		l.mu.Lock()
		if l.taken.Before(gap.To) {
			if !l.busy && len(l.queue) == 0 {
				l.done = gap.To
			}
			l.taken = gap.To
		}
		l.mu.Unlock()
	}
	r.keeper.poke()
	return nil
}

// tell delivers a gap, however long it takes. It reports false when ctx ended.
func (r *run) tell(ctx context.Context, gap *Gap) bool {
	d := r.delivery(nil)
	d.Gap = gap
	d.ID = deliveryID(d)
	patient := r.policy.Retry
	patient.Attempts, patient.For = 0, 0
	t := r.attempts(ctx, d, sending{retry: patient, lane: -1, began: time.Now()})
	if !t.ended && t.Outcome != Delivered {
		r.d.cfg.Logger.Error("a webhook's receiver refused to hear of a gap", "app", r.endpoint.App, "endpoint", r.endpoint.Name, "error", t.Detail)
	}
	return !t.ended
}

// seen is what the endpoint is to be told of a stretch of the log.
func (r *run) seen(events []*facts.Event) []Event {
	seen := r.policy.View.events(events)
	told := seen[:0]
	for i := range seen {
		if r.endpoint.Format.Wants(&seen[i]) {
			told = append(told, seen[i])
			e := facts.Event{Position: seen[i].Position, Fact: seen[i].Fact}
			told[len(told)-1].ID = e.ID()
		}
	}
	return told
}
