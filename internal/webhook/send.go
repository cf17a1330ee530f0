package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/outbound"
)

const (
	userAgent = "Porchlight"
	// ownerPoll is how often a node looks whether it may serve an endpoint now.
	ownerPoll = 100 * time.Millisecond
	// ownerMargin bounds how long before its right ends a node makes no more
	// attempts: what is left of a right is more than passes between two confirmations
	// of it. Of formats with a longer time-out one may outlast it, which is then a
	// repeat under the same numbers.
	ownerMargin = 3 * time.Second
	// maxDetail bounds what is kept of an error for people.
	maxDetail = 256
)

// sending is how patiently a delivery is brought, and for whom.
type sending struct {
	retry Retry
	lane  int
	of    *lane     // nil: of no lane
	began time.Time // what Retry.For counts from
	// unguarded attempts wait for no breaker.
	unguarded bool
}

func (r *run) delivery(events []Event) *Delivery {
	d := &Delivery{App: r.endpoint.App, Endpoint: r.endpoint.Name, Events: events}
	d.ID = deliveryID(d)
	return d
}

// deliveryID names a delivery by what it carries: after a crash the same events
// have the same id, and other events, even if they begin with the same, another:
// a receiver that passes over an id it knows misses nothing.
func deliveryID(d *Delivery) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%t\n", d.App, d.Endpoint, d.Replay, d.Resent)
	for i := range d.Events {
		fmt.Fprintf(h, "%s\n", d.Events[i].ID)
	}
	if d.Gap != nil {
		fmt.Fprintf(h, "gap %s %s\n", d.Gap.From, d.Gap.To)
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}

// deliver brings a batch of a lane, or buries it as dead letters. given is false
// when the run ended first.
func (r *run) deliver(ctx context.Context, l *lane, batch []Event) (given, buried bool) {
	d := r.delivery(batch)
	t := r.attempts(ctx, d, sending{retry: r.policy.Retry, lane: l.n, of: l, began: newestOf(batch)})
	batch = d.Events
	switch {
	case t.ended:
		return false, false
	case len(batch) == 0: // nobody may be told of them any more
		return true, false
	case t.Outcome == Delivered:
		r.tally.delivered(len(batch))
		r.d.cfg.Meter.Delivered(r.endpoint.App, r.endpoint.Name, len(batch), time.Since(batch[0].Time.Time()))
		return true, false
	case t.Outcome == Gone:
		r.end(errGone)
		return false, false
	}
	return r.bury(ctx, l.n, d, t), true
}

// newestOf is when the newest of some events happened: what happened just now is
// not given up because it goes together with what is old.
func newestOf(batch []Event) time.Time {
	newest := batch[0].Time
	for i := range batch {
		newest = max(newest, batch[i].Time)
	}
	return newest.Time()
}

// attempts makes the attempts of a delivery.
func (r *run) attempts(ctx context.Context, d *Delivery, s sending) try {
	until := s.began.Add(s.retry.For)
	number := 0
	t := s.retry.again(ctx, func(ctx context.Context, n int) try {
		number = n
		t := r.attempt(ctx, d, n, s)
		t.last = t.ended || s.retry.over(t, n, until)
		if s.of != nil && t.Outcome == Failed && !t.ended {
			s.of.mu.Lock()
			s.of.failed = n
			s.of.mu.Unlock()
		}
		return t
	})
	t.number = number
	return t
}

// attempt makes one, when the breaker and the owner let it.
func (r *run) attempt(ctx context.Context, d *Delivery, n int, s sending) try {
	if !s.unguarded {
		if r.breaker.enter(ctx, n-1) != nil {
			return try{ended: true}
		}
	}
	t, nothing := r.forget(ctx, d)
	if !nothing && !t.ended {
		t = r.request(ctx, d, n)
	}
	if !s.unguarded {
		r.breaker.leave(s.lane, t)
		t.held = !r.breaker.closed()
	}
	if !t.ended && !nothing {
		r.tally.attempted(t)
		if t.Outcome != Delivered {
			r.d.cfg.Meter.Failed(d.App, d.Endpoint, t.word())
		}
	}
	return t
}

// forget takes out of a delivery what happened to users who were erased since it
// was read; nothing says that nothing is left. A delivery of fewer events is
// another one, with an id of its own.
func (r *run) forget(ctx context.Context, d *Delivery) (t try, nothing bool) {
	kept := make([]Event, 0, len(d.Events))
	for i := range d.Events {
		e := &d.Events[i]
		hidden, ok := r.hides(ctx, &facts.Event{Position: e.Position, Fact: e.Fact})
		if !ok {
			return try{ended: true}, false
		}
		if !hidden {
			kept = append(kept, *e)
		}
	}
	if len(kept) == len(d.Events) {
		return try{}, false
	}
	d.Events = kept
	d.ID = deliveryID(d)
	return try{}, len(kept) == 0
}

// hides asks whether an event must not be told any more, until there is an
// answer; ok is false when ctx ended first.
func (r *run) hides(ctx context.Context, e *facts.Event) (hidden, ok bool) {
	for {
		hidden, err := r.d.cfg.Reader.Hides(ctx, e)
		if err == nil {
			return hidden, true
		}
		r.tally.fail(err)
		timer := time.NewTimer(saveAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false, false
		}
	}
}

// word is the failure's kind, of few.
func (t try) word() string {
	switch {
	case t.timeout:
		return "timeout"
	case t.Outcome == Gone:
		return "gone"
	case t.Outcome == Refused:
		return "refused"
	case t.answered:
		return "answer"
	}
	return "connection"
}

// request sends one and judges the answer.
func (r *run) request(ctx context.Context, d *Delivery, n int) try {
	if err := r.owned(ctx); err != nil {
		return try{ended: true}
	}
	q, err := r.endpoint.Format.Request(d, Attempt{Number: n, Time: time.Now(), URL: r.endpoint.URL})
	if err != nil {
		return try{Verdict: Verdict{Outcome: Refused, Detail: "not written: " + err.Error()}}
	}
	if q.Header == nil {
		q.Header = http.Header{}
	}
	if q.Header.Get("User-Agent") == "" {
		q.Header.Set("User-Agent", userAgent)
	}
	r.tally.begin()
	defer r.tally.finish()
	// What is under way when a run ends is answered: otherwise it would come
	// again for no reason. Only the end of the process's patience stops it.
	sending, cancel := r.patient(ctx)
	defer cancel()
	answer, err := r.sender.Post(sending, q.URL, q.Header, q.Body)
	if err != nil {
		if r.d.hard.Err() != nil {
			return try{ended: true}
		}
		return try{Verdict: Verdict{Outcome: Failed, Detail: r.why(err)}, timeout: timedOut(err)}
	}
	v := r.endpoint.Format.Judge(answer)
	v.Detail = detail(v.Detail)
	return try{Verdict: v, answered: true}
}

// patient is ctx without its end, within the time-out, and ends with the process.
func (r *run) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.policy.Timeout)
	stop := context.AfterFunc(r.d.hard, cancel)
	return ctx, func() { stop(); cancel() }
}

// why is a request that had no answer, in words for people.
func (r *run) why(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", r.policy.Timeout)
	}
	return detail(err.Error())
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

func detail(s string) string {
	if len(s) > maxDetail {
		return s[:maxDetail]
	}
	return s
}

// owned waits until this node may make an attempt: its right to serve the
// endpoint must outlive the attempt's time-out, or another node could be
// delivering the same at the same time.
func (r *run) owned(ctx context.Context) error {
	for {
		term, until := r.d.cfg.Owner.Owned(r.endpoint.App, r.endpoint.Name)
		switch {
		case term == 0 || term != r.keeper.term:
			r.end(errOwner)
			return errOwner
		case until.IsZero() || time.Until(until) >= min(r.policy.Timeout, ownerMargin):
			return nil
		}
		timer := time.NewTimer(ownerPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// Sender posts; *outbound.Client is one.
type Sender interface {
	// Post: see outbound.Client.
	Post(ctx context.Context, address string, header http.Header, body []byte) (outbound.Answer, error)
	// Close lets go of connections.
	Close()
}
