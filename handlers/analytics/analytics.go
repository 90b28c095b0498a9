// Package analytics counts what happens to orders: how many were placed, paid,
// shipped, delivered and cancelled, what they brought in, and how long a payment took.
//
// Where an order stands is counted by what the order service says, money by what
// the payment service says. Each is counted in the minute in which its event
// happened, not in which it was heard. Events may come late, twice, and in any order:
// the sums end up the same.
//
// Every order contributes to sums (Order.Contribution); the store adds what a change
// of one order makes of a difference. So no two orders ever wait for each other.
package analytics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/event"
)

// Orders is the storage the service needs.
type Orders interface {
	// Update creates the row if it is missing, lets change decide on a copy, and
	// commits the new row, the difference in what it contributes to the sums, and
	// ctx's cause id together or not at all. The same cause a second time changes
	// nothing, and change does not run. change may run more than once.
	Update(ctx context.Context, id event.OrderID, change func(*Order) ([]event.Event, error)) error
}

// Service hears every topic.
type Service struct {
	orders Orders
}

// New returns the service.
func New(orders Orders) (*Service, error) {
	if orders == nil {
		return nil, errors.New("analytics: no storage for orders")
	}
	return &Service{orders: orders}, nil
}

// Count hears one event of any kind. When it happened is the time of ctx's cause.
// An event that is counted nowhere leaves nothing behind, not even its id.
func (s *Service) Count(ctx context.Context, e event.Event) error {
	if !Counted(e) {
		return nil
	}
	at := event.CauseFrom(ctx).Time.UTC().Truncate(time.Microsecond) // what a database can keep
	if err := check(e, at); err != nil {
		return err
	}
	return s.orders.Update(ctx, e.Key(), func(o *Order) ([]event.Event, error) {
		o.hear(e, at)
		return nil, nil
	})
}

// Counted tells whether an event changes any sum.
func Counted(e event.Event) bool {
	switch e := e.(type) {
	case event.OrderCreated, event.PaymentSucceeded, event.PaymentRefunded, event.PaymentRefundFailed:
		return true
	case event.OrderStatusUpdated:
		switch e.Status {
		case event.OrderPaid, event.OrderShipped, event.OrderDelivered, event.OrderIsCancelled:
			return true
		}
	}
	return false
}

// Limits on what may name a sum or a minute. Our own services stay far inside; a foreign
// record must not be able to make a sum that nobody can add up or print.
const (
	currencyLength  = 3    // ISO 4217
	maxReasonLength = 64   // the longest of ours has 15
	lastYear        = 9999 // RFC 3339 has four digits
	firstYear       = 1970
)

// UncountableError is returned for an event that can never be counted.
type UncountableError struct {
	OrderID event.OrderID
	Problem string
}

// Error says what is wrong with the event.
func (e *UncountableError) Error() string {
	return fmt.Sprintf("analytics: order %s: %s", e.OrderID, e.Problem)
}

// Permanent is true: the event will not be better the next time.
func (e *UncountableError) Permanent() bool { return true }

func check(e event.Event, at time.Time) error {
	refuse := func(format string, args ...any) error {
		return &UncountableError{e.Key(), fmt.Sprintf(format, args...)}
	}
	if at.Year() < firstYear || at.Year() > lastYear {
		return refuse("%T happened at %v; its time must lie in the years %d to %d", e, at, firstYear, lastYear)
	}
	switch e := e.(type) {
	case event.OrderStatusUpdated:
		if len(e.Reason) > maxReasonLength {
			return refuse("the reason has %d characters, at most %d can be counted by", len(e.Reason), maxReasonLength)
		}
	default:
		total, has := totalOf(e)
		if !has {
			return nil
		}
		if total.Amount < 0 {
			return refuse("the total %d is negative", total.Amount)
		}
		if len(total.Currency) != currencyLength {
			return refuse("%q is not a currency; want three letters, such as EUR", shorten(total.Currency))
		}
	}
	return nil
}

func totalOf(e event.Event) (total event.Money, has bool) {
	switch e := e.(type) {
	case event.PaymentSucceeded:
		return e.Total, true
	case event.PaymentRefunded:
		return e.Total, true
	case event.PaymentRefundFailed:
		return e.Total, true
	}
	return event.Money{}, false
}

func shorten(s string) string {
	const limit = 20 // enough to recognise it in an error
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}
