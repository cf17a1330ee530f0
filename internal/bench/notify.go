package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/porchlight-dev/porchlight/client"
)

// PhaseNotifications is the load of live notifications; it runs by itself.
const PhaseNotifications = "notifications"

// What the load of live notifications is made of.
const (
	notifyBatch   = 100 // notifications in one request
	notifyUsers   = 500
	notifyCallers = 16
	fullQueue     = 100
	drainedUsers  = 500
	notifyText    = "somebody wants you in the room, and this is about as long as such a message is"
)

// Goals of the load of live notifications.
const (
	goalStored = 4000.0 // notifications per second, at least
	goalDrain  = 5.0    // p99, milliseconds
)

// NotificationsConfig says what to measure. Self, Key and Token are required.
type NotificationsConfig struct {
	Self  Start  // starts a server that tells its HTTP address
	Key   string // the server key of the users' app
	Token func(user string) (string, error)

	Seconds  int                    // of each timed measure; default 5
	Progress io.Writer              // where the progress bar is drawn; nil draws none
	Report   func(NotificationsRow) // gets each row; nil drops them
}

// NotificationsRow is the result of one measure; its JSON is one line of
// `bench --phase notifications --json`. Keys that do not apply are left out.
type NotificationsRow struct {
	Phase   string  `json:"phase"` // "notifications"
	Measure string  `json:"measure"`
	Count   int     `json:"count"` // notifications
	Rate    float64 `json:"per_second,omitzero"`
	CPU     float64 `json:"cpu_s_per_million,omitzero"` // CPU seconds of the server for a million of them
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	RSS     int64   `json:"rss_kib,omitzero"` // of the server, at the end
}

// The measures.
const (
	measureOneCaller   = "stored_one_caller"
	measureManyCallers = "stored_many_callers"
	measureSingles     = "stored_singles"
	measureDrain       = "drain"
	measureArrival     = "arrival"
)

// Notifications measures live notifications: how fast they are stored and
// acknowledged, in batches by one caller and by many and one by one; how long a
// device that comes takes until it has all of a full queue; and how long one takes
// to a device that is there. It returns the first error.
func Notifications(ctx context.Context, cfg NotificationsConfig) (err error) {
	if cfg.Self == nil || cfg.Token == nil {
		return errors.New("bench: no way to start a server, or to make tokens")
	}
	if cfg.Seconds == 0 {
		cfg.Seconds = 5
	}
	if cfg.Seconds < 1 || cfg.Seconds > maxSeconds {
		return fmt.Errorf("bench: %d seconds; 1 to %d are possible", cfg.Seconds, maxSeconds)
	}
	if cfg.Report == nil {
		cfg.Report = func(NotificationsRow) {}
	}
	n := &notify{cfg: cfg, bar: newBar(cfg.Progress)}
	defer n.bar.end()
	addr, pid, stop, err := cfg.Self(ctx)
	if err != nil {
		return fmt.Errorf("bench: start the server: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := loopback(addr); err != nil {
		return err
	}
	n.addr, n.proc = addr, process(pid)
	if n.backend, err = client.NewBackend(client.BackendConfig{URL: "http://" + addr, Key: cfg.Key}); err != nil {
		return err
	}
	return n.measure(ctx)
}

// notify is one run.
type notify struct {
	cfg     NotificationsConfig
	bar     *bar
	addr    string
	proc    process
	backend *client.Backend
}

func (n *notify) measure(ctx context.Context) error {
	for _, m := range []struct {
		measure        string
		callers, batch int
	}{{measureOneCaller, 1, notifyBatch}, {measureManyCallers, notifyCallers, notifyBatch}, {measureSingles, notifyCallers, 1}} {
		if err := n.store(ctx, m.measure, m.callers, m.batch); err != nil {
			return err
		}
	}
	if err := n.drain(ctx); err != nil {
		return err
	}
	return n.arrive(ctx)
}

// messages are so many notifications.
func messages(count int) []client.ToNotify {
	list := make([]client.ToNotify, count)
	for i := range list {
		list[i] = client.ToNotify{Text: notifyText, Action: "https://chat.example/rooms/7", Source: "Chat", TTL: time.Hour}
	}
	return list
}

// store puts batches for users one after the other, by callers that wait for each
// answer.
func (n *notify) store(ctx context.Context, measure string, callers, batch int) error {
	n.bar.begin(measure, 0)
	began, cpu := time.Now(), n.cpu()
	end := began.Add(time.Duration(n.cfg.Seconds) * time.Second)
	list := messages(batch)
	var (
		running sync.WaitGroup
		next    atomic.Int64
		mu      sync.Mutex // guards what is below
		times   histogram
		stored  int
		failed  error
	)
	for range callers {
		running.Go(func() {
			for time.Now().Before(end) {
				user := fmt.Sprint("bench-notify-", next.Add(1)%notifyUsers)
				asked := time.Now()
				got, err := n.backend.Notify(ctx, user, list...)
				mu.Lock()
				times.add(time.Since(asked))
				stored += len(got)
				if err != nil && failed == nil {
					failed = fmt.Errorf("bench: notify %s: %w", user, err)
				}
				over := failed != nil
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	running.Wait()
	if failed != nil {
		return failed
	}
	row := n.row(measure, stored, &times)
	row.Rate = round(float64(stored) / time.Since(began).Seconds())
	row.CPU = round((n.cpu() - cpu).Seconds() / float64(stored) * 1e6)
	n.report(row)
	return nil
}

func (n *notify) row(measure string, count int, times *histogram) NotificationsRow {
	ms := func(q float64) float64 { return round(float64(times.quantile(q)) / float64(time.Millisecond)) }
	return NotificationsRow{Phase: PhaseNotifications, Measure: measure, Count: count, P50: ms(0.5), P99: ms(0.99)}
}

func (n *notify) report(row NotificationsRow) {
	n.bar.end()
	if rss, err := n.proc.rss(); err == nil {
		row.RSS = rss
	}
	n.cfg.Report(row)
}

func (n *notify) cpu() time.Duration {
	used, err := n.proc.cpu()
	if err != nil {
		return 0
	}
	return used
}

// device connects a user who takes live notifications.
func (n *notify) device(ctx context.Context, user string, told func(client.LiveNotification)) (*client.Client, error) {
	c, err := client.New(client.Config{
		Addr: "ws://" + n.addr, OnNotification: told,
		Token: func(context.Context) (string, error) { return n.cfg.Token(user) },
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.Open(ctx, client.Options{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// drain lets users come whose queues are full: from the connection's beginning, with
// handshake, hello and the opening on disk, to the last of a hundred.
func (n *notify) drain(ctx context.Context) error {
	n.bar.begin("filling queues", drainedUsers)
	var users []string
	for i := range drainedUsers {
		users = append(users, fmt.Sprint("bench-drain-", i))
	}
	list := messages(fullQueue)
	if err := each(ctx, users, notifyCallers, func(ctx context.Context, user string) error {
		_, err := n.backend.Notify(ctx, user, list...)
		return err
	}, n.bar); err != nil {
		return err
	}
	n.bar.begin("draining queues", drainedUsers)
	var times histogram
	for i, user := range users {
		n.bar.at(int64(i))
		all, count := make(chan time.Time, 1), 0
		began := time.Now()
		c, err := n.device(ctx, user, func(client.LiveNotification) {
			if count++; count == fullQueue {
				all <- time.Now()
			}
		})
		if err != nil {
			return err
		}
		select {
		case at := <-all:
			times.add(at.Sub(began))
		case <-time.After(answerLimit):
			err = fmt.Errorf("bench: %s got %d of %d notifications", user, count, fullQueue)
		}
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	n.report(n.row(measureDrain, drainedUsers*fullQueue, &times))
	return nil
}

// arrive puts one at a time for a user who is there: from the request to the device.
func (n *notify) arrive(ctx context.Context) error {
	const user = "bench-arrival"
	came := make(chan time.Time, 1)
	c, err := n.device(ctx, user, func(client.LiveNotification) { came <- time.Now() })
	if err != nil {
		return err
	}
	defer c.Close()
	n.bar.begin("arrivals", drainedUsers)
	var times histogram
	for i := range drainedUsers {
		n.bar.at(int64(i))
		began := time.Now()
		if _, err := n.backend.Notify(ctx, user, messages(1)...); err != nil {
			return err
		}
		select {
		case at := <-came:
			times.add(at.Sub(began))
		case <-time.After(answerLimit):
			return errors.New("bench: a notification did not arrive")
		}
	}
	n.report(n.row(measureArrival, drainedUsers, &times))
	return nil
}

// NotificationsTable writes the rows of one run for people. It returns the first
// error of w.
func NotificationsTable(w io.Writer, rows []NotificationsRow) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	// A tabwriter keeps its first error and returns it from Flush.
	_, _ = fmt.Fprintln(out, "what\tnotifications\tper s\tCPU s per million\tp50 ms\tp99 ms\tRSS MB\tgoal\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(out, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%s\t\n", r.what(), r.Count, number(r.Rate), number(r.CPU), number(r.P50), number(r.P99), r.RSS>>10, r.verdict())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("bench: write the table: %w", err)
	}
	return nil
}

func (r NotificationsRow) what() string {
	switch r.Measure {
	case measureOneCaller:
		return fmt.Sprintf("stored, batches of %d, one caller", notifyBatch)
	case measureManyCallers:
		return fmt.Sprintf("stored, batches of %d, %d callers", notifyBatch, notifyCallers)
	case measureSingles:
		return fmt.Sprintf("stored, one by one, %d callers", notifyCallers)
	case measureDrain:
		return "a device comes: dial to the last of a full queue"
	case measureArrival:
		return "a device is there: request to notification"
	}
	return r.Measure
}

func (r NotificationsRow) verdict() string {
	switch r.Measure {
	case measureOneCaller, measureManyCallers:
		word := "met"
		if r.Rate < goalStored {
			word = "missed"
		}
		return "≥ " + number(goalStored) + ": " + word
	case measureDrain:
		return "p99 " + figure{own: r.P99, goal: goal{most: goalDrain}}.verdict()
	}
	return ""
}
