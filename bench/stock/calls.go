package stock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"millrace/event"
)

const (
	// callTimeout bounds one call to the outside.
	callTimeout = 5 * time.Second
	// firstRetry and longestRetry bound how long a call that failed is left alone.
	firstRetry   = 500 * time.Millisecond
	longestRetry = 30 * time.Second
)

// call makes the calls that a change made due at once, all of them side by side, and writes
// their answers in one more transaction; and so on, until nothing is due at once. A call that fails
// is left to the poller.
func (r *rows[S]) call(ctx context.Context, rec *record[S], steps []string, m mode) error {
	for len(steps) > 0 {
		answered := make([]func(*S) ([]event.Event, error), len(steps))
		failed := make([]error, len(steps))
		var calls sync.WaitGroup
		for i, step := range steps {
			calls.Go(func() { answered[i], failed[i] = r.callOne(ctx, rec, step, 1) })
		}
		calls.Wait()
		var postponed error
		for i, step := range steps {
			if failed[i] != nil {
				postponed = errors.Join(postponed, r.postpone(ctx, rec.id, step, 1, failed[i]))
			}
		}
		if postponed != nil {
			return postponed
		}
		var err error
		if rec, steps, err = r.answer(ctx, rec.id, steps, answered, m); err != nil {
			return err
		}
	}
	return nil
}

// callOne makes one call. Nothing but time causes it, so the domain takes its clock for it.
func (r *rows[S]) callOne(ctx context.Context, rec *record[S], step string, attempt int) (func(*S) ([]event.Event, error), error) {
	ctx, cancel := context.WithTimeout(event.WithCause(ctx, event.Cause{CorrelationID: rec.correlationID}), callTimeout)
	defer cancel()
	return r.perform(ctx, rec.row, step, attempt)
}

// answer lets the row learn what the calls answered, where it still waits for them.
func (r *rows[S]) answer(ctx context.Context, id event.OrderID, steps []string, answers []func(*S) ([]event.Event, error), m mode) (*record[S], []string, error) {
	m.answers, m.existing = true, true
	return r.transact(ctx, id, m, func(_ context.Context, _ *transaction, row *S) ([]event.Event, error) {
		var said []event.Event
		for i, step := range steps {
			waiting := slices.ContainsFunc(r.waits(row), func(w event.Wait) bool { return w.Step == step })
			if answers[i] == nil || !waiting {
				continue
			}
			more, err := answers[i](row)
			if err != nil {
				return nil, err
			}
			said = append(said, more...)
		}
		return said, nil
	})
}

const postponeWait = `INSERT INTO waits (service, order_id, step, due_at, attempt) VALUES ($1, $2, $3, now() + $4 * interval '1 microsecond', $5)
ON CONFLICT (service, order_id, step) DO UPDATE SET due_at = excluded.due_at, attempt = excluded.attempt`

// postpone has the poller make the call again, when the error says so or after a back-off.
func (r *rows[S]) postpone(ctx context.Context, id event.OrderID, step string, attempt int, why error) error {
	after := firstRetry << min(attempt-1, 10) // far beyond longestRetry
	after = min(after, longestRetry)
	if polite, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](why); ok {
		after = polite.RetryAfter()
	}
	if _, err := r.db.ExecContext(ctx, postponeWait, r.service, string(id), step, after.Microseconds(), attempt); err != nil {
		return fmt.Errorf("postpone %s of order %s (%w): %w", step, id, why, err)
	}
	return nil
}
