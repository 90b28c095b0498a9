//go:build unix

package story_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"

	"millrace/event"
	"millrace/testserver"
)

const (
	// aThousand is how many orders are placed in all, in slices: beside a poisoned order, and without one, in turns, so that both meet
	// the same machine.
	aThousand, turns = 1000, 3
	// warmUp are placed before, and not measured.
	warmUp = 50
	// latencyFormat is a line of what is printed; nothing is judged by it.
	latencyFormat = "%-32s %5d orders, placed to DELIVERED: p50 %v, p99 %v"
)

// unhurriedDeadlines are longer than any story: an order that waits for an operator shall not be given up.
var unhurriedDeadlines = settings{"PAYMENT_DEADLINE": "10m", "ORDER_DEADLINE": "20m"}

// letterView is a letter as router dlq shows it.
type letterView struct {
	ID, Status, Group, Service, OrderID, MessageID, Topic, Error string
	Attempts                                                     int
	ParkedBehind                                                 int64
}

// groupView is a group as router dlq shows it.
type groupView struct {
	Group                               string
	Services                            []string
	Letters, OrdersHeldUp, ParkedBehind int64
}

func (n *node) groups(filter ...string) []groupView {
	n.tb.Helper()
	var answer struct{ Groups []groupView }
	n.dlqJSON(&answer, append([]string{"groups"}, filter...)...)
	return answer.Groups
}

func (n *node) letters(filter string) []letterView {
	n.tb.Helper()
	var answer struct{ Letters []letterView }
	n.dlqJSON(&answer, "list", filter)
	return answer.Letters
}

// shownView is what router dlq show says.
type shownView struct {
	letterView
	Verdict struct{ Result, Why string }
	Lane    []letterView
	Steps   []struct{ Who, Action, Reason string }
}

// One order among a thousand meets a bug. The others do not notice; its own later events wait behind the one that failed,
// also those of another topic; and once the bug is mended and the letter redriven, the order ends as if nothing
// had been.
func TestAPoisonedOrderAmongAThousand(t *testing.T) {
	t.Parallel()
	n := prepareNode(t, unhurriedDeadlines.with(settings{"EMBEDDED_KAFKA_PORT": portText(freePort(t)), "LOG_FORMAT": faultsAreLogged}))
	n.start()
	t.Cleanup(n.stopWithLetters)
	n.showRaces()
	kafka, dsn := n.embedded()
	s := openShop(t, dsn, n)
	shelf := s.article(inPlenty)
	usual := func(n int) (list []newOrder) {
		for range n {
			list = append(list, s.order(buying(shelf, wanted)))
		}
		return list
	}
	const slice = aThousand / turns / 2
	all := s.startCrowdOf(usual(warmUp), 0, neverRegretted)
	all.mayFail = true
	all.allEnd()
	with, without := map[string]*placed{}, map[string]*placed{}
	for turn := range turns {
		// Where no order is poisoned, the database has the same to look at.
		nobody := s.poisons("nobody")
		alone := s.startCrowdOf(usual(slice), 0, neverRegretted)
		alone.allEnd()
		nobody.mend()

		beside, poisoned, bug := s.startPoisoned(usual(slice))
		t.Logf(latencyFormat+"\n"+latencyFormat, slices.Concat(s.latencies("without", alone.orders), s.latencies("beside a poisoned one", beside.orders))...)
		if turn == 0 {
			poisoned.isLookedAt(n, kafka, bug)
		} else {
			bug.mend()
			n.dlqDone("redrive", "--filter", "order:"+poisoned.id, "--yes", "--reason", "mended")
		}
		poisoned.ends(delivered)
		maps.Copy(all.orders, alone.orders)
		maps.Copy(all.orders, beside.orders)
		maps.Copy(without, alone.orders)
		maps.Copy(with, beside.orders)
		delete(with, poisoned.id) // which took as long as the operator did
	}
	t.Logf("in all:\n"+latencyFormat+"\n"+latencyFormat, slices.Concat(s.latencies("without", without), s.latencies("beside a poisoned one", with))...)

	all.addsUp(kafka)
	records, err := readLog(kafka)
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	t.Logf("%d messages were processed, each once, in the order of their topics", s.processedInOrder(records))
}

func neverRegretted(int) bool { return false }

// poisons lets the order service refuse to hear that a customer's order is paid.
func (s *shop) poisons(customer string) *breakage {
	s.t.Helper()
	return s.refuses("orders.orders", fmt.Sprintf("NEW.state->>'customerId' = '%s' AND NEW.state->>'status' = 'PAID'", customer))
}

// startPoisoned places a poisoned order and others, and waits until the others have ended and the poisoned one is held up.
func (s *shop) startPoisoned(others []newOrder) (crowd *crowd, poisoned *placed, bug *breakage) {
	s.t.Helper()
	poison := s.order()
	bug = s.poisons(poison.CustomerID)
	crowd = s.startCrowdOf(slices.Concat([]newOrder{poison}, others), 0, neverRegretted)
	crowd.allTaken()
	poisoned = &placed{shop: s, body: poison, correlation: "crowd-of-" + poison.CustomerID}
	for id, o := range crowd.orders {
		if o.body.CustomerID == poison.CustomerID {
			poisoned.id = id
		}
	}
	eventually(s.t, "all but the poisoned order end", func() error {
		left, err := crowd.underWay()
		if err == nil && left != 1 {
			err = fmt.Errorf("%d are under way", left)
		}
		return err
	})
	s.awaitHeldUp("order", heldUp{letters: 1, parked: poisoned.statusesLeft(), lanes: 1, marked: 1})
	return crowd, poisoned, bug
}

// parcelStatuses are what shipping says of a parcel that arrives: PREPARING, SHIPPED, DELIVERED.
const parcelStatuses = 3

// statusesLeft is how many statuses of its parcel have to wait behind a letter on PaymentSucceeded. Between topics there is no
// order: what the order service heard before that is remembered, and rightly not parked.
func (o *placed) statusesLeft() int {
	o.t.Helper()
	var heard int
	if err := o.books.QueryRow(`SELECT count(*) FROM orders.history WHERE order_id = $1 AND type = 'ParcelMoved'`, o.id).Scan(&heard); err != nil {
		o.t.Fatalf("read what the order service heard of the parcel: %v", err)
	}
	return parcelStatuses - heard
}

// isLookedAt looks at what is known of the poisoned order, where the operator looks, in this order; mends the bug, and redrives
// the letter.
func (o *placed) isLookedAt(n *node, kafka string, bug *breakage) {
	o.t.Helper()
	noLag(o.shop, kafka)
	o.isHeldUp(n, event.OrderAwaiting)
	letter := o.isLettered(n)

	bug.mend()
	var shown shownView
	n.dlqJSON(&shown, "show", letter)
	if shown.Verdict.Result != "applied" || !strings.Contains(shown.Verdict.Why, "PAID") {
		o.t.Errorf("once mended, the verdict is %+v", shown.Verdict)
	}
	n.dlqDone("show", letter)
	n.dlqDone("redrive", letter, "--yes", "--reason", "mended")
	n.dlqJSON(&shown, "show", letter)
	if shown.Status != "resolved" || len(shown.Steps) < 2 || shown.Steps[0].Reason != "mended" {
		o.t.Errorf("afterwards the letter is %s, with the steps %+v", shown.Status, shown.Steps)
	}
}

// isHeldUp: it stands where it stood, and the process says so where machines look.
func (o *placed) isHeldUp(n *node, status event.OrderStatus) {
	o.t.Helper()
	var view struct{ Status event.OrderStatus }
	if err := o.read("/orders/"+o.id, &view); err != nil || view.Status != status {
		o.t.Errorf("the poisoned order is %s, want %s: %v", view.Status, status, err)
	}
	parked := o.statusesLeft()
	behind := fmt.Sprintf(" %d message", parked)
	eventually(o.t, "/readyz tells of the letter", func() error {
		answer, err := n.get("/readyz?verbose")
		if err == nil && (!strings.HasPrefix(answer, "200 ") || !strings.Contains(answer, "letters of order: 1 wait") || !strings.Contains(answer, behind)) {
			err = fmt.Errorf("it answers %s", answer)
		}
		return err
	})
	for metric, ok := range map[string]func(float64) bool{
		"millrace_letters":                    func(v float64) bool { return v == 1 },
		"millrace_messages_parked":            func(v float64) bool { return v == float64(parked) },
		"millrace_letters_oldest_age_seconds": func(v float64) bool { return v > 0 && v < patience.Seconds()*10 },
		"millrace_service_paused":             func(v float64) bool { return v == 0 },
	} {
		v, err := n.metric(metric, "order")
		if err != nil || !ok(v) {
			o.t.Errorf("%s of order is %v: %v", metric, v, err)
		}
	}
}

// isLettered: the tool shows one letter of it, which would fail again, and the statuses of its parcel parked behind. It returns
// the letter's id.
func (o *placed) isLettered(n *node) string {
	o.t.Helper()
	parked := o.statusesLeft()
	n.dlqDone("groups")
	groups := n.groups()
	if len(groups) != 1 || groups[0].Letters != 1 || groups[0].OrdersHeldUp != 1 || groups[0].ParkedBehind != int64(parked) || !slices.Equal(groups[0].Services, []string{"order"}) {
		o.t.Fatalf("the groups are %+v, want one of one letter of the order service, with %d parked behind", groups, parked)
	}
	list := n.letters("order:" + o.id)
	if len(list) != 1 || list[0].Topic != "ecommerce.payment.success" || list[0].ParkedBehind != int64(parked) || list[0].Group != groups[0].Group {
		o.t.Fatalf("the letters of the order are %+v, want one on PaymentSucceeded", list)
	}
	var shown shownView
	n.dlqJSON(&shown, "show", list[0].ID)
	var lane []string
	for _, l := range shown.Lane {
		lane = append(lane, l.Status+" "+l.Topic)
	}
	want := append([]string{"new ecommerce.payment.success"}, slices.Repeat([]string{"parked ecommerce.shipping.status"}, parked)...)
	if !slices.Equal(lane, want) {
		o.t.Errorf("the order's messages are %q, want %q", lane, want)
	}
	if shown.Verdict.Result != "fails" {
		o.t.Errorf("before it is mended the verdict is %+v", shown.Verdict)
	}
	return shown.ID
}

// metric is a service's value of a metric.
func (n *node) metric(name, service string) (float64, error) {
	metrics, err := n.get("/metrics")
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + name + `\{[^}]*service="` + service + `"[^}]*\} (\S+)$`).FindStringSubmatch(metrics)
	if found == nil {
		return 0, fmt.Errorf("there is no %s of %s", name, service)
	}
	return strconv.ParseFloat(found[1], 64)
}

// latencies are the arguments of latencyFormat: how long those of the orders took that are delivered, by the database's clock.
func (s *shop) latencies(name string, orders map[string]*placed) []any {
	s.t.Helper()
	var n int
	var p50, p99 float64
	if err := s.books.QueryRow(`WITH took AS (
  SELECT extract(epoch FROM max(h.at) FILTER (WHERE h.data->>'status' = 'DELIVERED') - min(h.at)) AS seconds FROM orders.history h
  WHERE h.order_id = ANY($1::uuid[]) GROUP BY h.order_id)
SELECT count(*), coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds), 0), coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY seconds), 0)
FROM took WHERE seconds IS NOT NULL`, pq.Array(slices.Collect(maps.Keys(orders)))).Scan(&n, &p50, &p99); err != nil {
		s.t.Fatalf("read how long orders took: %v", err)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Round(time.Millisecond) }
	return []any{name, n, seconds(p50), seconds(p99)}
}

// An order that waits for an operator is not forgotten by its deadline: it is cancelled, the others give back what they
// hold, and what they say of it waits as well. Once the letter is redriven, it is over.
func TestTheDeadlineOfAPoisonedOrder(t *testing.T) {
	t.Parallel()
	dsn, brokers := testserver.PostgresDSN(t), testserver.Kafka(t)
	n := startNode(t, settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "PAYMENT_DEADLINE": "1s", "ORDER_DEADLINE": "3s", "LOG_FORMAT": faultsAreLogged})
	t.Cleanup(n.stopWithLetters)
	n.showRaces()
	s := openShop(t, dsn, n)
	body := s.order()
	bug := s.refuses("orders.orders", fmt.Sprintf("NEW.state->>'customerId' = '%s' AND NEW.state->>'status' = 'AWAITING_PAYMENT'", body.CustomerID))
	o := s.places(func(o *newOrder) { *o = body })
	o.isNow(event.OrderCancelling)
	// The letter is InventoryReserved. The payment that was never asked for fails, the stock comes back, the parcel is stopped
	// that never was: PaymentFailed, InventoryReleased, ShippingStatus.
	s.awaitHeldUp("order", heldUp{letters: 1, parked: 3, lanes: 1, marked: 1})
	o.stockIs("RELEASED")
	way, err := o.way()
	if err != nil || !slices.Equal(way, []string{"CANCELLING"}) {
		t.Errorf("with its messages parked the order went %v: %v", way, err)
	}
	groups := n.groups("order:" + o.id)
	if len(groups) != 1 || groups[0].Letters != 1 || groups[0].ParkedBehind != 3 {
		t.Errorf("the cancelled order is listed as %+v, want one letter and three messages behind it", groups)
	}
	bug.mend()
	n.dlqDone("redrive", "--filter", "order:"+o.id, "--yes", "--reason", "mended")
	o.ends(ending{
		Status: event.OrderIsCancelled, Reason: event.ReasonDeadline, Way: "CANCELLING CANCELLED",
		Stock: "RELEASED", Available: onTheShelf, Told: told(event.NoticePlaced, event.NoticeCancelled),
	})
	s.nothingIsHeldUp()
	noLag(s, brokers)
	records, err := readLog(brokers)
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	s.processedInOrder(records)
}
