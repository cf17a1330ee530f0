package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// beginAgain is the pause after a run that ended with an error; it doubles up
// to beginMost.
const (
	beginAgain = time.Second
	beginMost  = time.Minute
)

// Reader gives what the log concludes; *facts.Reader is one. The facts of one
// record come in one call of f.
type Reader interface {
	// Follow: see facts.Reader.
	Follow(ctx context.Context, p facts.Params, f func(events []*facts.Event, through facts.Position) error) error
	// End is the position from which on one is told what happens from now on.
	End(ctx context.Context) (facts.Position, error)
	// Oldest is the oldest position that Follow can begin at.
	Oldest(ctx context.Context) (facts.Position, error)
	// At is a position before everything that was stored at t or later.
	At(ctx context.Context, t time.Time) (facts.Position, error)
	// Hides reports whether an event that was given must not be told any more.
	Hides(ctx context.Context, e *facts.Event) (bool, error)
}

// Owner says who serves an endpoint.
type Owner interface {
	// Owned returns the term under which this node serves the endpoint, 0 when
	// it does not, and until when that is certain; the zero time: always.
	Owned(app presence.AppID, endpoint string) (term uint64, until time.Time)
}

// Outdone is for an Owner that wants to hear of its mistakes.
type Outdone interface {
	// Outdone says that a node with a later term has served the endpoint, so that
	// nothing is to be had under this one any more.
	Outdone(app presence.AppID, endpoint string, term uint64)
}

// Alone is the Owner of a node that serves everything. Its value is the term,
// which must grow with each start.
type Alone uint64

// Owned implements Owner.
func (a Alone) Owned(presence.AppID, string) (uint64, time.Time) { return uint64(a), time.Time{} }

// Cursors keep how far endpoints are; a store does.
type Cursors interface {
	// LoadCursors: see store.CursorKeeper.
	LoadCursors(ctx context.Context, e store.Endpoint) (store.Cursors, error)
	// SaveCursors: see store.CursorKeeper.
	SaveCursors(ctx context.Context, c store.Cursors) (revision uint64, err error)
}

// Letters keep what was given up; a store does.
type Letters interface {
	// AddLetters: see store.Letters.
	AddLetters(ctx context.Context, e store.Endpoint, letters []store.Letter) error
	// ListLetters: see store.Letters.
	ListLetters(ctx context.Context, e store.Endpoint, filter store.LetterFilter, page store.LetterPage) (letters []store.Letter, next uint64, err error)
	// CountLetters: see store.Letters.
	CountLetters(ctx context.Context, e store.Endpoint) (int, error)
	// ReadLetter: see store.Letters.
	ReadLetter(ctx context.Context, e store.Endpoint, number uint64) (store.Letter, error)
	// TakeLetters: see store.Letters.
	TakeLetters(ctx context.Context, e store.Endpoint, numbers []uint64) error
}

// Config is what a Deliverer stands on. All is required but Meter and Dial.
type Config struct {
	Reader Reader // of what is to be told
	// Seq is the number of a user's newest fact; 0: none.
	Seq     func(ctx context.Context, user presence.User) (uint64, error)
	Cursors Cursors // where each endpoint is; kept over restarts
	Letters Letters // what was given up
	Owner   Owner   // Alone, where there are no other nodes
	Meter   Meter   // nil: nobody counts
	// Dial makes what an endpoint is called with; nil: outbound.New.
	Dial   func(outbound.Config) Sender
	Logger *slog.Logger
}

// Deliverer serves endpoints. Make it with New.
type Deliverer struct {
	cfg  Config
	hard context.Context // ends what Stop has no more patience for

	mu        sync.Mutex // guards what follows
	soft      context.Context
	end, kill context.CancelFunc
	slots     map[key]*slot
	endpoints []Endpoint
	state     int
	running   sync.WaitGroup
}

// The states.
const (
	notStarted = iota
	started
	stopped
)

// New returns a deliverer that serves nothing before Start.
func New(cfg Config) (*Deliverer, error) {
	if cfg.Reader == nil || cfg.Seq == nil || cfg.Cursors == nil || cfg.Letters == nil || cfg.Owner == nil || cfg.Logger == nil {
		return nil, errors.New("webhook: a reader, numbers, cursors, letters, an owner and a logger are needed")
	}
	if cfg.Meter == nil {
		cfg.Meter = noMeter{}
	}
	if cfg.Dial == nil {
		cfg.Dial = func(c outbound.Config) Sender { return outbound.New(c) }
	}
	return &Deliverer{cfg: cfg, slots: map[key]*slot{}}, nil
}

// Start begins to serve the endpoints that are set. What happens after it returned
// is told to them, unless the store did not answer for placeWait. Further calls,
// and calls after Stop, do nothing.
func (d *Deliverer) Start(ctx context.Context) error {
	d.mu.Lock()
	if d.state != notStarted {
		d.mu.Unlock()
		return nil
	}
	d.state = started
	// The lanes outlive the start; Stop ends them.
	d.hard, d.kill = context.WithCancel(context.WithoutCancel(ctx))
	d.soft, d.end = context.WithCancel(d.hard)
	unplaced := d.use()
	d.mu.Unlock()
	d.await(ctx, unplaced)
	return nil
}

// Stop begins no further attempts, waits for the answers to those under way and
// stores how far everything is. When ctx ends first it waits for nothing more;
// what was not answered then is delivered again. It may be called again, and
// before Start.
func (d *Deliverer) Stop(ctx context.Context) error {
	d.mu.Lock()
	was := d.state
	d.state = stopped
	d.mu.Unlock()
	if was == notStarted || d.kill == nil {
		return nil
	}
	d.end()
	defer d.kill()
	done := make(chan struct{})
	go func() { d.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	d.kill()
	<-done
	return nil
}

// SetEndpoints makes these the endpoints. What did not change goes on
// undisturbed; what changed goes on where it was, once the requests under way
// are answered; what is no longer there ends, and goes on where it was if it
// comes back; what is new is told what happens after the call, as with Start, for
// which ctx bounds the wait. On an error everything stays as it was.
func (d *Deliverer) SetEndpoints(ctx context.Context, endpoints []Endpoint) error {
	seen := map[key]bool{}
	for _, e := range endpoints {
		k := key{e.App, e.Name}
		if seen[k] {
			return fmt.Errorf("webhook %s: it is there twice", k)
		}
		seen[k] = true
		if err := e.Check(); err != nil {
			return fmt.Errorf("webhook %s: %w", k, err)
		}
	}
	d.mu.Lock()
	d.endpoints = slices.Clone(endpoints)
	if d.state != started {
		d.mu.Unlock()
		return nil
	}
	unplaced := d.use()
	d.mu.Unlock()
	d.await(ctx, unplaced)
	return nil
}

// use gives each slot its endpoint, and returns those of which it is not known
// that it is stored where they begin. The caller holds mu.
func (d *Deliverer) use() (unplaced []*slot) {
	wanted := map[key]*Endpoint{}
	for i := range d.endpoints {
		e := d.endpoints[i]
		wanted[key{e.App, e.Name}] = &e
	}
	for k, s := range d.slots {
		s.set(wanted[k])
	}
	for k, e := range wanted {
		if d.slots[k] == nil {
			s := &slot{d: d, tally: &tally{}, changed: make(chan struct{}, 1), outdone: make(chan struct{}, 1), placed: make(chan struct{}), want: e}
			d.slots[k] = s
			d.running.Go(s.serve)
		}
		unplaced = append(unplaced, d.slots[k])
	}
	return unplaced
}

// served returns the slots that have an endpoint, of one app or ("") of all, in order
// of app and name.
func (d *Deliverer) served(app presence.AppID) (slots []*slot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, s := range d.slots {
		if (app == "" || k.app == app) && s.wanted() != nil {
			slots = append(slots, s)
		}
	}
	slices.SortFunc(slots, func(a, b *slot) int {
		x, y := a.wanted(), b.wanted()
		if x == nil || y == nil {
			return 0
		}
		return cmp.Or(cmp.Compare(x.App, y.App), cmp.Compare(x.Name, y.Name))
	})
	return slots
}

// slot is the place of one (app, name): it runs its endpoint, one run at a time.
type slot struct {
	d       *Deliverer
	tally   *tally
	changed chan struct{} // signal
	outdone chan struct{} // signal: a replay found that this node, or this term, serves no more
	placed  chan struct{} // closed when it is stored where the endpoint begins
	since   time.Time     // when that was first to be stored; of place alone, as born
	born    *Position     // where it begins, as first known; nil: not yet

	mu      sync.Mutex // guards what follows
	want    *Endpoint  // nil: none any more
	replays []*replay

	notes notes
}

func (s *slot) wanted() *Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want
}

func (s *slot) set(e *Endpoint) {
	s.mu.Lock()
	same := reflect.DeepEqual(s.want, e)
	s.want = e
	replays := slices.Clone(s.replays)
	s.mu.Unlock()
	if !same { // they would go on to where nobody wants them
		for _, r := range replays {
			r.abandon("the endpoint was changed or taken away")
		}
	}
	s.tally.mu.Lock()
	halted := s.tally.stopped != ""
	s.tally.mu.Unlock()
	if !same || halted {
		signal(s.changed)
	}
}

// serve runs what is wanted until the process stops.
func (s *slot) serve() {
	s.place()
	pause := beginAgain
	for s.d.soft.Err() == nil {
		e := s.wanted()
		if e == nil {
			s.tally.stop(doingStopped)
			s.wait(0)
			continue
		}
		began := time.Now()
		err := s.runOne(*e)
		if err == nil {
			continue // changed, or the process stops
		}
		if time.Since(began) > beginMost {
			pause = beginAgain
		}
		s.ended(*e, err)
		switch {
		case errors.Is(err, errGone):
			s.tally.stop("gone")
			s.wait(0)
		case errors.Is(err, errOwner):
			s.tally.stop(doingStopped)
			s.wait(ownerPoll)
		default:
			s.tally.stop(doingStopped)
			s.wait(pause)
			pause = min(2*pause, beginMost)
		}
	}
}

func (s *slot) ended(e Endpoint, err error) {
	if errors.Is(err, errOwner) {
		return // on all nodes but one
	}
	s.tally.fail(err)
	s.d.cfg.Logger.Error("a webhook is not served", "app", e.App, "endpoint", e.Name, "error", err)
}

// wait until the endpoint changed, or so long; 0: for ever.
func (s *slot) wait(d time.Duration) {
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-s.changed:
	case <-after:
	case <-s.d.soft.Done():
	}
}

// runOne runs an endpoint until it changes.
func (s *slot) runOne(e Endpoint) error {
	s.tally.stop("")
	select {
	case <-s.outdone: // of a run before
	default:
	}
	ctx, cancel := context.WithCancel(s.d.soft)
	defer cancel()
	done := make(chan error, 1)
	r := newRun(s.d, s.tally, e)
	r.slot = s
	go func() { done <- r.serve(ctx, s.d.hard) }()
	select {
	case <-s.outdone: // with nothing to tell the run may not know
		cancel()
		return cmp.Or(ignoreEnd(<-done), errOwner)
	case err := <-done:
		if o, ok := s.d.cfg.Owner.(Outdone); ok && errors.Is(err, store.ErrTerm) {
			o.Outdone(e.App, e.Name, r.keeper.term)
		}
		return err
	case <-s.changed:
		cancel()
		return ignoreEnd(<-done)
	case <-s.d.soft.Done():
		return ignoreEnd(<-done)
	}
}

// ignoreEnd takes the end of a context out of what a run that was told to end says.
func ignoreEnd(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
