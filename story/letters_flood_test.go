//go:build unix

package story_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/event"
	"millrace/testserver"
)

const (
	// floodLetters is the flood limit of the test, of each replica.
	floodLetters = 15
	// floodOrders are many more.
	floodOrders = 150
	// stillFor is how long offsets must not have moved.
	stillFor = 3 * time.Second
)

// Every parcel meets the same bug. After a few letters the service is paused on all replicas and says so; nothing is
// parked any more, nothing is lost, and no deadline takes the pause for a customer's fault. Once it is mended and
// resumed, everything ends as if nothing had been.
func TestAFloodOfLettersPausesTheService(t *testing.T) {
	t.Parallel()
	dsn, brokers := testserver.PostgresDSN(t), testserver.Kafka(t)
	env := unhurriedDeadlines.with(settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "LOG_FORMAT": faultsAreLogged, "FLOOD_LETTERS": strconv.Itoa(floodLetters)})
	nodes := []*node{startNode(t, env), startNode(t, env)}
	for _, n := range nodes {
		t.Cleanup(n.stopWithLetters)
		n.showRaces()
	}
	s := openShop(t, dsn, nodes...)
	shelf := s.article(inPlenty)
	orders := func(n int) (list []newOrder) {
		for range n {
			list = append(list, s.order(buying(shelf, wanted)))
		}
		return list
	}
	never := func(int) bool { return false }
	bug := s.refuses("shipping.shipments", "true")
	r := s.startCrowdOf(orders(floodOrders), 0, never)
	r.mayFail = true
	r.allTaken()
	for i, n := range nodes {
		n.isPaused(fmt.Sprintf("replica %d", i+1))
	}
	alarmed := 0
	for _, n := range nodes {
		alarmed += strings.Count(n.logged("the service is paused"), "ERROR")
	}
	if alarmed != 1 {
		t.Errorf("the log says %d times that the service is paused, want once in all", alarmed)
	}
	r.allPaidFor()
	s.offsetsStandStill(brokers, "shipping-service", func() {
		more := s.startCrowdOf(orders(customersAtOnce), 0, never)
		more.allTaken()
		for id, o := range more.orders {
			r.orders[id] = o
		}
	})
	held, err := s.heldUpAt("shipping")
	if err != nil || held.letters == 0 || held.letters > len(nodes)*floodLetters {
		t.Errorf("at the pause there are %+v, want %d letters at most: %v", held, len(nodes)*floodLetters, err)
	}

	bug.mend()
	nodes[0].dlqDone("resume", "shipping", "--reason", "mended")
	for _, n := range nodes {
		eventually(t, "the service goes on", func() error {
			paused, err := n.metric("millrace_service_paused", "shipping")
			if err == nil && paused != 0 {
				err = fmt.Errorf("it is paused")
			}
			return err
		})
	}
	eventually(t, "all but those with letters end", func() error {
		left, err := r.underWay()
		if err == nil && left != held.letters {
			err = fmt.Errorf("%d are under way, with %d letters", left, held.letters)
		}
		return err
	})
	nodes[0].dlqDone("redrive", "--filter", "service:shipping", "--yes", "--reason", "mended")
	r.addsUp(brokers)
	records, err := readLog(brokers)
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	messages := s.processedInOrder(records)
	t.Logf("%d letters of %d orders, then the pause; afterwards %d messages were processed, each once, in the order of their topics", held.letters, len(r.orders), messages)
	if stdout, _, code := nodes[0].dlq(t.Context(), "resume", "shipping", "--reason", "once more"); code != 1 {
		t.Errorf("to resume a service that is not paused ends with %d: %s", code, stdout)
	}
}

// isPaused waits until a process takes no messages for shipping, and says so where machines and people look.
func (n *node) isPaused(name string) {
	n.tb.Helper()
	eventually(n.tb, name+" is paused", func() error {
		paused, err := n.metric("millrace_service_paused", "shipping")
		if err == nil && paused != 1 {
			err = fmt.Errorf("the metric is %v", paused)
		}
		return err
	})
	eventually(n.tb, "/readyz of "+name+" says so", func() error {
		answer, err := n.get("/readyz?verbose")
		if err == nil && (!strings.HasPrefix(answer, "200 ") || !strings.Contains(answer, "letters of shipping: PAUSED") || !strings.Contains(answer, "router dlq resume shipping")) {
			err = fmt.Errorf("it answers %s", answer)
		}
		return err
	})
}

// allPaidFor waits until every order of the crowd is as far as it comes without shipping.
func (r *crowd) allPaidFor() {
	r.t.Helper()
	eventually(r.t, "all orders are paid", func() error {
		var paid int
		err := r.books.QueryRow(`SELECT count(*) FROM orders.orders WHERE status = $1`, event.OrderPaid).Scan(&paid)
		if err == nil && paid != len(r.orders) {
			err = fmt.Errorf("%d of %d are", paid, len(r.orders))
		}
		return err
	})
}

// offsetsStandStill: the group commits nothing while more messages come.
func (s *shop) offsetsStandStill(brokers, group string, meanwhile func()) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	committed := func() (all []string) {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		offsets, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			s.t.Fatalf("read the offsets of %s: %v", group, err)
		}
		for _, o := range offsets.Sorted() {
			all = append(all, fmt.Sprintf("%s/%d %d", o.Topic, o.Partition, o.At))
		}
		return all
	}
	var before []string
	since := time.Now()
	eventually(s.t, "what was under way is over", func() error {
		now := committed()
		if !slices.Equal(now, before) {
			before, since = now, time.Now()
		}
		if time.Since(since) < stillFor {
			return fmt.Errorf("the offsets have stood still for %v", time.Since(since))
		}
		return nil
	})
	meanwhile()
	<-time.After(stillFor)
	if after := committed(); !slices.Equal(after, before) {
		s.t.Errorf("the offsets of %s moved during the pause:\nbefore %v\nafter  %v", group, before, after)
	}
}
