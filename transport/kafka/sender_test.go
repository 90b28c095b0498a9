package kafka_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/transport"
	"millrace/transport/kafka"
)

// A sender writes to the partition and with the time it is told; without a partition, where Publisher would.
func TestASenderKeepsPartitionAndTime(t *testing.T) {
	onEachBroker(t, testASenderKeepsPartitionAndTime)
}

func testASenderKeepsPartitionAndTime(t *testing.T, broker, a, _ string) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	publisher, err := kafka.NewPublisher(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	var sent []transport.LogRecord
	for n := range 60 {
		key := fmt.Sprint("key-", n%20)
		sent = append(sent, record(a, int32(n%3), key, "placed", at), record(a, -1, key, "by key", at), record(a, 99, key, "by key", at))
		if err := errors.Join(publisher.PublishBatch(t.Context(), []transport.Record{{Topic: a, Key: []byte(key), Value: []byte("published")}})...); err != nil {
			t.Fatal(err)
		}
	}
	sent[0].Headers = []transport.Header{{Key: "h", Value: []byte{0xff}}, {Key: "h", Value: nil}, {Key: "", Value: []byte("x")}}
	sendAll(t, broker, sent...)
	byKey := map[string]int32{}
	admin, n := newAdmin(t, broker), 0
	var others []transport.LogRecord
	if err := admin.Scan(t.Context(), []string{a}, time.Time{}, func(r transport.LogRecord) error {
		switch string(r.Value) {
		case "published":
			byKey[string(r.Key)] = r.Partition
			return nil
		case "placed":
			if len(r.Headers) == 3 && r.Headers[0].Key == "h" && r.Headers[0].Value[0] == 0xff && r.Headers[1].Key == "h" && string(r.Headers[2].Value) == "x" {
				n++
			}
		}
		if !r.Time.Equal(at) {
			t.Errorf("%s has the time %s", r.Place(), r.Time)
		}
		others = append(others, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, r := range others {
		if string(r.Value) == "by key" && r.Partition != byKey[string(r.Key)] {
			t.Errorf("%s: its key belongs to partition %d", r.Place(), byKey[string(r.Key)])
		}
	}
	if len(others) != len(sent) || n != 1 {
		t.Errorf("%d records of %d, %d with the headers", len(others), len(sent), n)
	}
}

func TestNothingOvertakesWhatIsTooLarge(t *testing.T) {
	onEachBroker(t, testNothingOvertakesWhatIsTooLarge)
}

func testNothingOvertakesWhatIsTooLarge(t *testing.T, broker, a, _ string) {
	sender, err := kafka.NewSender(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	errs := sender.Send(t.Context(), []transport.LogRecord{
		record(a, -1, "k", "1", time.Time{}), record(a, -1, "k", strings.Repeat("x", 2_000_000), time.Time{}), record(a, -1, "k", "3", time.Time{})})
	if errs[0] != nil || !errors.Is(errs[1], kafka.ErrTooLarge) || !errors.Is(errs[2], kafka.ErrOvertakes) {
		t.Errorf("%v", errs)
	}
}
