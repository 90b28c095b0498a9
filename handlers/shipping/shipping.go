// Package shipping is the shipping service's domain: it hands an order's parcel to
// a carrier, tells how it fares, and stops it or calls it back when the order is
// cancelled.
//
// One row per order, the Shipment. Calls to the carrier are effects: Due says which
// one a row waits for, Perform makes it. What a carrier reports, as the answer to a
// call or in a callback of its own, goes through one function, Shipment.learn.
package shipping

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"millrace/event"
)

// Shipments keeps the rows, one per order.
type Shipments interface {
	// Update creates the row if it is missing, lets change decide on a copy, and commits
	// the row, the returned events and what the row waits for, together or not at all.
	// The cause in ctx a second time changes nothing and does not run change. An error of
	// change keeps nothing and is returned unchanged. change may run more than once.
	Update(ctx context.Context, id event.OrderID, change func(*Shipment) ([]event.Event, error)) error
	// UpdateExisting is Update for ids that must already exist; otherwise the
	// error is event.ErrUnknownOrder.
	UpdateExisting(ctx context.Context, id event.OrderID, change func(*Shipment) ([]event.Event, error)) error
}

// Service reacts to events, takes commands and calls the carrier. It may be used by
// many goroutines.
type Service struct {
	shipments Shipments
	carrier   Carrier
	policy    Policy
}

// New returns a service that keeps its rows in s and ships with c.
func New(s Shipments, c Carrier, p Policy) *Service {
	return &Service{shipments: s, carrier: c, policy: p}
}

// Initiate begins to prepare the parcel, unless the order was cancelled before.
func (s *Service) Initiate(ctx context.Context, e event.ShippingInitiate) error {
	at := event.CauseFrom(ctx).Time
	return s.shipments.Update(ctx, e.OrderID, func(p *Shipment) ([]event.Event, error) {
		return p.initiate(e, at), nil
	})
}

// Cancel stops the parcel, or calls it back.
func (s *Service) Cancel(ctx context.Context, e event.OrderCancelled) error {
	at := event.CauseFrom(ctx).Time
	return s.shipments.Update(ctx, e.OrderID, func(p *Shipment) ([]event.Event, error) {
		return p.cancel(at), nil
	})
}

// Callback takes what the carrier reports of its own accord: InTransit, Delivered,
// Returned, Lost or Refused. A report that is out of date or impossible where
// the parcel stands changes nothing: the error is a *StaleReport, which says so.
// An order without a shipment is event.ErrUnknownOrder.
func (s *Service) Callback(ctx context.Context, id event.OrderID, r Report) error {
	at := event.CauseFrom(ctx).Time
	return s.shipments.UpdateExisting(ctx, id, func(p *Shipment) ([]event.Event, error) {
		if p.Status == "" {
			return nil, event.ErrUnknownOrder
		}
		said, news := p.learn(r, at)
		if !news {
			return nil, &StaleReport{Status: p.Status, State: r.State}
		}
		return said, nil
	})
}

// StaleReport says why a carrier's report was ignored.
type StaleReport struct {
	Status event.ParcelStatus // where the parcel stands
	State  State              // what was reported
}

// Error is fit for the carrier to read.
func (e *StaleReport) Error() string {
	return fmt.Sprintf("the report %s is ignored: it cannot follow %s", e.State, e.Status)
}

// Resolution is what an operator decides about a parcel that could not be called back.
type Resolution string

// The resolutions.
const (
	ResolveReturned   Resolution = "returned"    // it came back after all: its pieces can be sold again
	ResolveWrittenOff Resolution = "written-off" // it is gone: its pieces stay sold
)

// MaxNote is how many characters an operator's note may have: a paragraph.
const MaxNote = 2000

// What a resolution is refused for.
var (
	// ErrNotAResolution: not one of those above.
	ErrNotAResolution = fmt.Errorf("a shipment is resolved as %s or %s", ResolveReturned, ResolveWrittenOff)
	// ErrNoteTooLong: more than MaxNote characters.
	ErrNoteTooLong = fmt.Errorf("a note has at most %d characters", MaxNote)
	// ErrNothingToResolve: the parcel is under way, has ended, or was resolved before.
	ErrNothingToResolve = errors.New("only a shipment that is RECALL_FAILED can be resolved")
)

// Resolve is the operator's way out of RECALL_FAILED, and so out of the order's
// NEEDS_ATTENTION: the parcel counts as RETURNED or LOST from then on, and the order
// ends CANCELLED. The note is kept in the history.
func (s *Service) Resolve(ctx context.Context, id event.OrderID, as Resolution, note string) error {
	var status event.ParcelStatus
	switch as {
	case ResolveReturned:
		status = event.ParcelReturned
	case ResolveWrittenOff:
		status = event.ParcelLost
	default:
		return fmt.Errorf("%q: %w", as, ErrNotAResolution)
	}
	if utf8.RuneCountInString(note) > MaxNote {
		return ErrNoteTooLong
	}
	at := event.CauseFrom(ctx).Time
	return s.shipments.UpdateExisting(ctx, id, func(p *Shipment) ([]event.Event, error) {
		switch p.Status {
		case "":
			return nil, event.ErrUnknownOrder
		case event.ParcelRecallFailed:
			return p.enter(status, at, note), nil
		default:
			return nil, fmt.Errorf("order %s: the shipment is %s: %w", id, p.Status, ErrNothingToResolve)
		}
	})
}

// Policy is what can be set about shipments.
type Policy struct {
	// Step is how long to wait before asking the carrier whether a parcel has moved on.
	Step time.Duration
}
