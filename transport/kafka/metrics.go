package kafka

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are read from the subscribers when they are asked for; counting costs
// nothing meanwhile.
type metrics struct {
	mu          sync.Mutex
	subscribers []*Subscriber
}

var (
	perPartition = []string{"group", "topic", "partition"}

	heldDesc = prometheus.NewDesc("kafka_subscriber_held_records",
		"Records in memory, from the oldest unfinished one to the newest fetched one.", perPartition, nil)
	lagDesc = prometheus.NewDesc("kafka_subscriber_lag_records",
		"Records between the first unfinished one and the end of the log, as of the last fetch.", perPartition, nil)
	redeliveredDesc = prometheus.NewDesc("kafka_subscriber_redelivered_total",
		"Records handed out again after a Nack, since the partition came to this process.", perPartition, nil)
)

func (m *metrics) add(s *Subscriber) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscribers = append(m.subscribers, s)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	to <- heldDesc
	to <- lagDesc
	to <- redeliveredDesc
}

// Collect implements prometheus.Collector. No two members of a group have one
// partition, so no line comes twice.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.subscribers {
		for at, p := range s.all() {
			labels := []string{s.group, at.topic, strconv.Itoa(int(at.partition))}
			held, redelivered := p.Counts()
			to <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(held), labels...)
			to <- prometheus.MustNewConstMetric(redeliveredDesc, prometheus.CounterValue, float64(redelivered), labels...)
			if done := p.Done(); done >= 0 {
				to <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(max(0, p.end.Load()-done)), labels...)
			}
		}
	}
}
