// Package simulator is a payment provider to try things with: it behaves like a
// real one on the outside, idempotency keys, lost answers and callbacks included, and
// moves no money.
//
// What happens depends on the payment method (the pm_… constants). What it did is in
// its ledger and nowhere else, so it can be killed at any moment. Callbacks are sent
// at best once: one that was due while nobody ran is not made up for. Whoever misses
// it finds out by asking.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/handlers/payment"
)

// Errors that stand for what can go wrong on the way to a provider. After all but
// ErrKeyReused it makes sense to ask again with the same key.
var (
	ErrDown       = errors.New("simulated provider: connection refused")
	ErrAnswerLost = errors.New("simulated provider: no answer in time")
	ErrNoCharge   = errors.New("simulated provider: no such charge")
	ErrKeyReused  = errors.New("simulated provider: the idempotency key was used for a charge with another amount or payment method")
)

// DefaultDelay is how long a pending charge takes to be decided, unless configured otherwise.
const DefaultDelay = time.Second

// Config is how the provider behaves.
type Config struct {
	// Delay is how long a pending charge takes to be decided. 0 is DefaultDelay.
	Delay time.Duration
	// CallbackURL is where a decided charge is told of. Empty: nowhere.
	CallbackURL string
	// Secret signs the callbacks.
	Secret []byte
}

// Provider is the simulated provider.
type Provider struct {
	ledger    Ledger
	config    Config
	callbacks chan callback
}

var _ payment.Gateway = (*Provider)(nil)

// New returns a provider that keeps its books in ledger. Without Run it sends no callbacks.
func New(ledger Ledger, config Config) *Provider {
	if config.Delay == 0 {
		config.Delay = DefaultDelay
	}
	p := &Provider{ledger: ledger, config: config}
	if config.CallbackURL != "" { // the queue is large
		p.callbacks = make(chan callback, maxCallbacks)
	}
	return p
}

// Charge is payment.Gateway's.
func (p *Provider) Charge(ctx context.Context, r payment.Request) (payment.Result, error) {
	now := time.Now()
	result, err := p.do(ctx, r, func(a *Account) (payment.Result, error) { return a.charge(r, now, p.config.Delay) })
	if result.Outcome == payment.Pended && r.PaymentMethod != PendingForever {
		p.callLater(r, now.Add(p.config.Delay))
	}
	return asCharge(result), err
}

// Find is payment.Gateway's.
func (p *Provider) Find(ctx context.Context, r payment.Request) (payment.Result, error) {
	result, err := p.find(ctx, r)
	return asCharge(result), err
}

func (p *Provider) find(ctx context.Context, r payment.Request) (payment.Result, error) {
	now := time.Now()
	return p.do(ctx, r, func(a *Account) (payment.Result, error) { return a.find(r.ChargeKey(), now) })
}

// asCharge tells of a voided charge what a charge can be told: it did not work.
func asCharge(r payment.Result) payment.Result {
	if r.Outcome == payment.Voided {
		r.Outcome = payment.Declined
	}
	return r
}

// Void is payment.Gateway's.
func (p *Provider) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	now := time.Now()
	return p.do(ctx, r, func(a *Account) (payment.Result, error) { return a.void(r.ChargeKey(), now), nil })
}

// Refund is payment.Gateway's.
func (p *Provider) Refund(ctx context.Context, r payment.Request) (payment.Result, error) {
	now := time.Now()
	return p.do(ctx, r, func(a *Account) (payment.Result, error) { return a.refund(r.Key(), r.ChargeKey(), now), nil })
}

// do answers a call once what it did is durable.
func (p *Provider) do(ctx context.Context, r payment.Request, act func(*Account) (payment.Result, error)) (payment.Result, error) {
	var result payment.Result
	var err error
	if failed := p.ledger.Update(ctx, r.OrderID, func(a *Account) { result, err = act(a) }); failed != nil {
		return payment.Result{}, fmt.Errorf("simulated provider: write its ledger: %w", failed)
	}
	return result, err
}
