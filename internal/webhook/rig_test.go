package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/porchlight-dev/porchlight/internal/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is a format for tests.
type plain struct {
	policy Policy
	secret string
	name   string // told to the receiver
}

func (p *plain) Name() string        { return "plain" }
func (p *plain) Policy() Policy      { return p.policy }
func (p *plain) Wants(e *Event) bool { return true }

func (p *plain) Request(d *Delivery, a Attempt) (Request, error) {
	var lines []string
	for _, e := range d.Events {
		lines = append(lines, fmt.Sprintf("%s %d %s", e.User.ID, e.Seq, e.Kind))
		if e.User.ID == "unwritable" {
			return Request{}, errors.New("no words for it")
		}
	}
	h := http.Header{"Id": {d.ID}, "Number": {fmt.Sprint(a.Number)}, "To": {p.name}}
	if d.Gap != nil {
		h.Set("Gap", d.Gap.From.String()+"-"+d.Gap.To.String())
	}
	if d.Replay != "" {
		h.Set("Replay", d.Replay)
	}
	if d.Resent {
		h.Set("Resent", "yes")
	}
	return Request{URL: a.URL, Header: h, Body: []byte(strings.Join(lines, "\n"))}, nil
}

func (p *plain) Judge(a outbound.Answer) Verdict {
	v := Verdict{Detail: fmt.Sprint("status ", a.Status)}
	switch {
	case a.Status == 410:
		v.Outcome = Gone
	case a.Status == 400:
		v.Outcome = Refused
	case a.Status != 200:
		v.Outcome = Failed
		_, _ = fmt.Sscan(a.Header.Get("Retry-After"), &v.RetryAfter)
		v.RetryAfter *= time.Second
	}
	return v
}

// patient is a policy like native's.
func patient() Policy {
	return Policy{
		View: Truth, Batch: Batch{Events: 100, Linger: 10 * time.Millisecond}, Timeout: 10 * time.Second,
		Retry: Retry{First: time.Second, Most: 5 * time.Minute, For: 7 * 24 * time.Hour},
		Gaps:  true,
	}
}

// rig is a deliverer with one endpoint, "main".
type rig struct {
	t        *testing.T
	log      *fakeLog
	store    *fakeStore
	receiver *receiver
	owner    Owner
	d        *Deliverer
	main     Endpoint
}

func newRig(t *testing.T, policy Policy, more ...func(*Endpoint)) *rig {
	r := &rig{
		t: t, log: newFakeLog(), store: newFakeStore(), receiver: newReceiver(), owner: Alone(1),
		main: Endpoint{App: "demo", Name: "main", URL: "https://receiver.example/hook", Format: &plain{policy: policy}},
	}
	for _, m := range more {
		m(&r.main)
	}
	r.start()
	return r
}

// inRig plays f in a bubble with a rig that has begun, and stops it.
func inRig(t *testing.T, policy Policy, f func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, policy)
		defer r.stop()
		synctest.Wait()
		f(t, r)
	})
}

func (r *rig) start() { r.startOn(r.store) }

// keeping is what a store does for a deliverer.
type keeping interface {
	Cursors
	Letters
}

func (r *rig) startOn(s keeping) {
	r.t.Helper()
	d, err := New(Config{
		Reader: r.log, Seq: r.log.seq, Cursors: s, Letters: s, Owner: r.owner, Logger: slog.New(slog.DiscardHandler),
		Dial: func(outbound.Config) Sender { return r.receiver },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.d = d
	r.set(r.main)
	if err := d.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) set(endpoints ...Endpoint) {
	r.t.Helper()
	if err := r.d.SetEndpoints(r.t.Context(), endpoints); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), time.Hour)
	defer cancel()
	if err := r.d.Stop(ctx); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

func (r *rig) status() Status {
	r.t.Helper()
	s, err := r.d.Endpoint(r.t.Context(), "demo", "main")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func oneLane(e *Endpoint) { e.Lanes = 1 }

// elapse lets the fake clock go on.
func elapse(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}
