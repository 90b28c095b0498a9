package story_test

import (
	"fmt"

	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/order"
	paymentsim "millrace/handlers/payment/simulator"
	shippingsim "millrace/handlers/shipping/simulator"
)

// interleavingScenario is what does not depend on the interleaving: what the shop
// sells, who orders what, and what an operator would decide.
type interleavingScenario struct {
	stock  map[string]int64
	orders []interleavingOrder
}

type interleavingOrder struct {
	id      event.OrderID
	command order.PlaceOrder
	// retry: an operator tries a refused refund again before settling it.
	retry bool
	// returned: an operator finds that a parcel past recall came back; otherwise it is written off.
	returned bool
}

const (
	refusedEmail = "refused@example.com"
	// undeliverable is a postal code from where parcels come back.
	undeliverable = "NOBODY-HOME"
)

var (
	interleavingSKUs    = []string{"MUG", "PEN"}
	interleavingMethods = []string{
		paymentsim.Accepted, paymentsim.PendingAccepted, paymentsim.Timeout, paymentsim.RefundRefused,
		paymentsim.Declined, paymentsim.PendingDeclined, paymentsim.PendingForever, paymentsim.Unavailable,
	}
	interleavingPostalCodes = []string{"BA1 1AA", shippingsim.NoRecall, shippingsim.Lost, shippingsim.Refused, shippingsim.Slow, undeliverable}
	interleavingContacts    = []*event.Contact{
		{Email: "ada@example.com"},
		nil,
		{Email: refusedEmail, Phone: "+441225000000"},
		{Email: "ada@example.com", Phone: "+441225000000", DeviceToken: "d-1"},
	}
)

// maxInterleavingOrders is enough for orders to compete for stock; more make runs
// longer, not different.
const maxInterleavingOrders = 3

// drawInterleavingScenario: scarce stock makes orders compete, so that who gets the
// pieces depends on the interleaving; otherwise an order is short only by itself.
func drawInterleavingScenario(t *rapid.T, scarce bool) interleavingScenario {
	s := interleavingScenario{stock: map[string]int64{}}
	const plenty, tooMany = 100, 1000
	for _, sku := range interleavingSKUs {
		s.stock[sku] = plenty
		if scarce {
			s.stock[sku] = rapid.Int64Range(2, 8).Draw(t, "stock of "+sku)
		}
	}
	for n := range rapid.IntRange(1, maxInterleavingOrders).Draw(t, "orders") {
		o := interleavingOrder{
			id:       event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n+1)),
			retry:    rapid.Bool().Draw(t, "operator retries"),
			returned: rapid.Bool().Draw(t, "operator finds the parcel"),
		}
		o.command = order.PlaceOrder{
			CustomerID: "c-1", Currency: "EUR",
			PaymentMethod: rapid.SampledFrom(interleavingMethods).Draw(t, "payment method"),
			Contact:       rapid.SampledFrom(interleavingContacts).Draw(t, "contact"),
		}
		if code := rapid.SampledFrom(append([]string{"collected"}, interleavingPostalCodes...)).Draw(t, "postal code"); code != "collected" {
			o.command.ShippingAddress = &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: code, Country: "GB"}
		}
		for i, sku := range interleavingSKUs {
			pieces := rapid.Int64Range(0, 2).Draw(t, "pieces of "+sku)
			if i == 0 {
				pieces++ // an order has a line
			}
			if pieces > 0 {
				o.command.Items = append(o.command.Items, event.Item{SKU: sku, Quantity: pieces, UnitPrice: 100 + int64(i)})
			}
		}
		switch rapid.IntRange(0, 19).Draw(t, "shortage") {
		case 18:
			o.command.Items = append(o.command.Items, event.Item{SKU: "UNKNOWN", Quantity: 1, UnitPrice: 1})
		case 19:
			o.command.Items[0].Quantity = tooMany
		}
		s.orders = append(s.orders, o)
	}
	return s
}

func (o interleavingOrder) total() int64 {
	total, err := event.Total(o.command.Items, o.command.Currency)
	if err != nil {
		panic(err)
	}
	return total.Amount
}
