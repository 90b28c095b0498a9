package transport

import (
	"context"
	"time"
)

// InFlight is a message in a handler's hands, as the transport that delivered it
// sees it. It is found in the message's context.
type InFlight interface {
	// Delivery says where the message came from.
	Delivery() Delivery
	// Settle ends the delivery: done, or to come again. Only the first answer counts.
	Settle(done bool)
	// GiveWay lets another message into a handler's hands besides this one, which will be there for long.
	GiveWay()
	// Within is a context that many messages share: it ends at the earliest after limit, and
	// an eighth of limit later at the latest; and when the message is taken away, but
	// not when it is settled.
	Within(limit time.Duration) context.Context
}

type inFlightKey struct{}

// WithInFlight returns a context that carries m.
func WithInFlight(ctx context.Context, m InFlight) context.Context {
	return context.WithValue(ctx, inFlightKey{}, m)
}

// inFlight may be nil: not every transport works so closely with the handlers.
func inFlight(ctx context.Context) InFlight {
	m, _ := ctx.Value(inFlightKey{}).(InFlight)
	return m
}

// Settler is a subscriber that can be answered by Settle instead of the message's Ack and
// Nack, which saves it a goroutine for each message in flight.
type Settler interface {
	// ExpectSettle says that every message delivered from now on will be settled;
	// what its Ack and Nack say goes unheard.
	ExpectSettle()
}

// Settle answers for the message with that context: it is done, or it is to come again. It is
// for who asked a Settler to expect it; everywhere else Ack and Nack say the same.
func Settle(ctx context.Context, done bool) {
	if m := inFlight(ctx); m != nil {
		m.Settle(done)
	}
}

// GiveWay says that the message with that context waits, before it is tried again for
// instance. A subscriber that bounds the messages in hand hands out another one meanwhile: those
// that wait for the same thing shall not hold up all others. Calling it again changes nothing.
func GiveWay(ctx context.Context) {
	if m := inFlight(ctx); m != nil {
		m.GiveWay()
	}
}

// WithTimeout is context.WithTimeout for the context of a message that was just
// delivered. The end comes up to an eighth of limit late, because many messages share
// one timer where the transport can arrange it; ctx may have got values on the way, but no
// end of its own.
func WithTimeout(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if m := inFlight(ctx); m != nil {
		return timed{ctx, m.Within(limit)}, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// timed has the values of one context and the end of another.
type timed struct {
	context.Context
	end context.Context
}

func (t timed) Deadline() (time.Time, bool) { return t.end.Deadline() }
func (t timed) Done() <-chan struct{}       { return t.end.Done() }
func (t timed) Err() error                  { return t.end.Err() }
