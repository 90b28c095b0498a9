// Package breaker puts a circuit breaker round a payment provider, so that one
// that is down is left alone until it may be up again.
//
// An open breaker never fails a payment: it means wait. The error says for how
// long, and the step becomes due again then.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"millrace/handlers/payment"
)

// Settings say when the breaker opens and how it closes again.
type Settings struct {
	// Window is how far back failures count.
	Window time.Duration
	// MinCalls is how many calls the window must hold before their failures mean
	// anything: a few orders with a bad card processor are no outage.
	MinCalls uint32
	// FailureRatio opens the breaker: failed calls to all calls in the window, 0 to 1.
	FailureRatio float64
	// OpenFor is how long the provider is left alone.
	OpenFor time.Duration
	// Probes is how many calls go through when OpenFor is over. If all of them
	// succeed the breaker closes; the first that fails opens it again.
	Probes uint32
}

// Defaults suit a provider that answers within a second or so.
func Defaults() Settings {
	return Settings{Window: 10 * time.Second, MinCalls: 20, FailureRatio: 0.5, OpenFor: 5 * time.Second, Probes: 5}
}

// buckets is into how many parts the window is divided: it moves on by one part
// at a time instead of forgetting everything at once.
const buckets = 10

// Gateway is a payment.Gateway behind a breaker. One breaker serves all calls: a
// provider that cannot charge is not trusted to refund.
type Gateway struct {
	next     payment.Gateway
	circuit  *gobreaker.CircuitBreaker[payment.Result]
	openFor  time.Duration
	openedAt atomic.Pointer[time.Time]
}

var _ payment.Gateway = (*Gateway)(nil)

// New puts a breaker round next.
func New(next payment.Gateway, s Settings) *Gateway {
	g := &Gateway{next: next, openFor: s.OpenFor}
	g.circuit = gobreaker.NewCircuitBreaker[payment.Result](gobreaker.Settings{
		Name:         "payment provider",
		MaxRequests:  s.Probes,
		Interval:     s.Window,
		BucketPeriod: s.Window / buckets,
		Timeout:      s.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= s.MinCalls && float64(c.TotalFailures) >= s.FailureRatio*float64(c.Requests)
		},
		OnStateChange: g.changed,
		// Our own shutdown says nothing about the provider. A time-out does.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	return g
}

func (g *Gateway) changed(name string, from, to gobreaker.State) {
	if to == gobreaker.StateOpen {
		now := time.Now()
		g.openedAt.Store(&now)
	}
	slog.Warn("circuit breaker", "of", name, "from", from.String(), "to", to.String())
}

// State is closed, half-open or open.
func (g *Gateway) State() string { return g.circuit.State().String() }

// OpenError means the provider was not called.
type OpenError struct{ after time.Duration }

func (e *OpenError) Error() string {
	return fmt.Sprintf("the payment provider's circuit breaker is open: not called, again in %s", e.after.Round(time.Millisecond))
}

// RetryAfter is how long the breaker stays open, and up to half as long again at
// random, so that those who wait do not come back as one crowd.
func (e *OpenError) RetryAfter() time.Duration { return e.after }

func (g *Gateway) call(do func() (payment.Result, error)) (payment.Result, error) {
	result, err := g.circuit.Execute(do)
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return payment.Result{}, &OpenError{after: g.wait()}
	}
	return result, err
}

func (g *Gateway) wait() time.Duration {
	var left time.Duration
	if at := g.openedAt.Load(); at != nil {
		left = max(0, g.openFor-time.Since(*at))
	}
	return left + rand.N(g.openFor/2+1)
}

// Charge is payment.Gateway's.
func (g *Gateway) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	return g.call(func() (payment.Result, error) { return g.next.Charge(ctx, r) })
}

// Find is payment.Gateway's.
func (g *Gateway) Find(ctx context.Context, r payment.Request) (payment.Result, error) {
	return g.call(func() (payment.Result, error) { return g.next.Find(ctx, r) })
}

// Void is payment.Gateway's.
func (g *Gateway) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	return g.call(func() (payment.Result, error) { return g.next.Void(ctx, r) })
}

// Refund is payment.Gateway's.
func (g *Gateway) Refund(ctx context.Context, r payment.Request) (payment.Result, error) {
	return g.call(func() (payment.Result, error) { return g.next.Refund(ctx, r) })
}
