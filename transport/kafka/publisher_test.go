package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

const patience = 20 * time.Second

// setUp makes a topic and a publisher on a broker.
func setUp(t *testing.T, broker, topic string) *kafka.Publisher {
	t.Helper()
	admin, err := kafka.NewAdmin(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := admin.EnsureTopics(t.Context(), 3, topic); err != nil {
		t.Fatal(err)
	}
	publisher, err := kafka.NewPublisher(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = publisher.Close() })
	return publisher
}

// log reads n records of a topic as they lie there, per key.
func log(t *testing.T, broker, topic string, n int) map[string][]string {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	byKey, got := map[string][]string{}, 0
	for got < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", got, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			byKey[string(r.Key)] = append(byKey[string(r.Key)], string(r.Value))
			got++
		})
	}
	return byKey
}

// A broker short of replicas for a second leaves the log in order, and every
// record in it once.
func TestARefusingBrokerLeavesTheLogInOrder(t *testing.T) {
	const keys, n = 20, 50
	for _, refusal := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition} {
		t.Run(refusal.Message, func(t *testing.T) {
			t.Parallel()
			cluster := testserver.KafkaCluster(t)
			broker := cluster.ListenAddrs()[0]
			publisher := setUp(t, broker, "events")
			fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{1}, Err: refusal, Count: -1})
			published, done := context.WithCancel(t.Context())
			var lifts sync.WaitGroup
			lifts.Go(func() { // a second after it was met first
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				var end time.Time
				for published.Err() == nil && (end.IsZero() || time.Now().Before(end)) {
					if <-tick.C; end.IsZero() && fault.Hits() > 0 {
						end = time.Now().Add(time.Second)
					}
				}
				fault.Remove()
			})
			var calls sync.WaitGroup
			for part := range 5 { // several calls at once, each with keys of its own
				calls.Go(func() {
					var records []transport.Record
					for i := range n {
						for k := part; k < keys; k += 5 {
							records = append(records, transport.Record{Topic: "events", Key: []byte(fmt.Sprint("key-", k)), Value: []byte(strconv.Itoa(i))})
						}
					}
					for _, err := range publisher.PublishBatch(t.Context(), records) {
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			calls.Wait()
			done()
			lifts.Wait()
			if fault.Hits() == 0 {
				t.Fatal("the broker refused nothing; this test shows nothing")
			}
			for key, values := range log(t, broker, "events", keys*n) {
				var want []string
				for i := range n {
					want = append(want, strconv.Itoa(i))
				}
				if !slices.Equal(values, want) {
					t.Errorf("%s lies in the log as %v", key, values)
				}
			}
		})
	}
}

// Where a broker refuses for good, nothing later of that key is in the log.
func TestNothingOvertakesARefusedRecord(t *testing.T) {
	t.Parallel()
	const n = 30_000 // several rounds of the buffer
	cluster := testserver.KafkaCluster(t)
	broker := cluster.ListenAddrs()[0]
	publisher := setUp(t, broker, "events")
	refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{0}, Err: kerr.InvalidRecord})
	var records []transport.Record
	for i := range n {
		records = append(records, transport.Record{Topic: "events", Key: []byte(fmt.Sprint("key-", i%10)), Value: []byte(strconv.Itoa(i))})
	}
	errs := publisher.PublishBatch(t.Context(), records)
	failed, sent := map[string]bool{}, 0
	for i, err := range errs {
		key := string(records[i].Key)
		if err == nil {
			sent++
		}
		if err == nil && failed[key] {
			t.Fatalf("record %d of %s was sent after an earlier one had failed", i, key)
		}
		failed[key] = failed[key] || err != nil
	}
	if refused.Hits() == 0 || len(failed) == 0 || sent == 0 {
		t.Fatalf("%d refusals, %d sent; this test shows nothing", refused.Hits(), sent)
	}
	log(t, broker, "events", sent)
}

// A record that is too large is refused before it is sent, and holds up its key alone.
func TestTooLargeARecordIsRefused(t *testing.T) {
	t.Parallel()
	broker := testserver.Kafka(t)
	publisher := setUp(t, broker, "events")
	errs := publisher.PublishBatch(t.Context(), []transport.Record{
		{Topic: "events", Key: []byte("a"), Value: []byte("1")},
		{Topic: "events", Key: []byte("a"), Value: make([]byte, kafka.MaxRecordBytes+1)},
		{Topic: "events", Key: []byte("a"), Value: []byte("3")},
		{Topic: "events", Key: []byte("b"), Value: []byte("4")},
		{Topic: "events", Key: []byte("c"), Value: make([]byte, kafka.MaxRecordBytes-1)},
	})
	for i, want := range []error{nil, kafka.ErrTooLarge, kafka.ErrOvertakes, nil, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("record %d: %v, want %v", i, errs[i], want)
		}
	}
}

// Dead letters may be of 4 MiB, on the embedded broker and on a real one.
func TestADeadLetterMayBeLarge(t *testing.T) {
	for name, server := range map[string]func(testing.TB) string{"Embedded": testserver.Kafka, "Real": testserver.RealKafka} {
		t.Run(name, func(t *testing.T) {
			broker := server(t)
			topic := kafka.DeadLetterPrefix + uuid.NewString()
			publisher := setUp(t, broker, topic)
			record := transport.Record{Topic: topic, Key: []byte("a"), Value: make([]byte, kafka.MaxDeadLetterBytes-1)}
			if err := publisher.PublishBatch(t.Context(), []transport.Record{record})[0]; err != nil {
				t.Fatal(err)
			}
			if got := log(t, broker, topic, 1)["a"][0]; len(got) != len(record.Value) {
				t.Errorf("%d bytes came back, %d were sent", len(got), len(record.Value))
			}
		})
	}
}

// Many callers at once are one caller's work: each sees its own messages in order.
func TestCallersShareRoundTrips(t *testing.T) {
	t.Parallel()
	const callers, n = 50, 40
	cluster := testserver.KafkaCluster(t)
	broker := cluster.ListenAddrs()[0]
	publisher := setUp(t, broker, "events")
	produced := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	var calls sync.WaitGroup
	for c := range callers {
		calls.Go(func() {
			for i := range n {
				msg := message.NewMessage(uuid.NewString(), []byte(strconv.Itoa(i)))
				msg.Metadata.Set(transport.SubjectHeader, fmt.Sprint("caller-", c))
				if err := publisher.Publish("events", msg); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	for key, values := range log(t, broker, "events", callers*n) {
		if !slices.IsSortedFunc(values, func(a, b string) int { return len(a) - len(b) }) {
			t.Errorf("%s: %v", key, values)
		}
	}
	if hits := produced.Hits(); hits > callers*n/2 {
		t.Errorf("%d requests for %d messages: nobody shares", hits, callers*n)
	}
}

// Without a broker a call ends with its context, and Close ends too.
func TestWithoutABrokerPublishEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), brokersOwn)
	publisher, err := kafka.NewPublisher(quick(nobody(t)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	errs := publisher.PublishBatch(ctx, []transport.Record{{Topic: "events", Key: []byte("a"), Value: []byte("1")}})
	if !errors.Is(errs[0], context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", errs[0])
	}
	start := time.Now()
	if err := publisher.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > patience {
		t.Errorf("Close took %s", took)
	}
	if err := publisher.Publish("events", message.NewMessage("id", nil)); err == nil {
		t.Error("a closed publisher publishes")
	}
}

// nobody is an address where nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
