package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Source is one metric that is counted elsewhere and read in a scrape.
type Source struct {
	Name   string // below "porchlight_"; a counter's ends in "_total"
	Help   string
	Labels []string
	// Counter says that it only grows.
	Counter bool
}

// Read gives the values of sources, each by the source's place in the list, with
// the values of its labels in their order. Sources that belong together are read
// together, so that what they are read from is looked at once.
type Read func(give func(source int, value float64, labels ...string))

// Add takes sources that are read together. It fails when a name is taken.
func (m *Metrics) Add(sources []Source, read Read) error {
	c := &collector{read: read}
	for _, s := range sources {
		kind := prometheus.GaugeValue
		if s.Counter {
			kind = prometheus.CounterValue
		}
		c.kinds = append(c.kinds, kind)
		c.descs = append(c.descs, prometheus.NewDesc(prometheus.BuildFQName(namespace, "", s.Name), s.Help, s.Labels, nil))
	}
	return m.registry.Register(c)
}

// collector is sources as the library reads them.
type collector struct {
	descs []*prometheus.Desc
	kinds []prometheus.ValueType
	read  Read
}

var _ prometheus.Collector = (*collector)(nil)

// Describe names the metrics.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect reads them.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	c.read(func(i int, value float64, labels ...string) {
		metric, err := prometheus.NewConstMetric(c.descs[i], c.kinds[i], value, labels...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(c.descs[i], err)
		}
		to <- metric
	})
}
