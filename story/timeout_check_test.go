//go:build unix

package story_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/handlers/order/orderpg"
	"millrace/outbox"
	"millrace/router"
	"millrace/topic"
	"millrace/transport"
)

var timeoutFlow = router.Flow(router.Services{})

// text reads one value; empty where there is none.
func (s *timeoutSystem) text(query string, args ...any) string {
	s.Helper()
	for i, a := range args {
		if id, ok := a.(event.OrderID); ok {
			args[i] = string(id)
		}
	}
	var text sql.NullString
	if err := s.db.QueryRowContext(s.Context(), query, args...).Scan(&text); err != nil && !errors.Is(err, sql.ErrNoRows) {
		s.Fatalf("%s: %v", query, err)
	}
	return text.String
}

// said is what the log has of one order, without what lies there twice.
type timeoutSaid struct {
	byPublisher map[string]int64
	once        map[string]bool
	events      []event.Event
}

// check is what must hold of an order at its end, whatever went wrong.
func (r *timeoutRun) check() {
	r.Helper()
	r.checkOrder()
	r.checkMoneyAndParcel()
	said := r.checkLog()
	for _, table := range []struct{ service, name string }{
		{"order", "orders.orders"}, {"payment", "payments.payments"}, {"inventory", "inventory.reservations"},
		{"shipping", "shipping.shipments"}, {"notification", "notification.orders"}, {"analytics", "analytics.orders"},
	} {
		row := r.text("SELECT said FROM "+table.name+" WHERE order_id = $1", r.id)
		if row == "" {
			row = "0"
		}
		if inLog := strconv.FormatInt(said.byPublisher[table.service], 10); row != inLog {
			r.Errorf("order %s: %s has said %s events by its row, the log has %s", r.id, table.service, row, inLog)
		}
		if twice := r.text("SELECT string_agg(cause::text, ', ') FROM (SELECT cause FROM "+table.name+
			", unnest(processed) AS cause WHERE order_id = $1 GROUP BY cause HAVING count(*) > 1) AS again", r.id); twice != "" {
			r.Errorf("order %s: %s has processed %s more than once", r.id, table.service, twice)
		}
		if at := r.text("SELECT parked_at::text FROM "+table.name+" WHERE order_id = $1", r.id); at != "" {
			r.Errorf("order %s: %s still takes it for parked", r.id, table.service)
		}
	}
	r.checkNotices(said)
	if r.Failed() {
		r.Logf("order %s:", r.id)
		for _, line := range r.story() {
			r.Log(line)
		}
	}
}

func (r *timeoutRun) checkOrder() {
	r.Helper()
	reads := orderpg.NewReads(r.db)
	view, err := reads.Order(r.Context(), r.id)
	r.must(err)
	if view.Status != r.status || view.Reason != r.reason {
		r.Errorf("order %s ended %s(%s), want %s(%s)", r.id, view.Status, view.Reason, r.status, r.reason)
	}
	rebuilt, err := reads.Rebuild(r.Context(), r.id)
	r.must(err)
	if got, want := interleavingJSON(rebuilt), interleavingJSON(view.Order); got != want {
		r.Errorf("order %s is not what its history says:\n%s\n%s", r.id, got, want)
	}
}

func (r *timeoutRun) checkMoneyAndParcel() {
	r.Helper()
	a := r.bank.Account(r.id)
	if len(a.Charges) > 1 || a.Captures != r.captures || a.Refunded != r.refunded {
		r.Errorf("order %s: the provider's book: %+v, want %d captured and %d given back", r.id, a, r.captures, r.refunded)
	}
	if n := r.carrier.bookings(r.id); n > 1 || r.booked && n == 0 {
		r.Errorf("order %s: %d parcels", r.id, n)
	}
	reservation := r.text("SELECT state->>'status' FROM inventory.reservations WHERE order_id = $1", r.id)
	if (reservation == "SOLD") != r.sold || reservation == "RESERVED" {
		r.Errorf("order %s: its stock is %s", r.id, reservation)
	}
}

// checkLog looks at first occurrences: each publisher's versions are contiguous, and in order within a topic; what comes
// again is the same; nothing is said twice.
func (r *timeoutRun) checkLog() timeoutSaid {
	r.Helper()
	said := timeoutSaid{byPublisher: map[string]int64{}, once: map[string]bool{}}
	first := map[string]transport.Record{} // by publisher and version
	inTopic := map[string]int64{}
	for _, rec := range r.broker.of(r.id) {
		info, ok := topic.Named(rec.Topic)
		if !ok { // the copy of a letter
			continue
		}
		source, version, id := headerIn(rec, outbox.HeaderSource), headerIn(rec, outbox.HeaderOrderVersion), headerIn(rec, outbox.HeaderID)
		n, err := strconv.ParseInt(version, 10, 64)
		r.must(err)
		place := source + " " + version
		if before, again := first[place]; again {
			if headerIn(before, outbox.HeaderID) != id || !bytes.Equal(before.Value, rec.Value) {
				r.Errorf("order %s: %s is two events", r.id, place)
			}
			continue
		}
		first[place] = rec
		if n <= inTopic[source+rec.Topic] {
			r.Errorf("order %s: %s comes behind version %d in %s", r.id, place, inTopic[source+rec.Topic], rec.Topic)
		}
		inTopic[source+rec.Topic] = n
		said.byPublisher[source] = max(said.byPublisher[source], n)
		if got, want := headerIn(rec, outbox.HeaderCorrelationID), "corr-"+string(r.id); got != want {
			r.Errorf("order %s: %s has the correlation id %q", r.id, place, got)
		}
		e, err := info.Decode(rec.Value)
		r.must(err)
		said.events = append(said.events, e)
		for _, word := range interleavingWords(e) {
			if said.once[word] {
				r.Errorf("order %s: %s says %q again", r.id, place, word)
			}
			said.once[word] = true
		}
	}
	for source, n := range said.byPublisher {
		for v := range n {
			if _, ok := first[source+" "+strconv.FormatInt(v+1, 10)]; !ok {
				r.Errorf("order %s: version %d of %s is missing", r.id, v+1, source)
			}
		}
	}
	return said
}

// checkNotices: what was sent was said to be sent, and there is a notice of each kind of news.
func (r *timeoutRun) checkNotices(said timeoutSaid) {
	r.Helper()
	want, got := map[event.NoticeKind]bool{}, map[event.NoticeKind]bool{}
	confirmed := 0
	for _, e := range said.events {
		if kind, told := notification.Kind(e); told {
			want[kind] = true
		}
		if sent, ok := e.(event.NotificationSent); ok {
			got[sent.Kind] = true
			confirmed++
		}
	}
	if len(want) != len(got) || confirmed != len(r.sender.sent(r.id)) {
		r.Errorf("order %s: news %v, notices %v; %d sent, %d said to be sent", r.id, want, got, len(r.sender.sent(r.id)), confirmed)
	}
}

// checkStock adds up what all lives have left.
func (s *timeoutSystem) checkStock() {
	s.Helper()
	if wrong := s.text(`SELECT string_agg(sku || ': ' || reserved || ' reserved, ' || sold || ' sold', ', ') FROM inventory.stock
WHERE initial + restocked <> available + reserved + sold OR reserved <> 0 OR sold <> (SELECT coalesce(sum((i->>'quantity')::bigint), 0)
	FROM inventory.reservations r, json_array_elements(r.state->'items') AS i WHERE r.state->>'status' = 'SOLD' AND i->>'sku' = stock.sku)`); wrong != "" {
		s.Errorf("the stock does not add up: %s", wrong)
	}
	counted := s.text("SELECT coalesce(sum(n), 0) FROM analytics.deltas WHERE name = 'placed'")
	if orders := s.text("SELECT count(*) FROM orders.orders"); orders != counted {
		s.Errorf("analytics counted %s orders of %s", counted, orders)
	}
}

// story is the order's part of the log, for a test that failed.
func (r *timeoutRun) story() []string {
	var lines []string
	for _, rec := range r.broker.of(r.id) {
		var fields map[string]any
		_ = json.Unmarshal(rec.Value, &fields) // shown as far as it goes
		lines = append(lines, fmt.Sprintf("%s %s: %s %v", headerIn(rec, outbox.HeaderSource), headerIn(rec, outbox.HeaderOrderVersion), rec.Topic, fields["status"]))
	}
	return slices.Clip(lines)
}

func headerIn(r transport.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}
