package analytics_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
)

// every event analytics hears, and what it alone adds to the sums ("name/key").
var heard = []struct {
	event event.Event
	adds  map[string]int64
}{
	{event.OrderCreated{OrderID: orderID, Total: price}, map[string]int64{"placed/": 1}},
	{status(event.OrderPaid), map[string]int64{"paid/": 1}},
	{status(event.OrderShipped), map[string]int64{"shipped/": 1}},
	{status(event.OrderDelivered), map[string]int64{"delivered/": 1}},
	{cancelled(event.ReasonCustomer), map[string]int64{"cancelled/CUSTOMER": 1}},
	{event.PaymentSucceeded{OrderID: orderID, Total: price}, map[string]int64{"revenue/EUR": 2500}},
	{event.PaymentRefunded{OrderID: orderID, Total: price}, nil}, // captured and given back
	{event.PaymentRefundFailed{OrderID: orderID, Total: price}, map[string]int64{"revenue/EUR": 2500}},
	{status(event.OrderAwaiting), nil},
	{status(event.OrderPaymentPending), nil},
	{status(event.OrderPaymentFailed), nil},
	{status(event.OrderCancelling), nil},
	{status(event.OrderNeedsAttention), nil},
	{status("OF_A_NEWER_VERSION"), nil},
	{event.PaymentInitiated{OrderID: orderID, Total: price}, nil},
	{event.PaymentFailed{OrderID: orderID, RefundFollows: true}, nil},
	{event.PaymentPending{OrderID: orderID}, nil},
	{event.InventoryUpdate{OrderID: orderID}, nil},
	{event.InventoryReserved{OrderID: orderID}, nil},
	{event.InventoryRejected{OrderID: orderID}, nil},
	{event.InventoryReleased{OrderID: orderID}, nil},
	{event.ShippingInitiate{OrderID: orderID}, nil},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped}, nil},
	{event.OrderCancelled{OrderID: orderID}, nil},
	{event.NotificationSent{OrderID: orderID}, nil},
}

// TestEveryStateAndEvent: a row is a set of what was heard. So each event is
// counted after nothing, after each other event, and after all of them.
func TestEveryStateAndEvent(t *testing.T) {
	everything := make([]told, len(heard))
	for i, h := range heard {
		everything[i] = told{time.Duration(i) * time.Second, h.event}
	}
	for i, h := range heard {
		t.Run(fmt.Sprintf("unknown order/%T %v", h.event, h.event), func(t *testing.T) {
			s := newOrders()
			count(t, s, everything[i])
			got := map[string]int64{}
			for _, total := range s.totals() {
				if !total.Minute.Equal(everything[i].minute()) {
					t.Errorf("%s counted in %v, want %v", total.Name, total.Minute, everything[i].minute())
				}
				got[total.Name+"/"+total.Key] = total.N.Int64()
			}
			want := h.adds
			if want == nil {
				want = map[string]int64{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if h.adds == nil && s.updates > 0 {
				if _, refunded := h.event.(event.PaymentRefunded); !refunded {
					t.Error("the database was bothered with an event that counts nowhere")
				}
			}
		})
		for j := range heard {
			t.Run(fmt.Sprintf("%T %v/%T %v", heard[j].event, heard[j].event, h.event, h.event), func(t *testing.T) {
				there, back := newOrders(), newOrders()
				count(t, there, everything[j], everything[i])
				count(t, back, everything[i], everything[j])
				if diff := cmp.Diff(there.totals(), back.totals(), bigNumbers); diff != "" {
					t.Errorf("the order of two events matters:\n%s", diff)
				}
			})
		}
		t.Run(fmt.Sprintf("all of them/%T %v", h.event, h.event), func(t *testing.T) {
			s := newOrders()
			count(t, s, everything...)
			before := s.totals()
			// Said again, later, by somebody who gave it another id.
			count(t, s, told{time.Hour, h.event})
			if diff := cmp.Diff(before, s.totals(), bigNumbers); diff != "" {
				t.Errorf("a repetition was counted:\n%s", diff)
			}
		})
	}
}

func (w told) minute() time.Time { return start.Add(w.at).Truncate(time.Minute) }
