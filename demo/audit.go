package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"millrace/event"
)

// audit holds what the router says as a whole against what the customers saw.
// Whether the shop's own books add up is not seen from outside: that is what verify looks at.
func (r *Report) audit(ctx context.Context, d *run) {
	r.accounts(ctx, d)
	r.latencies(ctx, d)
	r.money(ctx, d)
	r.story(ctx, d)
}

// each calls look for all orders, a few at a time, and returns the first error.
func (r *run) each(ctx context.Context, orders []*order, look func(*order) error) error {
	var all sync.WaitGroup
	var once sync.Once
	var first error
	next := make(chan *order)
	for range maxReading {
		all.Go(func() {
			for o := range next {
				if err := look(o); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for _, o := range orders {
		if ctx.Err() != nil {
			break
		}
		next <- o
	}
	close(next)
	all.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// accounts compares the router's list of orders with the answers to our POSTs: none may be
// lost, none may be there twice, none may have changed its mind.
func (r *Report) accounts(ctx context.Context, d *run) {
	var first []*order // of each group
	for i := 0; i < r.Arrived; i += groupSize {
		first = append(first, d.orders[i])
	}
	var mu sync.Mutex
	listed := map[event.OrderID]statusBody{}
	err := d.each(ctx, first, func(o *order) error {
		found, err := d.ofCustomer(ctx, o.customer)
		mu.Lock()
		defer mu.Unlock()
		for id, s := range found {
			listed[id] = s
		}
		return err
	})
	if err != nil {
		r.problem("the orders cannot be listed: %v", err)
		return
	}
	for _, o := range d.orders {
		if o.id == "" {
			continue
		}
		s, there := listed[o.id]
		delete(listed, o.id)
		switch now := (outcome{s.Status, s.Reason}); {
		case !there:
			r.problem("order %s (%s): accepted, but not among the orders of customer %s", o.id, o.scenario.Name, o.customer)
		case o.ended() && now != outcome{o.status, o.reason}:
			r.problem("order %s (%s): was %s, and is %s now", o.id, o.scenario.Name, outcome{o.status, o.reason}, now)
		}
	}
	for id, s := range listed {
		r.problem("order %s is there (%s), and no answer to a POST named it", id, outcome{s.Status, s.Reason})
	}
}

// Money is that of the run's orders that have ended, as the shop shows it.
type Money struct {
	Currency string `json:"currency"`
	Captured int64  `json:"captured"`
	Refunded int64  `json:"refunded"`
	// Revenue is of the Paid orders that are not cancelled, by what was ordered.
	Revenue int64 `json:"revenue"`
	Paid    int   `json:"paid"`
	// Held was captured for orders that need an operator's attention.
	Held int64 `json:"held"`
}

// The states of a payment, as far as they matter here.
const (
	paymentNone         = "" // never asked for
	paymentFailed       = "FAILED"
	paymentSucceeded    = "SUCCEEDED"
	paymentRefunded     = "REFUNDED"
	paymentRefunding    = "REFUNDING"
	paymentRefundFailed = "REFUND_FAILED"
)

func (r *Report) money(ctx context.Context, d *run) {
	if !d.serves("/payments/{orderId}") {
		r.note("the money is not checked: payments are not served at %s", d.URL)
		return
	}
	ended := slices.DeleteFunc(slices.Clone(d.orders), func(o *order) bool { return !o.ended() })
	var mu sync.Mutex
	sum := &Money{Currency: currency}
	err := d.each(ctx, ended, func(o *order) error {
		var p paymentBody
		if err := d.read(ctx, "/payments/"+string(o.id), &p); err != nil && statusOf(err) != http.StatusNotFound {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if !sum.add(o, p) {
			r.problem("order %s (%s) is %s, but its payment of %s is %s, %s", o.id, o.scenario.Name, o.status,
				amount(o.total, currency), amount(p.Amount, p.Currency), p.Status)
		}
		return nil
	})
	if err != nil {
		r.problem("the payments cannot be read: %v", err)
		return
	}
	r.Money = sum
}

// add counts a payment; false if it does not go with where the order stands.
func (m *Money) add(o *order, p paymentBody) bool {
	captured := slices.Contains([]string{paymentSucceeded, paymentRefunding, paymentRefunded, paymentRefundFailed}, p.Status)
	if captured {
		m.Captured += p.Amount
	}
	if p.Status == paymentRefunded {
		m.Refunded += p.Amount
	}
	right := p.Status == paymentNone || p.Amount == o.total && p.Currency == currency
	switch o.status {
	case event.OrderDelivered:
		m.Revenue += o.total
		m.Paid++
		return right && p.Status == paymentSucceeded
	case event.OrderNeedsAttention:
		if captured && p.Status != paymentRefunded {
			m.Held += p.Amount
		}
		return right && captured
	default:
		return right && slices.Contains([]string{paymentNone, paymentFailed, paymentRefunded}, p.Status)
	}
}

// amount writes minor units as people do. The demo's currency has two decimals.
func amount(minor int64, currency string) string {
	const unit = 100
	return fmt.Sprintf("%d.%02d %s", minor/unit, minor%unit, currency)
}
