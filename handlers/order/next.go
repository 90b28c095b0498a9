package order

import "millrace/event"

// decide returns the facts that news makes of the order: the news itself, if it
// is new, and every status the order enters by it.
func (o *Order) decide(news Fact) []Fact {
	if !news.isNew(o) {
		return nil
	}
	after := *o
	after.Apply(news)
	facts := []Fact{news}
	for {
		change, moves := after.next()
		if !moves {
			return facts
		}
		after.Apply(change)
		facts = append(facts, change)
	}
}

// next is the whole life of an order: the one status it enters from where it
// stands, given all it has heard. It says nothing about how, or when, it was heard.
func (o *Order) next() (StatusChanged, bool) {
	switch o.Status {
	case event.OrderPending:
		switch {
		case o.Stock.Rejected:
			return o.enter(event.OrderIsCancelled, event.ReasonOutOfStock)
		case o.Payment.Failed != "":
			return o.enter(event.OrderPaymentFailed, o.failureReason())
		case o.Stock.Reserved:
			return o.enter(event.OrderAwaiting, "")
		}

	case event.OrderAwaiting, event.OrderPaymentPending:
		switch {
		case o.Payment.Failed != "":
			return o.enter(event.OrderPaymentFailed, o.failureReason())
		case o.Payment.Succeeded:
			return o.enter(event.OrderPaid, "")
		case o.Payment.Pending && o.Status == event.OrderAwaiting:
			return o.enter(event.OrderPaymentPending, "")
		}

	case event.OrderPaid:
		switch {
		case o.parcelWas(event.ParcelShipped, event.ParcelDelivered):
			return o.enter(event.OrderShipped, "")
		case o.shipmentFailed():
			return o.enter(event.OrderCancelling, event.ReasonShipmentFailed)
		}

	case event.OrderShipped:
		switch {
		case o.parcelWas(event.ParcelDelivered):
			return o.enter(event.OrderDelivered, "")
		case o.shipmentFailed():
			return o.enter(event.OrderCancelling, event.ReasonShipmentFailed)
		}

	case event.OrderDelivered:
		// What was delivered can still come back; it cannot get lost any more.
		if o.parcelWas(event.ParcelReturned) {
			return o.enter(event.OrderCancelling, event.ReasonShipmentFailed)
		}

	case event.OrderPaymentFailed, event.OrderCancelling:
		switch {
		case o.moneySettled() && o.stockSettled():
			return o.enter(event.OrderIsCancelled, "")
		case o.needsOperator():
			return o.enter(event.OrderNeedsAttention, "")
		}

	case event.OrderNeedsAttention:
		if o.moneySettled() && o.stockSettled() {
			return o.enter(event.OrderIsCancelled, "")
		}
	}
	// CANCELLED is the end, and an order that was never placed goes nowhere.
	return StatusChanged{}, false
}

// enter is the change to a status. The first reason stays, whatever comes later.
func (o *Order) enter(status event.OrderStatus, reason event.CancelReason) (StatusChanged, bool) {
	if o.Reason != "" {
		reason = o.Reason
	}
	return StatusChanged{Status: status, Previous: o.Status, Reason: reason}, true
}

// failureReason: a payment that ran out of time ends the order for the deadline's sake.
func (o *Order) failureReason() event.CancelReason {
	if o.Payment.Failed == event.FailedExpired {
		return event.ReasonDeadline
	}
	return event.ReasonPaymentFailed
}

// shipmentFailed says that the parcel will not reach the customer. Shipping says
// STOPPED only when it heard of a cancellation; where we know of none, the parcel
// is stopped all the same, and its stock on the way back.
func (o *Order) shipmentFailed() bool {
	return o.parcelWas(event.ParcelRefused, event.ParcelLost, event.ParcelReturned, event.ParcelStopped)
}

// cancel enters CANCELLING, from where what was done is undone.
func (o *Order) cancel(reason event.CancelReason) []Fact {
	change, _ := o.enter(event.OrderCancelling, reason)
	return o.decide(change)
}
