package outbox

import "github.com/prometheus/client_golang/prometheus"

type effectMetrics struct {
	answers  *prometheus.CounterVec
	inFlight prometheus.Gauge
}

func newEffectMetrics(service string) effectMetrics {
	labels := prometheus.Labels{"service": service}
	return effectMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_effects_total", ConstLabels: labels,
			Help: "Calls by what became of them: answered, unknown (asked again), waiting (answered, and still waited for).",
		}, []string{"outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_effects_in_flight", ConstLabels: labels, Help: "Calls being made now."}),
	}
}

// Describe and Collect make the executor a prometheus.Collector.
func (e *Executor[S]) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(e, ch) }

// Collect reports what became of the calls.
func (e *Executor[S]) Collect(ch chan<- prometheus.Metric) {
	e.metrics.answers.Collect(ch)
	ch <- e.metrics.inFlight
}
