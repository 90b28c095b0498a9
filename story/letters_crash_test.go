//go:build unix

package story_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/router"
	"millrace/testserver"
)

// ordersWithLetters is how many orders are heard of at each point. Half of them fail.
const ordersWithLetters = 60

// halfOfThem is the condition for it.
const halfOfThem = "right(NEW.order_id::text, 1) < '8'"

func isHalf(order string) bool { return order[len(order)-1] < '8' }

// first is one fate for the first n that match, forward for the rest.
func first[T any](n int, what fate, matches func(T) bool) func(T) fate {
	return func(v T) fate {
		if n <= 0 || !matches(v) {
			return forward
		}
		n--
		return what
	}
}

// Transactions are told apart by what they touch: one that holds rows of analytics and writes letters parks, one that
// takes letters away settles, and one that leaves letters alone is the store's.
func parks(s statement) bool {
	return s.text == "COMMIT" && s.touches("INSERT INTO deadletter.letters")
}

func settles(s statement) bool {
	return s.text == "COMMIT" && s.touches("deadletter.letters") && s.touches("analytics.orders") && !s.touches("INSERT INTO deadletter.letters")
}

func stores(s statement) bool {
	return s.text == "COMMIT" && s.touches("analytics.orders") && !s.touches("deadletter.")
}

func produces(k kmsg.Key) bool { return k == kmsg.Produce }

// cuts is how often a point is hit: more often than database/sql tries a statement by itself.
const cuts = 4

// letterPoint is a place between a failure and its end at which connections end.
type letterPoint struct {
	name     string
	parking  func(statement) fate // while messages fail
	copying  func(kmsg.Key) fate  // at the same time, in Kafka
	settling func(statement) fate // while they are redriven
	repeats  bool                 // copies are in Kafka more than once
}

func letterPoints() []letterPoint {
	return []letterPoint{
		{name: "before the commit of letter, lane and mark", parking: first(cuts, cutBefore, parks)},
		{name: "after it, before its answer", parking: first(cuts, cutAfter, parks)},
		{name: "before Kafka has the copies", copying: first(cuts, cutBefore, produces)},
		{name: "Kafka has the copies, its answer is lost", copying: first(cuts, cutAfter, produces)},
		{name: "the copies are published, and not yet deleted here", parking: first(cuts, cutBefore, isOutboxDelete), repeats: true},
		{name: "before a redriven message is committed", settling: first(cuts, cutBefore, stores)},
		{name: "a redriven message is committed, its letter is not settled", settling: first(cuts, cutBefore, settles)},
		{name: "the letter is settled, the answer is lost", settling: first(cuts, cutAfter, settles)},
	}
}

// Analytics hears of the same orders at each point, anew, and has nothing to say: so all that is published are copies of letters.
func TestCrashPointsOfLetters(t *testing.T) {
	t.Parallel()
	w := openLetterWorld(t)
	for _, point := range letterPoints() {
		t.Run(point.name, func(t *testing.T) {
			w := w.anew(t)
			hits := &w.postgres.hits
			if point.copying != nil {
				hits = &w.kafka.hits
			}
			hits.Store(0)
			bug := w.s.refuses("analytics.orders", halfOfThem)
			w.decide(point.parking, point.copying)
			w.hearer.start()
			w.allHeldUp()
			w.decide(point.settling, nil)
			w.copiesAreComplete(point.repeats)
			bug.mend()
			w.tool.dlqDone("redrive", "--filter", "service:analytics", "--yes", "--reason", "mended")
			w.addsUp()
			if hits.Load() == 0 {
				t.Error("the point was never hit")
			}
			t.Logf("hit %d times: %d letters, %d messages behind them", hits.Load(), w.want.letters, w.want.parked)
		})
	}
	t.Run("kill -9 of a router that is at a lane", func(t *testing.T) {
		w := w.anew(t)
		bug := w.s.refuses("analytics.orders", halfOfThem)
		w.hearer.start()
		w.allHeldUp()
		bug.mend()
		release := w.holdOneRow()
		asking, leave := context.WithCancel(t.Context())
		var operator sync.WaitGroup
		operator.Go(func() {
			w.tool.dlq(asking, "redrive", "--filter", "service:analytics", "--yes", "--reason", "mended")
		})
		w.awaitLease()
		w.hearer.crash()
		leave()
		operator.Wait()
		release()
		w.hearer.start()
		w.tool.dlqDone("redrive", "--filter", "service:analytics", "--yes", "--reason", "what was not asked for yet")
		w.addsUp()
	})
}

// letterWorld is a log of orders that have ended, and a router that runs analytics alone, behind proxies.
type letterWorld struct {
	*crowd
	s        *shop
	hearer   *node
	tool     *node // not a router: where the operator's commands find the database
	postgres *postgresProxy
	kafka    *kafkaProxy
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
	all := startNode(t, unhurriedDeadlines.with(settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": kafka.addr()}))
	s := openShop(t, dsn, all)
	r := s.startCrowd(ordersWithLetters, 0)
	r.addsUp(kafka.addr())
	all.stop()
	records, err := readLog(kafka.addr())
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	w := &letterWorld{crowd: r, s: s, postgres: postgres, kafka: kafka, records: records}
	w.tool = &node{tb: t, env: settings{"DATABASE_URL": dsn}}
	w.hearer = prepareNode(t, settings{"DATABASE_URL": through, "KAFKA_BROKERS": kafka.addr(), "KAFKA_SESSION_TIMEOUT": "6s",
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
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.addr()))
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
func (w *letterWorld) decide(postgres func(statement) fate, kafka func(kmsg.Key) fate) {
	if postgres == nil {
		postgres = func(statement) fate { return forward }
	}
	if kafka == nil {
		kafka = func(kmsg.Key) fate { return forward }
	}
	w.postgres.when(postgres)
	w.kafka.when(kafka)
}

// allHeldUp waits until the whole log was heard: half of the orders wait behind one letter each.
func (w *letterWorld) allHeldUp() {
	w.t.Helper()
	w.s.awaitHeldUp("analytics", w.want)
	eventually(w.t, "nothing is on its way to Kafka", func() error { return nothingLeft(w.s.books) })
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.addr()))
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

// copiesAreComplete: each letter is in Kafka, whole, once unless it is said otherwise.
func (w *letterWorld) copiesAreComplete(repeats bool) {
	w.t.Helper()
	records, err := readLog(w.kafka.addr())
	if err != nil {
		w.t.Fatalf("read the topics: %v", err)
	}
	copies := map[string]int{}
	for _, r := range records {
		if r.Topic != analyticsLetters || r.Offset < w.copied[r.Partition] {
			continue
		}
		copies[headerOf(r, "dlq_letter_id")]++
		if headerOf(r, "reason_poisoned") == "" || headerOf(r, "dlq_order_id") != string(r.Key) || !strings.HasPrefix(string(r.Value), "{") {
			w.t.Errorf("the copy at %s/%d/%d is not complete: %v", r.Topic, r.Partition, r.Offset, r.Headers)
		}
	}
	twice := 0
	for _, l := range lettersIn(w.t, w.s) {
		if l.status == "parked" {
			continue
		}
		switch n := copies[l.id]; {
		case n == 0:
			w.t.Errorf("letter %s has no copy", l.id)
		case n > 1:
			twice++
		}
		delete(copies, l.id)
	}
	if len(copies) > 0 {
		w.t.Errorf("%d copies are of no letter", len(copies))
	}
	if repeats != (twice > 0) {
		w.t.Errorf("%d copies are there more than once, expected: %v", twice, repeats)
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
