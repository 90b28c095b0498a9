package kafka_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

// event is a record as the outbox writes them.
func event(topic, key string) transport.Record {
	r := transport.Record{Topic: topic, Key: []byte(key), Value: make([]byte, 300)}
	for _, name := range []string{transport.UUIDHeader, "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject",
		"ce_dataschemaversion", "ce_orderversion", "ce_correlationid", "ce_causationid", "content-type"} {
		r.Headers = append(r.Headers, transport.Header{Key: name, Value: []byte(key)})
	}
	return r
}

func servers(b *testing.B, run func(b *testing.B, broker string)) {
	b.Run("Embedded", func(b *testing.B) { run(b, testserver.Kafka(b)) })
	b.Run("Real", func(b *testing.B) { run(b, testserver.RealKafka(b)) })
}

func ready(b *testing.B, broker string) (*kafka.Transport, *kafka.Publisher, string) {
	b.Helper()
	config := kafka.Config{Brokers: []string{broker}}
	on, err := kafka.New(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = on.Close() })
	topic := "bench-" + uuid.NewString()
	if err := on.EnsureTopics(b.Context(), 3, topic); err != nil {
		b.Fatal(err)
	}
	publisher, err := kafka.NewPublisher(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = publisher.Close() })
	return on, publisher, topic
}

// How fast events are published in batches of 500, as the relay does, and then
// handled by a handler that does nothing.
func BenchmarkThroughput(b *testing.B) {
	servers(b, func(b *testing.B, broker string) {
		on, publisher, topic := ready(b, broker)
		records := make([]transport.Record, b.N)
		for i := range records {
			records[i] = event(topic, fmt.Sprintf("0199c0de-0000-7000-8000-%012d", i%1000))
		}
		b.ResetTimer()
		start := time.Now()
		for part := range slices.Chunk(records, 500) {
			for _, err := range publisher.PublishBatch(b.Context(), part) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "published/s")
		start = time.Now()
		s, err := on.Subscriber("group-" + topic)
		if err != nil {
			b.Fatal(err)
		}
		messages, err := s.Subscribe(b.Context(), topic)
		if err != nil {
			b.Fatal(err)
		}
		var handled atomic.Int64
		done := make(chan struct{})
		go func() {
			for msg := range messages {
				go func() {
					msg.Ack()
					if handled.Add(1) == int64(b.N) {
						close(done)
					}
				}()
			}
		}()
		<-done
		b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "handled/s")
		b.StopTimer()
		_ = s.Close()
	})
}

// How long one event takes from Publish to its handler, one at a time.
func BenchmarkLatency(b *testing.B) {
	servers(b, func(b *testing.B, broker string) {
		on, publisher, topic := ready(b, broker)
		s, err := on.Subscriber("group-" + topic)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		messages, err := s.Subscribe(b.Context(), topic)
		if err != nil {
			b.Fatal(err)
		}
		one := func() {
			if err := publisher.PublishBatch(b.Context(), []transport.Record{event(topic, "key")})[0]; err != nil {
				b.Fatal(err)
			}
			var msg *message.Message = <-messages
			msg.Ack()
		}
		one() // joins the group
		for b.Loop() {
			one()
		}
	})
}
