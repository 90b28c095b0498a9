package transporttest

import (
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"millrace/transport"
)

// A topic is made once, and one with another number of partitions is refused.
func ensureTopics(t *testing.T, f Fixture) {
	w := open(t, f)
	w.ensure(w.topic, "second-"+w.topic)
	err := w.EnsureTopics(t.Context(), Partitions+1, w.topic)
	if err == nil {
		t.Fatalf("a topic with %d partitions passed for one with %d", Partitions, Partitions+1)
	}
	t.Log(err)
}

// A message carries its id, payload and headers, bytes that are no text included,
// and its context says where it came from.
func delivery(t *testing.T, f Fixture) {
	w := open(t, f)
	sent := message.NewMessage(uuid.NewString(), []byte("payload \x00\xff"))
	sent.Metadata = message.Metadata{"name": "value", "empty": "", "binary": "\x00\xfe\xff", transport.SubjectHeader: "order-1"}
	before := time.Now().Add(-time.Minute)
	if err := w.publisher.Publish(w.topic, sent); err != nil {
		t.Fatal(err)
	}
	got := make(chan *message.Message, 1)
	w.member(func(msg *message.Message) bool { got <- msg; return true })
	msg := within(t, "a message", got)
	if msg.UUID != sent.UUID || string(msg.Payload) != string(sent.Payload) {
		t.Errorf("got %s %q, want %s %q", msg.UUID, msg.Payload, sent.UUID, sent.Payload)
	}
	if diff := cmp.Diff(sent.Metadata, msg.Metadata); diff != "" {
		t.Errorf("metadata (-sent +got):\n%s", diff)
	}
	d, ok := transport.DeliveryFrom(msg.Context())
	if !ok {
		t.Fatal("the message's context carries no delivery")
	}
	if d.Time.Before(before) || d.Time.After(time.Now().Add(time.Minute)) {
		t.Errorf("time %s", d.Time)
	}
	want := transport.Delivery{Topic: w.topic, Partition: d.Partition, Key: []byte("order-1"), Group: w.group, Attempt: 1, Time: d.Time}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	if d.Partition < 0 || d.Partition >= Partitions {
		t.Errorf("partition %d", d.Partition)
	}
}

// A key lies in the partition where Kafka's own Java client puts it: murmur2 of
// the key, without its sign, modulo the partitions. The hashes are those of Kafka's tests.
func partitioning(t *testing.T, f Fixture) {
	hashes := map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	}
	w := open(t, f)
	for key := range hashes {
		if err := w.publisher.Publish(w.topic, keyed(key, "0")); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan transport.Delivery, len(hashes))
	w.member(func(msg *message.Message) bool {
		d, _ := transport.DeliveryFrom(msg.Context())
		got <- d
		return true
	})
	for range hashes {
		d := within(t, "the next key", got)
		if want := (hashes[string(d.Key)] & 0x7fffffff) % Partitions; d.Partition != want {
			t.Errorf("key %s lies in partition %d, want %d", d.Key, d.Partition, want)
		}
	}
}

// A record of a client in another language is a message as good as any: ce_id is
// its id, and without one it gets an id, the same in each group.
func foreignRecord(t *testing.T, f Fixture) {
	w := open(t, f)
	records := []transport.Record{
		{Topic: w.topic, Key: []byte("a"), Value: []byte("1"), Headers: []transport.Header{
			{Key: "ce_id", Value: []byte("first")}, {Key: "ce_id", Value: []byte("the-id")},
			{Key: "_watermill_message_uuid", Value: []byte("other")}, {Key: "ce_type", Value: []byte("T")},
		}},
		{Topic: w.topic, Key: []byte("b"), Value: []byte("2")},
	}
	for _, err := range f.Foreign.PublishBatch(t.Context(), records) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ids := func(group string) map[string]string {
		in := *w
		in.group = group
		var mu sync.Mutex
		got := map[string]string{}
		in.member(func(msg *message.Message) bool {
			mu.Lock()
			defer mu.Unlock()
			got[string(msg.Payload)] = msg.UUID
			if string(msg.Payload) == "1" {
				if diff := cmp.Diff(message.Metadata{"ce_id": "the-id", "ce_type": "T"}, msg.Metadata); diff != "" {
					t.Errorf("metadata (-want +got):\n%s", diff)
				}
			}
			return true
		})
		eventually(t, "both records", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 2 })
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(got)
	}
	one, two := ids(w.group), ids(w.group+"-other")
	if one["1"] != "the-id" {
		t.Errorf("id %q, want the last ce_id", one["1"])
	}
	if _, err := uuid.Parse(one["2"]); err != nil {
		t.Errorf("a record without an id got %q: %v", one["2"], err)
	}
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("the groups disagree on ids:\n%s", diff)
	}
}

// A Nack brings the message again, unchanged, and says how often it came.
func nackComesAgain(t *testing.T, f Fixture) {
	w := open(t, f)
	var mu sync.Mutex
	var attempts []int
	done := make(chan struct{})
	w.member(func(msg *message.Message) bool {
		d, _ := transport.DeliveryFrom(msg.Context())
		mu.Lock()
		defer mu.Unlock()
		if msg.Metadata.Get("changed") != "" || string(msg.Payload) != "0" {
			t.Errorf("the second attempt sees the first one's changes: %v", msg.Metadata)
		}
		msg.Metadata.Set("changed", "yes")
		attempts = append(attempts, d.Attempt)
		if len(attempts) < 4 {
			return false
		}
		close(done)
		return true
	})
	w.publish(1, 1)
	within(t, "the fourth attempt", done)
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]int{1, 2, 3, 4}, attempts); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// Messages of one key arrive in order and one at a time, also where some are refused.
func keyedOrder(t *testing.T, f Fixture) {
	const keys, n = 100, 30
	refused := 0.1
	if !f.PerKey {
		refused = 0.005 // each costs its partition the whole back-off
	}
	w := open(t, f)
	l := newLedger()
	w.member(func(msg *message.Message) bool {
		key := l.begin(msg)
		return l.end(msg, key, rand.Float64() >= refused)
	})
	w.publish(keys, n)
	eventually(t, "all messages", func() bool { return l.finished() == keys*n })
	l.checkOrder(t, keys, n)
	l.checkAlone(t)
}

// A key that hangs holds up itself alone.
func slowKey(t *testing.T, f Fixture) {
	if !f.PerKey {
		return
	}
	const keys, n = 50, 20
	w := open(t, f)
	l := newLedger()
	release := make(chan struct{})
	w.member(func(msg *message.Message) bool {
		k := l.begin(msg)
		if k == key(0) {
			<-release
		}
		return l.end(msg, k, true)
	})
	w.publish(keys, n)
	eventually(t, "all messages of the other keys", func() bool { return l.finished() == (keys-1)*n })
	close(release)
	eventually(t, "the slow key's messages", func() bool { return l.finished() == keys*n })
	l.checkOrder(t, keys, n)
	l.checkAlone(t)
}
