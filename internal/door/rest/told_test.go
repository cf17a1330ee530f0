package rest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/webhook"
	"github.com/porchlight-dev/porchlight/internal/webhook/native"
)

// receiver takes what the node's webhooks send.
type receiver struct {
	mu     sync.Mutex // guards what follows
	status int
	bodies []native.Body
	came   chan struct{} // closed at the next request
}

// Post is a request that is answered at once.
func (r *receiver) Post(_ context.Context, _ string, _ http.Header, body []byte) (outbound.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b native.Body
	if json.Unmarshal(body, &b) != nil {
		return outbound.Answer{}, errors.New("no body")
	}
	r.bodies = append(r.bodies, b)
	close(r.came)
	r.came = make(chan struct{})
	return outbound.Answer{Status: r.status}, nil
}

// Close does nothing: a receiver serves all endpoints.
func (r *receiver) Close() {}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// taken are the bodies that came.
func (r *receiver) taken() []native.Body {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]native.Body(nil), r.bodies...)
}

// hasty is the native format of a webhook that gives up after one try.
type hasty struct{ *native.Format }

// Policy tries once.
func (h hasty) Policy() webhook.Policy {
	p := h.Format.Policy()
	p.Retry, p.Breaker = webhook.Retry{Attempts: 1}, webhook.Breaker{}
	return p
}

// tell gives the node what tells of what happened: the endpoints main and spare of
// app demo, and main of app other, all to one receiver.
func (n *node) tell(logger *slog.Logger) {
	n.t.Helper()
	n.facts = facts.New(facts.Config{Store: n.store, Logger: logger})
	n.receiver = &receiver{status: http.StatusOK, came: make(chan struct{})}
	var err error
	n.webhooks, err = webhook.New(webhook.Config{
		Reader: n.facts, Cursors: n.store, Letters: n.store, Owner: webhook.Alone(1), Logger: logger,
		Seq:  func(_ context.Context, u presence.User) (uint64, error) { return n.tracker.Seq(u), nil },
		Dial: func(outbound.Config) webhook.Sender { return n.receiver },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	format, err := native.New(native.Config{Secrets: []string{"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}})
	if err != nil {
		n.t.Fatal(err)
	}
	err = n.webhooks.SetEndpoints(n.t.Context(), []webhook.Endpoint{
		{App: "demo", Name: "main", URL: "https://hook.example/a?key=hunter2", Format: hasty{format}},
		{App: "demo", Name: "spare", URL: "https://spare.example/", Format: hasty{format}},
		{App: "other", Name: "theirs", URL: "https://other.example/", Format: hasty{format}},
	})
	if err == nil {
		err = n.facts.Start(n.t.Context())
	}
	if err == nil {
		err = n.webhooks.Start(n.t.Context())
	}
	if err != nil {
		n.t.Fatal(err)
	}
}
