package app

import (
	"context"
	"errors"
	"time"

	"github.com/porchlight-dev/porchlight/internal/listen"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/store"
	"github.com/porchlight-dev/porchlight/internal/telemetry"
)

// makeMetrics makes the metrics of a node; what they read is there when the
// HTTP port is.
func (a *App) makeMetrics() (err error) {
	if a.metrics, err = telemetry.New(a.p.Version, a.log); err != nil {
		return err
	}
	return errors.Join(
		a.metrics.Add(appSources, a.readApps), a.metrics.Add(trackerSources, a.readTracker),
		a.metrics.Add(hubSources, a.readHub), a.metrics.Add(rosterSources, a.readRoster), a.metrics.Add(nodeSources, a.readNode),
		a.metrics.Add(webhookSources, a.readWebhooks), a.metrics.Add(topicSources, a.readTopics),
		a.metrics.Add(mailboxSources, a.readMailboxes), a.metrics.Add(clusterSources, a.readCluster),
	)
}

// called counts the calls of a door.
func (a *App) called(door string) func(method, code string, took time.Duration) {
	return func(method, code string, took time.Duration) { a.metrics.Called(door, method, code, took) }
}

// timed is a log that tells how long appends took.
type timed struct {
	store.Log
	took func(time.Duration)
}

// Append appends, and tells how long that took if it is on disk.
func (t timed) Append(ctx context.Context, id string, records []presence.Record) (store.Position, error) {
	began := time.Now()
	pos, err := t.Log.Append(ctx, id, records)
	if err == nil {
		t.took(time.Since(began))
	}
	return pos, err
}

// give is what the readers below hand a value to.
type give = func(source int, value float64, labels ...string)

// The lists and their readers go together: a reader names a source by its place.

var appSources = []telemetry.Source{
	{Name: "users_online", Help: "Users who are available, as others see them.", Labels: []string{"app"}},
	{Name: "sessions", Help: "Sessions, by phase: created (not connected yet), live, lost (the link is gone, the grace runs).", Labels: []string{"app", "phase"}},
}

func (a *App) readApps(give give) {
	for app, c := range a.tracker.Counts() {
		give(0, float64(c.Users), string(app))
		give(1, float64(c.Created), string(app), presence.PhaseCreated.String())
		give(1, float64(c.Live), string(app), presence.PhaseLive.String())
		give(1, float64(c.Lost), string(app), presence.PhaseLost.String())
	}
}

var trackerSources = []telemetry.Source{
	{Name: "openings_total", Help: "Sessions that opened, or opened anew.", Counter: true},
	{Name: "closings_total", Help: "Sessions that closed, by reason.", Labels: []string{"reason"}, Counter: true},
	{Name: "updates_total", Help: "Statuses that became current.", Counter: true},
	{Name: "log_records_total", Help: "Records stored in the log.", Counter: true},
	{Name: "log_messages_total", Help: "Messages of records stored in the log.", Counter: true},
	{Name: "log_retries_total", Help: "Tries to append beyond a message's first.", Counter: true},
	{Name: "log_refused_total", Help: "Records that the log did not take; their callers were told.", Counter: true},
	{Name: "log_waiting", Help: "Records that wait to be stored."},
	{Name: "log_parked", Help: "Closings that the log refused, kept in memory and tried again."},
	{Name: "log_lag_seconds", Help: "Age of the oldest record that is not stored."},
}

func (a *App) readTracker(give give) {
	s := a.tracker.Stats()
	give(0, float64(s.Openings))
	for _, reason := range presence.Closings() {
		give(1, float64(s.Closings[reason]), reason.String())
	}
	give(2, float64(s.Updates))
	give(3, float64(s.Log.Records))
	give(4, float64(s.Log.Messages))
	give(5, float64(s.Log.Retries))
	give(6, float64(s.Log.Refused))
	give(7, float64(s.Log.Waiting))
	give(8, float64(s.Log.Parked))
	give(9, s.Log.Lag.Seconds())
}

var hubSources = []telemetry.Source{
	{Name: "watchers", Help: "Sessions that may watch others."},
	{Name: "watch_targets", Help: "Users who are watched by anybody."},
	{Name: "watch_edges", Help: "Subscriptions: who watches whom."},
	{Name: "notifications_total", Help: "Messages taken from the queues of watchers to be sent.", Counter: true},
}

func (a *App) readHub(give give) {
	c := a.hub.Counts()
	give(0, float64(c.Watchers))
	give(1, float64(c.Targets))
	give(2, float64(c.Edges))
	give(3, float64(c.Sent))
}

var rosterSources = []telemetry.Source{
	{Name: "friend_lists", Help: "Friend lists in memory."},
	{Name: "friend_lists_idle_bytes", Help: "Memory of those that no session needs, about."},
	{Name: "friends_waiting", Help: "Sessions that came back and whose friends wait for their list."},
	{Name: "users_blocked", Help: "Users whom somebody blocks."},
	{Name: "friend_source_answers_total", Help: "Friend lists asked of an app's backend, by result: ok, failed.", Labels: []string{"app", "result"}, Counter: true},
	{Name: "friend_source_down", Help: "1 while an app's backend does not answer for friend lists.", Labels: []string{"app"}},
}

func (a *App) readRoster(give give) {
	c := a.roster.Counts()
	give(0, float64(c.Lists))
	give(1, float64(c.Idle))
	give(2, float64(c.Waiting))
	give(3, float64(c.Blocked))
	for name := range a.config.Load().Apps { // those that ask no backend, too
		s := c.Sources[presence.AppID(name)]
		give(4, float64(s.Answered), name, "ok")
		give(4, float64(s.Failed), name, "failed")
		give(5, flag(s.Down), name)
	}
}

var nodeSources = []telemetry.Source{
	{Name: "ready", Help: "1 when /readyz says 200."},
	{Name: "store_healthy", Help: "1 when the store takes records."},
	{Name: "store_alarm", Help: "1 while the store takes records, but not for long."},
	{Name: "connections", Help: "Open connections, by port.", Labels: []string{"port"}},
	{Name: "live_connections", Help: "Open WebSocket connections of the live door."},
}

func (a *App) readNode(give give) {
	err := a.store.Health()
	alarm := errors.Is(err, store.ErrAlarm)
	healthy := err == nil || alarm
	give(0, flag(healthy && a.ready.Load()))
	give(1, flag(healthy))
	give(2, flag(alarm))
	if l, ok := a.p.GRPC.(*listen.Listener); ok {
		give(3, float64(l.Open()), "grpc")
	}
	if l, ok := a.p.HTTP.(*listen.Listener); ok {
		give(3, float64(l.Open()), "http")
	}
	give(4, float64(a.live.Open()))
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
