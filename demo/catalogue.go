package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"millrace/event"
)

const (
	// currency is the demo's money.
	currency = "EUR"
	// ownSKU is created where the shop has nothing to sell.
	ownSKU = "DEMO-MUG"
	// maxQuantity and maxLines bound an order, and so what a run can need of one SKU.
	maxQuantity = 3
	maxLines    = 3
	// allChannels is of how many orders one is told of by SMS and push as well as by e-mail: three
	// notices for each step of every order would measure the senders.
	allChannels = 5
	// maxSKUs is plenty: a page of the catalogue.
	maxSKUs = 200
)

// catalogue is what can be ordered.
type catalogue []levelBody

// prepare finds the router, and something to order.
func (r *run) prepare(ctx context.Context) error {
	var page inventoryBody
	if err := r.client.get(ctx, fmt.Sprintf("/inventory?limit=%d", maxSKUs), &page); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("look for the router: %w", context.Cause(ctx))
		}
		return unreachable(r.URL, err)
	}
	var document struct {
		Paths map[string]struct{} `json:"paths"`
	}
	if r.client.get(ctx, "/openapi.json", &document) == nil {
		r.routes = document.Paths
	}
	need := int64(r.Orders) * maxQuantity // of one SKU, at the very most
	for _, level := range page.Inventory {
		if level.Available >= need {
			r.catalogue = append(r.catalogue, level)
		}
	}
	if len(r.catalogue) > 0 {
		return nil
	}
	var own levelBody
	err := r.client.persist(ctx, http.MethodPut, "/inventory/"+url.PathEscape(ownSKU), "demo-"+r.id+"-stock",
		restockBody{Name: "Demo mug", Add: need}, &own)
	if err != nil {
		return fmt.Errorf("no SKU has the %d pieces this run may need, and %s cannot be created: %w", need, ownSKU, err)
	}
	r.catalogue = catalogue{own}
	return nil
}

// lines are what order i is for: one to three SKUs, one to three pieces each, in turn.
func (c catalogue) lines(i int) []event.Item {
	lines := make([]event.Item, min(1+i%maxLines, len(c)))
	for n := range lines {
		lines[n] = event.Item{
			SKU: c[(i+n)%len(c)].SKU, Quantity: int64(1 + (i+n)%maxQuantity), UnitPrice: price(i + n),
		}
	}
	return lines
}

// price makes amounts that differ, so that sums that agree mean something.
func price(i int) int64 {
	const cheapest, steps, step = 450, 97, 35
	return int64(cheapest + i%steps*step)
}

// body is the order as it is posted.
func (r *run) body(o *order) orderBody {
	s := o.scenario
	body := orderBody{
		CustomerID: o.customer, Currency: currency, PaymentMethod: s.method, Items: r.catalogue.lines(o.number),
		Contact: &event.Contact{Email: fmt.Sprintf("%s-%d@example.com", o.customer, o.number)},
	}
	if s.soldOut {
		body.Items = append(body.Items, event.Item{SKU: "DEMO-" + r.id + "-NONE", Quantity: 1, UnitPrice: price(o.number)})
	}
	if o.number%allChannels == 0 {
		body.Contact.Phone, body.Contact.DeviceToken = "+441225000000", "demo-device"
	}
	if !s.collected {
		postal := s.postalCode
		if postal == "" {
			postal = ordinaryPostal
		}
		body.ShippingAddress = &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: postal, Country: "GB"}
	}
	return body
}

// serves says whether the router has a route, by its own OpenAPI document. One that
// does not show it is taken to have all.
func (r *run) serves(path string) bool {
	_, there := r.routes[path]
	return there || r.routes == nil
}
