package outbox

import "github.com/prometheus/client_golang/prometheus"

type relayMetrics struct {
	leader, held prometheus.Gauge
	published    prometheus.Counter
	failures     *prometheus.CounterVec
}

func newRelayMetrics() relayMetrics {
	return relayMetrics{
		leader:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_relay_leader", Help: "1 in the process that holds the relay's lease."}),
		held:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_relay_held_keys", Help: "Keys that wait behind an event the broker refused."}),
		published: prometheus.NewCounter(prometheus.CounterOpts{Name: "millrace_relay_published_total", Help: "Events the broker acknowledged."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_relay_failures_total", Help: "Batches of which nothing was published, and looks the database refused.",
		}, []string{"at"}),
	}
}

var (
	backlogRows = prometheus.NewDesc("millrace_outbox_rows", "Events that are committed and not yet published, counted up to the cap.", nil, nil)
	backlogAge  = prometheus.NewDesc("millrace_outbox_oldest_age_seconds", "How long the oldest of them has been waiting.", nil, nil)
)

// Describe and Collect make the relay a prometheus.Collector.
func (r *Relay) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect reports what the relay did and what is left to do.
func (r *Relay) Collect(ch chan<- prometheus.Metric) {
	last := r.Backlog()
	ch <- prometheus.MustNewConstMetric(backlogRows, prometheus.GaugeValue, float64(last.Rows))
	ch <- prometheus.MustNewConstMetric(backlogAge, prometheus.GaugeValue, last.OldestAge.Seconds())
	ch <- r.metrics.leader
	ch <- r.metrics.held
	ch <- r.metrics.published
	r.metrics.failures.Collect(ch)
}
