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
	// standstill is how long nobody may have looked before that counts as lag: more than a look may take. The process stood.
	standstill = lagTimeout + freshness
	// keptLags is how many lags are kept apart in the time of a deadline; those that end close together become one.
	keptLags = 256
)

// horizon is the time up to which deadlines may fire: everything that was true by
// then has been heard, and nothing that was under way lost time to a lag of ours. Deadlines behind it
// stay due, untouched, until it has passed them.
type horizon struct {
	grace time.Duration
	// longest is how long a deadline may be: what began before a lag ended has had its time when so much has gone by since.
	longest time.Duration

	mu     sync.Mutex
	looks  []lagLook
	lagged time.Time // when there last was lag
	clear  time.Time // the last look without; zero: there was none yet
	began  time.Time // the lag that lasts; zero: there is none
	lags   []lag     // those that something may still have lost time to
	unkept []span    // those that the database has yet to be told of
	kept   time.Time // the last look without that the database knows of
	until  time.Time
}

// lag is a time during which messages were late.
type lag struct {
	end    time.Time
	length time.Duration
}

// span is a time from one moment to another.
type span struct{ from, to time.Time }

// lagLook is one look: the oldest message on its way, zero if there was none.
type lagLook struct{ at, oldest time.Time }

// note takes a look that began at at, and moves the horizon. Times are the
// database's. It tells whether there is lag.
//
// A message's time is when it reached the broker, which may be long after it became true:
// it lay in the outbox meanwhile. So a look at which nothing old is left does not show
// that everything old was heard, only that it has reached the broker by then. It has been heard at a
// later look at which all that is on its way is younger than the earlier look.
func (h *horizon) note(at, oldest time.Time, err error) (late bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Before(h.clear) {
		h.setBack(at)
	}
	if h.began.IsZero() && !h.clear.IsZero() && at.Sub(h.clear) > standstill {
		h.lagged, h.looks = at, nil
		h.begin(at, oldest)
	}
	if err != nil || !oldest.IsZero() && at.Sub(oldest) > freshness {
		h.lagged, h.looks = at, nil
		h.begin(at, oldest)
		return true
	}
	h.end(at)
	h.looks = append(h.looks, lagLook{at, oldest})
	if len(h.looks) > keptLooks {
		h.looks = h.looks[1:]
	}
	if at.Sub(h.lagged) < h.grace {
		return false
	}
	until := h.heard(at, oldest)
	if given := at.Add(-h.lost(at)); given.Before(until) {
		until = given
	}
	if until.After(h.until) {
		h.until = until
	}
	return false
}

// begin notes that there is lag. It began between the last look without and this one, or before, for as long as a
// message may be on its way unnoticed; where there was no look without yet, when the oldest message came.
func (h *horizon) begin(at, oldest time.Time) {
	if h.clear.IsZero() {
		if h.began.IsZero() {
			h.began = at
		}
		if !oldest.IsZero() && oldest.Before(h.began) {
			h.began = oldest
		}
		return
	}
	if !h.began.IsZero() {
		return
	}
	h.began = h.clear
	if unnoticed := h.clear.Add(-freshness); !oldest.IsZero() && oldest.Before(unnoticed) {
		h.began = unnoticed
	} else if !oldest.IsZero() && oldest.Before(h.clear) {
		h.began = oldest
	}
}

// end notes that there is none any more.
func (h *horizon) end(at time.Time) {
	h.clear = at
	if h.began.IsZero() {
		return
	}
	ended := span{earlier(h.began, at), at}
	h.began = time.Time{}
	h.remember(ended)
	h.lost(at) // what is no longer needed goes
	if n := len(h.unkept); n == keptLags {
		// The database has not taken them for very long.
		h.unkept[n-1].to = at
		return
	}
	h.unkept = append(h.unkept, ended)
}

// remember adds a lag to those before it. What it shares with the last one was lost once.
func (h *horizon) remember(s span) {
	if n := len(h.lags); n > 0 {
		last := &h.lags[n-1]
		touches := !s.from.After(last.end)
		if touches {
			s.from = earlier(last.end, s.to)
		}
		if apart := h.longest / keptLags; touches || last.end.Truncate(apart).Equal(s.to.Truncate(apart)) {
			*last = lag{s.to, last.length + s.to.Sub(s.from)}
			return
		}
	}
	h.lags = append(h.lags, lag{s.to, s.to.Sub(s.from)})
}

// setBack begins anew at at, because the database's clock was set back: a time that is yet to come has not been lost.
func (h *horizon) setBack(at time.Time) {
	h.clear, h.lagged, h.looks = at, at, nil
	h.began, h.until = earlier(h.began, at), earlier(h.until, at)
	for i, l := range h.lags {
		if over := l.end.Sub(at); over > 0 {
			h.lags[i] = lag{at, max(0, l.length-over)}
		}
	}
	for i, s := range h.unkept {
		h.unkept[i] = span{earlier(s.from, at), earlier(s.to, at)}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// lost is how much time something that is still under way may have lost to lags. What was there when a lag ended has had
// its time when that much has gone by since, later lags apart.
func (h *horizon) lost(at time.Time) (sum time.Duration) {
	for i, l := range slices.Backward(h.lags) {
		if !at.Before(l.end.Add(h.longest + sum)) {
			h.lags = slices.Clone(h.lags[i+1:])
			break
		}
		sum += l.length
	}
	return sum
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
	e.recallLags(ctx)
	held := false
	keeping := trouble{log: e.log, what: "the executor keeps what a process that starts later has to know of lags"}
	for ctx.Err() == nil {
		at := e.clock.now()
		oldest, err := e.lag(ctx)
		if ctx.Err() != nil {
			return
		}
		if late := e.horizon.note(at, oldest, err); late != held {
			held = late
			switch {
			case err != nil:
				e.log.WarnContext(ctx, "no deadline fires: how late messages are cannot be told", "error", err)
			case held:
				e.log.WarnContext(ctx, "no deadline fires: messages are late", "oldest", oldest)
			default:
				e.log.InfoContext(ctx, "deadlines may fire again soon")
			}
		}
		if !held {
			keeping.note(ctx, e.keepLags(ctx))
		}
		pause(ctx, e.lagEvery, nil)
	}
}

func (e *Executor[S]) lag(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	return e.opts.Lag(ctx)
}
