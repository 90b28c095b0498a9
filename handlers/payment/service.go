package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"millrace/event"
)

// Payments is where the rows are kept.
type Payments interface {
	// Update creates the row if it is missing, lets change decide on a copy, and
	// commits the new row, the events, its waits and ctx's cause id, together or
	// not at all. A cause that was processed changes nothing and does not run
	// change. change may run more than once, so it uses no clock, no randomness
	// and no I/O; its error is returned as it is and leaves the row untouched.
	Update(ctx context.Context, id event.OrderID, change func(*Payment) ([]event.Event, error)) error
	// UpdateExisting is Update for commands and answers: on an id without a row the
	// error is event.ErrUnknownOrder, and nothing is created.
	UpdateExisting(ctx context.Context, id event.OrderID, change func(*Payment) ([]event.Event, error)) error
}

// Service reacts to what payment hears. Its methods may be called concurrently.
type Service struct {
	payments Payments
	gateway  Gateway
}

// NewService needs a store and a provider. A nil gateway is fine for a Service
// that never performs, such as one that only describes the flow.
func NewService(payments Payments, gateway Gateway) *Service {
	return &Service{payments: payments, gateway: gateway}
}

// InvalidError is an event that no retry makes right.
type InvalidError struct {
	OrderID event.OrderID
	Problem string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("payment: order %s: %s", e.OrderID, e.Problem)
}

// Permanent sends the event to the dead letters at once.
func (e *InvalidError) Permanent() bool { return true }

// Initiate hears that an order may be paid, and begins to charge. A tombstone has
// answered already and says nothing more.
func (s *Service) Initiate(ctx context.Context, e event.PaymentInitiated) error {
	switch {
	case e.Total.Amount < 0:
		return &InvalidError{e.OrderID, fmt.Sprintf("cannot charge a negative amount (%d)", e.Total.Amount)}
	case e.Total.Currency == "":
		return &InvalidError{e.OrderID, "cannot charge without a currency"}
	}
	return s.payments.Update(ctx, e.OrderID, func(p *Payment) ([]event.Event, error) {
		return p.initiate(e), nil
	})
}

// Cancel hears that the money is not wanted any more, at any time: before the
// payment was asked for, while it is under way, after it succeeded.
func (s *Service) Cancel(ctx context.Context, e event.OrderCancelled) error {
	return s.payments.Update(ctx, e.OrderID, func(p *Payment) ([]event.Event, error) {
		return p.cancel(), nil
	})
}

// Callback is the provider's own word on a charge: Captured or Declined.
type Callback struct {
	OrderID     event.OrderID
	Outcome     Outcome
	ProviderRef string
}

// Callback takes the provider's word. The caller has verified who sent it. One that
// comes twice, or says what is known already, changes nothing. An order nobody has
// asked to charge is event.ErrUnknownOrder.
func (s *Service) Callback(ctx context.Context, c Callback) error {
	if c.Outcome != Captured && c.Outcome != Declined {
		return &InvalidError{c.OrderID, fmt.Sprintf("a callback says captured or declined, not %q", c.Outcome)}
	}
	result := Result{Outcome: c.Outcome, ProviderRef: c.ProviderRef}.cleaned()
	var contradicts Status
	err := s.payments.UpdateExisting(ctx, c.OrderID, func(p *Payment) ([]event.Event, error) {
		contradicts = ""
		if !p.Heard() {
			return nil, event.ErrUnknownOrder
		}
		if c.Outcome == Captured && p.Status == StatusFailed || c.Outcome == Declined && p.captured() {
			contradicts = p.Status
		}
		return p.learn(result), nil
	})
	if err == nil && contradicts != "" {
		slog.WarnContext(ctx, "the provider contradicts what it said before",
			"order_id", c.OrderID, "status", contradicts, "callback", c.Outcome)
	}
	return err
}

// RefundAction is what an operator decides about a refused refund.
type RefundAction string

// Try again with a new key, or note that the money went back another way.
const (
	RetryRefund  RefundAction = "retry"
	SettleRefund RefundAction = "settled"
)

// Errors of Resolve.
var (
	// ErrNoRefusedRefund means there is nothing to resolve: no refund of this order
	// was refused for good, or one is under way.
	ErrNoRefusedRefund = errors.New("payment: no refused refund to resolve")
	// ErrUnknownAction means the action is neither retry nor settled.
	ErrUnknownAction = errors.New("payment: unknown action, want retry or settled")
)

// Resolve is the operator's way out of a refund that was refused for good. The note
// says why, for those who look later.
func (s *Service) Resolve(ctx context.Context, id event.OrderID, action RefundAction, note string) error {
	if action != RetryRefund && action != SettleRefund {
		return fmt.Errorf("%w: %q", ErrUnknownAction, action)
	}
	return s.payments.UpdateExisting(ctx, id, func(p *Payment) ([]event.Event, error) {
		return p.resolve(action, clean(note))
	})
}
