package payment_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/payment"
)

// provider is a model of the outside: it keeps Gateway's contract, and decides at
// random where the contract leaves it free.
type provider struct {
	t        *rapid.T
	charge   payment.Outcome // "" = never heard of
	captures int
	refunds  int
	refused  map[string]bool // refund keys refused for good
	refunded map[string]bool
}

func (p *provider) Charge(context.Context, payment.Request) (payment.Result, error) {
	switch p.charge {
	case "":
		p.decide(payment.Captured, payment.Declined, payment.Pended)
	case payment.Voided:
		return payment.Result{Outcome: payment.Declined, Message: "voided"}, nil
	}
	return payment.Result{Outcome: p.charge, ProviderRef: "ch"}, nil
}

func (p *provider) Find(context.Context, payment.Request) (payment.Result, error) {
	if p.charge == "" {
		return payment.Result{}, errors.New("no such charge")
	}
	if p.charge == payment.Voided {
		return payment.Result{Outcome: payment.Declined, Message: "voided"}, nil
	}
	return payment.Result{Outcome: p.charge, ProviderRef: "ch"}, nil
}

func (p *provider) Void(context.Context, payment.Request) (payment.Result, error) {
	if p.charge == "" || p.charge == payment.Pended {
		p.charge = payment.Voided
	}
	return payment.Result{Outcome: p.charge, ProviderRef: "ch"}, nil
}

func (p *provider) Refund(_ context.Context, r payment.Request) (payment.Result, error) {
	key := r.Key()
	if !p.refunded[key] && !p.refused[key] {
		if rapid.Bool().Draw(p.t, "refund refused") {
			p.refused[key] = true
		} else {
			p.refunded[key] = true
			p.refunds++
		}
	}
	if p.refused[key] {
		return payment.Result{Outcome: payment.Refused, Message: "no"}, nil
	}
	return payment.Result{Outcome: payment.Refunded, ProviderRef: "re"}, nil
}

func (p *provider) decide(outcomes ...payment.Outcome) {
	p.charge = rapid.SampledFrom(outcomes).Draw(p.t, "charge")
	if p.charge == payment.Captured {
		p.captures++
	}
}

// call is one attempt at a step, on the snapshot it began with. It may reach the
// provider long after the row has moved on, and its answer later still.
type call struct {
	snapshot payment.Payment
	step     string
}

type answer struct {
	cause  context.Context
	step   string
	change func(*payment.Payment) ([]event.Event, error)
}

// world is one order's payment among everything that can happen to it.
type world struct {
	t        *rapid.T
	rows     rows
	provider provider
	service  *payment.Service
	calls    []call
	answers  []answer
	settled  bool // an operator settled a refund outside the provider
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, provider: provider{t: t, refused: map[string]bool{}, refunded: map[string]bool{}}}
	w.service = payment.NewService(&w.rows, &w.provider)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) due() []string {
	row := w.rows.load()
	var steps []string
	for _, wait := range (payment.Policy{}).Due(&row) {
		steps = append(steps, wait.Step)
	}
	return steps
}

// claim begins a call for a due step.
func (w *world) claim(step string) { w.calls = append(w.calls, call{w.rows.load(), step}) }

// reach lets the i-th call reach the provider; its answer is under way unless lost.
func (w *world) reach(i int, lost bool) {
	c := w.calls[i]
	w.calls = slices.Delete(w.calls, i, i+1)
	change, err := w.service.Perform(w.rows.cause(), c.snapshot, c.step, 1)
	if err == nil && !lost {
		w.answers = append(w.answers, answer{w.rows.cause(), c.step, change})
	}
}

// arrive brings the i-th answer home.
func (w *world) arrive(i int) {
	a := w.answers[i]
	w.answers = slices.Delete(w.answers, i, i+1)
	w.must(w.rows.answer(a.cause, a.step, a.change))
}

func (w *world) callback(outcome payment.Outcome) {
	err := w.service.Callback(w.rows.cause(), payment.Callback{OrderID: orderID, Outcome: outcome, ProviderRef: "ch"})
	w.must(err)
}

func (w *world) actions() map[string]func(*rapid.T) {
	pick := func(n int) int {
		if n == 0 {
			w.t.Skip("nothing there")
		}
		return rapid.IntRange(0, n-1).Draw(w.t, "which")
	}
	return map[string]func(*rapid.T){
		"initiated": func(*rapid.T) { w.must(w.service.Initiate(w.rows.cause(), initiated)) },
		"cancelled": func(*rapid.T) { w.must(w.service.Cancel(w.rows.cause(), cancelled)) },
		"claim": func(*rapid.T) {
			steps := w.due()
			w.claim(steps[pick(len(steps))])
		},
		"call reaches the provider": func(*rapid.T) { w.reach(pick(len(w.calls)), false) },
		"answer is lost":            func(*rapid.T) { w.reach(pick(len(w.calls)), true) },
		"answer arrives":            func(*rapid.T) { w.arrive(pick(len(w.answers))) },
		"answer arrives twice": func(*rapid.T) {
			i := pick(len(w.answers))
			w.answers = append(w.answers, w.answers[i])
			w.arrive(i)
		},
		"provider decides": func(*rapid.T) {
			if w.provider.charge != payment.Pended {
				w.t.Skip("not pending")
			}
			w.provider.decide(payment.Captured, payment.Declined)
		},
		"callback": func(*rapid.T) {
			if w.provider.charge != payment.Captured && w.provider.charge != payment.Declined {
				w.t.Skip("nothing to call back about")
			}
			w.callback(w.provider.charge)
		},
		"operator": func(*rapid.T) { w.operator() },
		"":         func(*rapid.T) { w.invariants() },
	}
}

func (w *world) operator() {
	action := rapid.SampledFrom([]payment.RefundAction{payment.RetryRefund, payment.SettleRefund}).Draw(w.t, "action")
	err := w.service.Resolve(w.rows.cause(), orderID, action, "note")
	switch {
	case err == nil:
		w.settled = w.settled || action == payment.SettleRefund
	case !errors.Is(err, payment.ErrNoRefusedRefund) && !errors.Is(err, event.ErrUnknownOrder):
		w.t.Fatal(err)
	}
}

// quiesce lets everything that is still due happen, loss free, until the row is at rest.
func (w *world) quiesce() {
	const enough = 100
	for range enough {
		for len(w.calls) > 0 {
			w.reach(0, false)
		}
		for len(w.answers) > 0 {
			w.arrive(0)
		}
		steps := w.due()
		if len(steps) == 0 {
			if w.rows.load().Status != payment.StatusRefundFailed {
				return
			}
			w.operator()
		}
		for _, step := range steps {
			w.claim(step)
		}
	}
	w.t.Fatalf("not at rest: %+v", w.rows.load())
}

func (w *world) count(name func(event.Event) bool) int {
	n := 0
	for _, e := range w.rows.said {
		if name(e) {
			n++
		}
	}
	return n
}

func is[E event.Event](e event.Event) bool { _, ok := e.(E); return ok }

// invariants hold at every moment.
func (w *world) invariants() {
	sold, shipped := w.count(is[event.InventoryUpdate]), w.count(is[event.ShippingInitiate])
	failed, succeeded := w.count(is[event.PaymentFailed]), w.count(is[event.PaymentSucceeded])
	refunds := w.count(is[event.PaymentRefunded])
	switch {
	case sold != shipped || sold != succeeded:
		w.t.Fatalf("succeeded %d, sold %d, shipped %d: they belong together", succeeded, sold, shipped)
	case sold+failed > 1:
		w.t.Fatalf("said success %d times and failure %d times", sold, failed)
	case w.provider.captures > 1 || refunds > 1:
		w.t.Fatalf("%d captures, %d refunds said", w.provider.captures, refunds)
	case w.provider.refunds > w.provider.captures:
		w.t.Fatalf("%d refunds of %d captures", w.provider.refunds, w.provider.captures)
	}
}

// From any order of events, calls, losses, duplicates and callbacks, the payment
// comes to rest with one outcome, and the money is where that outcome says.
func TestTheMoneyAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(w.actions())
		w.must(w.service.Initiate(w.rows.cause(), initiated))
		w.quiesce()
		w.invariants()

		row := w.rows.load()
		sold, failed := w.count(is[event.InventoryUpdate]), w.count(is[event.PaymentFailed])
		if sold+failed != 1 {
			t.Fatalf("at rest, said success %d times and failure %d times", sold, failed)
		}
		back := w.provider.refunds
		if w.settled {
			back++
		}
		kept := w.provider.captures - back
		if wanted := row.Status == payment.StatusSucceeded; wanted != (kept == 1) || !wanted && kept != 0 {
			t.Fatalf("%s, but %d captured and %d given back", row.Status, w.provider.captures, back)
		}
		if row.Cancelled && row.Status == payment.StatusSucceeded {
			t.Fatal("cancelled, and the money was kept")
		}
		if refunded := w.count(is[event.PaymentRefunded]); refunded != back {
			t.Fatalf("%d given back, said %d times", back, refunded)
		}
		for _, e := range w.rows.said {
			if e, ok := e.(event.PaymentFailed); ok && e.RefundFollows != (back == 1) {
				t.Fatalf("%+v, and %d given back", e, back)
			}
		}
	})
}
