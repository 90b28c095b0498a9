package order_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"millrace/event"
)

// step is one thing that can happen to an order: an event, a command, a deadline.
type step struct {
	name string
	do   func(s *shop, ctx context.Context) error
}

func hears(name string, e event.Event) step {
	return step{name, func(s *shop, ctx context.Context) error { return s.hear(ctx, e) }}
}

func parcel(status event.ParcelStatus) step {
	return hears(string(status), event.ShippingStatus{OrderID: id, Status: status, Carrier: "mill post", TrackingNumber: "t-1"})
}

var (
	place = step{"place", func(s *shop, ctx context.Context) error {
		_, err := s.service.Place(ctx, id, mugs())
		return err
	}}
	cancel = step{"cancel", func(s *shop, ctx context.Context) error {
		_, err := s.service.Cancel(ctx, id)
		return err
	}}
	dueDate      = step{"deadline", func(s *shop, ctx context.Context) error { return s.reachDeadline(ctx) }}
	reserved     = hears("reserved", event.InventoryReserved{OrderID: id, Items: mugs().Items})
	rejected     = hears("rejected", event.InventoryRejected{OrderID: id, Short: []event.Shortage{{SKU: "MUG-RED", Wanted: 2, Available: 1}}})
	released     = hears("released", event.InventoryReleased{OrderID: id, Cause: event.ReleasedPaymentFailed})
	pending      = hears("pending", event.PaymentPending{OrderID: id, ProviderRef: "p-1"})
	succeeded    = hears("succeeded", event.PaymentSucceeded{OrderID: id, ProviderRef: "p-1"})
	declined     = hears("declined", event.PaymentFailed{OrderID: id, Reason: event.FailedDeclined, Message: "no"})
	expired      = hears("expired", event.PaymentFailed{OrderID: id, Reason: event.FailedExpired})
	voided       = hears("voided", event.PaymentFailed{OrderID: id, Reason: event.FailedCancelled})
	captured     = hears("captured", event.PaymentFailed{OrderID: id, Reason: event.FailedCancelled, RefundFollows: true})
	refunded     = hears("refunded", event.PaymentRefunded{OrderID: id, ProviderRef: "r-1", AfterSuccess: true})
	refundFailed = hears("refund failed", event.PaymentRefundFailed{OrderID: id, Message: "account closed"})
	preparing    = parcel(event.ParcelPreparing)
	shipped      = parcel(event.ParcelShipped)
	delivered    = parcel(event.ParcelDelivered)
	stopped      = parcel(event.ParcelStopped)
	returned     = parcel(event.ParcelReturned)
	refused      = parcel(event.ParcelRefused)
	lost         = parcel(event.ParcelLost)
	recallFailed = parcel(event.ParcelRecallFailed)
)

var everyStep = []step{
	place, cancel, reserved, rejected, released, pending, succeeded, declined, expired, voided, captured, refunded,
	refundFailed, preparing, shipped, delivered, stopped, returned, refused, lost, recallFailed,
}

// outcomes is what each step makes of an order in one state. What is not listed is
// remembered, at most, and changes and says nothing else.
type outcomes map[string]string

const shipmentFailed = "CANCELLING(SHIPMENT_FAILED): OrderCancelled OrderStatusUpdated"

// TestEveryPair walks every state with everything that can happen in it.
func TestEveryPair(t *testing.T) {
	const byCustomer = "CANCELLING(CUSTOMER): OrderCancelled OrderStatusUpdated"
	failed := func(also outcomes) outcomes {
		all := outcomes{
			"declined": "PAYMENT_FAILED(PAYMENT_FAILED): OrderStatusUpdated",
			"expired":  "PAYMENT_FAILED(DEADLINE): OrderStatusUpdated",
			"voided":   "PAYMENT_FAILED(PAYMENT_FAILED): OrderStatusUpdated",
			"captured": "PAYMENT_FAILED(PAYMENT_FAILED): OrderStatusUpdated",
			"cancel":   byCustomer,
			"deadline": "CANCELLING(DEADLINE): OrderCancelled OrderStatusUpdated",
		}
		for name, outcome := range also {
			all[name] = outcome
		}
		return all
	}
	states := []struct {
		name  string
		steps []step
		want  outcomes
	}{
		{"", nil, outcomes{
			"place":  "PENDING: OrderCreated",
			"cancel": "error: unknown order",
		}},
		{"PENDING", []step{place}, failed(outcomes{
			"reserved": "AWAITING_PAYMENT: PaymentInitiated OrderStatusUpdated",
			"rejected": "CANCELLED(OUT_OF_STOCK): OrderStatusUpdated",
		})},
		{"PENDING, succeeded", []step{place, succeeded}, outcomes{
			"reserved": "PAID: PaymentInitiated OrderStatusUpdated OrderStatusUpdated",
			"rejected": "CANCELLED(OUT_OF_STOCK): OrderStatusUpdated",
			"declined": failed(nil)["declined"], "expired": failed(nil)["expired"],
			"voided": failed(nil)["voided"], "captured": failed(nil)["captured"],
			"cancel": byCustomer, "deadline": failed(nil)["deadline"],
		}},
		{"AWAITING_PAYMENT", []step{place, reserved}, failed(outcomes{
			"pending":   "PAYMENT_PENDING: OrderStatusUpdated",
			"succeeded": "PAID: OrderStatusUpdated",
		})},
		{"AWAITING_PAYMENT, parcel delivered", []step{place, reserved, preparing, shipped, delivered}, failed(outcomes{
			"pending":   "PAYMENT_PENDING: OrderStatusUpdated",
			"succeeded": "DELIVERED: OrderStatusUpdated OrderStatusUpdated OrderStatusUpdated",
		})},
		{"AWAITING_PAYMENT, parcel refused", []step{place, reserved, preparing, refused}, failed(outcomes{
			"pending":   "PAYMENT_PENDING: OrderStatusUpdated",
			"succeeded": "CANCELLING(SHIPMENT_FAILED): OrderStatusUpdated OrderCancelled OrderStatusUpdated",
		})},
		{"AWAITING_PAYMENT, released", []step{place, reserved, released}, outcomes{
			"pending":   "PAYMENT_PENDING: OrderStatusUpdated",
			"succeeded": "PAID: OrderStatusUpdated",
			"declined":  "CANCELLED(PAYMENT_FAILED): OrderStatusUpdated OrderStatusUpdated",
			"expired":   "CANCELLED(DEADLINE): OrderStatusUpdated OrderStatusUpdated",
			"voided":    "CANCELLED(PAYMENT_FAILED): OrderStatusUpdated OrderStatusUpdated",
			"captured":  "PAYMENT_FAILED(PAYMENT_FAILED): OrderStatusUpdated",
			"cancel":    byCustomer, "deadline": failed(nil)["deadline"],
		}},
		{"PAYMENT_PENDING", []step{place, reserved, pending}, failed(outcomes{
			"succeeded": "PAID: OrderStatusUpdated",
		})},
		{"PAID", []step{place, reserved, succeeded}, outcomes{
			"SHIPPED":   "SHIPPED: OrderStatusUpdated",
			"DELIVERED": "DELIVERED: OrderStatusUpdated OrderStatusUpdated",
			"REFUSED":   shipmentFailed, "LOST": shipmentFailed, "RETURNED": shipmentFailed, "STOPPED": shipmentFailed,
			"cancel": byCustomer, "deadline": failed(nil)["deadline"],
		}},
		{"SHIPPED", []step{place, reserved, succeeded, shipped}, outcomes{
			"DELIVERED": "DELIVERED: OrderStatusUpdated",
			"REFUSED":   shipmentFailed, "LOST": shipmentFailed, "RETURNED": shipmentFailed, "STOPPED": shipmentFailed,
			"cancel": "error: cannot be cancelled any more: it is SHIPPED",
		}},
		{"DELIVERED", []step{place, reserved, succeeded, shipped, delivered}, outcomes{
			"RETURNED": shipmentFailed,
			"cancel":   "error: cannot be cancelled any more: it is DELIVERED",
		}},
		{"PAYMENT_FAILED", []step{place, reserved, declined}, outcomes{
			"released": "CANCELLED(PAYMENT_FAILED): OrderStatusUpdated",
			// Contradicts the reservation, so it is not believed:
			"rejected":      "stays",
			"LOST":          "CANCELLED(PAYMENT_FAILED): OrderStatusUpdated",
			"refund failed": "NEEDS_ATTENTION(PAYMENT_FAILED): OrderStatusUpdated",
			"RECALL_FAILED": "NEEDS_ATTENTION(PAYMENT_FAILED): OrderStatusUpdated",
		}},
		{"CANCELLING before stock was known", []step{place, cancel}, outcomes{
			"refund failed": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
			"RECALL_FAILED": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
		}},
		{"CANCELLING, rejected", []step{place, cancel, rejected}, outcomes{
			"declined": "CANCELLED(CUSTOMER): OrderStatusUpdated", "expired": "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"voided": "CANCELLED(CUSTOMER): OrderStatusUpdated", "refunded": "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"refund failed": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
			"RECALL_FAILED": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
		}},
		{"CANCELLING, captured, released", []step{place, reserved, cancel, captured, released}, outcomes{
			"refunded":      "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"refund failed": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
			"RECALL_FAILED": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
		}},
		{"CANCELLING a paid order, refunded", []step{place, reserved, succeeded, cancel, refunded}, outcomes{
			"released":      "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"LOST":          "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"RECALL_FAILED": "NEEDS_ATTENTION(CUSTOMER): OrderStatusUpdated",
		}},
		{"CANCELLING at the deadline", []step{place, reserved, dueDate, voided}, outcomes{
			"released":      "CANCELLED(DEADLINE): OrderStatusUpdated",
			"LOST":          "CANCELLED(DEADLINE): OrderStatusUpdated",
			"refund failed": "NEEDS_ATTENTION(DEADLINE): OrderStatusUpdated",
			"RECALL_FAILED": "NEEDS_ATTENTION(DEADLINE): OrderStatusUpdated",
		}},
		{"CANCELLED", []step{place, rejected}, nil},
		{"NEEDS_ATTENTION, refund", []step{place, reserved, succeeded, cancel, released, refundFailed}, outcomes{
			"refunded": "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"cancel":   "error: cannot be cancelled any more: it is NEEDS_ATTENTION",
		}},
		{"NEEDS_ATTENTION, recall", []step{place, reserved, succeeded, cancel, refunded, recallFailed}, outcomes{
			"released": "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"LOST":     "CANCELLED(CUSTOMER): OrderStatusUpdated",
			"cancel":   "error: cannot be cancelled any more: it is NEEDS_ATTENTION",
		}},
	}
	for _, state := range states {
		for _, news := range append(everyStep, dueDate) {
			t.Run(state.name+"/"+news.name, func(t *testing.T) {
				s := newShop(t)
				for _, step := range state.steps {
					if err := step.do(s, s.cause()); err != nil {
						t.Fatalf("on the way to the state: %s: %v", step.name, err)
					}
				}
				before := s.order()
				if news.name == "deadline" && !waitsFor(s, event.DeadlineStep) {
					return // the executor drops an answer nobody waits for
				}
				s.said = nil
				err := news.do(s, s.cause())

				want := state.want[news.name]
				if refusal, refuses := strings.CutPrefix(want, "error: "); refuses {
					if err == nil || !strings.Contains(err.Error(), refusal) {
						t.Fatalf("got error %v, want one that says %q", err, refusal)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if want == "" || want == "stays" {
					want = standing(before.Status, before.Reason) + ":"
				}
				after := s.order()
				got := standing(after.Status, after.Reason) + ":" + names(s.said)
				if got != want {
					t.Errorf("\n got %s\nwant %s", got, want)
				}
			})
		}
	}
}

func waitsFor(s *shop, step string) bool {
	o := s.order()
	for _, wait := range policy.Due(&o) {
		if wait.Step == step {
			return true
		}
	}
	return false
}

func standing(status event.OrderStatus, reason event.CancelReason) string {
	if reason == "" {
		return string(status)
	}
	return fmt.Sprintf("%s(%s)", status, reason)
}

func names(events []event.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, " %s", strings.TrimPrefix(fmt.Sprintf("%T", e), "event."))
	}
	return b.String()
}
