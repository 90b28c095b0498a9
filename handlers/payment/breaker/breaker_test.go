package breaker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"millrace/handlers/payment"
	"millrace/handlers/payment/breaker"
)

// provider answers whatever it is asked with err, or with a capture.
type provider struct {
	err   error
	calls int
}

func (p *provider) do() (payment.Result, error) {
	p.calls++
	return payment.Result{Outcome: payment.Captured}, p.err
}
func (p *provider) Charge(context.Context, payment.Request) (payment.Result, error) { return p.do() }
func (p *provider) Find(context.Context, payment.Request) (payment.Result, error)   { return p.do() }
func (p *provider) Void(context.Context, payment.Request) (payment.Result, error)   { return p.do() }
func (p *provider) Refund(context.Context, payment.Request) (payment.Result, error) { return p.do() }

func charge(g payment.Gateway) error {
	_, err := g.Charge(context.Background(), payment.Request{})
	return err
}

func fail(t *testing.T, g payment.Gateway, p *provider, times int) {
	t.Helper()
	p.err = errors.New("connection refused")
	for range times {
		if err := charge(g); !errors.Is(err, p.err) {
			t.Fatalf("%v, want the provider's own error", err)
		}
	}
}

func TestOpensWaitsAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := breaker.Defaults()
		p := &provider{}
		g := breaker.New(p, settings)
		fail(t, g, p, int(settings.MinCalls))

		called := p.calls
		for _, call := range []func(context.Context, payment.Request) (payment.Result, error){g.Charge, g.Find, g.Void, g.Refund} {
			_, err := call(t.Context(), payment.Request{})
			var open *breaker.OpenError
			if !errors.As(err, &open) {
				t.Fatalf("after an outage: %v, want an OpenError", err)
			}
			if after := open.RetryAfter(); after < settings.OpenFor || after > settings.OpenFor*3/2 {
				t.Errorf("come back after %s, want %s and up to half as long again", after, settings.OpenFor)
			}
		}
		if p.calls != called {
			t.Errorf("the provider was called %d times while the breaker was open", p.calls-called)
		}

		time.Sleep(settings.OpenFor + time.Millisecond) // the bubble's clock: no real time passes
		p.err = nil
		for range settings.Probes {
			if err := charge(g); err != nil {
				t.Fatalf("a probe: %v", err)
			}
		}
		if g.State() != "closed" {
			t.Errorf("after good probes the breaker is %s", g.State())
		}
	})
}

func TestABadProbeOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := breaker.Defaults()
		p := &provider{}
		g := breaker.New(p, settings)
		fail(t, g, p, int(settings.MinCalls))
		time.Sleep(settings.OpenFor + time.Millisecond)
		fail(t, g, p, 1)
		if g.State() != "open" {
			t.Errorf("after a bad probe the breaker is %s", g.State())
		}
	})
}

// What is no outage does not stop other orders.
func TestStaysClosed(t *testing.T) {
	settings := breaker.Defaults()
	tests := map[string]func(g *breaker.Gateway, p *provider){
		"a few failures of an idle shop": func(g *breaker.Gateway, p *provider) {
			fail(t, g, p, int(settings.MinCalls)-1)
		},
		"a few failures among many": func(g *breaker.Gateway, p *provider) {
			for range 20 {
				p.err = nil
				for range 3 {
					_ = charge(g)
				}
				fail(t, g, p, 1)
			}
		},
		"failures long ago": func(g *breaker.Gateway, p *provider) {
			fail(t, g, p, int(settings.MinCalls)-1)
			time.Sleep(2 * settings.Window)
			fail(t, g, p, 1)
		},
		"our own shutdown": func(g *breaker.Gateway, p *provider) {
			p.err = context.Canceled
			for range 2 * settings.MinCalls {
				_ = charge(g)
			}
		},
	}
	for name, happen := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{}
				g := breaker.New(p, settings)
				happen(g, p)
				if g.State() != "closed" {
					t.Errorf("the breaker is %s", g.State())
				}
			})
		})
	}
}
