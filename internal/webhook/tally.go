package webhook

import (
	"net/url"
	"sync"
	"time"

	"github.com/porchlight-dev/porchlight/internal/presence"
)

// Meter counts for whoever draws graphs.
type Meter interface {
	// Delivered: so many events were delivered, the first of which happened so long ago.
	Delivered(app presence.AppID, endpoint string, events int, after time.Duration)
	// Failed: an attempt failed. The kind is "timeout", "connection", "answer",
	// "refused" or "gone".
	Failed(app presence.AppID, endpoint, kind string)
	// Died: so many events became dead letters.
	Died(app presence.AppID, endpoint string, events int)
}

type noMeter struct{}

func (noMeter) Delivered(presence.AppID, string, int, time.Duration) {}
func (noMeter) Failed(presence.AppID, string, string)                {}
func (noMeter) Died(presence.AppID, string, int)                     {}

// tally is what is known of an endpoint beside its cursors; it outlives runs.
type tally struct {
	mu       sync.Mutex // guards what follows
	run      *run       // nil while none runs
	stopped  string     // why none runs, in one word
	position Position   // where the last run ended
	inFlight int
	count    struct{ delivered, attempts, failures, gaps uint64 }
	success  time.Time
	failure  string
	failedAt time.Time
}

// running says which run serves the endpoint from now on; nil: the last one ended.
func (t *tally) running(r *run) {
	t.mu.Lock()
	was := t.run
	t.run, t.stopped = r, ""
	t.mu.Unlock()
	if r == nil && was != nil {
		at := was.position()
		t.mu.Lock()
		t.position = at
		t.mu.Unlock()
	}
}

func (t *tally) stop(word string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = word
}

func (t *tally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inFlight++
	t.count.attempts++
}

func (t *tally) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inFlight--
}

func (t *tally) attempted(a try) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.Outcome == Delivered {
		t.success = time.Now()
		if a.Detail != "" { // it took it, and complains
			t.failure, t.failedAt = a.Detail, t.success
		}
		return
	}
	t.count.failures++
	t.failure, t.failedAt = a.Detail, time.Now()
}

func (t *tally) delivered(events int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.delivered += uint64(events)
}

func (t *tally) gap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.gaps++
}

func (t *tally) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failure, t.failedAt = detail(err.Error()), time.Now()
}

// status is what the tally and the running lanes say; the store's part is not
// in it.
func (t *tally) status(e Endpoint) Status {
	t.mu.Lock()
	s := Status{
		App: e.App, Name: e.Name, Format: e.Format.Name(), Host: host(e.URL), Lanes: e.withDefaults().Lanes, Doing: t.stopped, Position: t.position,
		InFlight: t.inFlight, Delivered: t.count.delivered, Attempts: t.count.attempts, Failures: t.count.failures, Gaps: t.count.gaps,
		LastSuccess: t.success, LastError: t.failure, LastErrorAt: t.failedAt, Breaker: "closed",
	}
	r := t.run
	t.mu.Unlock()
	if r == nil {
		if s.Doing == "" {
			s.Doing = doingStopped
		}
		return s
	}
	s.Breaker, s.Pause = r.breaker.state()
	r.status(&s)
	return s
}

// status adds what the lanes say.
func (r *run) status(s *Status) {
	var oldest time.Time
	r.mu.Lock()
	failing, behind := false, r.live.reading.Sequence < r.known.Sequence
	r.mu.Unlock()
	s.Position = r.position()
	for _, l := range r.lanes {
		n, since := l.waits()
		s.Waiting += n
		if !since.IsZero() && (oldest.IsZero() || since.Before(oldest)) {
			oldest = since
		}
		failing = failing || l.failing()
		behind = behind || !l.of(r.live)
	}
	if !oldest.IsZero() {
		s.Lag = max(0, time.Since(oldest))
	}
	s.Unread = behind
	switch {
	case s.Breaker == "open":
		s.Doing = "paused"
	case failing:
		s.Doing = "waiting"
	case behind || s.Lag > behindAfter:
		s.Doing = "behind"
	default:
		s.Doing = "live"
	}
}

// position is through where all lanes are done.
func (r *run) position() Position {
	at := r.lanes[0].cursor()
	for _, l := range r.lanes {
		at = older(at, l.cursor())
	}
	return at
}

// doingStopped is of an endpoint that this node does not serve.
const doingStopped = "stopped"

// behindAfter is the lag from which on an endpoint is said to be behind.
const behindAfter = 5 * time.Second

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
