package demo

import (
	"net/http"

	"millrace/event"
)

// Scenario is one kind of order: what is peculiar about it, what its customer does, and how
// it must end.
type Scenario struct {
	Name  string
	About string

	weight     int    // in DefaultMix
	method     string // the payment method
	postalCode string // empty: an ordinary one
	collected  bool   // no address
	soldOut    bool   // one line that nobody has on stock
	// cancelOn are the statuses in which the customer cancels; none: never.
	cancelOn []event.OrderStatus
	// tooLate: the cancel must be refused.
	tooLate bool
	status  event.OrderStatus
	reason  event.CancelReason
}

// The names the simulated provider and carrier react to. They are part of the REST
// interface, so they are written here as any shop would.
const (
	pmAccepted      = "pm_accepted"
	ordinaryPostal  = "BA1 1AA"
	postalSlow      = "SHIP-SLOW"
	postalRefused   = "SHIP-REFUSED"
	postalLost      = "SHIP-LOST"
	postalNoRecall  = "SHIP-NO-RECALL"
	pmForever       = "pm_pending_forever"
	pmRefundRefused = "pm_refund_refused"
)

// anyStatus is every status an order can be in: cancel at once.
var anyStatus = []event.OrderStatus{
	event.OrderPending, event.OrderAwaiting, event.OrderPaymentPending, event.OrderPaymentFailed, event.OrderPaid,
	event.OrderShipped, event.OrderDelivered, event.OrderCancelling, event.OrderIsCancelled, event.OrderNeedsAttention,
}

// Statuses from a given one on, because a poller may miss the first.
var (
	onceUndecided = anyStatus[2:]
	oncePaid      = anyStatus[4:]
	onceShipped   = anyStatus[5:]
)

// scenarios is every scenario, in the order they are shown.
var scenarios = []*Scenario{
	{Name: "accepted", About: "paid at once, delivered", weight: 52, method: pmAccepted, status: event.OrderDelivered},
	{Name: "collected", About: "no address: collected in the shop", weight: 3, method: pmAccepted, collected: true, status: event.OrderDelivered},
	{Name: "pending-accepted", About: "the provider decides later: yes", weight: 5, method: "pm_pending_accepted", status: event.OrderDelivered},
	{Name: "timeout", About: "charged, but the first answers are lost", weight: 3, method: "pm_timeout", status: event.OrderDelivered},
	{Name: "unavailable", About: "the provider is down for the first tries", weight: 3, method: "pm_unavailable", status: event.OrderDelivered},
	{Name: "ship-slow", About: "a slow carrier", weight: 2, method: pmAccepted, postalCode: postalSlow, status: event.OrderDelivered},
	{Name: "declined", About: "payment declined", weight: 6, method: "pm_declined", status: event.OrderIsCancelled, reason: event.ReasonPaymentFailed},
	{Name: "pending-declined", About: "the provider decides later: no", weight: 3, method: "pm_pending_declined", status: event.OrderIsCancelled, reason: event.ReasonPaymentFailed},
	{Name: "pending-forever", About: "the provider never decides: PAYMENT_DEADLINE does", weight: 2, method: pmForever, status: event.OrderIsCancelled, reason: event.ReasonDeadline},
	{Name: "out-of-stock", About: "one line is not on stock", weight: 4, method: pmAccepted, soldOut: true, status: event.OrderIsCancelled, reason: event.ReasonOutOfStock},
	{Name: "cancel-at-once", About: "cancelled right after placing, races the payment", weight: 3, method: pmAccepted,
		cancelOn: anyStatus, status: event.OrderIsCancelled, reason: event.ReasonCustomer},
	{Name: "cancel-pending", About: "cancelled before the money: voided", weight: 2, method: pmForever,
		cancelOn: onceUndecided, status: event.OrderIsCancelled, reason: event.ReasonCustomer},
	{Name: "cancel-paid", About: "cancelled after the money: stopped and refunded", weight: 3, method: pmAccepted, postalCode: postalSlow,
		cancelOn: oncePaid, status: event.OrderIsCancelled, reason: event.ReasonCustomer},
	{Name: "cancel-shipped", About: "cancelled after shipping: refused with 409", weight: 2, method: pmAccepted,
		cancelOn: onceShipped, tooLate: true, status: event.OrderDelivered},
	{Name: "ship-refused", About: "the carrier refuses the parcel: refunded", weight: 2, method: pmAccepted, postalCode: postalRefused,
		status: event.OrderIsCancelled, reason: event.ReasonShipmentFailed},
	{Name: "ship-lost", About: "the parcel is lost: refunded", weight: 2, method: pmAccepted, postalCode: postalLost,
		status: event.OrderIsCancelled, reason: event.ReasonShipmentFailed},
	{Name: "no-recall", About: "cancelled, the parcel cannot be stopped: an operator resolves", weight: 1, method: pmAccepted, postalCode: postalNoRecall,
		cancelOn: oncePaid, status: event.OrderIsCancelled, reason: event.ReasonCustomer},
	{Name: "refund-refused", About: "cancelled, the refund is refused: an operator resolves", weight: 2, method: pmRefundRefused, postalCode: postalSlow,
		cancelOn: oncePaid, status: event.OrderIsCancelled, reason: event.ReasonCustomer},
}

// Scenarios returns all there are, in the order they are shown.
func Scenarios() []Scenario {
	all := make([]Scenario, len(scenarios))
	for i, s := range scenarios {
		all[i] = *s
	}
	return all
}

// unexpected says what is wrong with how an order ended; empty where nothing is. Where the router is
// slow, a customer may come too late to cancel, or a deadline first: the router says so in its
// answer, and the order must end as that said.
func (s *Scenario) unexpected(o *order) string {
	wanted := outcome{Status: s.status, Reason: s.reason}
	switch {
	case len(s.cancelOn) > 0 && o.cancel == 0:
		return "was never cancelled"
	case s.tooLate && o.cancel != http.StatusConflict:
		return "was cancelled although its parcel had left"
	case o.cancel == http.StatusConflict:
		wanted = outcome{Status: event.OrderDelivered}
	case o.cancel != 0 && o.cancelReason == event.ReasonDeadline:
		wanted.Reason = event.ReasonDeadline
	}
	if o.notOperator { // as far as a caller without the operator's scope can bring it
		wanted.Status = event.OrderNeedsAttention
	}
	if got := (outcome{Status: o.status, Reason: o.reason}); got != wanted {
		return "should be " + wanted.String()
	}
	return ""
}

// outcome is where an order stands, and why.
type outcome struct {
	Status event.OrderStatus  `json:"status"`
	Reason event.CancelReason `json:"reason,omitempty"`
}

func (o outcome) String() string {
	if o.Reason == "" {
		return string(o.Status)
	}
	return string(o.Status) + " (" + string(o.Reason) + ")"
}
