package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/facts"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/telemetry"
	"github.com/porchlight-dev/porchlight/internal/webhook"
)

// webhookEndLimit is how long requests under way have to be answered when the
// node stops; what is not answered then is delivered again after the next start.
const webhookEndLimit = 5 * time.Second

// telling is what tells backends of what happened.
type telling struct {
	facts    *facts.Reader
	bases    *facts.Keeper
	webhooks *webhook.Deliverer
	term     uint64 // the incarnation: under it all endpoints are the node's own
	scraping context.Context
}

// seq is the number of a user's newest fact.
func (a *App) seq(_ context.Context, user presence.User) (uint64, error) {
	return a.tracker.Seq(user), nil
}

func (a *App) startFacts(ctx context.Context) error {
	a.telling.facts = facts.New(facts.Config{Store: a.store, Logger: a.log})
	a.telling.bases = facts.NewKeeper(facts.KeeperConfig{Store: a.store, Mine: func() bool { return a.mine("bases") }, Logger: a.log})
	return errors.Join(a.telling.facts.Start(ctx), a.telling.bases.Start(ctx))
}

func (a *App) stopFacts(ctx context.Context) error {
	return errors.Join(a.telling.bases.Stop(ctx), a.telling.facts.Stop(ctx))
}

// startWebhooks begins to serve the endpoints of the configuration.
func (a *App) startWebhooks(ctx context.Context) (err error) {
	a.telling.webhooks, err = webhook.New(webhook.Config{
		Reader: a.telling.facts, Seq: a.seq, Cursors: a.store, Letters: a.store, Owner: a.owner(), Meter: meter{a.metrics}, Dial: a.p.Webhooks, Logger: a.log,
	})
	if err != nil {
		return err
	}
	list, err := endpoints(a.p.Config)
	if err == nil {
		err = a.setWebhooks(ctx, list)
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	a.telling.scraping = context.WithoutCancel(ctx) // a scrape brings no context along
	return a.telling.webhooks.Start(ctx)
}

func (a *App) stopWebhooks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, webhookEndLimit)
	defer cancel()
	return a.telling.webhooks.Stop(ctx)
}

// setWebhooks makes these the endpoints that are served.
func (a *App) setWebhooks(ctx context.Context, list []webhook.Endpoint) error {
	for _, e := range list {
		a.metrics.Webhook(telemetry.Webhook{App: string(e.App), Endpoint: e.Name}, "timeout", "connection", "answer", "refused", "gone")
	}
	return a.telling.webhooks.SetEndpoints(ctx, list)
}

// endpoints checks the webhooks of another configuration.
func endpoints(c *config.Config) ([]webhook.Endpoint, error) {
	list, err := c.Endpoints()
	for i := 0; err == nil && i < len(list); i++ {
		if e := list[i].Check(); e != nil {
			err = fmt.Errorf("apps.%s.webhooks.%s: %w", list[i].App, list[i].Name, e)
		}
	}
	return list, err
}

// meter counts what is sent.
type meter struct{ metrics *telemetry.Metrics }

var _ webhook.Meter = meter{}

// Delivered implements webhook.Meter.
func (m meter) Delivered(app presence.AppID, endpoint string, events int, after time.Duration) {
	m.metrics.WebhookDelivered(telemetry.Webhook{App: string(app), Endpoint: endpoint}, events, after)
}

// Failed implements webhook.Meter.
func (m meter) Failed(app presence.AppID, endpoint, kind string) {
	m.metrics.WebhookFailed(telemetry.Webhook{App: string(app), Endpoint: endpoint}, kind)
}

// Died implements webhook.Meter.
func (m meter) Died(app presence.AppID, endpoint string, events int) {
	m.metrics.WebhookDied(telemetry.Webhook{App: string(app), Endpoint: endpoint}, events)
}

var webhookSources = []telemetry.Source{
	{Name: "webhook_lag_seconds", Help: "How long the oldest event waits that a webhook's receiver has not taken.", Labels: []string{"app", "endpoint"}},
	{Name: "webhook_waiting", Help: "Events that were read for a webhook and are not delivered.", Labels: []string{"app", "endpoint"}},
	{Name: "webhook_paused", Help: "1 while nothing is sent to a webhook, because too much failed or its receiver wants nothing more.", Labels: []string{"app", "endpoint"}},
	{Name: "webhook_dead_letters", Help: "Events of a webhook that were given up and wait to be sent again.", Labels: []string{"app", "endpoint"}},
	{Name: "webhook_requests_total", Help: "Requests of a webhook.", Labels: []string{"app", "endpoint"}, Counter: true},
	{Name: "webhook_gaps_total", Help: "How often the log no longer had what a webhook was to be told.", Labels: []string{"app", "endpoint"}, Counter: true},
}

func (a *App) readWebhooks(give give) {
	ctx, cancel := context.WithTimeout(a.telling.scraping, scrapeLimit)
	defer cancel()
	all, err := a.telling.webhooks.Status(ctx, "")
	if err != nil {
		a.log.Warn("how webhooks are doing cannot be read", "error", err)
		return
	}
	for _, s := range all {
		of := []string{string(s.App), s.Name}
		give(0, s.Lag.Seconds(), of...)
		give(1, float64(s.Waiting), of...)
		give(2, flag(s.Doing == "paused" || s.Doing == "gone"), of...)
		give(3, float64(s.Dead), of...)
		give(4, float64(s.Attempts), of...)
		give(5, float64(s.Gaps), of...)
	}
}

// scrapeLimit bounds what a scrape waits for the store.
const scrapeLimit = 2 * time.Second
