package demo

import (
	"context"
	"time"
)

const (
	// analyticsPatience is how long the sums may lag behind the orders.
	analyticsPatience = 10 * time.Second
	analyticsPause    = 250 * time.Millisecond
)

// Analytics is by how much the sums of all orders grew during the run.
type Analytics struct {
	Placed    int64 `json:"placed"`
	Paid      int64 `json:"paid"`
	Shipped   int64 `json:"shipped"`
	Delivered int64 `json:"delivered"`
	Cancelled int64 `json:"cancelled"`
	// Revenue is in minor units of the demo's currency.
	Revenue int64 `json:"revenue"`
	// Agrees: orders and revenue are exactly those of the run.
	Agrees bool `json:"agrees"`
}

// analytics reads the sums; nil where they cannot be read.
func (r *run) analytics(ctx context.Context) *summaryBody {
	var s summaryBody
	if !r.serves("/analytics/summary") || r.read(ctx, "/analytics/summary", &s) != nil {
		return nil
	}
	return &s
}

// revenue is that of the demo's currency; out of an int64's range it counts as 0, and agrees with nothing.
func (s *summaryBody) revenue() int64 {
	for _, r := range s.Revenue {
		if r.Currency == currency {
			n, _ := r.Amount.Int64()
			return n
		}
	}
	return 0
}

func (s *summaryBody) since(before *summaryBody) *Analytics {
	return &Analytics{
		Placed: s.Orders.Placed - before.Orders.Placed, Paid: s.Orders.Paid - before.Orders.Paid,
		Shipped: s.Orders.Shipped - before.Orders.Shipped, Delivered: s.Orders.Delivered - before.Orders.Delivered,
		Cancelled: s.Orders.Cancelled - before.Orders.Cancelled, Revenue: s.revenue() - before.revenue(),
	}
}

// analytics waits until the sums have caught up. They are of all orders there are: more than
// the run's own are no fault, unless nobody else can have been at work; fewer are.
func (r *Report) analytics(ctx context.Context, d *run, before *summaryBody) {
	if before == nil {
		r.note("analytics is not compared: it is not served at %s", d.URL)
		return
	}
	if r.Money == nil {
		return
	}
	wanted := r.Money.Revenue + r.Money.Held
	for end := time.Now().Add(analyticsPatience); ; {
		if s := d.analytics(ctx); s != nil {
			r.Analytics = s.since(before)
			r.Analytics.Agrees = r.Analytics.Placed == int64(r.Placed) && r.Analytics.Revenue == wanted
		}
		if r.Analytics != nil && r.Analytics.Agrees || !time.Now().Before(end) || !sleep(ctx, analyticsPause) {
			break
		}
	}
	// All that was there before had ended, and nobody else ordered since.
	alone := before.Orders.Placed == before.Orders.Delivered+before.Orders.Cancelled
	switch a := r.Analytics; {
	case ctx.Err() != nil || a != nil && a.Agrees:
	case a == nil:
		r.problem("analytics cannot be read any more")
	case a.Placed < int64(r.Placed):
		r.problem("analytics counts %d new orders, %d were placed", a.Placed, r.Placed)
	case a.Placed == int64(r.Placed) && alone:
		r.problem("analytics counts a revenue of %s, the payments have %s", amount(a.Revenue, currency), amount(wanted, currency))
	default:
		r.note("analytics counts %d new orders and %s, this run %d and %s: other orders were under way",
			a.Placed, amount(a.Revenue, currency), r.Placed, amount(wanted, currency))
	}
}
