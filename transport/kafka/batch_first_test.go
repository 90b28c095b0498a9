package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/transport"
)

// The partitions of a topic become known in the middle of sending a round, so that records are dealt out while others are sent and
// refused already. What was to follow those is not sent.
func TestWhatIsDealtOutWhileItIsSentDoesNotOvertake(t *testing.T) {
	const topic = "orders"
	cluster, p := brokerWith(t, topic)
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if p.client.BufferedProduceRecords() > 0 {
			untilNoMoreIsBuffered(p)
		}
		return nil, nil, false
	})
	refusal := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{0}, Err: kerr.InvalidRecord})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	records := make([]transport.Record, maxInFlight)
	for i := range records {
		records[i] = transport.Record{Topic: topic, Key: []byte("order"), Value: fmt.Append(nil, i)}
	}
	failed := -1
	for i, err := range p.PublishBatch(ctx, records) {
		switch {
		case err != nil && failed < 0:
			failed = i
		case err == nil && failed >= 0:
			t.Fatalf("record %d was sent after record %d had failed", i, failed)
		}
	}
	if refusal.Hits() == 0 || failed < 0 {
		t.Fatalf("%d refusals, record %d failed; this test shows nothing", refusal.Hits(), failed)
	}
	if err := p.PublishBatch(ctx, records[:1])[0]; err != nil {
		t.Errorf("the topic takes nothing any more: %v", err)
	}
}

// untilNoMoreIsBuffered returns when a round is full, or is not being filled.
func untilNoMoreIsBuffered(p *Publisher) {
	const still, look = 200 * time.Millisecond, time.Millisecond
	again := time.NewTicker(look)
	defer again.Stop()
	for last, since := int64(0), time.Now(); last < maxInFlight && time.Since(since) < still; <-again.C {
		if n := p.client.BufferedProduceRecords(); n != last {
			last, since = n, time.Now()
		}
	}
}

// Of a topic that is not there, the first record says so, and the others that they were not sent; other topics go on.
func TestWhatFollowsAFirstRecordThatHasNoTopicIsNotSent(t *testing.T) {
	const topic = "orders"
	_, p := brokerWith(t, topic)
	record := func(topic string) transport.Record {
		return transport.Record{Topic: topic, Key: []byte("order"), Value: []byte("1")}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	errs := p.PublishBatch(ctx, []transport.Record{record("nowhere"), record("nowhere"), record(topic)})
	if errs[0] == nil || !errors.Is(errs[1], errUnknownTopic) || errs[2] != nil {
		t.Errorf("the answers are %v", errs)
	}
}
