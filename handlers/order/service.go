package order

import (
	"context"
	"fmt"
	"log/slog"

	"millrace/event"
)

// Orders is where orders are kept.
type Orders interface {
	// Update lets change decide on a copy of the order, which is created if it is
	// missing, and commits the new row, its facts, the events returned and what
	// the row waits for, together or not at all. A cause it has processed before
	// changes nothing: it returns nil without running change. change may run more
	// than once, the last run counts. An error from change comes back as it is.
	Update(ctx context.Context, id event.OrderID, change func(*Order) ([]event.Event, error)) error
	// UpdateExisting is Update for commands: event.ErrUnknownOrder if there is no row.
	UpdateExisting(ctx context.Context, id event.OrderID, change func(*Order) ([]event.Event, error)) error
	// Load reads the committed order; false if there is no row.
	Load(ctx context.Context, id event.OrderID) (Order, bool, error)
}

// Service reacts to what the other services say about an order, and takes the
// shop's commands.
type Service struct {
	orders Orders
	policy Policy
	log    *slog.Logger
}

// New returns the order service.
func New(orders Orders, policy Policy, log *slog.Logger) *Service {
	return &Service{orders: orders, policy: policy, log: log}
}

// hear lets an order remember a fact, whatever it stands at, and move on.
func (s *Service) hear(ctx context.Context, id event.OrderID, news Fact) error {
	return s.orders.Update(ctx, id, func(o *Order) ([]event.Event, error) {
		return o.record(o.decide(news)), nil
	})
}

// InventoryReserved asks payment to charge an order that is still PENDING.
func (s *Service) InventoryReserved(ctx context.Context, e event.InventoryReserved) error {
	return s.hear(ctx, e.OrderID, StockReserved{})
}

// InventoryRejected cancels an order that is still PENDING: nothing was charged.
func (s *Service) InventoryRejected(ctx context.Context, e event.InventoryRejected) error {
	return s.hear(ctx, e.OrderID, StockRejected{Short: e.Short})
}

// InventoryReleased settles the stock of an order on its way to CANCELLED.
func (s *Service) InventoryReleased(ctx context.Context, e event.InventoryReleased) error {
	return s.hear(ctx, e.OrderID, StockReleased{Cause: e.Cause})
}

// PaymentPending keeps the order waiting for the provider.
func (s *Service) PaymentPending(ctx context.Context, e event.PaymentPending) error {
	return s.hear(ctx, e.OrderID, PaymentPending{ProviderRef: e.ProviderRef})
}

// PaymentSucceeded makes the order PAID, unless it is being cancelled: then the
// money is on its way back.
func (s *Service) PaymentSucceeded(ctx context.Context, e event.PaymentSucceeded) error {
	return s.hear(ctx, e.OrderID, PaymentSucceeded{ProviderRef: e.ProviderRef})
}

// PaymentFailed ends the order once its stock is back, and the money too where
// it had been captured.
func (s *Service) PaymentFailed(ctx context.Context, e event.PaymentFailed) error {
	switch e.Reason {
	case event.FailedDeclined, event.FailedExpired, event.FailedCancelled:
	default:
		return &UnknownValueError{Event: "PaymentFailed", Field: "reason", Value: string(e.Reason)}
	}
	return s.hear(ctx, e.OrderID, PaymentFailed{Reason: e.Reason, Message: e.Message, RefundFollows: e.RefundFollows})
}

// PaymentRefunded settles the money of an order on its way to CANCELLED.
func (s *Service) PaymentRefunded(ctx context.Context, e event.PaymentRefunded) error {
	return s.hear(ctx, e.OrderID, PaymentRefunded{ProviderRef: e.ProviderRef, AfterSuccess: e.AfterSuccess})
}

// PaymentRefundFailed calls for an operator.
func (s *Service) PaymentRefundFailed(ctx context.Context, e event.PaymentRefundFailed) error {
	return s.hear(ctx, e.OrderID, PaymentRefundFailed{Message: e.Message})
}

// ShippingStatus follows the parcel: to the customer, back, or to an operator.
func (s *Service) ShippingStatus(ctx context.Context, e event.ShippingStatus) error {
	switch e.Status {
	case event.ParcelPreparing, event.ParcelShipped, event.ParcelDelivered, event.ParcelStopped,
		event.ParcelReturned, event.ParcelRefused, event.ParcelLost, event.ParcelRecallFailed:
	default:
		return &UnknownValueError{Event: "ShippingStatus", Field: "status", Value: string(e.Status)}
	}
	return s.hear(ctx, e.OrderID, ParcelMoved{Status: e.Status, Carrier: e.Carrier, TrackingNumber: e.TrackingNumber})
}

// UnknownValueError refuses an event whose meaning hangs on a word we do not
// know. It is permanent: a guess could keep money or stock that is not ours.
type UnknownValueError struct{ Event, Field, Value string }

// Error names the field.
func (e *UnknownValueError) Error() string {
	return fmt.Sprintf("%s: %s %q is not known to this version", e.Event, e.Field, e.Value)
}

// Permanent is true.
func (e *UnknownValueError) Permanent() bool { return true }
