package analytics_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/analytics"
)

const orderID = event.OrderID("0199c0de-0000-7000-8000-000000000001")

var (
	start = time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	price = event.Money{Amount: 2500, Currency: "EUR"}
)

func status(s event.OrderStatus) event.Event {
	return event.OrderStatusUpdated{OrderID: orderID, Status: s}
}

func cancelled(reason event.CancelReason) event.Event {
	return event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderIsCancelled, Reason: reason}
}

// Any events of a few orders, at any times, each as often as you like and in any
// order, make the same sums.
func TestTheOrderOfEventsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := []event.OrderID{orderID, "0199c0de-0000-7000-8000-000000000002"}
		one := rapid.Custom(func(t *rapid.T) told {
			id := rapid.SampledFrom(ids).Draw(t, "order")
			total := event.Money{
				Amount:   rapid.Int64Range(0, 3).Draw(t, "amount"),
				Currency: rapid.SampledFrom([]string{"EUR", "USD"}).Draw(t, "currency"),
			}
			at := time.Duration(rapid.IntRange(0, 5).Draw(t, "at")) * 20 * time.Second
			return told{at, rapid.SampledFrom([]event.Event{
				event.OrderCreated{OrderID: id, Total: total},
				event.PaymentSucceeded{OrderID: id, Total: total},
				event.PaymentRefunded{OrderID: id, Total: total},
				event.PaymentRefundFailed{OrderID: id, Total: total},
				event.OrderStatusUpdated{OrderID: id, Status: event.OrderPaid},
				event.OrderStatusUpdated{OrderID: id, Status: event.OrderShipped},
				event.OrderStatusUpdated{OrderID: id, Status: event.OrderDelivered},
				event.OrderStatusUpdated{OrderID: id, Status: event.OrderIsCancelled, Reason: event.ReasonCustomer},
				event.OrderStatusUpdated{OrderID: id, Status: event.OrderIsCancelled, Reason: event.ReasonDeadline},
				event.OrderStatusUpdated{OrderID: id, Status: event.OrderCancelling},
			}).Draw(t, "event")}
		})
		story := rapid.SliceOfN(one, 1, 20).Draw(t, "story")
		again := rapid.SliceOf(rapid.SampledFrom(story)).Draw(t, "again")
		shuffled := rapid.Permutation(append(slices.Clone(story), again...)).Draw(t, "shuffled")

		straight, mixed := newOrders(), newOrders()
		for i, s := range []*orders{straight, mixed} {
			service, err := analytics.New(s)
			if err != nil {
				t.Fatal(err)
			}
			for n, w := range [][]told{story, shuffled}[i] {
				// Each delivery under an id of its own: not even the store's memory is relied on.
				ctx := event.WithCause(context.Background(), event.Cause{ID: fmt.Sprint(n), Time: start.Add(w.at)})
				if err := service.Count(ctx, w.event); err != nil {
					t.Fatal(err)
				}
			}
		}
		if diff := cmp.Diff(straight.totals(), mixed.totals(), bigNumbers); diff != "" {
			t.Fatalf("(-straight +mixed):\n%s", diff)
		}
	})
}

func TestADeliveredOrder(t *testing.T) {
	s := newOrders()
	count(t, s,
		told{0, event.OrderCreated{OrderID: orderID, Total: price}},
		told{40 * time.Millisecond, event.PaymentSucceeded{OrderID: orderID, Total: price}},
		told{50 * time.Millisecond, status(event.OrderPaid)},
		told{time.Second, status(event.OrderShipped)},
		told{time.Minute, status(event.OrderDelivered)},
	)
	got := s.summary(t)
	want := analytics.Summary{
		Orders:      analytics.Counts{Placed: 1, Paid: 1, Shipped: 1, Delivered: 1},
		CancelledBy: map[event.CancelReason]int64{},
		Revenue:     []analytics.Revenue{{Currency: "EUR", Amount: big.NewInt(2500)}},
		Conversion:  1,
		TimeToPaid:  got.TimeToPaid,
		AsOf:        start,
	}
	if diff := cmp.Diff(want, got, bigNumbers); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p50 := got.TimeToPaid.P50; math.Abs(p50.Seconds()/0.05-1) > 0.045 {
		t.Errorf("p50 %v, want 50ms within 4.5 %%", p50)
	}

	minutes := analytics.ByMinute(s.totals())
	wantMinutes := []analytics.Minute{
		{Start: start.Truncate(time.Minute), Orders: analytics.Counts{Placed: 1, Paid: 1, Shipped: 1}, Revenue: want.Revenue},
		{Start: start.Truncate(time.Minute).Add(time.Minute), Orders: analytics.Counts{Delivered: 1}, Revenue: []analytics.Revenue{}},
	}
	if diff := cmp.Diff(wantMinutes, minutes, bigNumbers); diff != "" {
		t.Errorf("by minute (-want +got):\n%s", diff)
	}
}

func TestRevenueIsWhatWasCapturedAndNotGivenBack(t *testing.T) {
	succeeded := told{time.Minute, event.PaymentSucceeded{OrderID: orderID, Total: price}}
	refunded := told{2 * time.Minute, event.PaymentRefunded{OrderID: orderID, Total: price, AfterSuccess: true}}
	failed := told{3 * time.Minute, event.PaymentRefundFailed{OrderID: orderID, Total: price}}
	for name, c := range map[string]struct {
		story []told
		want  int64
	}{
		"paid":                {[]told{succeeded}, 2500},
		"paid, then refunded": {[]told{succeeded, refunded}, 0},
		"refund heard first":  {[]told{refunded, succeeded}, 0},
		"captured after the cancel, and refunded": {[]told{refunded}, 0},
		"refund refused": {[]told{succeeded, failed}, 2500},
		"captured after the cancel, refund refused": {[]told{failed}, 2500},
		"refund refused, then settled":              {[]told{succeeded, failed, {4 * time.Minute, refunded.event}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newOrders()
			count(t, s, c.story...)
			got := new(big.Int)
			for _, r := range s.summary(t).Revenue {
				got.Add(got, r.Amount)
			}
			if got.Int64() != c.want {
				t.Errorf("revenue %v, want %d", got, c.want)
			}
		})
	}

	// By the minute, the capture and the refund each count where they happened.
	s := newOrders()
	count(t, s, refunded, succeeded)
	minutes := analytics.ByMinute(s.totals())
	if len(minutes) != 2 || minutes[0].Revenue[0].Amount.Int64() != 2500 || minutes[1].Revenue[0].Amount.Int64() != -2500 {
		t.Errorf("by minute: %+v", minutes)
	}
}

func TestTheLargestAmountsAddUp(t *testing.T) {
	s := newOrders()
	most := event.Money{Amount: math.MaxInt64, Currency: "EUR"}
	count(t, s,
		told{0, event.PaymentSucceeded{OrderID: orderID, Total: most}},
		told{0, event.PaymentSucceeded{OrderID: "0199c0de-0000-7000-8000-000000000002", Total: most}},
	)
	want := new(big.Int).Mul(big.NewInt(math.MaxInt64), big.NewInt(2))
	if got := s.summary(t).Revenue[0].Amount; got.Cmp(want) != 0 {
		t.Errorf("revenue %v, want %v", got, want)
	}
}

func TestConversionAndReasons(t *testing.T) {
	s := newOrders()
	id := func(n int) event.OrderID { return event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n)) }
	for n := range 4 {
		count(t, s, told{0, event.OrderCreated{OrderID: id(n), Total: price}})
	}
	count(t, s,
		told{0, event.OrderStatusUpdated{OrderID: id(0), Status: event.OrderPaid}},
		told{0, event.OrderStatusUpdated{OrderID: id(0), Status: event.OrderIsCancelled, Reason: event.ReasonCustomer}},
		told{0, event.OrderStatusUpdated{OrderID: id(1), Status: event.OrderIsCancelled, Reason: event.ReasonOutOfStock}},
		told{0, event.OrderStatusUpdated{OrderID: id(2), Status: event.OrderIsCancelled, Reason: event.ReasonOutOfStock}},
	)
	got := s.summary(t)
	if got.Conversion != 0.25 || got.Orders.Cancelled != 3 {
		t.Errorf("conversion %v, cancelled %d; want 0.25 and 3", got.Conversion, got.Orders.Cancelled)
	}
	want := map[event.CancelReason]int64{event.ReasonCustomer: 1, event.ReasonOutOfStock: 2}
	if diff := cmp.Diff(want, got.CancelledBy); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if empty := newOrders().summary(t); empty.Conversion != 0 || empty.TimeToPaid != nil {
		t.Errorf("nothing happened, yet %+v", empty)
	}
}

func TestWhatCannotBeCountedIsRefusedForGood(t *testing.T) {
	paid := func(m event.Money) event.Event { return event.PaymentSucceeded{OrderID: orderID, Total: m} }
	for name, c := range map[string]struct {
		event event.Event
		at    time.Time
	}{
		"negative total": {paid(event.Money{Amount: -1, Currency: "EUR"}), start},
		"no currency":    {paid(event.Money{Amount: 1}), start},
		"long currency":  {paid(event.Money{Amount: 1, Currency: strings.Repeat("x", 100_000)}), start},
		"long reason":    {cancelled(event.CancelReason(strings.Repeat("x", 100_000))), start},
		"no time":        {paid(price), time.Time{}},
		"year 10000":     {paid(price), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newOrders()
			service, err := analytics.New(s)
			if err != nil {
				t.Fatal(err)
			}
			err = service.Count(event.WithCause(context.Background(), event.Cause{ID: "1", Time: c.at}), c.event)
			var permanent interface{ Permanent() bool }
			if !errors.As(err, &permanent) || !permanent.Permanent() {
				t.Fatalf("got %v, want a permanent error", err)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error repeats the input: %d bytes", len(err.Error()))
			}
			if s.updates > 0 {
				t.Error("it reached the store")
			}
		})
	}
}

func TestNewRefusesNoStorage(t *testing.T) {
	if _, err := analytics.New(nil); err == nil {
		t.Error("no error")
	}
}
