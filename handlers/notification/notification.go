// Package notification tells customers how their orders fare: by e-mail, SMS
// and push, each kind of notice once per order and channel.
//
// Which event is which notice stands in Kind. A notice heard of before the order
// itself is held until the customer is known. Sending is an effect, so this
// package only decides; a Sender does it.
//
// Promised: a notice is sent at most once with a provider that honours the
// idempotency key, else at least once; on one channel, notices go out in the order
// in which they were heard of. Not promised: that this is the order in which things
// happened, since topics have no order among each other.
package notification

import (
	"context"
	"errors"
	"fmt"

	"millrace/event"
)

// Orders is the storage the service needs.
type Orders interface {
	// Update creates the row if it is missing, lets change decide on a copy, and
	// commits the new row, the returned events, its waits and ctx's cause id together
	// or not at all. The same cause a second time changes nothing, and change does not
	// run. change may run more than once.
	Update(ctx context.Context, id event.OrderID, change func(*Order) ([]event.Event, error)) error
}

// Service reacts to what is said about orders.
type Service struct {
	orders  Orders
	senders Senders
	book    AddressBook
}

// New returns the service. A nil book takes the addresses that came with the
// order; any other is asked once per order. At least one sender is needed; notices
// for a channel without one are skipped.
func New(orders Orders, senders Senders, book AddressBook) (*Service, error) {
	if orders == nil {
		return nil, errors.New("notification: no storage for orders")
	}
	if senders == (Senders{}) {
		return nil, errors.New("notification: no sender; set at least one of Email, SMS and Push")
	}
	return &Service{orders: orders, senders: senders, book: book}, nil
}

// OrderCreated opens the order's row: from now on it is known whom to tell, and
// what was held until now goes out.
func (s *Service) OrderCreated(ctx context.Context, e event.OrderCreated) error {
	var given event.Contact
	if e.Contact != nil {
		given = *e.Contact
	}
	return s.orders.Update(ctx, e.OrderID, func(o *Order) ([]event.Event, error) {
		if !o.open(e.CustomerID, e.Total, given) {
			return nil, nil
		}
		if s.book == nil {
			o.address(s.usable(given))
		}
		return nil, nil
	})
}

// PaymentSucceeded tells that the money arrived.
func (s *Service) PaymentSucceeded(ctx context.Context, e event.PaymentSucceeded) error {
	return s.tell(ctx, e)
}

// PaymentFailed tells that the payment was declined or has expired. One that ended
// because of a cancel is not told: the cancellation is.
func (s *Service) PaymentFailed(ctx context.Context, e event.PaymentFailed) error {
	return s.tell(ctx, e)
}

// PaymentPending tells that the provider has not decided yet.
func (s *Service) PaymentPending(ctx context.Context, e event.PaymentPending) error {
	return s.tell(ctx, e)
}

// OrderStatusUpdated tells of a cancellation and of an order that needs attention;
// every other status is told by the event that led to it.
func (s *Service) OrderStatusUpdated(ctx context.Context, e event.OrderStatusUpdated) error {
	return s.tell(ctx, e)
}

// ShippingStatus tells where the parcel is while it is on its way.
func (s *Service) ShippingStatus(ctx context.Context, e event.ShippingStatus) error {
	return s.tell(ctx, e)
}

// PaymentRefunded tells that the money went back.
func (s *Service) PaymentRefunded(ctx context.Context, e event.PaymentRefunded) error {
	return s.tell(ctx, e)
}

// PaymentRefundFailed tells nothing: the order then needs attention, and that is told.
func (s *Service) PaymentRefundFailed(ctx context.Context, e event.PaymentRefundFailed) error {
	return s.tell(ctx, e)
}

// tell adds the notice that e stands for. An event that stands for none leaves
// nothing behind, not even its id: hearing it again tells nothing again.
func (s *Service) tell(ctx context.Context, e event.Event) error {
	kind, told := Kind(e)
	if !told {
		return nil
	}
	return s.orders.Update(ctx, e.Key(), func(o *Order) ([]event.Event, error) {
		o.remember(e)
		o.tell(kind)
		return nil, nil
	})
}

// Perform makes the call that row waits for under step: it asks the address book,
// or sends one notice. The error means that nobody knows what came of it, so the
// same step is to be asked again, under the same idempotency key.
func (s *Service) Perform(ctx context.Context, row Order, step string, _ int) (func(*Order) ([]event.Event, error), error) {
	if step == addressStep {
		return s.lookUp(ctx, row)
	}
	n, waits := row.waitingFor(step)
	if !waits {
		return nil, fmt.Errorf("notification: order %s does not wait for %q", row.ID, step)
	}
	return s.send(ctx, row, n)
}
