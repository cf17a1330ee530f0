package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// PhaseWebhook is the webhooks' load; it runs by itself, with servers of its own.
const PhaseWebhook = "webhook"

// What the webhooks' load is made of. Sessions are server-set presences, so that
// many can end in one call: their closings come as fast as the server can make
// them, and not as fast as this program can ask for them.
const (
	hookUsers    = 2000
	hookSessions = 10 // of each user
	hookCallers  = 64
	// hookPace is how often a group of changes is made in the measure of delays,
	// and hookGroup how many: 1,000 a second.
	hookPace  = 5 * time.Millisecond
	hookGroup = 5
	hookTen   = 10 // endpoints, nine of which fail
	// hookLimit bounds the wait for a webhook: its breaker pauses for half a minute.
	hookLimit = 2 * time.Minute
)

// HooksConfig says what to measure. Self is required.
type HooksConfig struct {
	// Self starts a server with a configuration (YAML) that tells its HTTP
	// address.
	Self func(configuration string) Start

	Seconds  int           // of each timed measure; default 5
	Progress io.Writer     // where the progress bar is drawn; nil draws none
	Report   func(HookRow) // gets each row; nil drops them
}

// HookRow is the result of one measure; its JSON is one line of
// `bench --phase webhook --json`. Keys that do not apply are left out.
type HookRow struct {
	Phase    string  `json:"phase"` // "webhook"
	Measure  string  `json:"measure"`
	Events   int     `json:"events"`
	Requests int     `json:"requests"`
	Rate     float64 `json:"events_per_second,omitzero"`
	CPU      float64 `json:"cpu_s_per_million,omitzero"` // CPU seconds of the server for a million events
	P50      float64 `json:"p50_ms,omitzero"`
	P99      float64 `json:"p99_ms,omitzero"`
}

// The measures.
const (
	measureOpenings = "openings"
	measureClosings = "closings"
	measureDelay    = "delay"
	measureCatchUp  = "catch_up"
	measureTen      = "delay_of_ten"
)

// Hooks measures webhooks: how fast openings, and closings that come all at
// once, are told; how long after a change its request is there, alone and beside
// nine endpoints that fail; and how fast a receiver that was away catches up. It
// starts its servers and its receiver on loopback, and returns the first error.
func Hooks(ctx context.Context, cfg HooksConfig) error {
	if cfg.Self == nil {
		return errors.New("bench: no way to start a server")
	}
	if cfg.Seconds == 0 {
		cfg.Seconds = 5
	}
	if cfg.Seconds < 1 || cfg.Seconds > maxSeconds {
		return fmt.Errorf("bench: %d seconds; 1 to %d are possible", cfg.Seconds, maxSeconds)
	}
	if cfg.Report == nil {
		cfg.Report = func(HookRow) {}
	}
	if err := withHooks(ctx, cfg, 1, (*hooks).measureOne); err != nil {
		return err
	}
	return withHooks(ctx, cfg, hookTen, (*hooks).measureTen)
}

// hooks is one server with its endpoints.
type hooks struct {
	cfg     HooksConfig
	proc    process
	bar     *bar
	ear     *ear
	backend *client.Backend
	round   int // names of presences are used once
}

// withHooks starts a server with so many endpoints, of which one is listened to.
func withHooks(ctx context.Context, cfg HooksConfig, endpoints int, measure func(*hooks, context.Context) error) (err error) {
	h := &hooks{cfg: cfg, bar: newBar(cfg.Progress)}
	defer h.bar.end()
	if h.ear, err = listenHooks(); err != nil {
		return err
	}
	defer h.ear.close()
	key := rand.Text() + rand.Text()
	addr, pid, stop, err := cfg.Self(hookConfiguration(key, h.ear.url, endpoints))(ctx)
	if err != nil {
		return fmt.Errorf("bench: start the server: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := loopback(addr); err != nil {
		return err
	}
	h.proc = process(pid)
	if h.backend, err = client.NewBackend(client.BackendConfig{URL: "http://" + addr, Key: key}); err != nil {
		return err
	}
	if err := h.begun(ctx); err != nil {
		return err
	}
	return measure(h, ctx)
}

// hookConfiguration is that of an app with endpoints in the native format; all
// but the first lead to a port where nobody is.
func hookConfiguration(key, url string, endpoints int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apps:\n  bench:\n    server_keys: [{id: bench, secret: %s}]\n", key)
	fmt.Fprintf(&b, "    jwt: {issuer: https://id.bench.test, audience: bench, keys: [{id: k, secret: %s}]}\n", rand.Text()+rand.Text())
	fmt.Fprintf(&b, "    limits: {sessions: %d}\n    webhooks:\n", 2*hookSessions)
	for i := range endpoints {
		if i > 0 {
			url = "http://127.0.0.1:1/"
		}
		fmt.Fprintf(&b, "      hook%d: {url: %q, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=], allow_private: true}\n", i, url)
	}
	return b.String()
}

// begun waits until the endpoint is served: what happens before is not told.
func (h *hooks) begun(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hookLimit)
	defer cancel()
	for ctx.Err() == nil {
		from := h.ear.mark()
		if _, err := h.backend.PutPresence(ctx, "bench-first", h.presence()); err != nil {
			return fmt.Errorf("bench: a presence: %w", err)
		}
		if h.ear.wait(ctx, from, 1, 500*time.Millisecond) {
			return nil
		}
	}
	return errors.New("bench: the server calls no webhook")
}

func (h *hooks) presence() client.ServerPresence {
	h.round++
	return client.ServerPresence{Name: fmt.Sprint("p", h.round), Status: client.Status{Text: "at the bench"}, TTL: presenceLife}
}

// measureOne is everything that needs one endpoint.
func (h *hooks) measureOne(ctx context.Context) error {
	if err := h.rate(ctx, measureOpenings, h.open); err != nil {
		return err
	}
	if err := h.rate(ctx, measureClosings, h.drop); err != nil {
		return err
	}
	if err := h.delay(ctx, measureDelay); err != nil {
		return err
	}
	return h.catchUp(ctx)
}

func (h *hooks) measureTen(ctx context.Context) error { return h.delay(ctx, measureTen) }

// users are those of the load.
func hookNames() (users []string) {
	for i := range hookUsers {
		users = append(users, fmt.Sprint("bench-hook-", i))
	}
	return users
}

// open makes all sessions and drop ends them; both return how many there were.
func (h *hooks) open(ctx context.Context) (int, error) {
	h.round++
	round := h.round
	h.bar.begin("opening sessions", hookUsers)
	return hookUsers * hookSessions, each(ctx, hookNames(), hookCallers, func(ctx context.Context, user string) error {
		for i := range hookSessions {
			p := client.ServerPresence{Name: fmt.Sprintf("p%d.%d", round, i), Status: client.Status{Text: "at the bench"}, TTL: presenceLife}
			if _, err := h.backend.PutPresence(ctx, user, p); err != nil {
				return err
			}
		}
		return nil
	}, h.bar)
}

func (h *hooks) drop(ctx context.Context) (int, error) {
	h.bar.begin("ending sessions", hookUsers)
	return hookUsers * hookSessions, each(ctx, hookNames(), hookCallers, func(ctx context.Context, user string) error {
		_, err := h.backend.Drop(ctx, user, false)
		return err
	}, h.bar)
}

// rate measures how fast changes are told, from the first request to the last.
func (h *hooks) rate(ctx context.Context, measure string, change func(context.Context) (int, error)) error {
	from, cpu := h.ear.mark(), h.cpu()
	count, err := change(ctx)
	if err != nil {
		return err
	}
	return h.report(ctx, HookRow{Measure: measure, Events: count}, since{from, cpu})
}

// since is where a measure began.
type since struct {
	from hearing
	cpu  time.Duration
}

func (h *hooks) report(ctx context.Context, row HookRow, t since) error {
	h.bar.begin("waiting for the webhook", 0)
	if !h.ear.wait(ctx, t.from, row.Events, hookLimit) {
		return fmt.Errorf("bench: %s: the webhook was not told of everything within %v", row.Measure, hookLimit)
	}
	h.bar.end()
	now := h.ear.mark()
	took := now.last.Sub(now.first)
	row.Phase, row.Requests = PhaseWebhook, now.requests-t.from.requests
	row.Rate = round(float64(row.Events) / max(took.Seconds(), 1e-3))
	row.CPU = round((h.cpu() - t.cpu).Seconds() / float64(row.Events) * 1e6)
	h.cfg.Report(row)
	return nil
}

func (h *hooks) cpu() time.Duration {
	used, err := h.proc.cpu()
	if err != nil {
		return 0
	}
	return used
}

// catchUp lets the receiver be away while all sessions open and end.
func (h *hooks) catchUp(ctx context.Context) error {
	h.ear.away(true)
	opened, err := h.open(ctx)
	if err != nil {
		return err
	}
	closed, err := h.drop(ctx)
	if err != nil {
		return err
	}
	from, cpu := h.ear.mark(), h.cpu()
	h.ear.away(false)
	return h.report(ctx, HookRow{Measure: measureCatchUp, Events: opened + closed}, since{from, cpu})
}

// delay measures how long after each change its request is there.
func (h *hooks) delay(ctx context.Context, measure string) error {
	count := h.cfg.Seconds * int(time.Second/hookPace) * hookGroup
	h.bar.begin(measure, int64(count))
	from := h.ear.mark()
	h.ear.time(true)
	defer h.ear.time(false)
	users := make([]string, count)
	for i := range users {
		users[i] = fmt.Sprintf("bench-%s-%d", measure, i)
	}
	paced, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan string, count)
	done := make(chan error, 1)
	go func() { done <- h.callers(paced, next) }()
	tick := time.NewTicker(hookPace)
	defer tick.Stop()
	for i := 0; i < count; i += hookGroup {
		select {
		case <-tick.C:
		case <-ctx.Done():
			close(next)
			return errors.Join(ctx.Err(), <-done)
		}
		for _, user := range users[i : i+hookGroup] {
			next <- user
		}
		h.bar.at(int64(i))
	}
	close(next)
	if err := <-done; err != nil {
		return err
	}
	if !h.ear.wait(ctx, from, count, hookLimit) {
		return fmt.Errorf("bench: %s: the webhook was not told of everything within %v", measure, hookLimit)
	}
	h.bar.end()
	ms := func(q float64) float64 { return round(float64(h.ear.quantile(q)) / float64(time.Millisecond)) }
	h.cfg.Report(HookRow{
		Phase: PhaseWebhook, Measure: measure, Events: count, Requests: h.ear.mark().requests - from.requests, P50: ms(0.5), P99: ms(0.99),
	})
	return nil
}

// callers open one session for each user that comes.
func (h *hooks) callers(ctx context.Context, next <-chan string) error {
	failed := make(chan error, hookCallers)
	for range hookCallers {
		go func() {
			var first error
			for user := range next {
				if _, err := h.backend.PutPresence(ctx, user, client.ServerPresence{Status: client.Status{Text: "at the bench"}, TTL: presenceLife}); err != nil && first == nil {
					first = fmt.Errorf("bench: a presence: %w", err)
				}
			}
			failed <- first
		}()
	}
	var all []error
	for range hookCallers {
		all = append(all, <-failed)
	}
	return errors.Join(all...)
}
