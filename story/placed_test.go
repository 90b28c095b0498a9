//go:build unix

package story_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"millrace/event"
)

// newOrder is what a customer asks for: the body of POST /orders.
type newOrder struct {
	CustomerID      string         `json:"customerId"`
	Currency        string         `json:"currency"`
	PaymentMethod   string         `json:"paymentMethod"`
	Items           []event.Item   `json:"items"`
	ShippingAddress *event.Address `json:"shippingAddress,omitempty"`
	Contact         *event.Contact `json:"contact,omitempty"`
}

// wish changes the usual order.
type wish func(*newOrder)

func paying(method string) wish { return func(o *newOrder) { o.PaymentMethod = method } }
func shippedTo(code string) wish {
	return func(o *newOrder) { o.ShippingAddress.PostalCode = code }
}
func collected() wish { return func(o *newOrder) { o.ShippingAddress = nil } }
func buying(sku string, pieces int64) wish {
	return func(o *newOrder) {
		o.Items = []event.Item{{SKU: sku, Quantity: pieces, UnitPrice: unitPrice}}
	}
}
func reachedBy(c *event.Contact) wish { return func(o *newOrder) { o.Contact = c } }

// The usual order: two pieces of an article of which there are ten.
const (
	onTheShelf = 10
	wanted     = 2
	unitPrice  = 1250
)

// customers numbers the customers of all stories.
var customers atomic.Int64

// order is the usual order, but for the wishes, of a new customer.
func (s *shop) order(wishes ...wish) newOrder {
	o := newOrder{
		CustomerID: fmt.Sprintf("customer-%d", customers.Add(1)), Currency: "EUR", PaymentMethod: "pm_accepted",
		ShippingAddress: &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"},
		Contact:         &event.Contact{Email: "ada@example.com", Phone: "+441225000000", DeviceToken: "d-1"},
	}
	for _, w := range wishes {
		w(&o)
	}
	if o.Items == nil {
		buying(s.article(onTheShelf), wanted)(&o)
	}
	return o
}

// placed is an order that was accepted.
type placed struct {
	*shop
	id          string
	correlation string
	body        newOrder
	// sharesArticle: its article's pieces say nothing about this order.
	sharesArticle bool
}

// places places the usual order, but for the wishes.
func (s *shop) places(wishes ...wish) *placed {
	s.t.Helper()
	o := &placed{shop: s, body: s.order(wishes...)}
	o.correlation = "story-of-" + o.body.CustomerID
	var accepted struct{ OrderID, Status, CorrelationID string }
	s.do(http.MethodPost, "/orders", header{"X-Correlation-ID": o.correlation}, o.body, http.StatusAccepted, &accepted)
	o.id = accepted.OrderID
	if accepted.Status != "PENDING" || accepted.CorrelationID != o.correlation {
		s.t.Fatalf("the order was accepted as %+v, want PENDING, with the correlation id %s", accepted, o.correlation)
	}
	return o
}

// isNow waits until the order has entered a status; it may have left it again. It fails when the
// order ends without.
func (o *placed) isNow(want event.OrderStatus) {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("order %s is %s", o.id, want), func() error {
		way, err := o.way()
		if err != nil || slices.Contains(way, string(want)) {
			return err
		}
		if slices.Contains(way, string(event.OrderDelivered)) || slices.Contains(way, string(event.OrderIsCancelled)) {
			o.t.Fatalf("order %s ended without being %s: it went %v", o.id, want, way)
		}
		return fmt.Errorf("so far it went %v", way)
	})
}

// way is the statuses the order entered after PENDING.
func (o *placed) way() ([]string, error) {
	var history []struct {
		Type, CorrelationID string
		Version             int64
		Data                struct{ Status string }
	}
	if err := o.read("/orders/"+o.id+"/events", &history); err != nil {
		return nil, fmt.Errorf("the order's history: %w", err)
	}
	var way []string
	for i, entry := range history {
		if entry.Version != int64(i+1) || entry.CorrelationID != o.correlation {
			return nil, fmt.Errorf("entry %d of the history has version %d and correlation id %s, want %s", i+1, entry.Version, entry.CorrelationID, o.correlation)
		}
		if entry.Type == "StatusChanged" {
			way = append(way, entry.Data.Status)
		}
	}
	return way, nil
}

func (o *placed) parcelIs(status string) {
	o.t.Helper()
	eventually(o.t, "the parcel of order "+o.id+" is "+status, func() error {
		var now ending
		if err := o.looksShipped(&now); err != nil {
			return err
		}
		return lastIs(now.Parcel, status)
	})
}

func (o *placed) paymentIs(status string) {
	o.t.Helper()
	eventually(o.t, "the payment of order "+o.id+" is "+status, func() error {
		p, err := o.payment()
		if err != nil {
			return err
		}
		return lastIs(p.Status, status)
	})
}

// isAsked waits until the payment service has heard of the order.
func (o *placed) isAsked() {
	o.t.Helper()
	eventually(o.t, "payment hears of order "+o.id, func() error {
		p, err := o.payment()
		if err == nil && p.Status == "" {
			err = errNotThere
		}
		return err
	})
}

func (o *placed) stockIs(status string) {
	o.t.Helper()
	eventually(o.t, "the stock of order "+o.id+" is "+status, func() error {
		var now ending
		if err := o.looksHeld(&now); err != nil {
			return err
		}
		return lastIs(now.Stock, status)
	})
}
