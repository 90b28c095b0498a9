package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
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
		Retry(b.retry),                          // outside Timeout: each try has the whole time
		Timeout(b.timeout),                      // inside Retry: a stuck try is an error like another
		Recoverer,                               // innermost: a panic is an error like another
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
	}
	reg.MustRegister(m.handled, m.duration, m.letters)
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

// Retry tries again in place. Transient errors (a closed list: see transient) are
// tried without end, permanent ones not at all, everything else a few times. Other orders
// go on meanwhile, because the subscriber holds up nothing but this message's key.
func Retry(cfg RetryConfig) message.HandlerMiddleware {
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

// Letters keeps dead letters.
type Letters interface {
	Put(ctx context.Context, l deadletter.Letter) error
}

// poisonQueue turns what Retry gave up into a dead letter, and acknowledges the
// message once the letter is durable. While it cannot be written nothing is
// acknowledged: that is the backpressure.
func (b *binding) poisonQueue(s ServiceFlow, e Edge) message.HandlerMiddleware {
	written := b.metrics.letters.WithLabelValues(s.Name, e.Topic.Name)
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			out, err := next(msg)
			if err == nil || stopping(ctx, err) {
				return out, err
			}
			letter := b.letterFor(s, e, msg, err)
			if err := b.letters[s.Name].Put(ctx, letter); err != nil {
				return nil, fmt.Errorf("%s: a letter about message %s could not be written: %w", s.Name, letter.MessageID, err)
			}
			written.Inc()
			slog.ErrorContext(ctx, "a message became a dead letter", "service", s.Name, "topic", letter.Topic, "partition", letter.Partition,
				"offset", letter.Offset, "order_id", letter.OrderID, "letter", letter.ID, "attempts", letter.Attempts, "error", letter.Error)
			return nil, nil
		}
	}
}

func (b *binding) letterFor(s ServiceFlow, e Edge, msg *message.Message, err error) deadletter.Letter {
	cause := event.CauseFrom(msg.Context())
	d, _ := transport.DeliveryFrom(msg.Context())
	l := deadletter.Letter{
		ID: deadletter.NewID(s.Group(), cause.ID), Service: s.Name, Group: s.Group(), Handler: handlerName(s, e),
		MessageID: cause.ID, CorrelationID: cause.CorrelationID, Topic: e.Topic.Name, Partition: d.Partition, Offset: d.Offset,
		Key: d.Key, Headers: msg.Metadata, Payload: msg.Payload, Attempts: max(d.Attempt, 1), Version: b.version,
		FirstFailed: time.Now(), LastFailed: time.Now(),
	}
	if id, err := event.ParseOrderID(string(d.Key)); err == nil {
		l.OrderID = string(id)
	}
	if f, ok := errors.AsType[*failure](err); ok {
		l.Attempts, l.FirstFailed, l.LastFailed = f.attempts+max(d.Attempt-1, 0), f.first, f.last
		err = f.err
	}
	l.Describe(err)
	return l
}
