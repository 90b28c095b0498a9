package order

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"millrace/event"
)

// Policy is how long an order may take.
type Policy struct {
	// Deadline runs from placing until the parcel leaves; then, and while an order
	// is being cancelled, again until it ends. It must be longer than payment's own
	// deadline, so that payment gives up first.
	Deadline time.Duration
}

// overdueStep is the wait of an order that nobody can give up: the parcel is under
// way, or money and stock are being settled. It raises an alarm and waits on.
const overdueStep = "overdue"

// Due returns what the order waits for. The deadline set at placing stands until
// the order ships, because its step keeps its name.
func (p Policy) Due(o *Order) []event.Wait {
	switch o.Status {
	case event.OrderPending, event.OrderAwaiting, event.OrderPaymentPending, event.OrderPaid:
		return []event.Wait{{Step: event.DeadlineStep, After: p.Deadline}}
	case event.OrderPaymentFailed, event.OrderShipped, event.OrderCancelling:
		return []event.Wait{{Step: overdueStep, After: p.Deadline}}
	}
	// The end, an operator's turn, or an order that was never placed.
	return nil
}

// OverdueError says that an order has not ended in time, and that nothing but
// patience, or an operator, helps. The wait it answers becomes due again.
type OverdueError struct {
	Order  event.OrderID
	Status event.OrderStatus
	// Again is when the alarm is raised the next time.
	Again time.Duration
}

// Error names the order and what it is stuck in.
func (e *OverdueError) Error() string {
	return fmt.Sprintf("order %s is overdue in %s", e.Order, e.Status)
}

// RetryAfter is when the alarm is raised the next time.
func (e *OverdueError) RetryAfter() time.Duration { return e.Again }

// Perform does what the order waits for. At its deadline an order that has not
// shipped is cancelled; an overdue one is alarmed and stays as it is.
func (s *Service) Perform(ctx context.Context, o Order, step string, attempt int) (func(*Order) ([]event.Event, error), error) {
	switch step {
	case event.DeadlineStep:
		return func(o *Order) ([]event.Event, error) {
			return o.record(o.cancel(event.ReasonDeadline)), nil
		}, nil
	case overdueStep:
		s.log.WarnContext(ctx, "order is overdue", slog.String("order_id", string(o.ID)), slog.String("status", string(o.Status)),
			slog.String("reason", string(o.Reason)), slog.Int("alarm", attempt))
		return nil, &OverdueError{Order: o.ID, Status: o.Status, Again: s.policy.Deadline}
	}
	return nil, fmt.Errorf("order %s: step %q: there is no such step", o.ID, step)
}
