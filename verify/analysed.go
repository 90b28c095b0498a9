package verify

import (
	"math"
	"sort"
	"strconv"
	"time"

	decode "github.com/go-json-experiment/json/v1"

	"millrace/verify/spill"
)

// analysed is what analytics knows of an order: the row it keeps, or what the log makes of it. Of
// several words on one subject the earliest counts, which makes the order of hearing them irrelevant.
type analysed struct {
	Placed, Paid, Shipped, Delivered, Cancelled moment
	Reason                                      string // of Cancelled
	Captured, RefundFailed, Refunded            payment
}

// moment is when something happened; not Heard, it did not.
type moment struct {
	Heard bool
	At    int64
}

type payment struct {
	moment
	Total money
}

func (m *moment) code(c *spill.Coder) {
	c.Flags(&m.Heard)
	spill.Number(c, &m.At)
}

func (a *analysed) code(c *spill.Coder) {
	for _, m := range []*moment{&a.Placed, &a.Paid, &a.Shipped, &a.Delivered, &a.Cancelled} {
		m.code(c)
	}
	c.Name(&a.Reason)
	for _, p := range []*payment{&a.Captured, &a.RefundFailed, &a.Refunded} {
		p.moment.code(c)
		p.Total.code(c)
	}
}

func heardAt(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	return moment{true, micros(t)}
}

func (a *analysed) read(data []byte) error {
	type paid struct {
		At    time.Time `json:"at"`
		Total money     `json:"total"`
	}
	var s struct {
		Placed    time.Time `json:"placed"`
		Paid      time.Time `json:"paid"`
		Shipped   time.Time `json:"shipped"`
		Delivered time.Time `json:"delivered"`
		Cancelled struct {
			At     time.Time `json:"at"`
			Reason string    `json:"reason"`
		} `json:"cancelled"`
		Captured     paid `json:"captured"`
		RefundFailed paid `json:"refundFailed"`
		Refunded     paid `json:"refunded"`
	}
	if err := decode.Unmarshal(data, &s); err != nil {
		return err
	}
	*a = analysed{
		Placed: heardAt(s.Placed), Paid: heardAt(s.Paid), Shipped: heardAt(s.Shipped), Delivered: heardAt(s.Delivered),
		Cancelled: heardAt(s.Cancelled.At), Reason: s.Cancelled.Reason,
		Captured: payment{heardAt(s.Captured.At), s.Captured.Total}, RefundFailed: payment{heardAt(s.RefundFailed.At), s.RefundFailed.Total},
		Refunded: payment{heardAt(s.Refunded.At), s.Refunded.Total},
	}
	return nil
}

// hear takes an event of the log.
func (a *analysed) hear(r *record) {
	switch r.Kind {
	case orderCreated:
		a.Placed.earliest(r.At)
	case paymentSucceeded:
		a.Captured.earliest(r)
	case paymentRefunded:
		a.Refunded.earliest(r)
	case paymentRefundFailed:
		a.RefundFailed.earliest(r)
	case orderStatusUpdated:
		switch r.Status {
		case statusPaid:
			a.Paid.earliest(r.At)
		case statusShipped:
			a.Shipped.earliest(r.At)
		case statusDelivered:
			a.Delivered.earliest(r.At)
		case statusCancelled:
			// Of two words of one time the lesser counts.
			if !a.Cancelled.Heard || r.At < a.Cancelled.At || r.At == a.Cancelled.At && r.Reason < a.Reason {
				a.Cancelled, a.Reason = moment{true, r.At}, r.Reason
			}
		}
	}
}

func (m *moment) earliest(at int64) {
	if !m.Heard || at < m.At {
		*m = moment{true, at}
	}
}

func (p *payment) earliest(r *record) {
	lesser := r.Total.Currency < p.Total.Currency || r.Total.Currency == p.Total.Currency && r.Total.Amount < p.Total.Amount
	if !p.Heard || r.At < p.At || r.At == p.At && lesser {
		*p = payment{moment{true, r.At}, r.Total}
	}
}

// The names of the sums.
const (
	sumPlaced     = "placed"
	sumPaid       = "paid"
	sumShipped    = "shipped"
	sumDelivered  = "delivered"
	sumCancelled  = "cancelled"    // by reason
	sumRevenue    = "revenue"      // by currency, in minor units
	sumTimeToPaid = "time to paid" // by bucket; not by the minute
)

const (
	microsPerSecond = int64(time.Second / time.Microsecond)
	secondsOfMinute = int64(time.Minute / time.Second)
)

// minuteOf is the minute's start, in seconds.
func minuteOf(at int64) int64 {
	seconds := at / microsPerSecond
	return seconds - seconds%secondsOfMinute
}

// contribute adds what the order contributes to the sums. Each counts in the minute in which it
// happened. Money counts from its capture, and is taken back at its refund; where nobody said that
// it was captured, a refund, tried or done, stands in for that word.
func (a *analysed) contribute(to tally) {
	add := func(m moment, name, key string, n int64) {
		if m.Heard {
			to.plus(sumKey{allTime, name, key}, n)
			to.plus(sumKey{minuteOf(m.At), name, key}, n)
		}
	}
	add(a.Placed, sumPlaced, "", 1)
	add(a.Paid, sumPaid, "", 1)
	add(a.Shipped, sumShipped, "", 1)
	add(a.Delivered, sumDelivered, "", 1)
	add(a.Cancelled, sumCancelled, a.Reason, 1)
	if a.Placed.Heard && a.Paid.Heard {
		took := time.UnixMicro(a.Paid.At).Sub(time.UnixMicro(a.Placed.At))
		to.plus(sumKey{allTime, sumTimeToPaid, strconv.Itoa(bucketOf(took))}, 1)
	}
	captured := a.Captured
	for _, proof := range []payment{a.RefundFailed, a.Refunded} {
		if !captured.Heard {
			captured = proof
		}
	}
	add(captured.moment, sumRevenue, captured.Total.Currency, captured.Total.Amount)
	add(a.Refunded.moment, sumRevenue, a.Refunded.Total.Currency, -a.Refunded.Total.Amount)
}

// bucketOf is where a time to PAID is counted: eight buckets to a doubling, from a millisecond on; the
// 257th has all that took longer than 49 days.
func bucketOf(d time.Duration) int {
	const perDoubling, last = 8, 8 * 32
	return sort.Search(last, func(i int) bool {
		return d <= time.Duration(float64(time.Millisecond)*math.Exp2(float64(i)/perDoubling))
	})
}
