package analytics

import (
	"strconv"
	"time"

	"millrace/event"
)

// Order is the row: what is known of one order, as far as it is counted. Each field
// keeps the earliest word on its subject, which makes hearing events commutative
// and idempotent. A zero time is "not heard".
type Order struct {
	ID        event.OrderID `json:"id"`
	Placed    time.Time     `json:"placed,omitzero"`
	Paid      time.Time     `json:"paid,omitzero"`
	Shipped   time.Time     `json:"shipped,omitzero"`
	Delivered time.Time     `json:"delivered,omitzero"`
	Cancelled Cancelled     `json:"cancelled,omitzero"`

	Captured     Payment `json:"captured,omitzero"`
	RefundFailed Payment `json:"refundFailed,omitzero"`
	Refunded     Payment `json:"refunded,omitzero"`
}

// Cancelled is when an order ended, and why.
type Cancelled struct {
	At     time.Time          `json:"at"`
	Reason event.CancelReason `json:"reason"`
}

// Payment is money that moved, or refused to, at some time.
type Payment struct {
	At    time.Time   `json:"at"`
	Total event.Money `json:"total"`
}

func (o *Order) hear(e event.Event, at time.Time) {
	switch e := e.(type) {
	case event.OrderCreated:
		earliest(&o.Placed, at)
	case event.PaymentSucceeded:
		o.Captured.earliest(Payment{at, e.Total})
	case event.PaymentRefunded:
		o.Refunded.earliest(Payment{at, e.Total})
	case event.PaymentRefundFailed:
		o.RefundFailed.earliest(Payment{at, e.Total})
	case event.OrderStatusUpdated:
		switch e.Status {
		case event.OrderPaid:
			earliest(&o.Paid, at)
		case event.OrderShipped:
			earliest(&o.Shipped, at)
		case event.OrderDelivered:
			earliest(&o.Delivered, at)
		case event.OrderIsCancelled:
			o.Cancelled.earliest(Cancelled{at, e.Reason})
		}
	}
}

func earliest(field *time.Time, at time.Time) {
	if field.IsZero() || at.Before(*field) {
		*field = at
	}
}

// Of two words of one time the lesser one stays: any rule will do that
// does not depend on which of them came first.
func (c *Cancelled) earliest(other Cancelled) {
	order := other.At.Compare(c.At)
	if c.At.IsZero() || order < 0 || order == 0 && other.Reason < c.Reason {
		*c = other
	}
}

func (p *Payment) earliest(other Payment) {
	order := other.At.Compare(p.At)
	if p.At.IsZero() || order < 0 || order == 0 && less(other.Total, p.Total) {
		*p = other
	}
}

func less(a, b event.Money) bool {
	if a.Currency != b.Currency {
		return a.Currency < b.Currency
	}
	return a.Amount < b.Amount
}

// The names of the sums. What follows each is its key.
const (
	SumPlaced     = "placed"       // none
	SumPaid       = "paid"         // none
	SumShipped    = "shipped"      // none
	SumDelivered  = "delivered"    // none
	SumCancelled  = "cancelled"    // the reason
	SumRevenue    = "revenue"      // the currency; N is in minor units
	SumTimeToPaid = "time to paid" // the bucket, see bucketOf
)

// Sum is a number that orders contribute to, by the minute.
type Sum struct {
	Minute time.Time // its start, UTC
	Name   string
	Key    string
	N      int64
}

// Contribution is what the order, as it is known now, contributes to the sums.
//
// Orders are counted once for each state they were ever in: a cancelled one that
// had been paid is counted as paid, too. Money captured counts from the moment it was, and
// is taken back in the minute of the refund. Where nobody said that it was captured,
// a refund, tried or done, is proof that it was, and stands in for that word.
func (o *Order) Contribution() []Sum {
	var sums []Sum
	add := func(at time.Time, name, key string, n int64) {
		if !at.IsZero() {
			sums = append(sums, Sum{at.Truncate(time.Minute), name, key, n})
		}
	}
	add(o.Placed, SumPlaced, "", 1)
	add(o.Paid, SumPaid, "", 1)
	add(o.Shipped, SumShipped, "", 1)
	add(o.Delivered, SumDelivered, "", 1)
	add(o.Cancelled.At, SumCancelled, string(o.Cancelled.Reason), 1)
	if !o.Placed.IsZero() {
		add(o.Paid, SumTimeToPaid, strconv.Itoa(bucketOf(o.Paid.Sub(o.Placed))), 1)
	}
	captured := o.Captured
	for _, proof := range []Payment{o.RefundFailed, o.Refunded} {
		if captured.At.IsZero() {
			captured = proof
		}
	}
	add(captured.At, SumRevenue, captured.Total.Currency, captured.Total.Amount)
	add(o.Refunded.At, SumRevenue, o.Refunded.Total.Currency, -o.Refunded.Total.Amount)
	return sums
}
