package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"millrace/transport"
)

func quiet() RelayOptions { return RelayOptions{Logger: slog.New(slog.DiscardHandler)} }

func TestARelayKeepsEachKeyInOrderWhileManyWrite(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	background(t, run(r))
	want := writers(t, db, 20, 40, 32, func(outboxRow) { r.Wake() })
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, want)
}

func TestTwoRelaysAtOnceOnlyDuplicate(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	for range 2 { // without the lease: as if one had been paused while the other took over
		r := NewRelay(db, b, quiet())
		r.table.limit, r.table.maximum = 5, 5
		background(t, r.work)
	}
	want := writers(t, db, 20, 40, 32, func(outboxRow) {})
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, want)
}

func TestARelayKilledBetweenPublishAndDeleteLosesNothing(t *testing.T) {
	db := migrated(t)
	reached := make(chan struct{})
	var once sync.Once
	b := &broker{after: func(ctx context.Context) error {
		once.Do(func() { close(reached) })
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := background(t, run(NewRelay(db, b, quiet())))
	for n := range 10 {
		insertRow(t, db, "a", n+1)
	}
	<-reached
	stop()
	first := b.published("a")
	if first == 0 || unsent(t, db) != 10 {
		t.Fatalf("%d published, %d left: the relay was not stopped between the two", first, unsent(t, db))
	}
	b.after = nil
	background(t, run(NewRelay(db, b, quiet())))
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, map[string]int{"a": 10})
	if b.published("a") <= 10 {
		t.Error("no duplicates: the test did not test what it says")
	}
}

// The batch at hand fails because the relay is told to stop. What it sends before it ends must
// not be later rows of the same keys.
func TestTheLastPassOfARelayOvertakesNothing(t *testing.T) {
	db := migrated(t)
	ctx, cancel := context.WithCancel(t.Context())
	b := &broker{}
	b.setRefuse(func(transport.Record) error {
		cancel()
		b.refuse = nil
		insertRow(t, db, "a", 2)
		return context.Canceled
	})
	insertRow(t, db, "a", 1)
	r := NewRelay(db, b, quiet())
	r.work(ctx)
	if b.published("a") > 0 && b.log["a"][0] != 1 {
		t.Errorf("published %v", b.log["a"])
	}
	background(t, run(NewRelay(db, b, quiet())))
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, map[string]int{"a": 2})
}

func TestAPublisherThatTakesOneMessageAtATime(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	b.setRefuse(func(r transport.Record) error {
		if string(r.Key) == "bad" {
			return errors.New("no")
		}
		return nil
	})
	background(t, run(NewRelay(db, oneByOne{b}, quiet())))
	for n := range 5 {
		insertRow(t, db, "good", n+1)
		insertRow(t, db, "bad", n+1)
	}
	eventually(t, func() bool { return b.published("good") == 5 })
	b.setRefuse(nil)
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, map[string]int{"good": 5, "bad": 5})
}

func TestARefusedRowHoldsUpItsKeyAlone(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	b.setRefuse(func(r transport.Record) error {
		if string(r.Key) == "bad" && string(r.Value) == "2" {
			return kerr.MessageTooLarge
		}
		return nil
	})
	r := NewRelay(db, b, quiet())
	r.table.limit, r.table.maximum = 3, 3
	background(t, run(r))
	for n := range 20 {
		insertRow(t, db, "bad", n+1)
	}
	for n := range 20 {
		insertRow(t, db, "good", n+1)
	}
	r.Wake()
	eventually(t, func() bool { return b.published("good") == 20 })
	eventually(t, func() bool { return unsent(t, db) == 19 })
	if n := b.published("bad"); n != 1 {
		t.Errorf("%d rows of the held key were published, want the 1 before the refused one", n)
	}
	// The held rows are marked, so that they delay no deadline of another order.
	eventually(t, func() bool {
		oldest, err := r.OldestUnsent(t.Context())
		need(t, err)
		return oldest.IsZero()
	})
	b.setRefuse(nil)
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, map[string]int{"good": 20, "bad": 20})
}

func TestAPartitionAndThenABrokerThatRefuseLeaveTheLogInOrder(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	var refusals atomic.Int64
	start := sync.OnceValue(time.Now) // when it is asked first
	b.setRefuse(func(r transport.Record) error {
		since := time.Since(start())
		if since < 400*time.Millisecond && len(r.Key)%2 == 0 || since > 400*time.Millisecond && since < time.Second {
			refusals.Add(1)
			return kerr.NotEnoughReplicas
		}
		return nil
	})
	r := NewRelay(db, b, quiet())
	r.table.limit, r.table.maximum = 7, 7
	background(t, run(r))
	want := writers(t, db, 20, 20, 16, func(outboxRow) { r.Wake() }) // key-9 and key-10 differ in length
	oldest, err := r.OldestUnsent(t.Context())
	need(t, err)
	if time.Since(start()) < time.Second && oldest.IsZero() {
		t.Error("what a broker refuses for a while is lag: deadlines must wait for it")
	}
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, want)
	if refusals.Load() == 0 {
		t.Fatal("nothing was refused")
	}
}

func TestABrokerThatRefusesForASecondLeavesTheLogInOrder(t *testing.T) {
	db := migrated(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
	need(t, err)
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MetadataMinAge(20*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
	need(t, err)
	defer client.Close()
	r := NewRelay(db, kafkaBatches{client}, quiet())
	background(t, run(r))

	until := time.Now().Add(time.Second)
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if time.Now().After(until) {
			return nil, nil, false
		}
		produce := req.(*kmsg.ProduceRequest)
		resp := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	want := writers(t, db, 20, 20, 16, func(outboxRow) { r.Wake() })
	eventually(t, func() bool { return unsent(t, db) == 0 })
	if time.Now().Before(until) {
		t.Fatal("the broker did not refuse anything")
	}
	got := consumeAll(t, cluster.ListenAddrs(), want)
	for key, n := range want {
		if err := firstOccurrences(got[key], n); err != nil {
			t.Errorf("key %s: %v", key, err)
		}
	}
}

// consumeAll reads the log of topic orders until every key has as many distinct records as wanted.
func consumeAll(t *testing.T, seeds []string, want map[string]int) map[string][]int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics("orders"))
	need(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := map[string][]int{}
	missing := len(want)
	for missing > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatal("not everything is in the log")
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			var n int
			need(t, json.Unmarshal(rec.Value, &n))
			key := string(rec.Key)
			if n == want[key] && !slices.Contains(got[key], n) {
				missing--
			}
			got[key] = append(got[key], n)
		})
	}
	return got
}

func step(t *testing.T, r *Relay, s *shift) {
	t.Helper()
	_, err := r.step(t.Context(), s)
	need(t, err)
}

// A write transaction left open anywhere in the server keeps deleted rows from
// being removed. A poll must not step over them.
func TestAnIdleTransactionElsewhereDoesNotSlowThePoll(t *testing.T) {
	db := migrated(t)
	idle, err := db.Begin()
	need(t, err)
	defer idle.Rollback()
	_, err = idle.Exec(`CREATE TABLE elsewhere ()`) // takes a transaction id
	need(t, err)

	b := &broker{}
	r := NewRelay(db, b, quiet())
	s := &shift{}
	before := pollBuffers(t, db, s.next)
	const rows = 20_000
	_, err = db.Exec(`INSERT INTO millrace.outbox (service, topic, key, payload, headers)
SELECT 'order', 'orders', ('k' || n)::bytea, '1', '{}' FROM generate_series(1, $1) n`, rows)
	need(t, err)
	for b.published("") < rows {
		step(t, r, s)
	}
	step(t, r, s)
	after, fromZero := pollBuffers(t, db, s.next), pollBuffers(t, db, 0)
	t.Logf("buffers of a poll: %d before, %d after %d rows, %d from zero", before, after, rows, fromZero)
	if fromZero < 100 {
		t.Fatalf("a look from zero touches %d buffers: nothing was in the way", fromZero)
	}
	const few = 20
	if after > before+few {
		t.Errorf("a poll touches %d buffers, %d before the rows went through", after, before)
	}
}

// pollBuffers counts the pages a poll touches.
func pollBuffers(t *testing.T, db *sql.DB, after int64) int {
	t.Helper()
	query := strings.NewReplacer("$1", fmt.Sprint(after), "$2", fmt.Sprint(relayBatch)).Replace(nextRows)
	var plan string
	need(t, db.QueryRow("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+query).Scan(&plan))
	var parsed []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	need(t, json.Unmarshal([]byte(plan), &parsed))
	return parsed[0].Plan.Hit + parsed[0].Plan.Read
}

func TestALargeBacklogSaysSaturated(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	b.setRefuse(func(transport.Record) error { return errors.New("down") })
	opts := quiet()
	opts.Cap = 5
	r := NewRelay(db, b, opts)
	background(t, run(r))
	if r.Saturated() {
		t.Error("an empty outbox is saturated")
	}
	for n := range 6 {
		insertRow(t, db, "a", n+1)
	}
	eventually(t, r.Saturated)
	oldest, err := r.OldestUnsent(t.Context())
	need(t, err)
	if oldest.IsZero() {
		t.Error("there are unsent rows, but no oldest one")
	}
	b.setRefuse(nil)
	eventually(t, func() bool { return !r.Saturated() && r.Backlog() == Backlog{} })
	b.checkOrder(t, map[string]int{"a": 6})
}

func TestLargeRowsMakeSmallBatches(t *testing.T) {
	db := migrated(t)
	_, err := db.Exec(`INSERT INTO millrace.outbox (service, topic, key, payload, headers)
SELECT 'order', 'dlq', 'k', convert_to(repeat('x', 4 << 20), 'UTF8'), '{}' FROM generate_series(1, 7)`)
	need(t, err)
	r := NewRelay(db, &broker{}, quiet())
	rows, full, err := r.table.page(t.Context(), 0, &gaps{})
	need(t, err)
	if len(rows) > 3 || !full {
		t.Errorf("%d rows of 4 MiB in one batch (full: %v), want at most 3, and more to come", len(rows), full)
	}
}

func TestARelayThatStopsLeavesNothingRunningAndFreesItsLease(t *testing.T) {
	db := migrated(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
	b := &broker{}
	stop := background(t, run(NewRelay(db, b, quiet())))
	insertRow(t, db, "a", 1)
	eventually(t, func() bool { return unsent(t, db) == 0 })
	stop()
	var free bool
	need(t, db.QueryRow(`SELECT until < now() FROM millrace.leases WHERE name = 'relay'`).Scan(&free))
	if !free {
		t.Error("the next relay has to wait for the end of the lease")
	}
}
