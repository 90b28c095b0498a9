//go:build unix

package story_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/chaos/wire"
	"millrace/router"
	"millrace/testserver"
)

// letterWorld is a log of orders that have ended, and a router that runs analytics alone, behind proxies.
type letterWorld struct {
	*crowd
	s        *shop
	hearer   *node
	tool     *node // not a router: where the operator's commands find the database
	postgres *wire.Postgres
	kafka    *wire.Kafka
	records  []*kgo.Record   // the events
	want     heldUp          // when half of the orders have failed
	copied   map[int32]int64 // where dlq.analytics-service ended before, by partition
}

const analyticsGroup, analyticsLetters = "analytics-service", "dlq.analytics-service"

func openLetterWorld(t *testing.T) *letterWorld {
	t.Helper()
	crashesAtOnce <- struct{}{} // as long as a whole system runs; what comes then mostly waits for leases
	defer func() { <-crashesAtOnce }()
	dsn := testserver.DurablePostgresDSN(t)
	postgres, through := startPostgresProxy(t, dsn)
	kafka := startKafkaProxy(t)
	all := startNode(t, unhurriedDeadlines.with(settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": kafka.Addr().String()}))
	s := openShop(t, dsn, all)
	r := s.startCrowd(ordersWithLetters, 0)
	r.addsUp(kafka.Addr().String())
	all.stop()
	records, err := readLog(kafka.Addr().String())
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	w := &letterWorld{crowd: r, s: s, postgres: postgres, kafka: kafka, records: records}
	w.tool = &node{tb: t, env: settings{"DATABASE_URL": dsn}}
	w.hearer = prepareNode(t, settings{"DATABASE_URL": through, "KAFKA_BROKERS": kafka.Addr().String(), "KAFKA_SESSION_TIMEOUT": "6s",
		"SERVICES": "analytics", "LOG_FORMAT": faultsAreLogged, "FLOOD_LETTERS": "0"})
	t.Cleanup(w.hearer.stopWithLetters)
	w.hearer.showRaces()
	s.nodes = []*node{w.hearer}
	heard, err := heardOf(w.service(), records)
	if err != nil {
		t.Fatal(err)
	}
	for order, topics := range heard {
		if isHalf(order) {
			w.want.letters++
			w.want.parked += len(slices.Concat(slices.Collect(maps.Values(topics))...)) - 1
		}
	}
	w.want.lanes, w.want.marked = w.want.letters, w.want.letters
	return w
}

func (w *letterWorld) service() router.ServiceFlow {
	return router.Flow(router.Services{}).Only("analytics")[0]
}

// anew is the world before analytics has heard of anything, in another test.
func (w *letterWorld) anew(t *testing.T) *letterWorld {
	t.Helper()
	w.hearer.stopWithLetters()
	w.decide(nil, nil)
	again := *w
	again.s = w.s.in(t)
	again.crowd = &crowd{shop: again.s, mayFail: true, orders: w.orders}
	for _, n := range []*node{w.hearer, w.tool} {
		n.tb = t
		t.Cleanup(func() { n.tb = w.t })
	}
	if _, err := w.s.books.Exec(`TRUNCATE analytics.orders, analytics.deltas, analytics.totals, analytics.minutes,
deadletter.letters, deadletter.lanes, deadletter.steps CASCADE`); err != nil {
		t.Fatalf("forget what analytics knows: %v", err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	eventually(t, "the group is forgotten", func() error {
		answer, err := admin.DeleteGroup(t.Context(), analyticsGroup)
		if err == nil && !errors.Is(answer.Err, kerr.GroupIDNotFound) {
			err = answer.Err
		}
		return err
	})
	ends, err := admin.ListEndOffsets(t.Context(), analyticsLetters)
	if err != nil {
		t.Fatalf("read the length of %s: %v", analyticsLetters, err)
	}
	again.copied = map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { again.copied[o.Partition] = o.Offset })
	return &again
}

// decide sets what the proxies do from now on; nil: nothing.
func (w *letterWorld) decide(postgres func(wire.Statement) wire.Fate, kafka func(kmsg.Key) wire.Fate) {
	if postgres == nil {
		postgres = func(wire.Statement) wire.Fate { return wire.Forward }
	}
	if kafka == nil {
		kafka = func(kmsg.Key) wire.Fate { return wire.Forward }
	}
	w.postgres.When(postgres)
	w.kafka.When(kafka)
}

// allHeldUp waits until the whole log was heard: half of the orders wait behind one letter each.
func (w *letterWorld) allHeldUp() {
	w.t.Helper()
	w.s.awaitHeldUp("analytics", w.want)
	eventually(w.t, "nothing is on its way to Kafka", func() error { return nothingLeft(w.s.books) })
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Addr().String()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	eventually(w.t, "analytics has heard everything", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		return lagOf(ctx, kadm.NewClient(client), w.service())
	})
}

// copiesAreComplete: each letter is in Kafka, whole; where it is said so, some are there again, which the relay may always do.
func (w *letterWorld) copiesAreComplete(repeats bool) {
	w.t.Helper()
	records, err := readLog(w.kafka.Addr().String())
	if err != nil {
		w.t.Fatalf("read the topics: %v", err)
	}
	copies, twice := map[string]*kgo.Record{}, 0
	for _, r := range records {
		if r.Topic != analyticsLetters || r.Offset < w.copied[r.Partition] {
			continue
		}
		id := headerOf(r, "dlq_letter_id")
		if c := copies[id]; c != nil {
			twice++
			if !sameRecord(c, r) {
				w.t.Errorf("letter %s has two copies that differ, at %d/%d and %d/%d", id, c.Partition, c.Offset, r.Partition, r.Offset)
			}
		}
		copies[id] = r
		if headerOf(r, "reason_poisoned") == "" || headerOf(r, "dlq_order_id") != string(r.Key) || !strings.HasPrefix(string(r.Value), "{") {
			w.t.Errorf("the copy at %s/%d/%d is not complete: %v", r.Topic, r.Partition, r.Offset, r.Headers)
		}
	}
	for _, l := range lettersIn(w.t, w.s) {
		if l.status == "parked" {
			continue
		}
		if copies[l.id] == nil {
			w.t.Errorf("letter %s has no copy", l.id)
		}
		delete(copies, l.id)
	}
	if len(copies) > 0 {
		w.t.Errorf("%d copies are of no letter", len(copies))
	}
	if repeats && twice == 0 {
		w.t.Error("no copy is there more than once: the point was not hit where it hurts")
	}
}

// addsUp waits until nothing is held up any more, and looks at what analytics has made of the log.
func (w *letterWorld) addsUp() {
	w.t.Helper()
	w.s.awaitHeldUp("analytics", heldUp{})
	eventually(w.t, "analytics has folded its sums", func() error {
		var n int
		err := w.s.books.QueryRow(`SELECT count(*) FROM analytics.deltas`).Scan(&n)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d rows are left", n)
		}
		return err
	})
	w.s.processedInOrder(w.records, "analytics")
	w.recount(w.records)
	var resolved, letters int
	if err := w.s.books.QueryRow(`SELECT count(*) FILTER (WHERE status = 'resolved'), count(*) FROM deadletter.letters`).Scan(&resolved, &letters); err != nil ||
		resolved != w.want.letters || letters != resolved {
		w.t.Errorf("%d of %d letters are resolved, want %d: %v", resolved, letters, w.want.letters, err)
	}
}

// holdOneRow locks the row of the order whose letter is redriven first, which comes to nothing until the returned function
// is called.
func (w *letterWorld) holdOneRow() (release func()) {
	w.t.Helper()
	tx, err := w.s.books.Begin()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.Exec(`SELECT FROM analytics.orders WHERE order_id = (
  SELECT order_id FROM deadletter.letters WHERE status = 'new' ORDER BY position LIMIT 1) FOR UPDATE`); err != nil {
		w.t.Fatalf("hold a row: %v", err)
	}
	return func() { _ = tx.Rollback() }
}

// awaitLease waits until a router is at the one letter that was asked for.
func (w *letterWorld) awaitLease() {
	w.t.Helper()
	eventually(w.t, "a router is at the lane", func() error {
		var held int
		err := w.s.books.QueryRow(`SELECT count(*) FROM deadletter.lanes l JOIN deadletter.letters d ON d.service = l.service AND d.lane = l.lane
WHERE l.lease_until > now() AND d.status = 'redriving'`).Scan(&held)
		if err == nil && held == 0 {
			err = fmt.Errorf("no lane has a lease")
		}
		return err
	})
}
