// Package order is the order's life: placed, paid, shipped, delivered, or
// cancelled once money and stock are settled.
//
// An order is event-sourced. A reaction decides which facts are new (next.go),
// Apply is the only code that changes an Order, and what the service publishes
// is a function of the facts (says.go). So an order's row is the fold of its
// history, and Replay rebuilds it.
//
// Nothing is promised about the order in which events of different topics
// arrive. Every event is therefore remembered first; then the order moves as far
// as all it has heard allows, one status at a time.
package order

import (
	"slices"

	"millrace/event"
)

// Order is one order as it stands. The zero value with an ID is an order nobody
// has placed; it may have heard of things all the same, and keeps them.
type Order struct {
	ID     event.OrderID     `json:"orderId"`
	Status event.OrderStatus `json:"status"`
	// Reason is why the order ends, or ended, in CANCELLED. The first reason stays.
	Reason event.CancelReason `json:"reason,omitempty"`

	CustomerID      string         `json:"customerId,omitempty"`
	Items           []event.Item   `json:"items,omitempty"`
	Total           event.Money    `json:"total"`
	PaymentMethod   string         `json:"paymentMethod,omitempty"`
	ShippingAddress *event.Address `json:"shippingAddress,omitempty"`
	Contact         *event.Contact `json:"contact,omitempty"`

	Stock   Stock   `json:"stock"`
	Payment Payment `json:"payment"`
	// Parcel is what shipping has said, in its order, each status once.
	Parcel []event.ParcelStatus `json:"parcel,omitempty"`

	// facts were recorded since the row was loaded; the store takes them.
	facts []Fact
}

// Stock is what inventory has said. Of Reserved and Rejected at most one is true.
type Stock struct {
	Reserved bool `json:"reserved,omitempty"`
	Rejected bool `json:"rejected,omitempty"`
	Released bool `json:"released,omitempty"`
}

// Payment is what the payment service has said.
type Payment struct {
	Pending   bool                `json:"pending,omitempty"`
	Succeeded bool                `json:"succeeded,omitempty"`
	Failed    event.FailureReason `json:"failed,omitempty"`
	// RefundFollows says that the failed payment had been captured all the same.
	RefundFollows bool `json:"refundFollows,omitempty"`
	Refunded      bool `json:"refunded,omitempty"`
	RefundFailed  bool `json:"refundFailed,omitempty"`
}

// TakeFacts hands over the facts recorded since the row was loaded, oldest first,
// and forgets them. The store appends them to the history in the transaction that
// writes the row.
func (o *Order) TakeFacts() []Fact {
	facts := o.facts
	o.facts = nil
	return facts
}

// record applies the facts in turn and returns what they say to others.
func (o *Order) record(facts []Fact) []event.Event {
	var said []event.Event
	for _, fact := range facts {
		said = append(said, Says(*o, fact)...)
		o.Apply(fact)
	}
	// Clipped, because the store may hold another copy of this order whose
	// facts share the array.
	o.facts = append(slices.Clip(o.facts), facts...)
	return said
}

// moneySettled says that no captured money is kept, and none will be captured.
func (o *Order) moneySettled() bool {
	neverTaken := o.Payment.Failed != "" && !o.Payment.RefundFollows && !o.Payment.Succeeded
	return o.Payment.Refunded || neverTaken
}

// stockSettled says that the order holds no stock. What a lost parcel held stays sold.
func (o *Order) stockSettled() bool {
	return o.Stock.Rejected || o.Stock.Released || o.parcelWas(event.ParcelLost)
}

// needsOperator says that a compensation was refused for good, and nobody has
// resolved it since.
func (o *Order) needsOperator() bool {
	refused := o.Payment.RefundFailed && !o.Payment.Refunded
	gone := o.parcelWas(event.ParcelRecallFailed) &&
		!o.parcelWas(event.ParcelReturned, event.ParcelLost, event.ParcelStopped)
	return refused || gone
}

// parcelWas says whether shipping has said one of the statuses.
func (o *Order) parcelWas(statuses ...event.ParcelStatus) bool {
	return slices.ContainsFunc(o.Parcel, func(s event.ParcelStatus) bool { return slices.Contains(statuses, s) })
}
