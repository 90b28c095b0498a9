package order_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/order"
)

const (
	id       = event.OrderID("0199c0de-0000-7000-8000-000000000001")
	deadline = time.Minute
)

// kept is a store as the service sees one: rows as JSON, causes remembered, facts
// appended. It checks after each change that the row is the fold of its history.
type kept struct {
	t         rapid.TB
	rows      map[event.OrderID][]byte
	processed map[string]bool
	history   map[event.OrderID][]order.Fact
	said      []event.Event
}

func newKept(t rapid.TB) *kept {
	return &kept{t: t, rows: map[event.OrderID][]byte{}, processed: map[string]bool{}, history: map[event.OrderID][]order.Fact{}}
}

func (k *kept) Load(_ context.Context, id event.OrderID) (order.Order, bool, error) {
	o := order.Order{ID: id}
	row, found := k.rows[id]
	if !found {
		return o, false, nil
	}
	return o, true, json.Unmarshal(row, &o)
}

func (k *kept) Update(ctx context.Context, id event.OrderID, change func(*order.Order) ([]event.Event, error)) error {
	cause := event.CauseFrom(ctx).ID
	if cause == "" {
		k.t.Fatal("an update without a cause")
	}
	if k.processed[cause] {
		return nil
	}
	o, _, err := k.Load(ctx, id)
	if err != nil {
		return err
	}
	again, _, _ := k.Load(ctx, id)
	if _, err := change(&again); err != nil { // a change may run twice
		return err
	}
	said, err := change(&o)
	if err != nil {
		return err
	}
	for _, fact := range o.TakeFacts() {
		name, data, err := order.EncodeFact(fact)
		if err != nil {
			return err
		}
		decoded, err := order.DecodeFact(name, data)
		if err != nil {
			return err
		}
		k.history[id] = append(k.history[id], decoded)
	}
	row, err := json.Marshal(o)
	if err != nil {
		return err
	}
	rebuilt, err := json.Marshal(order.Replay(id, k.history[id]))
	if err != nil {
		return err
	}
	if diff := cmp.Diff(string(rebuilt), string(row)); diff != "" {
		k.t.Fatalf("the row is not the fold of its history (-history +row):\n%s", diff)
	}
	k.rows[id], k.processed[cause] = row, true
	k.said = append(k.said, said...)
	return nil
}

func (k *kept) UpdateExisting(ctx context.Context, id event.OrderID, change func(*order.Order) ([]event.Event, error)) error {
	if _, found := k.rows[id]; !found {
		return fmt.Errorf("order %s: %w", id, event.ErrUnknownOrder)
	}
	return k.Update(ctx, id, change)
}

// shop is the order service with a store of its own, and helpers that fail the test.
type shop struct {
	*kept
	service *order.Service
	causes  int
}

func newShop(t rapid.TB) *shop {
	k := newKept(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	return &shop{kept: k, service: order.New(k, order.Policy{Deadline: deadline}, log)}
}

// cause is a context with a cause of its own.
func (s *shop) cause() context.Context {
	s.causes++
	return caused(fmt.Sprint("cause ", s.causes))
}

func caused(by string) context.Context {
	return event.WithCause(context.Background(), event.Cause{ID: by, Time: time.Unix(1, 0)})
}

func (s *shop) order() order.Order {
	s.t.Helper()
	o, _, err := s.Load(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// hear delivers an event, as the router would.
func (s *shop) hear(ctx context.Context, e event.Event) error {
	switch e := e.(type) {
	case event.InventoryReserved:
		return s.service.InventoryReserved(ctx, e)
	case event.InventoryRejected:
		return s.service.InventoryRejected(ctx, e)
	case event.InventoryReleased:
		return s.service.InventoryReleased(ctx, e)
	case event.PaymentPending:
		return s.service.PaymentPending(ctx, e)
	case event.PaymentSucceeded:
		return s.service.PaymentSucceeded(ctx, e)
	case event.PaymentFailed:
		return s.service.PaymentFailed(ctx, e)
	case event.PaymentRefunded:
		return s.service.PaymentRefunded(ctx, e)
	case event.PaymentRefundFailed:
		return s.service.PaymentRefundFailed(ctx, e)
	case event.ShippingStatus:
		return s.service.ShippingStatus(ctx, e)
	}
	return fmt.Errorf("order does not hear %T", e)
}

// reachDeadline does what the executor does when the deadline is due.
func (s *shop) reachDeadline(ctx context.Context) error {
	change, err := s.service.Perform(ctx, s.order(), event.DeadlineStep, 1)
	if err != nil {
		return err
	}
	return s.UpdateExisting(ctx, id, change)
}

func mugs() order.PlaceOrder {
	return order.PlaceOrder{
		CustomerID: "c-42", Currency: "EUR", PaymentMethod: "pm_accepted",
		Items:           []event.Item{{SKU: "MUG-RED", Quantity: 2, UnitPrice: 1250}},
		ShippingAddress: &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"},
		Contact:         &event.Contact{Email: "ada@example.com", Phone: "+441225000000", DeviceToken: "d-1"},
	}
}
