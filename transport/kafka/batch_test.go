package kafka

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// brokerWith is a broker that has a topic of one partition, and a publisher that knows nothing of it yet.
func brokerWith(t *testing.T, topic string) (*kfake.Cluster, *Publisher) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	p, err := NewPublisher(Config{Brokers: cluster.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return cluster, p
}

// A partition fails while a round is being filled, before anything went out; and nobody has been told yet when the next record
// of the same key comes. It must not be sent: it would overtake what failed.
func TestWhatFailsWhileARoundIsFilledIsNotOvertaken(t *testing.T) {
	const topic = "orders"
	cluster, p := brokerWith(t, topic)
	record := func(value string) transport.Record {
		return transport.Record{Topic: topic, Key: []byte("order"), Value: []byte(value)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.PublishBatch(ctx, []transport.Record{record("before")})[0]; err != nil { // the topic is known
		t.Fatal(err)
	}

	b := newBatch(ctx, []transport.Record{record("first"), record("second")})
	r := &round{client: p.client, failed: map[string]bool{}}
	r.add(b, 0)
	held := make(chan struct{})
	p.client.Produce(ctx, &kgo.Record{}, func(*kgo.Record, error) { <-held }) // whoever is told of failures is busy
	p.client.PurgeTopicsFromProducing(topic)
	r.add(b, 1)
	flushed := make(chan struct{})
	go func() { r.flush(); close(flushed) }()
	close(held)
	select {
	case <-flushed:
	case <-ctx.Done():
		t.Fatal("the round is not over")
	}
	if errs := b.answers(ctx.Err()); errs[0] == nil || errs[1] == nil {
		t.Errorf("the answers are %v, want both to fail", errs)
	}

	again, err := NewPublisher(Config{Brokers: cluster.ListenAddrs()}) // after a purge the first one counts its records from zero
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.PublishBatch(ctx, []transport.Record{record("first")})[0]; err != nil {
		t.Fatal(err)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var got []string
	for !slices.Contains(got, "first") {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	// What failed may have been on its way.
	if got = slices.Compact(got); !slices.Equal(got, []string{"before", "first"}) {
		t.Errorf("the log is %v, want before, first", got)
	}
}
