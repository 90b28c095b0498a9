//go:build unix

package story_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/event"
	"millrace/router"
)

// addsUp waits for the crowd to end, and checks what must hold whatever happened, from the
// databases, the provider's books and the topics alone. It returns how many records are in the
// topics more than once.
func (r *crowd) addsUp(brokers string) (duplicates int) {
	r.t.Helper()
	r.allEnd()
	r.isAtRest(brokers)
	r.ordersAddUp()
	r.stockOfCrowdAddsUp()
	r.auditLog(brokers, slices.Collect(maps.Values(r.orders)))
	records, err := readLog(brokers)
	if err != nil {
		r.t.Fatalf("read the topics: %v", err)
	}
	return r.recount(records)
}

// isAtRest waits until nothing is on its way any more.
func (r *crowd) isAtRest(brokers string) {
	r.t.Helper()
	for what, query := range map[string]string{
		"the outbox is empty":           `SELECT count(*) FROM millrace.outbox`,
		"nothing is waited for":         `SELECT count(*) FROM millrace.waits`,
		"analytics has folded its sums": `SELECT count(*) FROM analytics.deltas`,
	} {
		eventually(r.t, what, func() error {
			var n int
			err := r.books.QueryRow(query).Scan(&n)
			if err == nil && n > 0 {
				err = fmt.Errorf("%d rows are left", n)
			}
			return err
		})
	}
	noLag(r.shop, brokers)
	if r.mayFail {
		r.nothingIsHeldUp()
		return
	}
	var letters int
	if err := r.books.QueryRow(`SELECT count(*) FROM deadletter.letters`).Scan(&letters); err != nil || letters > 0 {
		r.t.Errorf("%d dead letters: %v", letters, err)
	}
}

// noLag waits until every group has committed every record of the topics it hears.
func noLag(s *shop, brokers string) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	for _, service := range router.Flow(router.Services{}) {
		eventually(s.t, service.Group()+" has heard everything", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
			defer cancel()
			return lagOf(ctx, kadm.NewClient(client), service)
		})
	}
}

// lagOf is nil when the service's group has committed the ends of its topics.
func lagOf(ctx context.Context, admin *kadm.Client, service router.ServiceFlow) error {
	ends, err := admin.ListEndOffsets(ctx, service.Topics()...)
	if err != nil {
		return err
	}
	committed, err := admin.FetchOffsets(ctx, service.Group())
	if err != nil {
		return err
	}
	var behind int64
	ends.Each(func(end kadm.ListedOffset) {
		at, _ := committed.Lookup(end.Topic, end.Partition) // nothing was committed: 0
		behind += end.Offset - max(at.At, 0)
	})
	if behind > 0 {
		return fmt.Errorf("%d records are left", behind)
	}
	return nil
}

// orderAsKept is an order as the databases and the provider's books have it.
type orderAsKept struct {
	id, status, reason, stock, parcel     string
	total                                 int64
	captures, refunds, captured, refunded int64
	entries, version                      int64
}

const ordersAsKept = `SELECT o.order_id, o.status, coalesce(o.state->>'reason', ''), coalesce(r.state->>'status', ''),
 coalesce(s.state->>'status', ''), (o.state->'total'->>'amount')::bigint,
 coalesce(a.captures, 0), coalesce(a.refunded, 0), coalesce(a.captured_amount, 0), coalesce(a.refunded_amount, 0),
 (SELECT count(*) FROM orders.history h WHERE h.order_id = o.order_id), o.version
FROM orders.orders o LEFT JOIN inventory.reservations r USING (order_id)
LEFT JOIN shipping.shipments s USING (order_id) LEFT JOIN provider.accounts a USING (order_id)`

func (r *crowd) ordersAddUp() {
	r.t.Helper()
	rows, err := r.books.Query(ordersAsKept)
	if err != nil {
		r.t.Fatalf("read the orders: %v", err)
	}
	defer rows.Close()
	found, kept, earned := map[string]bool{}, int64(0), int64(0)
	outcomes := map[string]int{}
	for rows.Next() {
		var o orderAsKept
		if err := rows.Scan(&o.id, &o.status, &o.reason, &o.stock, &o.parcel, &o.total, &o.captures, &o.refunds, &o.captured, &o.refunded, &o.entries, &o.version); err != nil {
			r.t.Fatalf("read the orders: %v", err)
		}
		found[o.id] = true
		outcomes[strings.TrimSpace(o.status+" "+o.reason)]++
		if r.orders[o.id] == nil {
			r.t.Errorf("nobody placed order %s", o.id)
		}
		if wrong := o.wrong(); wrong != "" {
			r.t.Errorf("%s: %+v\n%s", wrong, o, r.nodes[0].logged(o.id))
		}
		kept += o.captured - o.refunded
		if o.status == string(event.OrderDelivered) {
			earned += o.total
		}
	}
	if err := rows.Err(); err != nil {
		r.t.Fatalf("read the orders: %v", err)
	}
	for id := range r.orders {
		if !found[id] {
			r.t.Errorf("order %s was accepted and is lost", id)
		}
	}
	if kept != earned {
		r.t.Errorf("the provider took %d more than it gave back; the delivered orders come to %d", kept, earned)
	}
	r.t.Logf("%d orders: %v", len(found), outcomes)
}

// wrong says what may not be; empty if all is well.
func (o orderAsKept) wrong() string {
	back := slices.Contains([]string{"REJECTED", "RELEASED", "RETURNED"}, o.stock) || o.stock == "SOLD" && o.parcel == "LOST"
	switch {
	case o.captures > 1 || o.refunds > o.captures || o.captured != o.captures*o.total || o.refunded != o.refunds*o.total:
		return "its money moved more than once"
	case o.entries != o.version:
		return "its history has gaps"
	case o.reason == string(event.ReasonDeadline):
		return "an outage of ours cancelled it"
	}
	switch event.OrderStatus(o.status) {
	case event.OrderDelivered:
		if o.captures != 1 || o.refunds != 0 || o.stock != "SOLD" || o.parcel != "DELIVERED" {
			return "it is delivered, but not paid, sold and sent"
		}
	case event.OrderIsCancelled:
		if o.captures != o.refunds || !back {
			return "it is cancelled, but not everything went back"
		}
	case event.OrderNeedsAttention: // nothing but a parcel that could not be called back
		if o.captures != o.refunds || o.stock != "SOLD" || o.parcel != "RECALL_FAILED" {
			return "it needs attention, and it is not clear why"
		}
	default:
		return "it has not ended"
	}
	return ""
}

// stockOfCrowdAddsUp compares each level with the reservations.
func (r *crowd) stockOfCrowdAddsUp() {
	r.t.Helper()
	rows, err := r.books.Query(`WITH sold AS (
  SELECT i.value->>'sku' AS sku, sum((i.value->>'quantity')::bigint) AS n
  FROM inventory.reservations, json_array_elements(state->'items') i WHERE state->>'status' = 'SOLD' GROUP BY 1)
SELECT sku, initial + restocked, available, reserved, sold, coalesce(n, 0) FROM inventory.stock LEFT JOIN sold USING (sku)`)
	if err != nil {
		r.t.Fatalf("read the stock: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var sku string
		var had, available, reserved, sold, want int64
		if err := rows.Scan(&sku, &had, &available, &reserved, &sold, &want); err != nil {
			r.t.Fatalf("read the stock: %v", err)
		}
		if had != available+reserved+sold || reserved != 0 || sold != want || available < 0 {
			r.t.Errorf("%s: had %d, available %d, reserved %d, sold %d; the orders bought %d", sku, had, available, reserved, sold, want)
		}
	}
	if err := rows.Err(); err != nil {
		r.t.Fatalf("read the stock: %v", err)
	}
}

// recount compares what the topics say with what notification and analytics have, and
// counts the records that are there twice.
func (r *crowd) recount(records []*kgo.Record) (duplicates int) {
	r.t.Helper()
	heard, notices := map[string]bool{}, map[string]int{}
	want := summary{CancelledBy: map[string]int64{}}
	var revenue int64
	for _, record := range records {
		if isLetter(record) {
			continue
		}
		id, eventType := headerOf(record, "ce_id"), headerOf(record, "ce_type")
		if heard[id] {
			duplicates++
			continue
		}
		heard[id] = true
		var body struct {
			Status, Reason, Kind, Channel string
			Total                         event.Money
		}
		if err := json.Unmarshal(record.Value, &body); err != nil {
			r.t.Errorf("%s at %s/%d/%d is not readable: %v", eventType, record.Topic, record.Partition, record.Offset, err)
		}
		switch eventType {
		case "OrderCreated":
			want.Orders.Placed++
		case "PaymentSucceeded":
			revenue += body.Total.Amount
		case "PaymentRefunded":
			if refund := refundOf(record); refund.AfterSuccess {
				revenue -= body.Total.Amount
			}
		case "NotificationSent":
			notices[string(record.Key)+"/"+body.Kind+"/"+body.Channel]++
		case "OrderStatusUpdated":
			switch event.OrderStatus(body.Status) {
			case event.OrderPaid:
				want.Orders.Paid++
			case event.OrderShipped:
				want.Orders.Shipped++
			case event.OrderDelivered:
				want.Orders.Delivered++
			case event.OrderIsCancelled:
				want.Orders.Cancelled++
				want.CancelledBy[body.Reason]++
			}
		}
	}
	for notice, n := range notices {
		if n > 1 {
			r.t.Errorf("%s was said to be sent %d times", notice, n)
		}
	}
	var sent int
	if err := r.books.QueryRow(`SELECT count(*) FROM notification.sent`).Scan(&sent); err != nil || sent != len(notices) {
		r.t.Errorf("%d notices were sent, NotificationSent was said of %d: %v", sent, len(notices), err)
	}
	var got summary
	if err := r.read("/analytics/summary", &got); err != nil {
		r.t.Fatal(err)
	}
	for _, one := range got.Revenue {
		if one.Currency != "EUR" || one.Amount.String() != fmt.Sprint(revenue) {
			r.t.Errorf("analytics has a revenue of %s %s, the topics say %d", one.Amount, one.Currency, revenue)
		}
	}
	got.Revenue = nil
	if diff := gocmp.Diff(want, got); diff != "" {
		r.t.Errorf("analytics differ from a recount (-topics +analytics):\n%s", diff)
	}
	r.t.Logf("%d records in the topics, %d of them duplicates", len(records), duplicates)
	return duplicates
}

func refundOf(record *kgo.Record) (e event.PaymentRefunded) {
	_ = json.Unmarshal(record.Value, &e) // whoever asks has read it once already
	return e
}

// headerOf is the record's header of that name, the last of several; empty where there is none.
func headerOf(record *kgo.Record, name string) (value string) {
	for _, h := range record.Headers {
		if h.Key == name {
			value = string(h.Value)
		}
	}
	return value
}
