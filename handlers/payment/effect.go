package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/event"
)

// The steps a payment waits for, beside event.DeadlineStep. A refused refund that
// is tried again waits for refund-2, then refund-3, …
const (
	StepCharge = "charge"
	StepAsk    = "ask"
	StepVoid   = "void"
	StepRefund = "refund"
)

// askAfter is how long a pending charge is left to the provider's callback before
// we ask ourselves. A callback normally comes first; one that got lost costs
// this much. Asking again backs off, so a slow provider is not pestered.
const askAfter = 2 * time.Second

// Policy is what can be set about payments.
type Policy struct {
	// Deadline is how long a payment may take from PaymentInitiated on before it is
	// voided. It must be shorter than the order's own.
	Deadline time.Duration
}

// Due is what the row waits for. A deadline stands beside charge and ask and keeps
// its due time from one to the other; void and refund have none, because they are
// asked until the provider answers: to give up would be to guess about money.
func (p Policy) Due(row *Payment) []event.Wait {
	deadline := event.Wait{Step: event.DeadlineStep, After: p.Deadline}
	switch row.Status {
	case StatusCharging:
		return []event.Wait{{Step: StepCharge}, deadline}
	case StatusPending:
		return []event.Wait{{Step: StepAsk, After: askAfter}, deadline}
	case StatusVoiding:
		return []event.Wait{{Step: StepVoid}}
	case StatusRefunding:
		return []event.Wait{{Step: row.refundStep()}}
	}
	return nil
}

// ErrStillPending means the provider was asked and has not decided; ask again later.
var ErrStillPending = errors.New("payment: the provider has not decided yet")

// Perform makes the call that step stands for, on a snapshot of the row, and
// returns what the answer does to the row. The change may assume that the row
// still waits for step. An error means no answer is known; the same step is to be
// performed again, later. attempt counts from 1.
func (s *Service) Perform(ctx context.Context, row Payment, step string, attempt int) (func(*Payment) ([]event.Event, error), error) {
	// The call moves money: a row that does not wait for it must not make it.
	if !slices.ContainsFunc(Policy{}.Due(&row), func(w event.Wait) bool { return w.Step == step }) {
		return nil, fmt.Errorf("payment: order %s is %q and does not wait for %q", row.ID, row.Status, step)
	}
	request := Request{OrderID: row.ID, Step: step, Total: row.Total, PaymentMethod: row.PaymentMethod}
	learn := (*Payment).learn
	var result Result
	var err error
	switch step {
	case event.DeadlineStep:
		return func(p *Payment) ([]event.Event, error) { return p.expire(), nil }, nil
	case StepCharge:
		result, err = s.gateway.Charge(ctx, request)
		err = expect(result, err, Captured, Declined, Pended)
	case StepAsk:
		result, err = s.gateway.Find(ctx, request)
		err = expect(result, err, Captured, Declined, Pended)
		if err == nil && result.Outcome == Pended {
			err = ErrStillPending
		}
	case StepVoid:
		result, err = s.gateway.Void(ctx, request)
		err = expect(result, err, Voided, Captured, Declined)
	default: // a refund, whichever it is
		learn = (*Payment).refundAnswered
		result, err = s.gateway.Refund(ctx, request)
		err = expect(result, err, Refunded, Refused)
	}
	if err != nil {
		return nil, fmt.Errorf("payment: %s, attempt %d: %w", request.Key(), attempt, err)
	}
	result = result.cleaned()
	return func(p *Payment) ([]event.Event, error) {
		p.Attempts = attempt
		return learn(p, result), nil
	}, nil
}

// expect turns an outcome that does not belong to the call into an error: what we
// do not understand, we do not know.
func expect(r Result, err error, outcomes ...Outcome) error {
	if err != nil {
		return err
	}
	if slices.Contains(outcomes, r.Outcome) {
		return nil
	}
	return fmt.Errorf("the provider answered %q, which is no answer to this call", r.Outcome)
}
