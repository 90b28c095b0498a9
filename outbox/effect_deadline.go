package outbox

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// lagEvery is how often the lag is looked at. The look asks Kafka; one serves all deadlines.
	lagEvery = time.Second
	// lagTimeout ends a look at a broker that does not answer, which counts as lag.
	lagTimeout = 5 * time.Second
	// freshness is how old the oldest message on its way may be before it counts as lag.
	freshness = 2 * time.Second
	// lagGrace is how long there must have been no lag: what was held up has yet to
	// pass the other services, hop by hop, as young messages. A start counts as lag, because the
	// effects that became due while nobody ran have yet to be performed.
	lagGrace = 5 * time.Second
	// maxSkew is how far the clocks of broker and database may differ.
	maxSkew = 500 * time.Millisecond
	// keptLooks are enough to find one that is older than any message that is fresh.
	keptLooks = 16
)

// horizon is the time up to which deadlines may fire: everything that was true by
// then has been heard. Deadlines behind it stay due, untouched, until it has passed them.
type horizon struct {
	grace time.Duration

	mu     sync.Mutex
	looks  []lagLook
	lagged time.Time // when there last was lag
	until  time.Time
}

// lagLook is one look: the oldest message on its way, zero if there was none.
type lagLook struct{ at, oldest time.Time }

// note takes a look that began at at, and moves the horizon. Times are the
// database's. It tells whether there is lag.
//
// A message's time is when it reached the broker, which may be long after it became true:
// it lay in the outbox meanwhile. So a look at which nothing old is left does not show
// that everything old was heard, only that it has reached the broker by then. It has been heard at a
// later look at which all that is on its way is younger than the earlier look.
func (h *horizon) note(at, oldest time.Time, err error) (lag bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || !oldest.IsZero() && at.Sub(oldest) > freshness {
		h.lagged, h.looks = at, nil
		return true
	}
	h.looks = append(h.looks, lagLook{at, oldest})
	if len(h.looks) > keptLooks {
		h.looks = h.looks[1:]
	}
	if at.Sub(h.lagged) < h.grace {
		return false
	}
	if clear := h.heard(at, oldest); clear.After(h.until) {
		h.until = clear
	}
	return false
}

// heard is the time up to which everything has been heard at a look.
func (h *horizon) heard(at, oldest time.Time) time.Time {
	if oldest.IsZero() {
		return at
	}
	for _, earlier := range slices.Backward(h.looks) {
		switch {
		case !earlier.at.Add(maxSkew).Before(oldest):
			continue
		case !earlier.oldest.IsZero() && earlier.oldest.Before(earlier.at):
			return earlier.oldest
		default:
			return earlier.at
		}
	}
	return time.Time{}
}

func (h *horizon) get() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until
}

// always is the horizon where nothing can hold deadlines back.
var always = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// horizonNow is the due time up to which deadlines may be claimed.
func (e *Executor[S]) horizonNow() time.Time {
	if e.opts.Lag == nil {
		return always
	}
	return e.horizon.get()
}

// watchLag moves the horizon until ctx ends.
func (e *Executor[S]) watchLag(ctx context.Context) {
	held := false
	for ctx.Err() == nil {
		at := e.clock.now()
		oldest, err := e.lag(ctx)
		if ctx.Err() != nil {
			return
		}
		if lag := e.horizon.note(at, oldest, err); lag != held {
			held = lag
			switch {
			case err != nil:
				e.log.WarnContext(ctx, "no deadline fires: how late messages are cannot be told", "error", err)
			case held:
				e.log.WarnContext(ctx, "no deadline fires: messages are late", "oldest", oldest)
			default:
				e.log.InfoContext(ctx, "deadlines may fire again soon")
			}
		}
		pause(ctx, e.lagEvery, nil)
	}
}

func (e *Executor[S]) lag(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	return e.opts.Lag(ctx)
}
