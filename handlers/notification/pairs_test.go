package notification_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/notification"
)

// The table of what the customer hears: every event that notification hears, with
// every value that makes a difference, and the kind of notice it is.
var heard = []struct {
	event event.Event
	kind  event.NoticeKind // empty: nothing is told
}{
	{created, event.NoticePlaced},
	{event.PaymentPending{OrderID: orderID}, event.NoticePending},
	{event.PaymentSucceeded{OrderID: orderID}, event.NoticePaid},
	{event.PaymentFailed{OrderID: orderID, Reason: event.FailedDeclined}, event.NoticePaymentFailed},
	{event.PaymentFailed{OrderID: orderID, Reason: event.FailedExpired}, event.NoticePaymentFailed},
	{event.PaymentFailed{OrderID: orderID, Reason: event.FailedCancelled}, ""},
	{event.PaymentFailed{OrderID: orderID, Reason: "OF_A_NEWER_VERSION"}, ""},
	{event.PaymentRefunded{OrderID: orderID}, event.NoticeRefunded},
	{event.PaymentRefundFailed{OrderID: orderID}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelPreparing}, event.NoticePreparing},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelShipped}, event.NoticeShipped},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelDelivered}, event.NoticeDelivered},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelStopped}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelReturned}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelRefused}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelLost}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: event.ParcelRecallFailed}, ""},
	{event.ShippingStatus{OrderID: orderID, Status: "OF_A_NEWER_VERSION"}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPending}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderAwaiting}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPaymentPending}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPaymentFailed}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderPaid}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderShipped}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderDelivered}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderCancelling}, ""},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderIsCancelled}, event.NoticeCancelled},
	{event.OrderStatusUpdated{OrderID: orderID, Status: event.OrderNeedsAttention}, event.NoticeNeedsAttention},
	{event.OrderStatusUpdated{OrderID: orderID, Status: "OF_A_NEWER_VERSION"}, ""},
}

// TestEveryStateAndEvent walks each state of a row with each event.
func TestEveryStateAndEvent(t *testing.T) {
	states := []struct {
		name  string
		book  notification.AddressBook
		reach func(*testing.T, *world)
		// told is what the customer was told before; goesOut whether notices go out at once.
		told    []event.NoticeKind
		goesOut bool
		// and what is told once everything held was let go.
		letGo func(*testing.T, *world)
	}{
		{
			name:  "unknown order",
			letGo: func(t *testing.T, w *world) { w.hear(t, created) },
		},
		{
			name:  "addresses being looked up",
			book:  &addressBook{found: ada, err: errors.New("the address book is away")},
			reach: func(t *testing.T, w *world) { w.hear(t, created) },
			letGo: func(t *testing.T, w *world) {},
		},
		{
			name:    "known order",
			reach:   func(t *testing.T, w *world) { w.hear(t, created) },
			told:    []event.NoticeKind{event.NoticePlaced},
			goesOut: true,
			letGo:   func(t *testing.T, w *world) {},
		},
	}
	for _, state := range states {
		for _, h := range heard {
			t.Run(fmt.Sprintf("%s/%T %v", state.name, h.event, h.event), func(t *testing.T) {
				w := newWorld(t, state.book)
				if state.reach != nil {
					state.reach(t, w)
				}
				w.settle(t)
				if diff := cmp.Diff(steps(state.told...), w.provider.told()); diff != "" {
					t.Fatalf("told before (-want +got):\n%s", diff)
				}

				w.hear(t, h.event)
				w.settle(t)
				want := slices.Clone(state.told)
				if h.kind != "" && state.goesOut && !slices.Contains(want, h.kind) {
					want = append(want, h.kind)
				}
				_, opens := h.event.(event.OrderCreated)
				if opens && state.name == "unknown order" {
					want = append(want, event.NoticePlaced)
				}
				if diff := cmp.Diff(steps(want...), w.provider.told()); diff != "" {
					t.Fatalf("told (-want +got):\n%s", diff)
				}

				// Nothing that was held is lost.
				if b, ok := state.book.(*addressBook); ok {
					was := b.err
					b.err = nil
					defer func() { b.err = was }()
				}
				state.letGo(t, w)
				w.settle(t)
				want = []event.NoticeKind{event.NoticePlaced}
				if h.kind != "" && h.kind != event.NoticePlaced {
					want = append(want, h.kind)
				}
				if diff := cmp.Diff(steps(want...), w.provider.told()); diff != "" {
					t.Fatalf("told in the end (-want +got):\n%s", diff)
				}
				var said []string
				for _, e := range w.orders.said {
					s := e.(event.NotificationSent)
					said = append(said, string(s.Kind)+"/"+string(s.Channel))
				}
				if diff := cmp.Diff(steps(want...), said); diff != "" {
					t.Fatalf("said (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// steps is every kind on every channel, in the order they go out.
func steps(kinds ...event.NoticeKind) (out []string) {
	for _, kind := range kinds {
		for _, channel := range all {
			out = append(out, string(kind)+"/"+channel)
		}
	}
	return out
}
