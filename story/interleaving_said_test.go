package story_test

import (
	"fmt"
	"strconv"
	"time"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/outbox"
	"millrace/transport"
)

// interleavingSaid is what has been published about one order.
type interleavingSaid struct {
	versions map[string]int64 // by publisher
	once     map[string]bool
	status   event.OrderStatus // as of the last OrderStatusUpdated
	reason   event.CancelReason
	events   []event.Event
}

// interleavingWords are the words of an event that may be said once per order.
func interleavingWords(e event.Event) []string {
	switch e := e.(type) {
	case event.InventoryReserved:
		return []string{"reserved or rejected"}
	case event.InventoryRejected:
		return []string{"reserved or rejected", "rejected or released"}
	case event.InventoryReleased:
		return []string{"rejected or released"}
	case event.PaymentSucceeded:
		return []string{"succeeded or failed"}
	case event.PaymentFailed:
		return []string{"succeeded or failed", "failed or stock sold", "failed or parcel sent"}
	case event.InventoryUpdate:
		return []string{"failed or stock sold"}
	case event.ShippingInitiate:
		return []string{"failed or parcel sent"}
	case event.OrderStatusUpdated:
		return []string{"order " + string(e.Status)}
	case event.ShippingStatus:
		return []string{"parcel " + string(e.Status)}
	case event.NotificationSent:
		return []string{fmt.Sprint("notice ", e.Kind, e.Channel)}
	case event.PaymentRefundFailed: // each refund may be refused
		return nil
	default:
		return []string{fmt.Sprintf("%T", e)}
	}
}

// note checks what a service has just published: the versions of an order are
// contiguous, nothing is said twice, and it belongs to the order's one story.
func (w *interleavingWorld) note(service string, rec transport.Record, e event.Event) {
	w.t.Helper()
	head := map[string]string{}
	for _, h := range rec.Headers {
		head[h.Key] = string(h.Value)
	}
	said := w.said[e.Key()]
	if said == nil {
		said = &interleavingSaid{versions: map[string]int64{}, once: map[string]bool{}, status: event.OrderPending}
		w.said[e.Key()] = said
	}
	said.versions[service]++
	if got, want := head[outbox.HeaderOrderVersion], strconv.FormatInt(said.versions[service], 10); got != want && w.wire == nil { // topics have no order among each other
		w.t.Fatalf("%s says %s as version %s, want %s", service, interleavingBrief(e), got, want)
	}
	if got, want := head[outbox.HeaderCorrelationID], "corr-"+string(e.Key()); got != want {
		w.t.Fatalf("%s says %s under the correlation id %q, want %q", service, interleavingBrief(e), got, want)
	}
	if head[outbox.HeaderCausationID] == "" {
		w.t.Fatalf("%s says %s and does not say why", service, interleavingBrief(e))
	}
	for _, word := range interleavingWords(e) {
		if said.once[word] {
			w.t.Fatalf("%s says %s: %q has been said before", service, interleavingBrief(e), word)
		}
		said.once[word] = true
	}
	if e, ok := e.(event.OrderStatusUpdated); ok {
		if e.Previous != said.status {
			w.t.Fatalf("the order goes from %s to %s, but it was %s", e.Previous, e.Status, said.status)
		}
		if said.reason != "" && e.Reason != said.reason {
			w.t.Fatalf("the order says %s, but its first reason was %s", interleavingBrief(e), said.reason)
		}
		said.status, said.reason = e.Status, e.Reason
		if e.Status == event.OrderIsCancelled {
			w.checkUndone(e.OrderID)
		}
	}
	at, err := time.Parse(time.RFC3339Nano, head[outbox.HeaderTime])
	w.must(err)
	said.events = append(said.events, e)
	w.log = append(w.log, interleavingEvent{e, at})
}

// interleavingHas tells whether an event was said that is as wanted.
func interleavingHas[E event.Event](s *interleavingSaid, want func(E) bool) bool {
	for _, e := range s.events {
		if e, ok := e.(E); ok && want(e) {
			return true
		}
	}
	return false
}

// noteEarly notes messages that overtake what they build on, before they are delivered.
func (w *interleavingWorld) noteEarly(m interleavingMessage) {
	id := m.event.Key()
	switch m.service {
	case "order":
		w.noteEarlyAtOrder(m.event)
	case "payment":
		row, heard := w.payment.row(id)
		if _, cancel := m.event.(event.OrderCancelled); cancel && !heard {
			w.reached(earlyCancelAtPayment)
		}
		if _, initiated := m.event.(event.PaymentInitiated); initiated && row.Cancelled {
			w.reached(tombstoneAtPayment)
		}
	case "inventory":
		row, heard := w.stock.row(id)
		switch e := m.event.(type) {
		case event.PaymentFailed:
			if !heard {
				w.reached(earlyFailureAtInventory)
			}
		case event.ShippingStatus:
			if (e.Status == event.ParcelStopped || e.Status == event.ParcelReturned) && row.Status == inventory.Reserved {
				w.reached(earlyParcelAtInventory)
			}
		}
	case "shipping":
		row, heard := w.shipping.row(id)
		if _, cancel := m.event.(event.OrderCancelled); cancel && !heard {
			w.reached(earlyCancelAtShipping)
		}
		if _, initiate := m.event.(event.ShippingInitiate); initiate && row.Cancelled {
			w.reached(tombstoneAtShipping)
		}
	case "notification":
		if _, heard := w.notices.row(id); heard {
			return
		}
		if _, created := m.event.(event.OrderCreated); !created {
			w.reached(earlyNotice)
		}
	}
}

func (w *interleavingWorld) noteEarlyAtOrder(e event.Event) {
	row, _ := w.order.row(e.Key())
	switch e := e.(type) {
	case event.PaymentSucceeded:
		if row.Status == event.OrderCancelling {
			w.reached(lateSuccess)
		}
	case event.PaymentFailed:
		if e.RefundFollows {
			w.reached(capturedAfterCancel)
		}
	case event.InventoryReserved:
		if row.Status == event.OrderCancelling {
			w.reached(lateReservation)
		}
	case event.InventoryReleased:
		if e.Cause == event.ReleasedPaymentFailed && row.Payment.Failed == "" {
			w.reached(earlyReleaseAtOrder)
		}
	case event.PaymentRefunded:
		if e.AfterSuccess && !row.Payment.Succeeded {
			w.reached(earlyRefundAtOrder)
		}
	case event.ShippingStatus:
		if e.Status == event.ParcelShipped && !row.Payment.Succeeded {
			w.reached(earlyParcelAtOrder)
		}
	}
}
