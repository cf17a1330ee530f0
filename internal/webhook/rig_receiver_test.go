package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/outbound"
)

// request is one that arrived, in the words of the plain format below.
type request struct {
	at     time.Duration // since the receiver began
	id     string
	number int
	events []string // "alice 3 opened"
	gap    string
	replay string
	resent bool
	to     string // name of the plain format
}

// receiver is an endpoint's other end.
type receiver struct {
	began time.Time

	mu     sync.Mutex
	got    []request
	answer func(q request) (status int, stall time.Duration) // nil: 200 at once
	header http.Header
}

func newReceiver() *receiver { return &receiver{began: time.Now()} }

func (r *receiver) Close() {}

func (r *receiver) Post(ctx context.Context, _ string, h http.Header, body []byte) (outbound.Answer, error) {
	q := request{at: time.Since(r.began), id: h.Get("Id"), gap: h.Get("Gap"), replay: h.Get("Replay"), resent: h.Get("Resent") != "", to: h.Get("To")}
	_, _ = fmt.Sscan(h.Get("Number"), &q.number)
	if len(body) > 0 {
		q.events = strings.Split(string(body), "\n")
	}
	r.mu.Lock()
	r.got = append(r.got, q)
	answer, header := r.answer, r.header
	r.mu.Unlock()
	status, stall := 200, time.Duration(0)
	if answer != nil {
		status, stall = answer(q)
	}
	if stall > 0 {
		t := time.NewTimer(stall)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return outbound.Answer{}, fmt.Errorf("receiver.example: %w", ctx.Err())
		}
	}
	if status == 0 {
		return outbound.Answer{}, errors.New("receiver.example: connection refused")
	}
	return outbound.Answer{Status: status, Header: header}, nil
}

func (r *receiver) answers(f func(q request) (int, time.Duration)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// events are those that arrived, in order.
func (r *receiver) events() (all []string) {
	for _, q := range r.requests() {
		all = append(all, q.events...)
	}
	return all
}

// times are those of the requests.
func (r *receiver) times() (all []time.Duration) {
	for _, q := range r.requests() {
		all = append(all, q.at)
	}
	return all
}
