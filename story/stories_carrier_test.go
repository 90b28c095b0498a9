//go:build unix

package story_test

import (
	"encoding/json"
	"net/http"

	"millrace/event"
)

// carrierByHand: the simulated carrier is in no hurry, so a parcel moves when the story
// says so, in a callback of the carrier's.
var carrierByHand = chapter{"the carrier by hand", settings{"CARRIER_STEP": "1h"}, []story{
	{"the customer cancels after the money, while the parcel is packed", false, isStopped},
	{"the customer cancels what would be collected in the shop", false, isPutBackOnTheShelf},
	{"the customer cancels when the parcel has left", false, isCancelledAfterItLeft},
	{"the parcel comes back by itself", false, comesBack},
	{"the refund is refused, and settled in another way", false, isSettledByAnOperator},
	{"the refund is refused, tried again, and refused again", false, isRefusedTwice},
	{"the parcel cannot be called back, and comes back after all", false, comesBackAfterAll},
	{"the parcel cannot be called back, and is written off", false, isWrittenOff},
	{"the carrier calls back", false, isMovedByCallback},
}}

// stopped is how a paid order ends whose parcel has not left.
var stopped = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonCustomer, Way: "AWAITING_PAYMENT PAID CANCELLING CANCELLED",
	Payment: "REFUNDED", Captured: 1, Refunded: 1, Stock: "RELEASED", Available: onTheShelf, Parcel: "PREPARING STOPPED",
	Told: told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeRefunded, event.NoticeCancelled),
}

// isBeingPacked waits until order and shipping both know of the money.
func (o *placed) isBeingPacked() {
	o.t.Helper()
	o.isNow(event.OrderPaid)
	o.parcelIs("PREPARING")
}

// carrierSays is a callback of the carrier; it tells whether it counted.
func (o *placed) carrierSays(eventID, status string) (applied bool) {
	o.t.Helper()
	body := o.report(eventID, status)
	code, answer, err := o.try(http.MethodPost, "/shipments/"+o.id+"/status", signed(carrierSecret, body), body)
	if err != nil || code != http.StatusOK {
		o.t.Fatalf("the carrier's %s is answered %d %s (%v)", status, code, answer, err)
	}
	var taken struct{ Applied bool }
	if err := json.Unmarshal(answer, &taken); err != nil {
		o.t.Fatalf("the carrier's %s is answered %s: %v", status, answer, err)
	}
	return taken.Applied
}

func (o *placed) report(eventID, status string) []byte {
	return encode(o.t, map[string]string{"orderId": o.id, "eventId": o.id + eventID, "status": status, "carrier": "By Hand", "trackingNumber": "HAND-1"})
}

func isStopped(s *shop) {
	o := s.places()
	o.isBeingPacked()
	o.cancels(http.StatusAccepted)
	o.ends(stopped)
}

func isPutBackOnTheShelf(s *shop) {
	o := s.places(collected())
	o.isBeingPacked()
	o.cancels(http.StatusAccepted)
	o.ends(stopped)
}

func isCancelledAfterItLeft(s *shop) {
	o := s.places()
	o.isBeingPacked()
	o.carrierSays("left", "SHIPPED")
	o.isNow(event.OrderShipped)
	o.cancels(http.StatusConflict)
	o.carrierSays("arrived", "DELIVERED")
	o.ends(delivered)
}

func comesBack(s *shop) {
	o := s.places()
	o.isBeingPacked()
	o.carrierSays("left", "SHIPPED")
	o.isNow(event.OrderShipped)
	o.carrierSays("back", "RETURNED")
	o.ends(ending{
		Status: event.OrderIsCancelled, Reason: event.ReasonShipmentFailed, Way: "AWAITING_PAYMENT PAID SHIPPED CANCELLING CANCELLED",
		Payment: "REFUNDED", Captured: 1, Refunded: 1, Stock: "RETURNED", Available: onTheShelf, Parcel: "PREPARING SHIPPED RETURNED",
		Told: told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeShipped, event.NoticeRefunded, event.NoticeCancelled),
	})
}

// settledByAnOperator: the provider has kept the money, by its own books.
var settledByAnOperator = func() ending {
	e := stopped
	e.Way, e.Refunded = "AWAITING_PAYMENT PAID CANCELLING NEEDS_ATTENTION CANCELLED", 0
	e.Told = told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeNeedsAttention, event.NoticeRefunded, event.NoticeCancelled)
	return e
}()

// refusedRefund brings an order to where an operator is needed.
func refusedRefund(s *shop) *placed {
	o := s.places(paying("pm_refund_refused"))
	o.isBeingPacked()
	o.cancels(http.StatusAccepted)
	o.isNow(event.OrderNeedsAttention)
	o.parcelIs("STOPPED")
	o.paymentIs("REFUND_FAILED")
	o.cancels(http.StatusConflict)
	return o
}

// operator decides about a refused refund; want is the status it must be answered with.
func (o *placed) operator(path, action string, want int) {
	o.t.Helper()
	o.do(http.MethodPost, path, nil, map[string]string{"action": action, "note": "as agreed on the phone"}, want, nil)
}

func isSettledByAnOperator(s *shop) {
	o := refusedRefund(s)
	o.operator("/payments/"+o.id+"/refund", "settled", http.StatusAccepted)
	o.ends(settledByAnOperator)
	o.operator("/payments/"+o.id+"/refund", "settled", http.StatusConflict)
}

func isRefusedTwice(s *shop) {
	o := refusedRefund(s)
	o.operator("/payments/"+o.id+"/refund", "retry", http.StatusAccepted)
	eventually(s.t, "the second refund of order "+o.id+" is refused", func() error {
		p, err := o.payment()
		if err != nil {
			return err
		}
		if p.Refund != nil && p.Refund.Number == 2 {
			return lastIs(p.Status, "REFUND_FAILED")
		}
		return lastIs("no second refund", "a second refund")
	})
	o.operator("/payments/"+o.id+"/refund", "settled", http.StatusAccepted)
	o.ends(settledByAnOperator)
}

// pastRecall brings an order to where an operator has to look for the parcel.
func pastRecall(s *shop) *placed {
	o := s.places(shippedTo("SHIP-NO-RECALL"))
	o.isBeingPacked()
	o.cancels(http.StatusAccepted)
	o.isNow(event.OrderNeedsAttention)
	o.parcelIs("RECALL_FAILED")
	o.paymentIs("REFUNDED")
	return o
}

var foundAgain = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonCustomer, Way: "AWAITING_PAYMENT PAID CANCELLING NEEDS_ATTENTION CANCELLED",
	Payment: "REFUNDED", Captured: 1, Refunded: 1, Stock: "RETURNED", Available: onTheShelf, Parcel: "PREPARING SHIPPED RECALL_FAILED RETURNED",
	Told: told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeShipped, event.NoticeRefunded, event.NoticeNeedsAttention, event.NoticeCancelled),
}

func comesBackAfterAll(s *shop) {
	o := pastRecall(s)
	o.operator("/shipments/"+o.id+"/resolve", "returned", http.StatusOK)
	o.ends(foundAgain)
	o.operator("/shipments/"+o.id+"/resolve", "returned", http.StatusConflict)
}

func isWrittenOff(s *shop) {
	o := pastRecall(s)
	o.operator("/shipments/"+o.id+"/resolve", "written-off", http.StatusOK)
	writtenOff := foundAgain
	writtenOff.Stock, writtenOff.Available, writtenOff.Sold = "SOLD", onTheShelf-wanted, wanted
	writtenOff.Parcel = "PREPARING SHIPPED RECALL_FAILED LOST"
	o.ends(writtenOff)
}

// What the carrier's word is worth: nothing if somebody else signed it, once if it comes
// twice, and what comes too late is ignored.
func isMovedByCallback(s *shop) {
	o := s.places()
	o.isBeingPacked()
	o.calledBack("/shipments/"+o.id+"/status", "somebody else's secret", o.report("forged", "LOST"), http.StatusUnauthorized)
	if !o.carrierSays("arrived", "DELIVERED") { // before the report that it left
		s.t.Error("the carrier's DELIVERED did not count")
	}
	o.carrierSays("arrived", "DELIVERED")
	if o.carrierSays("left", "SHIPPED") {
		s.t.Error("SHIPPED counted after DELIVERED")
	}
	o.ends(delivered)
}
