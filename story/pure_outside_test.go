package story_test

import (
	"context"
	"errors"
	"fmt"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
	"millrace/router"
	"millrace/topic"
)

// pureMethods are the ways a provider can behave; pureWays, what a carrier makes of a parcel.
var (
	pureMethods = []string{"accepted", "accepted", "declined", "pending, accepted", "pending, declined", "pending for ever", "refund refused"}
	pureWays    = []string{"delivered", "delivered", "lost", "sent back", "refused", "no recall"}
)

// pureProvider keeps Gateway's contract, without a clock: a pending charge is decided when it was asked for often enough.
type pureProvider struct {
	method             string
	charge             payment.Outcome
	captures, refunded int
	asked              int
	refunds            map[string]payment.Outcome
}

// patientAsks is after how many questions a pending charge is decided.
const patientAsks = 2

func (p *pureProvider) Charge(context.Context, payment.Request) (payment.Result, error) {
	if p.charge == "" {
		switch p.method {
		case "accepted", "refund refused":
			p.decide(payment.Captured)
		case "declined":
			p.decide(payment.Declined)
		default:
			p.charge = payment.Pended
		}
	}
	return p.answer(), nil
}

func (p *pureProvider) Find(context.Context, payment.Request) (payment.Result, error) {
	if p.charge == "" {
		return payment.Result{}, errors.New("no such charge")
	}
	if p.asked++; p.charge == payment.Pended && p.asked >= patientAsks {
		switch p.method {
		case "pending, accepted":
			p.decide(payment.Captured)
		case "pending, declined":
			p.decide(payment.Declined)
		}
	}
	return p.answer(), nil
}

func (p *pureProvider) Void(context.Context, payment.Request) (payment.Result, error) {
	if p.charge == "" || p.charge == payment.Pended {
		p.charge = payment.Voided
	}
	return payment.Result{Outcome: p.charge, ProviderRef: "ch"}, nil
}

func (p *pureProvider) Refund(_ context.Context, r payment.Request) (payment.Result, error) {
	outcome, known := p.refunds[r.Key()]
	if !known {
		outcome = payment.Refunded
		if p.method == "refund refused" {
			outcome = payment.Refused
		} else {
			p.refunded++
		}
		if p.refunds == nil {
			p.refunds = map[string]payment.Outcome{}
		}
		p.refunds[r.Key()] = outcome
	}
	return payment.Result{Outcome: outcome, ProviderRef: "re", Message: "no"}, nil
}

func (p *pureProvider) decide(outcome payment.Outcome) {
	if p.charge = outcome; outcome == payment.Captured {
		p.captures++
	}
}

func (p *pureProvider) answer() payment.Result {
	if p.charge == payment.Voided {
		return payment.Result{Outcome: payment.Declined, Message: "voided"}
	}
	return payment.Result{Outcome: p.charge, ProviderRef: "ch", ExpiresAt: pureTime}
}

// pureCarrier keeps Carrier's contract; each look at a parcel finds it one step further.
type pureCarrier struct {
	way    string
	state  shipping.State
	booked int
}

func (c *pureCarrier) report() (shipping.Report, error) {
	return shipping.Report{State: c.state, Carrier: "Mill Post", TrackingNumber: "MP1"}, nil
}

func (c *pureCarrier) Book(context.Context, shipping.Parcel) (shipping.Report, error) {
	if c.state == "" {
		if c.state = shipping.Booked; c.way == "refused" {
			c.state = shipping.Refused
		} else {
			c.booked++
		}
	}
	return c.report()
}

func (c *pureCarrier) Track(context.Context, shipping.Parcel) (shipping.Report, error) {
	switch c.state {
	case shipping.Booked:
		c.state = shipping.InTransit
	case shipping.InTransit:
		switch c.way {
		case "lost":
			c.state = shipping.Lost
		case "sent back":
			c.state = shipping.Returned
		default:
			c.state = shipping.Delivered
		}
	}
	return c.report()
}

func (c *pureCarrier) Stop(context.Context, shipping.Parcel) (shipping.Report, error) {
	switch {
	case c.state == "", c.state == shipping.Booked && c.way != "no recall":
		c.state = shipping.Stopped
	case c.state == shipping.Booked:
		c.state = shipping.InTransit
	}
	return c.report()
}

func (c *pureCarrier) Recall(context.Context, shipping.Parcel) (shipping.Report, error) {
	if c.state == shipping.InTransit {
		if c.way == "no recall" {
			return shipping.Report{State: shipping.NotRecalled}, nil
		}
		c.state = shipping.Returned
	}
	return c.report()
}

// pureTopics and pureHearers come from the flow, so that they are what it says.
var pureTopics, pureHearers = func() (map[string]string, map[string]string) {
	topics, hearers := map[string]string{}, map[string]string{}
	short := map[string]string{"order": "o", "payment": "p", "inventory": "i", "shipping": "s"}
	for _, info := range topic.All() {
		topics[info.Event] = info.Name
		for _, s := range router.Flow(router.Services{}) {
			for _, t := range s.Topics() {
				if t == info.Name {
					hearers[info.Event] += short[s.Name]
				}
			}
		}
	}
	return topics, hearers
}()

func pureTopic(e event.Event) string { return pureTopics[pureName(e)] }

// pureRoute tells who hears an event, and the word that may be said once; empty: as often as need be.
func pureRoute(e event.Event) (word, hearers string) {
	name := pureName(e)
	word = name
	switch e := e.(type) {
	case event.OrderStatusUpdated:
		word = "order " + string(e.Status)
	case event.ShippingStatus:
		word = "parcel " + string(e.Status)
	case event.PaymentRefundFailed:
		word = ""
	case event.InventoryReserved, event.InventoryRejected:
		word = "reserved or rejected"
	case event.PaymentFailed, event.InventoryUpdate:
		word = "failed or sold"
	}
	return word, pureHearers[name]
}

func pureName(e event.Event) string {
	switch e.(type) {
	case event.OrderCreated:
		return "OrderCreated"
	case event.PaymentInitiated:
		return "PaymentInitiated"
	case event.PaymentSucceeded:
		return "PaymentSucceeded"
	case event.PaymentFailed:
		return "PaymentFailed"
	case event.PaymentPending:
		return "PaymentPending"
	case event.OrderStatusUpdated:
		return "OrderStatusUpdated"
	case event.InventoryUpdate:
		return "InventoryUpdate"
	case event.ShippingInitiate:
		return "ShippingInitiate"
	case event.ShippingStatus:
		return "ShippingStatus"
	case event.InventoryReserved:
		return "InventoryReserved"
	case event.InventoryRejected:
		return "InventoryRejected"
	case event.InventoryReleased:
		return "InventoryReleased"
	case event.OrderCancelled:
		return "OrderCancelled"
	case event.PaymentRefunded:
		return "PaymentRefunded"
	case event.PaymentRefundFailed:
		return "PaymentRefundFailed"
	}
	panic(fmt.Sprintf("%T is said, and nobody here knows it", e))
}

// pureCommand is what the customer wants: now and then more than there is, or without a parcel.
func (w *pureWorld) pureCommand() order.PlaceOrder {
	c := order.PlaceOrder{
		CustomerID: "c", Currency: "EUR", PaymentMethod: "pm_accepted",
		Items:           []event.Item{{SKU: pureSKU, Quantity: 2, UnitPrice: 100}},
		ShippingAddress: &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"},
	}
	const oneIn = 16
	switch w.random.IntN(oneIn) {
	case 0:
		c.Items[0].Quantity = pureStock + 1
	case 1:
		c.ShippingAddress = nil
	}
	return c
}
