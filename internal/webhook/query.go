package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
)

// MaxLetters is the most dead letters of one answer, or of one resend that names
// them.
const MaxLetters = 1000

// Errors that callers tell apart; faults they return as they are.
var (
	ErrNoEndpoint = errors.New("there is no webhook")
	ErrNoReplay   = errors.New("there is no replay")
	// ErrUnfinished is Resend's, whose ctx ended: what it returns beside was done.
	ErrUnfinished = errors.New("there was no time for all dead letters")
)

// find returns the slot of an endpoint that is set.
func (d *Deliverer) find(app presence.AppID, name string) (*slot, Endpoint, error) {
	d.mu.Lock()
	s, running := d.slots[key{app, name}], d.state == started
	d.mu.Unlock()
	if !running {
		return nil, Endpoint{}, fault.New(fault.Draining, "webhooks are not served now: the node is starting or stopping")
	}
	if s != nil {
		if e := s.wanted(); e != nil {
			return s, *e, nil
		}
	}
	return nil, Endpoint{}, fmt.Errorf("%w %q in app %s", ErrNoEndpoint, name, app)
}

// Status says how the endpoints of an app ("": of all apps) are doing, in order.
func (d *Deliverer) Status(ctx context.Context, app presence.AppID) ([]Status, error) {
	var all []Status
	for _, s := range d.served(app) {
		if e := s.wanted(); e != nil {
			one, err := d.status(ctx, s, *e)
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// Endpoint says how one is doing, or fails with ErrNoEndpoint.
func (d *Deliverer) Endpoint(ctx context.Context, app presence.AppID, name string) (Status, error) {
	s, e, err := d.find(app, name)
	if err != nil {
		return Status{}, err
	}
	return d.status(ctx, s, e)
}

func (d *Deliverer) status(ctx context.Context, s *slot, e Endpoint) (Status, error) {
	status := s.tally.status(e)
	var err error
	if status.Dead, err = d.cfg.Letters.CountLetters(ctx, store.Endpoint{App: e.App, Name: e.Name}); err != nil {
		return status, err
	}
	if head, err := d.cfg.Reader.End(ctx); err == nil && status.Position.Sequence < head.Sequence && status.Waiting == 0 && status.Doing != "live" {
		status.Unread = true
	}
	status.Replays, err = d.replays(ctx, s, e)
	return status, err
}

// Letters lists dead letters, oldest first, behind the one with the id after
// ("": from the first). next is what to ask with next, "" when there are no more.
func (d *Deliverer) Letters(ctx context.Context, app presence.AppID, name, after string, limit int) (letters []Letter, next string, err error) {
	if _, _, err := d.find(app, name); err != nil {
		return nil, "", err
	}
	page := store.LetterPage{Limit: min(max(limit, 1), MaxLetters)}
	if after != "" {
		if page.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return nil, "", fault.Invalid("after", "%q is not what an earlier answer gave as next", after)
		}
	}
	stored, more, err := d.cfg.Letters.ListLetters(ctx, store.Endpoint{App: app, Name: name}, store.LetterFilter{}, page)
	if err != nil {
		return nil, "", err
	}
	for _, l := range stored {
		letter, err := letterOf(l)
		if err != nil {
			letter.Why += " (" + err.Error() + ")"
		} else if hidden, err := d.hides(ctx, &letter.Event); err != nil {
			return nil, "", err
		} else if hidden {
			continue
		}
		letters = append(letters, letter)
	}
	if more != 0 {
		next = strconv.FormatUint(more, 10)
	}
	return letters, next, nil
}

// hides says that the user of an event was erased since.
func (d *Deliverer) hides(ctx context.Context, e *Event) (bool, error) {
	return d.cfg.Reader.Hides(ctx, &facts.Event{Position: e.Position, Fact: e.Fact})
}

// Resend sends dead letters again, oldest first, each batch once. What is
// delivered is no dead letter any more. A letter that is older than its user's
// newest event is sent with Force only. It ends with ctx, and says ErrUnfinished
// then. It fails with fault.NodeUnavailable where another node serves the endpoint.
func (d *Deliverer) Resend(ctx context.Context, app presence.AppID, name string, what Resend) (Resent, error) {
	s, e, err := d.find(app, name)
	if err != nil {
		return Resent{}, err
	}
	if what.All == (len(what.IDs) > 0) {
		return Resent{}, fault.Invalid("ids", "either ids or all is needed")
	}
	if len(what.IDs) > MaxLetters {
		return Resent{}, fault.Invalid("ids", "%d are too many; at most %d", len(what.IDs), MaxLetters)
	}
	term, _ := d.cfg.Owner.Owned(app, name)
	if term == 0 {
		return Resent{}, passing(app, name)
	}
	r := &resend{run: newRun(d, s.tally, e), force: what.Force, name: store.Endpoint{App: app, Name: name}}
	defer r.run.sender.Close()
	r.run.keeper = newKeeper(r.run)
	r.run.keeper.term = term
	r.run.end = func(error) {}
	r.out.Errors = map[string]int{}
	if what.All {
		err := r.all(ctx)
		return r.out, unfinished(ctx, err)
	}
	letters := make([]store.Letter, 0, len(what.IDs))
	for i, id := range what.IDs {
		number, err := strconv.ParseUint(id, 10, 64)
		var l store.Letter
		if err == nil {
			l, err = d.cfg.Letters.ReadLetter(ctx, r.name, number)
		}
		if err != nil {
			return r.out, fault.Invalid("ids["+strconv.Itoa(i)+"]", "%q is not a dead letter of %s, or no longer", id, name)
		}
		letters = append(letters, l)
	}
	err = r.page(ctx, letters)
	return r.out, unfinished(ctx, err)
}

// unfinished is the error of a resend that ctx may have ended.
func unfinished(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	return err
}

// resend is one call of Resend.
type resend struct {
	run   *run
	force bool
	name  store.Endpoint
	out   Resent
}

func (r *resend) all(ctx context.Context) error {
	for after := uint64(0); ; {
		letters, next, err := r.run.d.cfg.Letters.ListLetters(ctx, r.name, store.LetterFilter{}, store.LetterPage{After: after, Limit: MaxLetters})
		if err != nil {
			return err
		}
		if err := r.page(ctx, letters); err != nil {
			return err
		}
		if after = next; next == 0 {
			return nil
		}
	}
}

// page sends a page of letters in batches.
func (r *resend) page(ctx context.Context, letters []store.Letter) error {
	var batch []Event
	var numbers []uint64
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := r.send(ctx, batch, numbers)
		batch, numbers = nil, nil
		return err
	}
	for _, l := range letters {
		letter, err := letterOf(l)
		if err != nil {
			r.out.Failed++
			r.out.Errors["cannot be read"]++
			continue
		}
		if hidden, err := r.run.d.hides(ctx, &letter.Event); err != nil {
			return err
		} else if hidden {
			if err := r.run.d.cfg.Letters.TakeLetters(ctx, r.name, []uint64{l.Number}); err != nil {
				return err
			}
			continue
		}
		newest, err := r.run.d.cfg.Seq(ctx, l.User)
		if err != nil {
			return err
		}
		if l.UserSeq < newest && !r.force {
			r.out.Older = append(r.out.Older, letter.ID)
			continue
		}
		batch, numbers = append(batch, letter.Event), append(numbers, l.Number)
		if len(batch) == r.run.policy.Batch.Events {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (r *resend) send(ctx context.Context, batch []Event, numbers []uint64) error {
	d := &Delivery{App: r.name.App, Endpoint: r.name.Name, Events: batch, Resent: true}
	d.ID = deliveryID(d)
	t := r.run.attempts(ctx, d, sending{retry: Retry{Attempts: 1}, began: time.Now(), lane: -1, unguarded: true})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case t.ended:
		return passing(r.name.App, r.name.Name)
	case t.Outcome != Delivered:
		r.out.Failed += len(batch)
		r.out.Errors[t.Detail]++
		return nil
	}
	r.out.Sent += len(batch)
	return r.run.d.cfg.Letters.TakeLetters(ctx, r.name, numbers)
}
