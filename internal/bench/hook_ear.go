package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// ear is the receiver of the webhooks that are measured. It counts what it is
// told and parses no more than it must: it shares the machine with the server.
type ear struct {
	url    string
	server *http.Server

	mu     sync.Mutex // guards what follows
	heard  hearing
	is     struct{ away, timed bool }
	delays *histogram
	grown  chan struct{}
}

// hearing is how much was told at a moment.
type hearing struct {
	events, requests int
	first, last      time.Time // of the requests since the last mark
}

func listenHooks() (*ear, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bench: listen for webhooks: %w", err)
	}
	e := &ear{url: "http://" + l.Addr().String() + "/", delays: &histogram{}, grown: make(chan struct{})}
	e.server = &http.Server{Handler: e, ReadHeaderTimeout: hookLimit}
	go func() { _ = e.server.Serve(l) }() // ends with close
	return e, nil
}

func (e *ear) close() { _ = e.server.Close() }

// marks in a body, one for each event.
const (
	eventMark = `"event_id":`
	timeMark  = `"time":"`
)

// ServeHTTP counts one request.
func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil || e.is.away {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if e.is.timed {
		for _, at := range eventTimes(body) {
			e.delays.add(now.Sub(at))
		}
	}
	if e.heard.first.IsZero() {
		e.heard.first = now
	}
	e.heard.last = now
	e.heard.requests++
	e.heard.events += bytes.Count(body, []byte(eventMark))
	close(e.grown)
	e.grown = make(chan struct{})
}

// eventTimes are the times of a body's events.
func eventTimes(body []byte) (times []time.Time) {
	for {
		_, rest, ok := bytes.Cut(body, []byte(timeMark))
		text, after, closed := bytes.Cut(rest, []byte{'"'})
		if !ok || !closed {
			return times
		}
		if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
			times = append(times, at)
		}
		body = after
	}
}

// mark is how much was told until now; first and last begin anew behind it.
func (e *ear) mark() hearing {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.heard
	e.heard.first, e.heard.last = time.Time{}, time.Time{}
	return now
}

// wait until so many events were told since a mark; false when that took longer.
func (e *ear) wait(ctx context.Context, from hearing, events int, limit time.Duration) bool {
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		e.mu.Lock()
		got, grown := e.heard.events-from.events, e.grown
		e.mu.Unlock()
		if got >= events {
			return true
		}
		select {
		case <-grown:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (e *ear) away(is bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.is.away = is
}

// time begins or ends the measuring of delays.
func (e *ear) time(is bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.is.timed = is; is {
		e.delays = &histogram{}
	}
}

func (e *ear) quantile(q float64) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Duration(e.delays.quantile(q))
}
