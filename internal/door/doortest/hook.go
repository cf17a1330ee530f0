package doortest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/outbound"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// Hook is an endpoint of a core's app in a bubble: the real reader of the log and
// the real mechanism of delivery, with a receiver that is a function.
type Hook struct {
	core   *Core
	reader *facts.Reader
	// Deliverer serves the endpoint, whose name is "main".
	Deliverer *webhook.Deliverer
	began     time.Time

	mu     sync.Mutex // guards all below
	got    []Request
	answer func(n int, q Request) Answer
}

// Request is one that arrived.
type Request struct {
	At     time.Duration // since the hook was made
	URL    string
	Header http.Header
	Body   string
}

// Answer is what the receiver says, after a time that it took. Without a Status
// it refuses the connection.
type Answer struct {
	Status int
	Body   string
	After  time.Duration
}

// Hook makes an endpoint of app App with a format, and begins to deliver what
// happens from now on. The answer to each request is given by Answers. Stop ends
// it, before the core's.
func (c *Core) Hook(format webhook.Format, change func(*webhook.Endpoint)) *Hook {
	c.t.Helper()
	h := &Hook{core: c, reader: facts.New(facts.Config{Store: c.Store, Logger: c.Logger}), began: time.Now()}
	ctx := context.WithoutCancel(c.t.Context())
	if err := h.reader.Start(ctx); err != nil {
		c.t.Fatal(err)
	}
	var err error
	h.Deliverer, err = webhook.New(webhook.Config{
		Reader: h.reader, Seq: func(context.Context, presence.User) (uint64, error) { return 0, nil }, Cursors: c.Store, Letters: c.Store,
		Owner: webhook.Alone(1), Dial: func(outbound.Config) webhook.Sender { return h }, Logger: c.Logger,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	e := webhook.Endpoint{App: App, Name: "main", URL: "https://receiver.example/hook", Format: format}
	if change != nil {
		change(&e)
	}
	if err := h.Deliverer.SetEndpoints(ctx, []webhook.Endpoint{e}); err != nil {
		c.t.Fatal(err)
	}
	if err := h.Deliverer.Start(ctx); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
	return h
}

// Stop ends the delivery.
func (h *Hook) Stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.core.t.Context()), time.Second)
	defer cancel()
	if err := h.Deliverer.Stop(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		h.core.t.Errorf("stop of the deliverer: %v", err)
	}
	if err := h.reader.Stop(context.WithoutCancel(ctx)); err != nil {
		h.core.t.Errorf("stop of the reader: %v", err)
	}
}

// Answers sets what the receiver says; n counts requests from 1.
func (h *Hook) Answers(f func(n int, q Request) Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

// Requests are those that arrived so far.
func (h *Hook) Requests() []Request {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// Times are when they arrived.
func (h *Hook) Times() (at []time.Duration) {
	for _, q := range h.Requests() {
		at = append(at, q.At)
	}
	return at
}

// Status is how the endpoint is doing.
func (h *Hook) Status() webhook.Status {
	synctest.Wait()
	s, err := h.Deliverer.Endpoint(context.WithoutCancel(h.core.t.Context()), App, "main")
	if err != nil {
		h.core.t.Fatal(err)
	}
	return s
}

// Post is the receiver, as package webhook calls it.
func (h *Hook) Post(ctx context.Context, address string, header http.Header, body []byte) (outbound.Answer, error) {
	h.mu.Lock()
	q := Request{At: time.Since(h.began), URL: address, Header: header.Clone(), Body: string(body)}
	h.got = append(h.got, q)
	n, answer := len(h.got), h.answer
	h.mu.Unlock()
	a := Answer{Status: http.StatusOK}
	if answer != nil {
		a = answer(n, q)
	}
	if a.After > 0 {
		timer := time.NewTimer(a.After)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return outbound.Answer{}, fmt.Errorf("receiver.example: %w", ctx.Err())
		}
	}
	if a.Status == 0 {
		return outbound.Answer{}, errors.New("receiver.example: connection refused")
	}
	return outbound.Answer{Status: a.Status, Body: []byte(a.Body)}, nil
}

// Close is for package webhook.
func (h *Hook) Close() {}

// Open opens a session of a user of app App.
func (c *Core) Open(user string, d presence.Device) tracker.Ref {
	c.t.Helper()
	made, err := c.Tracker.Make(c.t.Context(), tracker.MakeParams{User: presence.User{App: App, ID: presence.UserID(user)}, Device: d})
	if err == nil {
		_, err = c.Tracker.Connect(c.t.Context(), made.Ref, tracker.ConnectParams{Link: mute{}, Addr: "192.0.2.7:41748"})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return made.Ref
}

// Lose cuts the link of a session that Open made; the grace begins.
func (c *Core) Lose(ref tracker.Ref) { c.Tracker.LinkLost(ref, mute{}) }

// Close ends a session.
func (c *Core) Close(ref tracker.Ref, reason presence.Reason) {
	c.t.Helper()
	if _, err := c.Tracker.Close(c.t.Context(), ref, reason); err != nil {
		c.t.Fatal(err)
	}
}

// Set makes a status current.
func (c *Core) Set(ref tracker.Ref, s presence.Status) {
	c.t.Helper()
	if _, err := c.Tracker.Update(c.t.Context(), ref, func(*presence.Status) (*presence.Status, error) { return &s, nil }); err != nil {
		c.t.Fatal(err)
	}
}

// mute is a connection that says nothing.
type mute struct{}

func (mute) LastRead() time.Duration { return 0 }
func (mute) Shared() bool            { return false }
func (mute) End(tracker.End)         {}

// Elapse lets fake time pass.
func Elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
