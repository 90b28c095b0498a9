package outbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"millrace/event"
)

// poll claims what is due and has a place; full means that there may be more.
func (e *Executor[S]) poll(ctx context.Context) (full bool, err error) {
	if err := e.clock.compare(ctx, e.waits.stmts); err != nil {
		return false, err
	}
	e.startAhead()
	places := e.slots.take()
	if places == 0 {
		return true, nil
	}
	list, full, err := e.waits.claim(ctx, places, e.lease, e.clock.now(), e.horizonNow())
	e.slots.putBack(places-len(list), full)
	if err != nil {
		return false, err
	}
	if len(list) > 0 && !e.slots.begin(func() { e.runAll(list) }) {
		e.give(len(list))
	}
	return full, nil
}

// runAll reads the rows of claims that have a place each, all at once, and makes their calls.
func (e *Executor[S]) runAll(list []claimed) {
	if len(list) == 0 {
		return
	}
	ids := make([]event.OrderID, len(list))
	for i, c := range list {
		ids[i] = c.id
	}
	ctx, cancel := context.WithTimeout(e.calls, e.opts.CallTimeout)
	defer cancel()
	rows, err := e.load(ctx, ids)
	for _, c := range list {
		e.inPlace(func() {
			row, ok := rows[c.id]
			claim := Claim[S]{OrderID: c.id, Step: c.step, Attempt: c.attempt, Since: c.since, CorrelationID: row.CorrelationID, Row: row.Row}
			switch failed := errors.Join(err, row.Err); {
			case failed != nil:
				e.again(e.calls, claim, failed)
			case !ok || !e.waitsFor(&row.Row, c.step):
				e.forget(e.calls, claim)
			default:
				e.run(claim)
				return
			}
			e.give(1)
		})
	}
}

// run makes one attempt and settles its wait. It has a place, which it gives back.
func (e *Executor[S]) run(c Claim[S]) {
	defer e.give(1)
	e.metrics.inFlight.Inc()
	defer e.metrics.inFlight.Dec()
	ctx, cancel := context.WithTimeout(e.calls, e.lease)
	defer cancel()
	// The answer is caused by the attempt: whatever is logged or said under it carries the order's id.
	ctx = event.WithCause(ctx, event.Cause{ID: answerID(c.OrderID, c.Step, c.Attempt), CorrelationID: c.CorrelationID, Time: e.clock.now()})
	change, err := e.call(ctx, c)
	if err != nil {
		e.again(ctx, c, err)
		return
	}
	still, err := e.answer(ctx, c, change)
	switch {
	case errors.Is(err, event.ErrUnknownOrder):
		e.forget(ctx, c)
	case err != nil:
		e.again(ctx, c, err)
	case still:
		e.metrics.answers.WithLabelValues("waiting").Inc()
		e.putOff(c.claimed(), e.pauseAfter(c.Attempt, nil))
	default:
		e.metrics.answers.WithLabelValues("answered").Inc()
	}
}

var errNoAnswer = errors.New("neither an answer nor an error came back: Perform must return one of them")

// call performs the step. A panic is an error of this attempt alone.
func (e *Executor[S]) call(ctx context.Context, c Claim[S]) (change func(*S) ([]event.Event, error), err error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.CallTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			e.log.ErrorContext(ctx, "an effect panicked", "order_id", c.OrderID, "step", c.Step, "panic", p, "stack", string(debug.Stack()))
			err = &PanicError{p}
		}
	}()
	change, err = e.perform(ctx, c.Row, c.Step, c.Attempt)
	if err == nil && change == nil {
		return nil, errNoAnswer
	}
	return change, err
}

// answer brings the answer back, and tells whether the row waits for the step all the same.
func (e *Executor[S]) answer(ctx context.Context, c Claim[S], change func(*S) ([]event.Event, error)) (bool, error) {
	cause := event.CauseFrom(ctx)
	cause.Time = e.clock.now() // the call took its time
	ctx = event.WithCause(ctx, cause)
	still := true // what the row waits for is not known when the store has processed this answer before
	err := e.update(ctx, c.OrderID, func(row *S) ([]event.Event, error) {
		if still = e.waitsFor(row, c.Step); !still {
			return nil, nil
		}
		events, err := change(row)
		if err == nil {
			still = e.waitsFor(row, c.Step)
		}
		return events, err
	})
	if err != nil { // whoever gave up waiting leaves the change to the store, which may be at still at this moment
		return false, err
	}
	return still, nil
}

// answers is the namespace of the ids of answers: a constant, so that each process
// gives the same answer the same id.
var answers = uuid.MustParse("6b8f6c0e-51c4-4a0c-9b0f-5e1f8f1d7a63")

// answerID is the cause of the change that an attempt's answer makes.
func answerID(id event.OrderID, step string, attempt int) string {
	return uuid.NewSHA1(answers, []byte(string(id)+"/"+step+"/"+strconv.Itoa(attempt))).String()
}

func (e *Executor[S]) waitsFor(row *S, step string) bool { return waitsFor(e.opts.Waits(row), step) }

func waitsFor(waits []event.Wait, step string) bool {
	return slices.ContainsFunc(waits, func(w event.Wait) bool { return w.Step == step })
}

// The pauses between attempts double from firstAsk to lastAsk, give or take a half, so that
// many orders that failed together do not come back together.
const (
	firstAsk   = 100 * time.Millisecond
	lastAsk    = 10 * time.Second
	askJitter  = 0.5
	askGrowth  = 2
	longestAsk = 5 * time.Minute // of what the other side may ask for with RetryAfter
)

// pauseAfter is how long after an attempt the next one is due.
func (e *Executor[S]) pauseAfter(attempt int, err error) time.Duration {
	var wish interface{ RetryAfter() time.Duration }
	if errors.As(err, &wish) {
		return min(max(wish.RetryAfter(), e.firstRetry), longestAsk)
	}
	return retryPause(attempt, e.firstRetry, e.lastRetry)
}

func retryPause(attempt int, first, last time.Duration) time.Duration {
	b := &backoff.ExponentialBackOff{InitialInterval: first, MaxInterval: last, Multiplier: askGrowth, RandomizationFactor: askJitter}
	b.Reset()
	const doublings = 32 // beyond them last has long been reached
	for range min(attempt-1, doublings) {
		b.NextBackOff()
	}
	return b.NextBackOff()
}

// logEvery and logAt thin out what is logged of one wait: the first failures are
// everyday life.
const (
	logAt    = 3
	logEvery = 25
)

// again makes the step due again after a failure.
func (e *Executor[S]) again(ctx context.Context, c Claim[S], err error) {
	e.metrics.answers.WithLabelValues("unknown").Inc()
	d := e.pauseAfter(c.Attempt, err)
	if e.calls.Err() != nil {
		d = 0 // stopped in the middle: whoever is there may ask at once
	} else if asked := (interface{ RetryAfter() time.Duration })(nil); !errors.As(err, &asked) && (c.Attempt == logAt || c.Attempt%logEvery == 0) {
		// Who says when to ask again is not in trouble.
		e.log.WarnContext(ctx, "no answer yet, asking again", "order_id", c.OrderID, "step", c.Step, "attempt", c.Attempt, "in", d.Round(time.Millisecond), "error", err)
	}
	e.putOff(c.claimed(), d)
}

func (e *Executor[S]) putOff(c claimed, d time.Duration) {
	e.afterwards(func(ctx context.Context) error { return e.waits.putOff(ctx, c, d) })
}

func (e *Executor[S]) forget(ctx context.Context, c Claim[S]) {
	e.log.InfoContext(ctx, "nobody waits for this step any more", "order_id", c.OrderID, "step", c.Step)
	e.afterwards(func(ctx context.Context) error { return e.waits.forget(ctx, c.claimed()) })
}

func (c Claim[S]) claimed() claimed { return claimed{c.OrderID, c.Step, c.Attempt, c.Since} }

// afterwards settles a wait, even while the executor stops. While the database does not answer it
// tries again, until the claim's lease makes the wait due anyway: that is too long to leave it to.
func (e *Executor[S]) afterwards(settle func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.calls), e.lease)
	defer cancel()
	for try := 1; ; try++ {
		err := e.settle(ctx, settle)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil || e.calls.Err() != nil:
			e.log.WarnContext(ctx, "the wait is due again when its lease is over", "lease", e.lease, "error", fmt.Errorf("settle: %w", err))
			return
		}
		pause(e.calls, retryPause(try, firstRetry, lastRetry), nil)
	}
}

func (e *Executor[S]) settle(ctx context.Context, settle func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, transactionLimit)
	defer cancel()
	return settle(ctx)
}
