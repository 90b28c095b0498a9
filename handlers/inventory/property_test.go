package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/inventory"
)

// delivery is one message on its way to inventory. Its cause is its id, so that
// the same delivery twice is a duplicate.
type delivery struct {
	cause string
	event event.Event
}

func hear(ctx context.Context, s *inventory.Service, d delivery) error {
	ctx = event.WithCause(ctx, event.Cause{ID: d.cause})
	switch e := d.event.(type) {
	case event.OrderCreated:
		return s.Reserve(ctx, e)
	case event.PaymentFailed:
		return s.Release(ctx, e)
	case event.InventoryUpdate:
		return s.Commit(ctx, e)
	case event.ShippingStatus:
		return s.TakeBack(ctx, e)
	}
	return fmt.Errorf("inventory does not hear %T", d.event)
}

var skus = []string{"MUG", "PEN", "CAP"}

// drawOrders makes up some orders, and for each of them one of the ways a saga can
// go, each way as the messages inventory hears of it in the order they are said.
func drawOrders(t *rapid.T) [][]delivery {
	var orders [][]delivery
	for n := range rapid.IntRange(1, 10).Draw(t, "orders") {
		id := event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n))
		var lines []event.Item
		for range rapid.IntRange(1, 3).Draw(t, "lines") {
			lines = append(lines, event.Item{
				SKU:      rapid.SampledFrom(skus).Draw(t, "sku"), // may repeat
				Quantity: rapid.Int64Range(1, 4).Draw(t, "pieces"),
			})
		}
		created := event.OrderCreated{OrderID: id, Items: lines}
		failed := event.PaymentFailed{OrderID: id}
		paid := event.InventoryUpdate{OrderID: id, Items: lines}
		stopped := event.ShippingStatus{OrderID: id, Status: event.ParcelStopped}
		returned := event.ShippingStatus{OrderID: id, Status: event.ParcelReturned}
		delivered := event.ShippingStatus{OrderID: id, Status: event.ParcelDelivered}
		way := rapid.SampledFrom([][]event.Event{
			{created},
			{created, failed},
			{created, failed, stopped},
			{created, paid},
			{created, paid, delivered},
			{created, paid, stopped},
			{created, paid, returned},
		}).Draw(t, "way")
		var story []delivery
		for i, e := range way {
			story = append(story, delivery{fmt.Sprintf("%s/%d", id, i), e})
		}
		orders = append(orders, story)
	}
	return orders
}

// shuffle delivers everything in any order, some of it twice: inventory hears at
// most one message of an order per topic, and topics promise nothing to each other.
func shuffle(t *rapid.T, orders [][]delivery) []delivery {
	var all []delivery
	for _, story := range orders {
		for _, d := range story {
			all = append(all, d)
			if rapid.Bool().Draw(t, "twice") {
				all = append(all, d)
			}
		}
	}
	return rapid.Permutation(all).Draw(t, "deliveries")
}

// TestStockAlwaysAddsUp: many orders, few pieces, any order of arrival.
func TestStockAlwaysAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var levels []inventory.Level
		for _, sku := range skus {
			levels = append(levels, level(sku, rapid.Int64Range(0, 12).Draw(t, sku)))
		}
		store := newShelf(levels...)
		service := inventory.New(store)
		for _, d := range shuffle(t, drawOrders(t)) {
			if err := hear(context.Background(), service, d); err != nil {
				t.Fatalf("%+v: %v", d, err)
			}
			check(t, store)
		}
	})
}

// check holds the levels against their own sums and against the reservations, and
// what was said against what may be said.
func check(t *rapid.T, s *shelf) {
	reserved, sold := map[string]int64{}, map[string]int64{}
	for id, r := range s.rows {
		for _, it := range r.Items {
			switch r.Status {
			case inventory.Reserved:
				reserved[it.SKU] += it.Quantity
			case inventory.Sold:
				sold[it.SKU] += it.Quantity
			}
		}
		said := strings.Join(s.saidOf(id), " ")
		if strings.Count(said, "Reserved")+strings.Count(said, "Rejected") > 1 || strings.Count(said, "Released") > 1 {
			t.Fatalf("order %s: said %s", id, said)
		}
	}
	for _, l := range s.levels {
		if w := wrong(l); w != "" {
			t.Fatal(w)
		}
		if l.Reserved != reserved[l.SKU] || l.Sold != sold[l.SKU] {
			t.Fatalf("%+v: the orders hold %d reserved and %d sold", l, reserved[l.SKU], sold[l.SKU])
		}
	}
}

// TestAnyOrderOfArrivalEndsAlike: with enough stock for all, rows and levels end as
// if everything had arrived in the order it was said, once.
func TestAnyOrderOfArrivalEndsAlike(t *testing.T) {
	plenty := func() *shelf { return newShelf(level("MUG", 1000), level("PEN", 1000), level("CAP", 1000)) }
	play := func(t *rapid.T, deliveries []delivery) *shelf {
		store := plenty()
		service := inventory.New(store)
		for _, d := range deliveries {
			if err := hear(context.Background(), service, d); err != nil {
				t.Fatalf("%+v: %v", d, err)
			}
		}
		for sku, l := range store.levels {
			l.Version = 0 // an order that was never reserved saves two moves
			store.levels[sku] = l
		}
		return store
	}
	rapid.Check(t, func(t *rapid.T) {
		orders := drawOrders(t)
		var told []delivery
		for _, story := range orders {
			told = append(told, story...)
		}
		want, got := play(t, told), play(t, shuffle(t, orders))
		if diff := cmp.Diff(want.rows, got.rows); diff != "" {
			t.Fatalf("the rows differ (-as told +as heard):\n%s", diff)
		}
		if diff := cmp.Diff(want.levels, got.levels); diff != "" {
			t.Fatalf("the levels differ (-as told +as heard):\n%s", diff)
		}
		for _, story := range orders {
			id := story[0].event.Key()
			w, g := strings.Count(strings.Join(want.saidOf(id), " "), "Released"), strings.Count(strings.Join(got.saidOf(id), " "), "Released")
			if w != g {
				t.Fatalf("order %s: released %d times as told, %d times as heard", id, w, g)
			}
		}
	})
}
