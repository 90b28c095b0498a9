package router

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/deadletter"
	"millrace/event"
	"millrace/outbox"
	"millrace/transport"
)

// chain is what every message passes, outermost first.
func (b *binding) chain(s ServiceFlow, e Edge) []message.HandlerMiddleware {
	return []message.HandlerMiddleware{
		Settle,                                  // the answer to the subscriber, which waits for nothing else
		b.metrics.Observe(s.Name, e.Topic.Name), // counts what the others decide, so it is outside them
		CorrelationID,                           // everything further in logs, and says, under the cause's ids
		b.poisonQueue(s, e),                     // outside Retry: a letter is the last resort
		Retry(b.retry, b.progress[s.Name]),      // outside Timeout: each try has the whole time
		Timeout(b.timeout),                      // inside Retry: a stuck try is an error like another
		Recoverer,                               // innermost: a panic is an error like another
	}
}

// redriveChain is what a message passes that was put aside and is tried again: the same, but for
// what becomes of it.
func (b *binding) redriveChain(s ServiceFlow, e Edge) []message.HandlerMiddleware {
	return []message.HandlerMiddleware{
		b.metrics.Observe(s.Name, e.Topic.Name),
		CorrelationID,
		b.redriven(s),
		Retry(b.retry, nil),
		Timeout(b.timeout),
		Recoverer,
	}
}

// Settle tells the subscriber what became of the message, a call that saves it a goroutine
// per message; where the subscriber waits for Ack and Nack instead, it does nothing.
func Settle(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx, done := msg.Context(), false
		defer func() { transport.Settle(ctx, done) }() // deferred, because of panics
		out, err := next(msg)
		done = err == nil
		return out, err
	}
}

// Metrics count what happens to messages.
type Metrics struct {
	handled  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	letters  *prometheus.CounterVec
	parked   *prometheus.CounterVec
}

// NewMetrics registers the metrics of the message handlers.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		handled: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_messages_total",
			Help: "Messages handled, by service, topic and outcome (done, nacked)."}, []string{"service", "topic", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "millrace_message_seconds",
			Help: "Time from delivery to the end of handling, retries included.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, []string{"service"}),
		letters: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_letters_total",
			Help: "Messages that became dead letters, by service and topic."}, []string{"service", "topic"}),
		parked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_messages_parked_total",
			Help: "Messages put behind a dead letter of their order, by service and topic."}, []string{"service", "topic"}),
	}
	reg.MustRegister(m.handled, m.duration, m.letters, m.parked)
	return m
}

// Observe counts and times messages of one arrow of the flow.
func (m *Metrics) Observe(service, topic string) message.HandlerMiddleware {
	done, nacked := m.handled.WithLabelValues(service, topic, "done"), m.handled.WithLabelValues(service, topic, "nacked")
	duration := m.duration.WithLabelValues(service)
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			begin := time.Now()
			out, err := next(msg)
			duration.Observe(time.Since(begin).Seconds())
			if err != nil {
				nacked.Inc()
			} else {
				done.Inc()
			}
			return out, err
		}
	}
}

// CorrelationID puts the message's cause into the context, from which the
// outbox and the log take the ids, and mirrors the correlation id to where Watermill's own
// middleware looks for it.
func CorrelationID(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		cause := causeOf(msg)
		if letter, ok := deadletter.Redriven(msg.Context()); ok {
			cause.TraceParent = newTrace() // the failed one ended long ago; the letter's steps link the two
			slog.DebugContext(event.WithCause(msg.Context(), cause), "redriving a message", "letter", letter.ID, "traceparent", cause.TraceParent,
				"traceparent_original", msg.Metadata.Get(outbox.HeaderTraceParent))
		} else {
			cause.Parkable = true
		}
		msg.SetContext(event.WithCause(msg.Context(), cause))
		middleware.SetCorrelationID(cause.CorrelationID, msg)
		return next(msg)
	}
}

// failure is what Retry knows when it gives up.
type failure struct {
	err         error
	attempts    int
	first, last time.Time
	later       bool // it may pass by itself, but took too long to wait for
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// RetryConfig says how often, and how soon again.
type RetryConfig struct {
	// Tries bounds the tries of an error that is neither transient nor permanent.
	Tries int
	// First and Longest bound the pause between tries, which doubles each time.
	First, Longest time.Duration
}

// progress is when a service finished its last message.
type progress struct{ last atomic.Int64 } // Unix nanoseconds

func (p *progress) made() { p.last.Store(time.Now().UnixNano()) }

// goesOn tells whether the service has finished messages since the given time, and lately.
func (p *progress) goesOn(since time.Time) bool {
	last := time.Unix(0, p.last.Load())
	return last.After(since) && time.Since(last) < recently
}

const (
	// unfinishedAfter is how long a message may hold up the offset of its partition while others get on: it
	// is put aside then, and tried again later.
	unfinishedAfter = 30 * time.Second
	// recently is how long ago the last message may have been finished for the service to get on. Where none
	// is, the trouble is everybody's, and nothing is put aside.
	recently = 10 * time.Second
	// laterIn is how soon what was put aside is tried again.
	laterIn = 30 * time.Second
)

// Retry tries again in place. Transient errors (a closed list: see transient) are
// tried without end, or until it is clear that the service gets on without this message; permanent
// ones not at all, everything else a few times. Other orders go on meanwhile, because the subscriber
// holds up nothing but this message's key. Without a progress, the service is taken to get on: a redriven message
// is tried again by itself.
func Retry(cfg RetryConfig, service *progress) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			var f *failure // made by the first failure: most messages have none
			tries := 0
			for pause := cfg.First; ; pause = min(2*pause, cfg.Longest) {
				begin := time.Now()
				out, err := next(msg)
				msg.SetContext(ctx) // a try's own deadline ends with the try
				if err == nil {
					return out, nil
				}
				if f == nil {
					f = &failure{first: begin}
				}
				f.err, f.last = err, time.Now()
				f.attempts++
				if isTransient := transient(err); !isTransient {
					tries++
				}
				if stopping(ctx, err) || permanent(err) || tries >= cfg.Tries {
					return nil, f
				}
				if time.Since(f.first) > unfinishedAfter && (service == nil || service.goesOn(f.first)) {
					f.later = true
					return nil, f
				}
				transport.GiveWay(ctx)
				slog.WarnContext(ctx, "a message failed; trying again", "attempt", f.attempts, "in", pause, "error", err)
				jittered := pause/2 + rand.N(pause/2+1)
				select {
				case <-ctx.Done():
					return nil, f
				case <-time.After(jittered):
				}
			}
		}
	}
}

// stopping tells an error of shutting down, or of a partition that was taken
// away, from one of the message: neither makes a letter.
func stopping(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, outbox.ErrStopped)
}

// transient is the closed list of errors that may pass by themselves.
func transient(err error) bool { return outbox.IsTransient(err) }

// permanent tells whether trying again is useless.
func permanent(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
}

// Timeout gives each try so long. The update of a try that took longer may still
// commit; the next one then finds it processed.
func Timeout(limit time.Duration) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx, cancel := transport.WithTimeout(msg.Context(), limit)
			defer cancel()
			msg.SetContext(ctx)
			return next(msg)
		}
	}
}

// Recoverer turns a panic into an error. The stack goes to the log and nowhere
// else: in an error's text it would end up in a letter, and no two would be alike.
func Recoverer(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (out []*message.Message, err error) {
		defer func() {
			if v := recover(); v != nil {
				slog.ErrorContext(msg.Context(), "a handler panicked", "panic", v, "stack", string(debug.Stack()))
				out, err = nil, fmt.Errorf("the handler panicked: %v", v)
			}
		}()
		return next(msg)
	}
}

// newTrace is a W3C trace context of its own.
func newTrace() string {
	var ids [24]byte
	_, _ = crand.Read(ids[:]) // it never fails
	return fmt.Sprintf("00-%x-%x-01", ids[:16], ids[16:])
}

// Letters keeps dead letters, and what waits behind them.
type Letters interface {
	// Put keeps a message that failed; what comes later of its order is parked.
	Put(ctx context.Context, l deadletter.Letter) (deadletter.Status, error)
	// Behind puts a message behind the letter its order waits for. An empty status
	// means that there is none any more.
	Behind(ctx context.Context, l deadletter.Letter) (deadletter.Status, error)
	// Await returns when the service takes messages: at once, unless it is paused.
	Await(ctx context.Context) error
}

// poisonQueue turns what Retry gave up into a dead letter, puts what must wait behind one aside, and acknowledges the
// message once that is durable. While it cannot be written nothing is
// acknowledged: that is the backpressure.
func (b *binding) poisonQueue(s ServiceFlow, e Edge) message.HandlerMiddleware {
	written := b.metrics.letters.WithLabelValues(s.Name, e.Topic.Name)
	parked := b.metrics.parked.WithLabelValues(s.Name, e.Topic.Name)
	letters, progress := b.letters[s.Name], b.progress[s.Name]
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			for {
				if err := letters.Await(ctx); err != nil {
					return nil, err
				}
				out, err := next(msg)
				if err == nil {
					progress.made()
				}
				if err == nil || stopping(ctx, err) {
					return out, err
				}
				letter := b.letterFor(s, e, msg, err)
				put, what := letters.Put, "a letter about"
				if errors.Is(err, outbox.ErrParked) {
					put, what = letters.Behind, "behind its letter,"
				}
				status, err := put(ctx, letter)
				switch {
				case errors.Is(err, deadletter.ErrPaused):
					continue // it is tried again when the service goes on
				case err != nil:
					return nil, fmt.Errorf("%s: %s message %s could not be written: %w", s.Name, what, letter.MessageID, err)
				case status == "":
					continue // nothing holds the order up any more
				case status == deadletter.Known: // it came again
				case status == deadletter.Parked:
					parked.Inc()
				case status == deadletter.Retrying:
					slog.WarnContext(ctx, "a message cannot be finished; it is put aside, with what follows of its order, and tried again", "service", s.Name,
						"topic", letter.Topic, "order_id", letter.OrderID, "letter", letter.ID, "attempts", letter.Attempts, "error", letter.Error)
				case status == deadletter.New:
					written.Inc()
					slog.ErrorContext(ctx, "a message became a dead letter", "service", s.Name, "topic", letter.Topic, "partition", letter.Partition,
						"offset", letter.Offset, "order_id", letter.OrderID, "letter", letter.ID, "attempts", letter.Attempts, "error", letter.Error)
				}
				return nil, nil
			}
		}
	}
}

// redriven says what became of a message that was put aside and is tried again.
func (b *binding) redriven(s ServiceFlow) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx, seen := outbox.Observe(msg.Context())
			msg.SetContext(ctx)
			_, err := next(msg)
			if err != nil && stopping(ctx, err) {
				return nil, nil // not finished: it is tried again
			}
			o := deadletter.Outcome{Err: err, Version: b.version, Attempts: 1, RetryIn: redriveAgain, TraceParent: event.CauseFrom(ctx).TraceParent}
			switch f, failed := errors.AsType[*failure](err); {
			case failed:
				o.Err, o.Attempts = f.err, f.attempts
				o.Final = !transient(f.err)
			case seen.Changed():
			case seen.Processed():
				o.Unchanged = "it had been processed already; nothing changed"
			case seen.Asked():
				o.Unchanged = "it changes nothing any more"
			default:
				o.Unchanged = s.Name + " does nothing with it"
			}
			deadletter.Settle(ctx, o)
			return nil, nil
		}
	}
}

// redriveAgain is the pause before a redriven message that met trouble, which may pass, is tried again.
const redriveAgain = 5 * time.Second

func (b *binding) letterFor(s ServiceFlow, e Edge, msg *message.Message, err error) deadletter.Letter {
	cause := event.CauseFrom(msg.Context())
	d, _ := transport.DeliveryFrom(msg.Context())
	l := deadletter.Letter{
		ID: deadletter.NewID(s.Group(), cause.ID), Service: s.Name, Group: s.Group(), Handler: handlerName(s, e),
		MessageID: cause.ID, CorrelationID: cause.CorrelationID, Topic: e.Topic.Name, Partition: d.Partition, Offset: d.Offset,
		Key: d.Key, PublishedAt: d.Time, Status: deadletter.New, Headers: msg.Metadata, Payload: msg.Payload, Attempts: max(d.Attempt, 1), Version: b.version,
		FirstFailed: time.Now(), LastFailed: time.Now(),
	}
	// Who cannot read the message does not know whose it is: it holds nobody up.
	if unreadable, ok := errors.AsType[*BadMessageError](err); !ok || !unreadable.anybodys {
		if id, err := event.ParseOrderID(string(d.Key)); err == nil {
			l.OrderID = string(id)
		}
	}
	if f, ok := errors.AsType[*failure](err); ok {
		l.Attempts, l.FirstFailed, l.LastFailed = f.attempts+max(d.Attempt-1, 0), f.first, f.last
		err = f.err
		if f.later {
			l.Status, l.RetryAt = deadletter.Retrying, time.Now().Add(laterIn)
		}
	}
	l.Describe(err)
	return l
}
