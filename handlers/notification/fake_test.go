package notification_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"millrace/event"
	"millrace/handlers/notification"
)

const orderID = event.OrderID("0199c0de-0000-7000-8000-000000000001")

var sentAt = time.Date(2026, 3, 1, 12, 0, 0, 5_000_000, time.UTC)

// orders keeps rows as the store does: as JSON, with the causes processed.
type orders struct {
	rows      map[event.OrderID][]byte
	processed map[string]bool
	said      []event.Event
}

func newOrders() *orders {
	return &orders{rows: map[event.OrderID][]byte{}, processed: map[string]bool{}}
}

func (s *orders) Update(ctx context.Context, id event.OrderID, change func(*notification.Order) ([]event.Event, error)) error {
	cause := event.CauseFrom(ctx).ID
	if s.processed[cause] {
		return nil
	}
	row := s.row(id)
	// Twice, each time on a fresh copy: a change may run again.
	if _, err := change(&row); err != nil {
		return err
	}
	row = s.row(id)
	said, err := change(&row)
	if err != nil {
		return err
	}
	s.put(row)
	s.said = append(s.said, said...)
	s.processed[cause] = true
	return nil
}

func (s *orders) row(id event.OrderID) notification.Order {
	row := notification.Order{ID: id}
	if data, ok := s.rows[id]; ok {
		row = notification.Order{}
		if err := json.Unmarshal(data, &row); err != nil {
			panic(err)
		}
	}
	return row
}

func (s *orders) put(row notification.Order) {
	data, err := json.Marshal(row)
	if err != nil {
		panic(err)
	}
	s.rows[row.ID] = data
}

// provider takes every message, once per key, unless told otherwise.
type provider struct {
	taken []notification.Message
	err   error
}

func (p *provider) Send(_ context.Context, m notification.Message) (time.Time, error) {
	if p.err != nil {
		return time.Time{}, p.err
	}
	p.taken = append(p.taken, m)
	return sentAt, nil
}

func (p *provider) told() (steps []string) {
	for _, m := range p.taken {
		steps = append(steps, string(m.Kind)+"/"+string(m.Channel))
	}
	return steps
}

// world is a service with its storage and one provider for all channels.
type world struct {
	*notification.Service
	orders   *orders
	provider *provider
	causes   int
}

func newWorld(t *testing.T, book notification.AddressBook) *world {
	t.Helper()
	w := &world{orders: newOrders(), provider: &provider{}}
	var err error
	w.Service, err = notification.New(w.orders, notification.Senders{Email: w.provider, SMS: w.provider, Push: w.provider}, book)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// hear delivers e under an id of its own.
func (w *world) hear(t *testing.T, e event.Event) {
	t.Helper()
	w.causes++
	w.hearAs(t, fmt.Sprint("cause-", w.causes), e)
}

func (w *world) hearAs(t *testing.T, cause string, e event.Event) {
	t.Helper()
	if err := w.react(event.WithCause(context.Background(), event.Cause{ID: cause}), e); err != nil {
		t.Fatalf("%T: %v", e, err)
	}
}

func (w *world) react(ctx context.Context, e event.Event) error {
	switch e := e.(type) {
	case event.OrderCreated:
		return w.OrderCreated(ctx, e)
	case event.PaymentSucceeded:
		return w.PaymentSucceeded(ctx, e)
	case event.PaymentFailed:
		return w.PaymentFailed(ctx, e)
	case event.PaymentPending:
		return w.PaymentPending(ctx, e)
	case event.OrderStatusUpdated:
		return w.OrderStatusUpdated(ctx, e)
	case event.ShippingStatus:
		return w.ShippingStatus(ctx, e)
	case event.PaymentRefunded:
		return w.PaymentRefunded(ctx, e)
	case event.PaymentRefundFailed:
		return w.PaymentRefundFailed(ctx, e)
	}
	return errors.New("notification does not hear this")
}

// settle plays the executor until nothing is due, or until nothing goes on.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for range 100 {
		row := w.orders.row(orderID)
		due := row.Due()
		if len(due) == 0 {
			return
		}
		moved := false
		for _, wait := range due {
			row := w.orders.row(orderID)
			change, err := w.Perform(context.Background(), row, wait.Step, 1)
			if err != nil {
				continue
			}
			moved = true
			w.causes++
			ctx := event.WithCause(context.Background(), event.Cause{ID: fmt.Sprint("answer-", w.causes)})
			if err := w.orders.Update(ctx, orderID, change); err != nil {
				t.Fatal(err)
			}
		}
		if !moved {
			return
		}
	}
	t.Fatal("the row never comes to rest")
}
