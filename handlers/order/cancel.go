package order

import (
	"context"
	"fmt"

	"millrace/event"
)

// TooLateError refuses a cancellation.
type TooLateError struct {
	Order  event.OrderID
	Status event.OrderStatus
}

// Error says why it is too late.
func (e *TooLateError) Error() string {
	why := "the parcel has left"
	switch e.Status {
	case event.OrderDelivered:
		why = "the parcel has arrived"
	case event.OrderNeedsAttention:
		why = "it is being cancelled, and an operator has to resolve what was refused"
	}
	return fmt.Sprintf("order %s cannot be cancelled any more: it is %s, %s", e.Order, e.Status, why)
}

// Cancel takes the customer's cancellation and returns the order as it stands then.
// An order that is ending already stays as it is, its first reason too. It returns
// a *TooLateError once the parcel has left, and event.ErrUnknownOrder for an order
// nobody placed.
func (s *Service) Cancel(ctx context.Context, id event.OrderID) (Order, error) {
	var after Order
	err := s.orders.UpdateExisting(ctx, id, func(o *Order) ([]event.Event, error) {
		facts, err := o.cancelByCustomer()
		if err != nil {
			return nil, err
		}
		said := o.record(facts)
		after = *o
		return said, nil
	})
	if err != nil {
		return Order{}, fmt.Errorf("cancel: %w", err)
	}
	if after.ID == "" { // this very command was taken before
		return s.load(ctx, id)
	}
	return after, nil
}

func (o *Order) cancelByCustomer() ([]Fact, error) {
	switch o.Status {
	case event.OrderPending, event.OrderAwaiting, event.OrderPaymentPending, event.OrderPaid:
		return o.cancel(event.ReasonCustomer), nil
	case event.OrderPaymentFailed, event.OrderCancelling, event.OrderIsCancelled:
		return nil, nil
	case "":
		return nil, fmt.Errorf("order %s: %w", o.ID, event.ErrUnknownOrder)
	}
	return nil, &TooLateError{Order: o.ID, Status: o.Status}
}

// load is for commands that were taken before, so the row is there.
func (s *Service) load(ctx context.Context, id event.OrderID) (Order, error) {
	o, found, err := s.orders.Load(ctx, id)
	if err != nil {
		return Order{}, fmt.Errorf("load order %s: %w", id, err)
	}
	if !found {
		return Order{}, fmt.Errorf("load order %s: %w", id, event.ErrUnknownOrder)
	}
	return o, nil
}
