package shipping

import (
	"context"
	"fmt"
	"time"

	"millrace/event"
)

// The steps a shipment waits for. They are part of the carrier's idempotency keys:
// never rename one.
const (
	stepBook           = "book"
	stepTrackShipped   = "track-shipped"
	stepTrackDelivered = "track-delivered"
	stepStop           = "stop"
	stepRecall         = "recall"
)

// Perform makes the call a shipment waits for and returns what its answer does to the
// row. An error means that there is no answer yet: the step is due again.
func (s *Service) Perform(ctx context.Context, row Shipment, step string, attempt int) (func(*Shipment) ([]event.Event, error), error) {
	report, err := s.ask(ctx, &row, step)
	if err != nil {
		return nil, fmt.Errorf("order %s, %s, attempt %d: %w", row.ID, step, attempt, err)
	}
	at := event.CauseFrom(ctx).Time
	if at.IsZero() { // as a rule: nothing but time causes a call
		at = time.Now()
	}
	if _, news := row.learn(report, at); !news { // row is our own copy
		return nil, &notYet{step: step, state: report.State, after: s.policy.Step}
	}
	return func(p *Shipment) ([]event.Event, error) {
		said, _ := p.learn(report, at)
		return said, nil
	}, nil
}

// notYet says that the carrier has nothing new to tell.
type notYet struct {
	step  string
	state State
	after time.Duration
}

func (e *notYet) Error() string {
	return fmt.Sprintf("%s: the carrier reports %s, nothing new", e.step, e.state)
}

// RetryAfter is when to ask again: parcels move step by step, not by back-off.
func (e *notYet) RetryAfter() time.Duration { return e.after }

func (s *Service) ask(ctx context.Context, row *Shipment, step string) (Report, error) {
	if row.Address == nil {
		return collect(step)
	}
	p := Parcel{
		Key: string(row.ID) + "/" + step, OrderID: row.ID, Items: row.Items, Address: *row.Address,
		TrackingNumber: row.TrackingNumber, BookedAt: row.BookedAt,
	}
	switch step {
	case stepBook:
		return s.carrier.Book(ctx, p)
	case stepTrackShipped, stepTrackDelivered:
		return s.carrier.Track(ctx, p)
	case stepStop:
		return s.carrier.Stop(ctx, p)
	case stepRecall:
		return s.carrier.Recall(ctx, p)
	}
	return Report{}, unknownStep(step)
}

// collect plays the carrier for an order that is collected in the shop: each step
// passes, and what has not been handed over goes back on the shelf.
func collect(step string) (Report, error) {
	states := map[string]State{
		stepBook:           Booked,
		stepTrackShipped:   InTransit,
		stepTrackDelivered: Delivered,
		stepStop:           Stopped,
		stepRecall:         Returned,
	}
	state, known := states[step]
	if !known {
		return Report{}, unknownStep(step)
	}
	return Report{State: state}, nil
}

func unknownStep(step string) error {
	return fmt.Errorf("shipping knows no step %q: is an older release running beside a newer one?", step)
}
