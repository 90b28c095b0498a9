//go:build unix

package story_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

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

// lastIs is nil if a list of statuses ends with one.
func lastIs(statuses, want string) error {
	if !strings.HasSuffix(" "+statuses, " "+want) {
		return fmt.Errorf("so far it is %q", statuses)
	}
	return nil
}

// ending is what all services show of an order when its story is over. Nothing in it is
// left out: an empty field says that there is nothing.
type ending struct {
	Status event.OrderStatus
	Reason event.CancelReason
	// Way is the statuses the order entered after PENDING.
	Way string
	// Payment is its status and, if it failed, why.
	Payment string
	Stock   string // the reservation
	// Parcel is the statuses the parcel entered.
	Parcel string
	// Told is the kinds of notice the customer was sent, sorted.
	Told string
	// Captured and Refunded are how often the provider moved the money, by its own books.
	Captured, Refunded int
	// Available and Sold are pieces of the order's article; none are reserved.
	Available, Sold int64
}

// told is the kinds of notice as an ending has them.
func told(kinds ...event.NoticeKind) string {
	slices.Sort(kinds)
	var text []string
	for _, kind := range slices.Compact(kinds) {
		text = append(text, string(kind))
	}
	return strings.Join(text, ", ")
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

// ends waits until everything is as want says, and fails with the difference.
func (o *placed) ends(want ending) {
	o.t.Helper()
	o.endsAsOneOf(want)
}

// endsAsOneOf is ends where a race decides which it is.
func (o *placed) endsAsOneOf(want ...ending) {
	o.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * look) // seven requests each time
	defer tick.Stop()
	for ; ; <-tick.C {
		got, err := o.looks()
		if err == nil && slices.Contains(want, got) {
			return
		}
		if time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			o.t.Errorf("order %s: %v", o.id, err)
		}
		for _, w := range want {
			o.t.Errorf("order %s does not end as it should (-want +got):\n%s", o.id, gocmp.Diff(w, got))
		}
		for _, n := range o.nodes {
			o.t.Logf("the log of the router with %v about it:\n%s", n.services, n.logged(o.id))
		}
		o.t.FailNow()
	}
}

// looks is what all services show of the order now.
func (o *placed) looks() (now ending, err error) {
	var view struct {
		Status  event.OrderStatus
		Reason  event.CancelReason
		Version int64
	}
	if err := o.read("/orders/"+o.id+"/status", &view); err != nil {
		return now, fmt.Errorf("the order: %w", err)
	}
	now.Status, now.Reason = view.Status, view.Reason
	way, err := o.way()
	if err != nil {
		return now, err
	}
	now.Way = strings.Join(way, " ")
	for _, part := range []func(*ending) error{o.looksPaid, o.looksHeld, o.looksShipped, o.looksTold, o.looksInTheBooks} {
		if err := part(&now); err != nil {
			return now, err
		}
	}
	return now, nil
}

func (o *placed) looksPaid(now *ending) error {
	p, err := o.payment()
	now.Payment = strings.TrimSpace(p.Status + " " + p.Reason)
	return err
}

// paymentView is what GET /payments/{orderId} shows.
type paymentView struct {
	Status, Reason string
	Attempts       int
	Amount         int64
	Refund         *struct {
		Number int
		Note   string
	}
}

// payment is the order's; empty where there is none.
func (o *placed) payment() (p paymentView, err error) {
	if err := o.read("/payments/"+o.id, &p); err != nil && !errors.Is(err, errNotThere) {
		return p, fmt.Errorf("the payment: %w", err)
	}
	return p, nil
}

func (o *placed) looksHeld(now *ending) error {
	var reservation struct{ Status string }
	if err := o.read("/reservations/"+o.id, &reservation); err != nil && !errors.Is(err, errNotThere) {
		return fmt.Errorf("the reservation: %w", err)
	}
	now.Stock = reservation.Status
	if o.sharesArticle {
		return nil
	}
	var level struct{ Available, Reserved, Sold int64 }
	switch err := o.read("/inventory/"+o.body.Items[0].SKU, &level); {
	case errors.Is(err, errNotThere):
	case err != nil:
		return fmt.Errorf("the stock: %w", err)
	case level.Reserved != 0:
		return fmt.Errorf("%d pieces are reserved", level.Reserved)
	}
	now.Available, now.Sold = level.Available, level.Sold
	return nil
}

func (o *placed) looksShipped(now *ending) error {
	var shipment struct {
		Status  string
		History []struct{ Status string }
	}
	if err := o.read("/shipments/"+o.id, &shipment); err != nil && !errors.Is(err, errNotThere) {
		return fmt.Errorf("the shipment: %w", err)
	}
	var parcel []string
	for _, entry := range shipment.History {
		parcel = append(parcel, entry.Status)
	}
	now.Parcel = strings.Join(parcel, " ")
	return nil
}

func (o *placed) looksTold(now *ending) error {
	var list struct {
		Notifications []struct{ Kind, Channel, Status string }
	}
	if err := o.read("/notifications?orderId="+o.id, &list); err != nil {
		return fmt.Errorf("the notices: %w", err)
	}
	c := event.Contact{}
	if o.body.Contact != nil {
		c = *o.body.Contact
	}
	reachable := map[string]bool{"email": c.Email != "", "sms": c.Phone != "", "push": c.DeviceToken != ""}
	channels := map[event.NoticeKind]int{}
	for _, n := range list.Notifications {
		want := "SKIPPED"
		if reachable[n.Channel] {
			want = "SENT"
		}
		if n.Status != want {
			return fmt.Errorf("the notice %q by %s is %s, want %s", n.Kind, n.Channel, n.Status, want)
		}
		channels[event.NoticeKind(n.Kind)]++
	}
	var kinds []event.NoticeKind
	for kind, n := range channels {
		if kinds = append(kinds, kind); n != len(reachable) {
			return fmt.Errorf("the notice %q stands on %d channels, want each of %d once", kind, n, len(reachable))
		}
	}
	now.Told = told(kinds...)
	return nil
}

// looksInTheBooks asks the provider, not the payment service.
func (o *placed) looksInTheBooks(now *ending) error {
	rows, err := o.books.Query("SELECT captures, refunded FROM provider.accounts WHERE order_id = $1", o.id)
	if err != nil {
		return fmt.Errorf("the provider's books: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&now.Captured, &now.Refunded); err != nil {
			return fmt.Errorf("the provider's books: %w", err)
		}
	}
	return rows.Err()
}
