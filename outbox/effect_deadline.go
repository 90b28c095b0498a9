package outbox

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// deadlineAgain is when a deadline is due again that did not fire because of lag.
	deadlineAgain = time.Second
	// lagEvery bounds how often the lag is looked at while there is some: the look
	// asks Kafka, and thousands of deadlines may be due.
	lagEvery = 250 * time.Millisecond
	// lagTimeout ends a look at a broker that does not answer, which counts as lag.
	lagTimeout = 5 * time.Second
)

// deadlineGuard sees to it that one batch of deadlines at a time is held against the lag. While it
// is, and shortly after there was some, no deadline is claimed, so that other effects go on.
type deadlineGuard struct {
	busy  atomic.Bool
	until atomic.Int64 // Unix nanoseconds of the next look
}

func (g *deadlineGuard) ready(now time.Time) bool {
	return !g.busy.Load() && now.UnixNano() >= g.until.Load()
}

// fire performs those deadlines that no message on its way could have prevented. The look is
// taken after they were claimed, so after each became due: what is not in it came too late.
func (e *Executor[S]) fire(deadlines []claimed) {
	ctx, cancel := context.WithTimeout(e.calls, lagTimeout)
	defer cancel()
	oldest, err := e.opts.Lag(ctx)
	var due, early []claimed
	for _, c := range deadlines {
		if err != nil || !oldest.IsZero() && oldest.Before(c.since) {
			early = append(early, c)
		} else {
			due = append(due, c)
		}
	}
	if len(early) > 0 {
		e.guard.until.Store(time.Now().Add(lagEvery).UnixNano())
		e.metrics.answers.WithLabelValues("put_off").Add(float64(len(early)))
		e.log.DebugContext(ctx, "deadlines wait for messages that are on their way", "deadlines", len(early), "oldest", oldest, "error", err)
		e.afterwards(func(ctx context.Context) error { return e.waits.putOffDeadlines(ctx, early, deadlineAgain) })
		e.give(len(early))
	}
	e.guard.busy.Store(false)
	for _, c := range due {
		e.begin(c)
	}
}
