package telemetry

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins every name of ours.
const namespace = "porchlight"

// scrapes is how many scrapes may run at a time; one that is too many gets 503.
const scrapes = 4

// Metrics are the metrics of one node. Make them with New; two nodes in one
// process have their own.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	appends  prometheus.Histogram
	webhooks webhooks
	log      *slog.Logger
}

// New returns metrics that know of the Go runtime, the process and the version.
func New(version string, log *slog.Logger) (*Metrics, error) {
	m := &Metrics{
		registry: prometheus.NewRegistry(), log: log, webhooks: newWebhooks(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "calls_total", Help: "Calls that were answered, by door, method and code.",
		}, []string{"door", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "call_seconds", Help: "How long calls took, streams apart, by door and method.",
			Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 10},
		}, []string{"door", "method"}),
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "log_append_seconds", Help: "How long the log took to have a message of records on disk.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with the version as a label.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	}, func() float64 { return 1 })
	var errs []error
	all := []prometheus.Collector{
		m.calls, m.took, m.appends, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, c := range append(all, m.webhooks.collectors()...) {
		errs = append(errs, m.registry.Register(c))
	}
	return m, errors.Join(errs...)
}

// Called counts a call. method and code must come from small fixed sets. A
// stream's duration is negative: it says nothing of how fast the node is.
func (m *Metrics) Called(door, method, code string, took time.Duration) {
	m.calls.WithLabelValues(door, method, code).Inc()
	if took >= 0 {
		m.took.WithLabelValues(door, method).Observe(took.Seconds())
	}
}

// Appended counts a message that the log has on disk.
func (m *Metrics) Appended(took time.Duration) { m.appends.Observe(took.Seconds()) }

// Handler answers scrapes, in the text format of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapes,
		ErrorLog:            slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
	})
}
