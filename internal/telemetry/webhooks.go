package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// webhooks is what is counted as webhooks are sent.
type webhooks struct {
	events   *prometheus.CounterVec
	failures *prometheus.CounterVec
	dead     *prometheus.CounterVec
	delay    *prometheus.HistogramVec
}

func newWebhooks() webhooks {
	which := []string{"app", "endpoint"}
	return webhooks{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_events_total", Help: "Events that a webhook's receiver took.",
		}, which),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_failures_total", Help: "Requests of a webhook that failed, by kind: timeout, connection, answer, refused, gone.",
		}, append(which, "kind")),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_given_up_total", Help: "Events of a webhook that became dead letters.",
		}, which),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_delay_seconds", Help: "How long it took from a change until a webhook's receiver had taken it, of the first event of each request.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600},
		}, which),
	}
}

func (w webhooks) collectors() []prometheus.Collector {
	return []prometheus.Collector{w.events, w.failures, w.dead, w.delay}
}

// Webhook names an endpoint of an app.
type Webhook struct{ App, Endpoint string }

// Webhook lets an endpoint's counters begin at 0, so that the first of what they
// count is a rise. kinds are those of WebhookFailed.
func (m *Metrics) Webhook(w Webhook, kinds ...string) {
	m.webhooks.events.WithLabelValues(w.App, w.Endpoint)
	m.webhooks.dead.WithLabelValues(w.App, w.Endpoint)
	m.webhooks.delay.WithLabelValues(w.App, w.Endpoint)
	for _, kind := range kinds {
		m.webhooks.failures.WithLabelValues(w.App, w.Endpoint, kind)
	}
}

// WebhookDelivered counts events that a receiver took, the first of which
// happened so long ago.
func (m *Metrics) WebhookDelivered(w Webhook, events int, after time.Duration) {
	m.webhooks.events.WithLabelValues(w.App, w.Endpoint).Add(float64(events))
	m.webhooks.delay.WithLabelValues(w.App, w.Endpoint).Observe(after.Seconds())
}

// WebhookFailed counts a request that failed. kind must come from a small fixed
// set.
func (m *Metrics) WebhookFailed(w Webhook, kind string) {
	m.webhooks.failures.WithLabelValues(w.App, w.Endpoint, kind).Inc()
}

// WebhookDied counts events that became dead letters.
func (m *Metrics) WebhookDied(w Webhook, events int) {
	m.webhooks.dead.WithLabelValues(w.App, w.Endpoint).Add(float64(events))
}
