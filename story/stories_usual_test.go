//go:build unix

package story_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"millrace/event"
)

// theUsual: everything as it is by default, but for a quick carrier.
var theUsual = chapter{"the usual", settings{}, []story{
	{"an order is paid, shipped and delivered", true, isDelivered},
	{"an order is collected in the shop, by a customer who left no address at all", false, isCollected},
	{"out of stock", true, isOutOfStock},
	{"nobody has heard of the article", false, isOfUnknownArticle},
	{"the payment is declined", true, isDeclined},
	{"a pending payment is accepted", true, isAcceptedLater},
	{"a pending payment is declined", false, isDeclinedLater},
	{"the provider's answers are lost", false, isPaidDespiteLostAnswers},
	{"the provider is down for a while", false, isPaidAfterAnOutage},
	{"the carrier refuses the parcel", true, isRefusedByTheCarrier},
	{"the carrier loses the parcel", false, isLost},
	{"the customer cancels while the payment is pending", true, isCancelledWhilePending},
	{"the customer cancels again and again", false, isCancelledAgainAndAgain},
	{"the customer cancels what has arrived", false, isCancelledTooLate},
	{"the provider calls back", false, isSettledByCallback},
	{"the shop sends an order twice", false, isSentTwice},
}}

// delivered is how the usual order ends.
var delivered = ending{
	Status: event.OrderDelivered, Way: "AWAITING_PAYMENT PAID SHIPPED DELIVERED",
	Payment: "SUCCEEDED", Stock: "SOLD", Parcel: "PREPARING SHIPPED DELIVERED", Captured: 1,
	Told:      told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeShipped, event.NoticeDelivered),
	Available: onTheShelf - wanted, Sold: wanted,
}

// deliveredAfterPending is the same after the provider took its time.
var deliveredAfterPending = func() ending {
	e := delivered
	e.Way = "AWAITING_PAYMENT PAYMENT_PENDING PAID SHIPPED DELIVERED"
	e.Told = told(event.NoticePlaced, event.NoticePending, event.NoticePaid, event.NoticePreparing, event.NoticeShipped, event.NoticeDelivered)
	return e
}()

// declined is how an order ends that nobody paid.
var declined = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonPaymentFailed, Way: "AWAITING_PAYMENT PAYMENT_FAILED CANCELLED",
	Payment: "FAILED DECLINED", Stock: "RELEASED", Available: onTheShelf,
	Told: told(event.NoticePlaced, event.NoticePaymentFailed, event.NoticeCancelled),
}

// declinedAfterPending is the same after the provider took its time.
var declinedAfterPending = func() ending {
	e := declined
	e.Way = "AWAITING_PAYMENT PAYMENT_PENDING PAYMENT_FAILED CANCELLED"
	e.Told = told(event.NoticePlaced, event.NoticePending, event.NoticePaymentFailed, event.NoticeCancelled)
	return e
}()

var outOfStock = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonOutOfStock, Way: "CANCELLED",
	Stock: "REJECTED", Available: onTheShelf, Told: told(event.NoticePlaced, event.NoticeCancelled),
}

var cancelledWhilePending = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonCustomer, Way: "AWAITING_PAYMENT PAYMENT_PENDING CANCELLING CANCELLED",
	Payment: "FAILED CANCELLED", Stock: "RELEASED", Available: onTheShelf,
	Told: told(event.NoticePlaced, event.NoticePending, event.NoticeCancelled),
}

func isDelivered(s *shop) { s.places().ends(delivered) }

func isCollected(s *shop) { s.places(collected(), reachedBy(nil)).ends(delivered) }

func isOutOfStock(s *shop) {
	s.places(buying(s.article(onTheShelf), onTheShelf+1)).ends(outOfStock)
}

func isOfUnknownArticle(s *shop) {
	unknown := outOfStock
	unknown.Available = 0
	s.places(buying("NOBODY-HEARD-OF-IT", 1)).ends(unknown)
}

func isDeclined(s *shop) { s.places(paying("pm_declined")).ends(declined) }

func isAcceptedLater(s *shop) {
	s.places(paying("pm_pending_accepted")).endsAsOneOf(heardOrNot(deliveredAfterPending)...)
}

func isDeclinedLater(s *shop) {
	s.places(paying("pm_pending_declined")).endsAsOneOf(heardOrNot(declinedAfterPending)...)
}

// heardOrNot: whether an order hears that its payment is pending before it hears how that ended, in another topic, is open.
func heardOrNot(e ending) []ending { return []ending{e, without(e, "PAYMENT_PENDING ")} }

func isPaidDespiteLostAnswers(s *shop) {
	o := s.places(paying("pm_timeout"))
	o.ends(delivered)
	o.tookAtLeast(3)
}

func isPaidAfterAnOutage(s *shop) {
	o := s.places(paying("pm_unavailable"))
	o.ends(delivered)
	o.tookAtLeast(4)
}

// tookAtLeast: the charge took that many calls, else the provider did not do what the story is about.
func (o *placed) tookAtLeast(calls int) {
	o.t.Helper()
	p, err := o.payment()
	if err != nil || p.Attempts < calls {
		o.t.Errorf("the charge took %d calls, want %d at least (%v)", p.Attempts, calls, err)
	}
}

var refusedByTheCarrier = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonShipmentFailed, Way: "AWAITING_PAYMENT PAID CANCELLING CANCELLED",
	Payment: "REFUNDED", Captured: 1, Refunded: 1, Stock: "RELEASED", Available: onTheShelf, Parcel: "PREPARING REFUSED STOPPED",
	Told: told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeRefunded, event.NoticeCancelled),
}

func isRefusedByTheCarrier(s *shop) { s.places(shippedTo("SHIP-REFUSED")).ends(refusedByTheCarrier) }

func isLost(s *shop) {
	s.places(shippedTo("SHIP-LOST")).ends(ending{
		Status: event.OrderIsCancelled, Reason: event.ReasonShipmentFailed, Way: "AWAITING_PAYMENT PAID SHIPPED CANCELLING CANCELLED",
		Payment: "REFUNDED", Captured: 1, Refunded: 1,
		Stock: "SOLD", Available: onTheShelf - wanted, Sold: wanted, Parcel: "PREPARING SHIPPED LOST",
		Told: told(event.NoticePlaced, event.NoticePaid, event.NoticePreparing, event.NoticeShipped, event.NoticeRefunded, event.NoticeCancelled),
	})
}

// cancels is the customer's wish; want is the status it must be answered with.
func (o *placed) cancels(want int) {
	o.t.Helper()
	o.do(http.MethodPost, "/orders/"+o.id+"/cancel", nil, nil, want, nil)
}

func isCancelledWhilePending(s *shop) {
	o := s.places(paying("pm_pending_forever"))
	o.isNow(event.OrderPaymentPending)
	o.cancels(http.StatusAccepted)
	o.ends(cancelledWhilePending)
}

func isCancelledAgainAndAgain(s *shop) {
	o := s.places(paying("pm_pending_forever"))
	o.isNow(event.OrderPaymentPending)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			status, answer, err := s.try(http.MethodPost, "/orders/"+o.id+"/cancel", nil, nil)
			if err != nil || status != http.StatusAccepted {
				s.t.Errorf("a cancel is answered %d %s (%v), want 202", status, answer, err)
			}
		})
	}
	all.Wait()
	o.ends(cancelledWhilePending)
	o.cancels(http.StatusAccepted) // nothing is left to cancel, and nobody minds
	o.ends(cancelledWhilePending)
}

func isCancelledTooLate(s *shop) {
	o := s.places()
	o.isNow(event.OrderDelivered)
	o.cancels(http.StatusConflict)
	o.ends(delivered)
}

// providerSays is a callback of the provider; want is the status it must be answered with.
func (o *placed) providerSays(secret, eventID, status string, want int) {
	o.t.Helper()
	body := encode(o.t, map[string]string{"orderId": o.id, "eventId": eventID, "status": status, "providerRef": "ref-" + eventID})
	o.calledBack("/payments/callback", secret, body, want)
}

func (o *placed) calledBack(path, secret string, body []byte, want int) {
	o.t.Helper()
	status, answer, err := o.try(http.MethodPost, path, signed(secret, body), body)
	if err != nil || status != want {
		o.t.Fatalf("the callback %s is answered %d %s (%v), want %d", body, status, answer, err, want)
	}
}

// What the provider's word is worth: nothing if somebody else signed it, once if it comes twice.
func isSettledByCallback(s *shop) {
	o := s.places(paying("pm_pending_forever"))
	o.isNow(event.OrderPaymentPending)
	o.providerSays("somebody else's secret", "forged", "captured", http.StatusUnauthorized)
	stranger := &placed{shop: s, id: "0199c0de-0000-7000-8000-00000000dead"}
	stranger.providerSays(providerSecret, "lost its way", "captured", http.StatusNotFound)
	for range 2 {
		o.providerSays(providerSecret, "decided", "declined", http.StatusNoContent)
	}
	o.ends(declinedAfterPending)

	paid := s.places(paying("pm_pending_accepted"))
	paid.isNow(event.OrderPaid)
	for _, late := range []string{"captured", "captured", "declined"} { // the first word stays
		paid.providerSays(providerSecret, "late and "+late, late, http.StatusNoContent)
	}
	paid.endsAsOneOf(heardOrNot(deliveredAfterPending)...)
}

// One key is one order, however often and however fast it is sent, and no other order.
func isSentTwice(s *shop) {
	key := header{"Idempotency-Key": fmt.Sprintf("basket-%d", customers.Add(1))}
	body := s.order()
	text := encode(s.t, body)
	const shops = 8
	ids := make(chan string, shops)
	var all sync.WaitGroup
	for range shops {
		all.Go(func() {
			status, answer, err := s.try(http.MethodPost, "/orders", key, text)
			if err != nil || status != http.StatusAccepted {
				s.t.Errorf("POST /orders answers %d %s (%v)", status, answer, err)
			}
			var accepted struct{ OrderID string }
			if err := json.Unmarshal(answer, &accepted); err != nil {
				s.t.Errorf("POST /orders answers %s: %v", answer, err)
			}
			ids <- accepted.OrderID
		})
	}
	all.Wait()
	first := <-ids
	for range shops - 1 {
		if id := <-ids; id != first {
			s.t.Errorf("one key, two orders: %s and %s", first, id)
		}
	}
	other := body
	other.PaymentMethod = "pm_declined"
	s.do(http.MethodPost, "/orders", key, other, http.StatusUnprocessableEntity, nil)

	var again struct{ OrderID, CorrelationID string }
	s.do(http.MethodPost, "/orders", key, body, http.StatusAccepted, &again)
	o := &placed{shop: s, id: again.OrderID, correlation: again.CorrelationID, body: body}
	o.ends(delivered)
	var list struct{ Orders []struct{ OrderID string } }
	s.do(http.MethodGet, "/orders?customerId="+body.CustomerID, nil, nil, http.StatusOK, &list)
	if len(list.Orders) != 1 || list.Orders[0].OrderID != again.OrderID {
		s.t.Errorf("the customer has the orders %v, want one, %s", list.Orders, again.OrderID)
	}
}
