package order_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/order"
)

var policy = order.Policy{Deadline: deadline}

func must(t *testing.T, s *shop, steps ...step) {
	t.Helper()
	for _, step := range steps {
		if err := step.do(s, s.cause()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
}

func TestWhatTheOthersHear(t *testing.T) {
	s := newShop(t)
	must(t, s, place, reserved, cancel)
	p := mugs()
	total := event.Money{Amount: 2500, Currency: "EUR"}
	want := []event.Event{
		event.OrderCreated{OrderID: id, CustomerID: "c-42", Items: p.Items, Total: total,
			PaymentMethod: "pm_accepted", ShippingAddress: p.ShippingAddress, Contact: p.Contact},
		event.PaymentInitiated{OrderID: id, CustomerID: "c-42", Items: p.Items, Total: total,
			PaymentMethod: "pm_accepted", ShippingAddress: p.ShippingAddress},
		event.OrderStatusUpdated{OrderID: id, Status: "AWAITING_PAYMENT", Previous: "PENDING"},
		event.OrderCancelled{OrderID: id, Reason: "CUSTOMER"},
		event.OrderStatusUpdated{OrderID: id, Status: "CANCELLING", Previous: "AWAITING_PAYMENT", Reason: "CUSTOMER"},
	}
	if diff := cmp.Diff(want, s.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

func TestADuplicateChangesNothing(t *testing.T) {
	s := newShop(t)
	for _, step := range []step{place, reserved, pending, succeeded, shipped, lost, refunded} {
		ctx := s.cause()
		if err := step.do(s, ctx); err != nil {
			t.Fatal(err)
		}
		row, facts, said := string(s.rows[id]), len(s.history[id]), len(s.said)
		// Once more as the same message, and once as another one that says the same.
		for _, ctx := range []context.Context{ctx, s.cause()} {
			if err := step.do(s, ctx); err != nil {
				t.Fatal(err)
			}
		}
		if string(s.rows[id]) != row || len(s.history[id]) != facts || len(s.said) != said {
			t.Errorf("%s a second time changed the order", step.name)
		}
	}
}

func TestEventsBeforeTheOrderAreKept(t *testing.T) {
	s := newShop(t)
	must(t, s, preparing, shipped, succeeded, reserved)
	if len(s.said) != 0 || s.order().Status != "" {
		t.Fatalf("an order nobody placed is %q and said %v", s.order().Status, names(s.said))
	}
	if waits := policy.Due(&order.Order{}); waits != nil {
		t.Errorf("an order nobody placed waits for %v", waits)
	}
	if _, err := s.service.Cancel(s.cause(), id); !errors.Is(err, event.ErrUnknownOrder) {
		t.Errorf("cancel: got %v, want an unknown order", err)
	}
	must(t, s, place)
	if got := s.order().Status; got != event.OrderShipped {
		t.Errorf("after it was placed the order is %s, want SHIPPED", got)
	}
}

func TestPlacingTwice(t *testing.T) {
	other := mugs()
	other.Items = []event.Item{{SKU: "MUG-RED", Quantity: 3, UnitPrice: 1250}}
	for name, sameCause := range map[string]bool{"the store knows the request": true, "the store has forgotten it": false} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			must(t, s, step{"place", func(s *shop, _ context.Context) error {
				created, err := s.service.Place(caused("request"), id, mugs())
				if !created {
					t.Error("the first time nothing was created")
				}
				return err
			}}, reserved)
			ctx := caused("request")
			if !sameCause {
				ctx = s.cause()
			}
			if created, err := s.service.Place(ctx, id, mugs()); created || err != nil {
				t.Errorf("the same order again: created %v, error %v", created, err)
			}
			if _, err := s.service.Place(ctx, id, other); !errors.Is(err, order.ErrDifferentOrder) {
				t.Errorf("another order under the same id: got %v, want ErrDifferentOrder", err)
			}
			if got := s.order().Items[0].Quantity; got != 2 {
				t.Errorf("the order has %d mugs now, want 2", got)
			}
		})
	}
}

func TestCancelAnswersWithTheOrder(t *testing.T) {
	s := newShop(t)
	if _, err := s.service.Cancel(s.cause(), id); !errors.Is(err, event.ErrUnknownOrder) {
		t.Fatalf("got %v, want an unknown order", err)
	}
	if len(s.rows) != 0 {
		t.Fatal("a cancel of an unknown order left a row")
	}
	must(t, s, place)
	ctx := s.cause()
	for range 2 {
		after, err := s.service.Cancel(ctx, id)
		if err != nil || after.Status != event.OrderCancelling || after.Reason != event.ReasonCustomer {
			t.Fatalf("got %s(%s), %v", after.Status, after.Reason, err)
		}
	}
	must(t, s, rejected, voided)
	after, err := s.service.Cancel(s.cause(), id)
	if err != nil || after.Status != event.OrderIsCancelled {
		t.Fatalf("a cancelled order: got %s, %v", after.Status, err)
	}
}

func TestWaits(t *testing.T) {
	whole := []event.Wait{{Step: "deadline", After: deadline}}
	overdue := []event.Wait{{Step: "overdue", After: deadline}}
	for status, want := range map[event.OrderStatus][]event.Wait{
		"": nil, "PENDING": whole, "AWAITING_PAYMENT": whole, "PAYMENT_PENDING": whole, "PAID": whole,
		"PAYMENT_FAILED": overdue, "SHIPPED": overdue, "CANCELLING": overdue,
		"DELIVERED": nil, "CANCELLED": nil, "NEEDS_ATTENTION": nil,
	} {
		if diff := cmp.Diff(want, policy.Due(&order.Order{Status: status})); diff != "" {
			t.Errorf("%s waits for (-want +got):\n%s", status, diff)
		}
	}
}

func TestAnOverdueOrderStaysAndIsAlarmedAgain(t *testing.T) {
	s := newShop(t)
	must(t, s, place, cancel)
	_, err := s.service.Perform(context.Background(), s.order(), "overdue", 3)
	var overdue *order.OverdueError
	if !errors.As(err, &overdue) || overdue.RetryAfter() != deadline {
		t.Fatalf("got %v, want an overdue order that is due again in %s", err, deadline)
	}
	if _, err := s.service.Perform(context.Background(), s.order(), "dance", 1); err == nil {
		t.Error("an unknown step was performed")
	}
}

// journal keeps the correlation ids that lines are logged under.
type journal struct {
	slog.Handler
	ids []string
}

func (j *journal) Handle(ctx context.Context, _ slog.Record) error {
	j.ids = append(j.ids, event.CauseFrom(ctx).CorrelationID)
	return nil
}

func TestTheAlarmCarriesTheOrdersCorrelationID(t *testing.T) {
	s := newShop(t)
	must(t, s, place, cancel)
	j := &journal{Handler: slog.NewTextHandler(io.Discard, nil)}
	service := order.New(s.kept, order.Policy{Deadline: deadline}, slog.New(j))
	ctx := event.WithCause(t.Context(), event.Cause{ID: "call", CorrelationID: "corr-7"})
	if _, err := service.Perform(ctx, s.order(), "overdue", 1); err == nil || len(j.ids) != 1 || j.ids[0] != "corr-7" {
		t.Errorf("logged under %q, error %v", j.ids, err)
	}
}

func TestWordsNobodyKnowsAreRefused(t *testing.T) {
	s := newShop(t)
	for _, e := range []event.Event{
		event.PaymentFailed{OrderID: id}, event.PaymentFailed{OrderID: id, Reason: "WEATHER"},
		event.ShippingStatus{OrderID: id}, event.ShippingStatus{OrderID: id, Status: "FLYING"},
	} {
		err := s.hear(s.cause(), e)
		var permanent interface{ Permanent() bool }
		if !errors.As(err, &permanent) || !permanent.Permanent() {
			t.Errorf("%+v: got %v, want a permanent error", e, err)
		}
	}
	if len(s.rows) != 0 {
		t.Error("a refused event left a row")
	}
}

func TestWhatAnOrderMayBe(t *testing.T) {
	long := strings.Repeat("x", 201)
	for want, spoil := range map[string]func(*order.PlaceOrder){
		"customerId":                 func(c *order.PlaceOrder) { c.CustomerID = "" },
		"customerId must":            func(c *order.PlaceOrder) { c.CustomerID = strings.Repeat("é", 129) },
		"paymentMethod":              func(c *order.PlaceOrder) { c.PaymentMethod = "two words" },
		"currency":                   func(c *order.PlaceOrder) { c.Currency = "EURO" },
		"currency must":              func(c *order.PlaceOrder) { c.Currency = "XXX" },
		"items must have":            func(c *order.PlaceOrder) { c.Items = nil },
		"items must have 1":          func(c *order.PlaceOrder) { c.Items = make([]event.Item, 101) },
		"items[0].sku must":          func(c *order.PlaceOrder) { c.Items[0].SKU = "MUG\x00RED" },
		"items[1].sku is":            func(c *order.PlaceOrder) { c.Items = append(c.Items, c.Items[0]) },
		"items[0].quantity must":     func(c *order.PlaceOrder) { c.Items[0].Quantity = 0 },
		"items[0].quantity":          func(c *order.PlaceOrder) { c.Items[0].Quantity = 1_000_001 },
		"items[0].unitPrice must":    func(c *order.PlaceOrder) { c.Items[0].UnitPrice = -1 },
		"items add up to more":       func(c *order.PlaceOrder) { c.Items[0].UnitPrice = math.MaxInt64 },
		"shippingAddress.name":       func(c *order.PlaceOrder) { c.ShippingAddress.Name = "" },
		"shippingAddress.street":     func(c *order.PlaceOrder) { c.ShippingAddress.Street = long },
		"shippingAddress.city":       func(c *order.PlaceOrder) { c.ShippingAddress.City = "Ba\nth" },
		"shippingAddress.postalCode": func(c *order.PlaceOrder) { c.ShippingAddress.PostalCode = long },
		"shippingAddress.country":    func(c *order.PlaceOrder) { c.ShippingAddress.Country = "gb" },
		"contact.email":              func(c *order.PlaceOrder) { c.Contact.Email = "Ada <ada@example.com>" },
		"contact.phone":              func(c *order.PlaceOrder) { c.Contact.Phone = "01225" },
		"contact.deviceToken":        func(c *order.PlaceOrder) { c.Contact.DeviceToken = long },
	} {
		t.Run(want, func(t *testing.T) {
			s := newShop(t)
			command := mugs()
			spoil(&command)
			_, err := s.service.Place(s.cause(), id, command)
			var invalid *order.InvalidError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want it to name %s", err, want)
			}
			if len(s.rows) != 0 {
				t.Error("a refused order left a row")
			}
		})
	}
}

func TestALeanOrderIsFine(t *testing.T) {
	s := newShop(t)
	_, err := s.service.Place(s.cause(), id, order.PlaceOrder{
		CustomerID: "c", Currency: "JPY", PaymentMethod: "m", Items: []event.Item{{SKU: "FREE", Quantity: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The limits hold so that no order can be accepted whose events cannot be sent.
func TestTheLongestOrderFitsIntoAnEvent(t *testing.T) {
	const maxEvent = 256 << 10
	// "<" is one character, and six bytes as Go writes it into JSON.
	full := func(n int) string { return strings.Repeat("<", n) }
	command := order.PlaceOrder{
		CustomerID: full(order.MaxCustomerID), Currency: "EUR", PaymentMethod: full(order.MaxPaymentMethod),
		ShippingAddress: &event.Address{Name: full(order.MaxLine), Street: full(order.MaxLine), City: full(order.MaxLine), PostalCode: full(order.MaxLine), Country: "GB"},
		Contact:         &event.Contact{DeviceToken: full(order.MaxLine)},
	}
	for i := range order.MaxItems {
		sku := full(order.MaxSKU-1) + string(rune(0x1F300+i))
		command.Items = append(command.Items, event.Item{SKU: sku, Quantity: order.MaxQuantity, UnitPrice: math.MaxInt64 / order.MaxItems / order.MaxQuantity})
	}
	s := newShop(t)
	if _, err := s.service.Place(s.cause(), id, command); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s.said[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > maxEvent/2 {
		t.Errorf("the longest OrderCreated has %d bytes, want at most half of %d", len(data), maxEvent)
	}
}

func TestDecodingAFactNobodyKnows(t *testing.T) {
	if _, err := order.DecodeFact("Dreamt", []byte(`{}`)); err == nil {
		t.Error("a fact of an unknown type was decoded")
	}
	if _, err := order.DecodeFact("Placed", []byte(`[]`)); err == nil {
		t.Error("a fact with unreadable data was decoded")
	}
}

func TestDeadlineKeepsTheFirstReason(t *testing.T) {
	s := newShop(t)
	must(t, s, place, reserved)
	change, err := s.service.Perform(context.Background(), s.order(), event.DeadlineStep, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateExisting(caused("deadline"), id, change); err != nil {
		t.Fatal(err)
	}
	must(t, s, cancel, expired, released)
	if o := s.order(); o.Status != event.OrderIsCancelled || o.Reason != event.ReasonDeadline {
		t.Errorf("got %s(%s), want CANCELLED(DEADLINE)", o.Status, o.Reason)
	}
}
