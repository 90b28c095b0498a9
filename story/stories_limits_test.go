//go:build unix

package story_test

import (
	"fmt"
	"net/http"
	"strings"

	"millrace/event"
)

// impatient: deadlines of seconds, and a carrier who takes longer. The order's is so much
// the longer that a payment which gives up is heard of in time.
var impatient = chapter{"impatient", settings{"PAYMENT_DEADLINE": "4s", "ORDER_DEADLINE": "20s", "CARRIER_STEP": "1h"}, []story{
	{"a pending payment is never decided", false, expires},
	{"the parcel is never shipped", false, isNeverShipped},
}}

func expires(s *shop) {
	expired := declinedAfterPending
	expired.Reason, expired.Payment = event.ReasonDeadline, "FAILED EXPIRED"
	s.places(paying("pm_pending_forever")).endsAsOneOf(heardOrNot(expired)...)
}

func isNeverShipped(s *shop) {
	tooLong := stopped
	tooLong.Reason = event.ReasonDeadline
	s.places().ends(tooLong)
}

// fragileProvider: the circuit breaker opens at the first failed call and stays open for
// seconds, so that an order stands still between two calls of the provider.
var fragileProvider = chapter{"a fragile provider", settings{
	"PROVIDER_BREAKER_MIN_CALLS": "1", "PROVIDER_BREAKER_FAILURE_RATIO": "0.01", "PROVIDER_BREAKER_OPEN_FOR": "3s", "PROVIDER_BREAKER_PROBES": "1",
}, []story{
	{"the customer cancels before the money", false, isCancelledBeforeTheMoney},
	{"the customer cancels, and the money had been taken", false, isCancelledAndFoundCaptured},
	{"payments wait while the breaker is open", false, waitsForTheProvider},
}}

var cancelledBeforeTheMoney = ending{
	Status: event.OrderIsCancelled, Reason: event.ReasonCustomer, Way: "AWAITING_PAYMENT CANCELLING CANCELLED",
	Payment: "FAILED CANCELLED", Stock: "RELEASED", Available: onTheShelf, Told: told(event.NoticePlaced, event.NoticeCancelled),
}

func isCancelledBeforeTheMoney(s *shop) {
	o := s.places(paying("pm_unavailable"))
	eventually(s.t, "the provider was called about order "+o.id, func() error {
		p, err := o.payment()
		if err == nil && p.Attempts == 0 {
			err = fmt.Errorf("the payment is %s, not called yet", p.Status)
		}
		return err
	})
	o.isNow(event.OrderAwaiting)
	o.cancels(http.StatusAccepted)
	o.ends(cancelledBeforeTheMoney)
}

// isCaptured waits until the provider's books say so, whatever the payment service knows.
func (o *placed) isCaptured() {
	o.t.Helper()
	eventually(o.t, "the provider takes the money for order "+o.id, func() error {
		var now ending
		err := o.looksInTheBooks(&now)
		if err == nil && now.Captured != 1 {
			err = fmt.Errorf("its books have %d captures", now.Captured)
		}
		return err
	})
}

func isCancelledAndFoundCaptured(s *shop) {
	o := s.places(paying("pm_timeout"))
	o.isCaptured() // and the answer is lost
	o.cancels(http.StatusAccepted)
	found := cancelledBeforeTheMoney
	found.Payment, found.Captured, found.Refunded = "REFUNDED CANCELLED", 1, 1
	found.Told = told(event.NoticePlaced, event.NoticeRefunded, event.NoticeCancelled)
	o.ends(found)
}

func waitsForTheProvider(s *shop) {
	lost := s.places(paying("pm_timeout"))
	lost.isCaptured() // and the answer is lost, so the breaker opens
	s.places().ends(delivered)
	lost.ends(delivered)
	if log := s.nodes[0].logged("circuit breaker"); !strings.Contains(log, "to=open") || !strings.Contains(log, "to=closed") {
		s.t.Errorf("the breaker did not open and close:\n%s", log)
	}
}
