package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

// onEachBroker runs a test on the embedded broker, and on a real Kafka where there is one. a and b are topics of its own.
func onEachBroker(t *testing.T, test func(t *testing.T, broker, a, b string)) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) string{"embedded": testserver.Kafka, "Apache": testserver.RealKafka} {
		t.Run(name, func(t *testing.T) {
			broker, a, b := start(t), "a-"+uuid.NewString(), "b-"+uuid.NewString()
			createTopics(t, broker, a, b)
			test(t, broker, a, b)
		})
	}
}

// record is one of the test's; Partition -1 is by key.
func record(topic string, partition int32, key, value string, at time.Time) transport.LogRecord {
	return transport.LogRecord{Record: transport.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}, Partition: partition, Time: at}
}

// createTopics makes topics that keep the producers' time.
func createTopics(t *testing.T, broker string, topics ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).CreateTopics(t.Context(), 3, 1, nil, topics...)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sendAll(t *testing.T, broker string, records ...transport.LogRecord) {
	t.Helper()
	sender, err := kafka.NewSender(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if err := errors.Join(sender.Send(t.Context(), records)...); err != nil {
		t.Fatal(err)
	}
}

func newAdmin(t *testing.T, broker string) *kafka.Admin {
	t.Helper()
	admin, err := kafka.NewAdmin(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	return admin
}

// A scan sees each record once, those of a partition in order, and ends with those that were there when it
// began; what is written meanwhile is not waited for.
func TestAScanEndsWhereTheLogEndedWhenItBegan(t *testing.T) {
	onEachBroker(t, testAScanEndsWhereTheLogEndedWhenItBegan)
}

func testAScanEndsWhereTheLogEndedWhenItBegan(t *testing.T, broker, a, b string) {
	const each = 300
	var records []transport.LogRecord
	for n := range each {
		records = append(records, record(a, int32(n%3), "k", fmt.Sprint(n), time.Time{}), record(b, -1, fmt.Sprint("key-", n%7), fmt.Sprint(n), time.Time{}))
	}
	sendAll(t, broker, records...)
	admin := newAdmin(t, broker)
	seen, last := 0, map[string]int64{}
	err := admin.Scan(t.Context(), []string{a, b}, time.Time{}, func(r transport.LogRecord) error {
		if seen++; seen%100 == 1 {
			sendAll(t, broker, record(a, 0, "k", "later", time.Time{}))
		}
		if string(r.Value) == "later" {
			t.Error("a record is seen that came later")
		}
		place := fmt.Sprint(r.Topic, r.Partition)
		if before, ok := last[place]; ok && r.Offset != before+1 || !ok && r.Offset != 0 {
			t.Errorf("%s comes behind %d", r.Place(), before)
		}
		last[place] = r.Offset
		return nil
	})
	if err != nil || seen != 2*each {
		t.Errorf("%d records, %v; want %d", seen, err, 2*each)
	}
}

func TestAScanBeginsAtATime(t *testing.T) { onEachBroker(t, testAScanBeginsAtATime) }

func testAScanBeginsAtATime(t *testing.T, broker, a, _ string) {
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var records []transport.LogRecord
	for n := range 30 {
		records = append(records, record(a, int32(n%3), "k", fmt.Sprint(n), noon.Add(time.Duration(n)*time.Minute)))
	}
	sendAll(t, broker, records...)
	admin := newAdmin(t, broker)
	for since, want := range map[time.Duration]int{0: 30, 10 * time.Minute: 20, time.Hour: 0} {
		seen := 0
		if err := admin.Scan(t.Context(), []string{a}, noon.Add(since), func(r transport.LogRecord) error {
			if seen++; r.Time.Before(noon.Add(since)) {
				t.Errorf("since %s: a record of %s", since, r.Time)
			}
			return nil
		}); err != nil || seen != want {
			t.Errorf("since %s: %d records, %v; want %d", since, seen, err, want)
		}
	}
}

func TestAScanStopsWithItsReader(t *testing.T) { onEachBroker(t, testAScanStopsWithItsReader) }

func testAScanStopsWithItsReader(t *testing.T, broker, a, _ string) {
	sendAll(t, broker, record(a, 0, "k", "1", time.Time{}), record(a, 0, "k", "2", time.Time{}))
	admin, boom, seen := newAdmin(t, broker), errors.New("boom"), 0
	err := admin.Scan(t.Context(), []string{a}, time.Time{}, func(transport.LogRecord) error { seen++; return boom })
	if !errors.Is(err, boom) || seen != 1 {
		t.Errorf("%v after %d records", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = admin.Scan(ctx, []string{a}, time.Time{}, func(transport.LogRecord) error { cancel(); return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := admin.Scan(t.Context(), []string{a, "nowhere"}, time.Time{}, nil); err == nil || !strings.Contains(err.Error(), "topic nowhere does not exist") {
		t.Errorf("a topic that is not there: %v", err)
	}
	if n, err := admin.Partitions(t.Context(), a); err != nil || n != 3 {
		t.Errorf("%d partitions, %v", n, err)
	}
	if n, err := admin.Partitions(t.Context(), "nowhere"); err == nil {
		t.Errorf("a topic that is not there has %d partitions", n)
	}
}

// What was aborted is not seen, and the marker of a transaction, which may be the last of a partition, is not waited for.
func TestAScanLeavesOutWhatWasAborted(t *testing.T) {
	onEachBroker(t, testAScanLeavesOutWhatWasAborted)
}

func testAScanLeavesOutWhatWasAborted(t *testing.T, broker, a, _ string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.TransactionalID(a), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, c := range []struct {
		value string
		end   kgo.TransactionEndTry
	}{{"kept", kgo.TryCommit}, {"aborted", kgo.TryAbort}} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: a, Partition: 1, Value: []byte(c.value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), c.end); err != nil {
			t.Fatal(err)
		}
	}
	admin := newAdmin(t, broker)
	var seen []string
	err = admin.Scan(t.Context(), []string{a}, time.Time{}, func(r transport.LogRecord) error { seen = append(seen, string(r.Value)); return nil })
	if err != nil || !slices.Equal(seen, []string{"kept"}) {
		t.Errorf("seen %q, %v", seen, err)
	}
	for offset, want := range map[int64]bool{0: true, 1: false, 2: false, 3: false, 99: false} {
		r, err := admin.ReadAt(t.Context(), a, 1, offset)
		if want != (err == nil) || want && string(r.Value) != "kept" || !want && !errors.Is(err, transport.ErrNoRecord) {
			t.Errorf("offset %d: %q, %v", offset, r.Value, err)
		}
	}
	if _, err := admin.ReadAt(t.Context(), a, 7, 0); !errors.Is(err, transport.ErrNoRecord) {
		t.Errorf("a partition that is not there: %v", err)
	}
}
