package analytics

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/event"
)

// Total is a sum over all orders, of all time or of one minute. N has no bounds:
// many orders of the largest amount fit.
type Total struct {
	Minute time.Time // zero for a total of all time
	Name   string
	Key    string
	N      *big.Int
}

// Summary is what happened so far.
type Summary struct {
	Orders      Counts
	CancelledBy map[event.CancelReason]int64
	// Revenue is money captured minus money refunded, by currency in alphabetical order.
	Revenue []Revenue
	// Conversion is the share of placed orders that were ever paid; 0 without orders.
	Conversion float64
	// TimeToPaid is how long it took from placing an order to PAID; nil until one was paid.
	TimeToPaid *Quantiles
	// AsOf is when the sums were read, on the database's clock.
	AsOf time.Time
}

// Counts are orders by the states they were ever in.
type Counts struct {
	Placed, Paid, Shipped, Delivered, Cancelled int64
}

// Revenue is an amount in minor units of a currency.
type Revenue struct {
	Currency string
	Amount   *big.Int
}

// Quantiles are medians and tails, at most 4.4 % off.
type Quantiles struct {
	P50, P95, P99 time.Duration
}

// Minute is what happened in one minute, by the time of the events.
type Minute struct {
	Start   time.Time
	Orders  Counts
	Revenue []Revenue
}

// Summarize makes a summary of the totals of all time.
func Summarize(totals []Total, asOf time.Time) (Summary, error) {
	s := Summary{CancelledBy: map[event.CancelReason]int64{}, AsOf: asOf}
	var times histogram
	totals = withoutZeros(totals)
	for _, t := range totals {
		switch t.Name {
		case SumTimeToPaid:
			bucket, err := strconv.Atoi(t.Key)
			if err != nil || bucket < 0 || bucket > lastBucket {
				return Summary{}, fmt.Errorf("analytics: total %q has an unknown bucket %q", t.Name, t.Key)
			}
			times[bucket] += t.N.Int64()
		case SumCancelled:
			s.CancelledBy[event.CancelReason(t.Key)] += t.N.Int64()
		}
	}
	s.Orders, s.Revenue = add(totals)
	if s.Orders.Placed > 0 {
		s.Conversion = float64(s.Orders.Paid) / float64(s.Orders.Placed)
	}
	if p50, any := times.quantile(0.50); any {
		p95, _ := times.quantile(0.95)
		p99, _ := times.quantile(0.99)
		s.TimeToPaid = &Quantiles{P50: p50, P95: p95, P99: p99}
	}
	return s, nil
}

// ByMinute groups totals by minute, in order. Minutes in which nothing happened are left out.
func ByMinute(totals []Total) []Minute {
	groups := map[int64][]Total{}
	for _, t := range withoutZeros(totals) {
		groups[t.Minute.Unix()] = append(groups[t.Minute.Unix()], t)
	}
	minutes := make([]Minute, 0, len(groups))
	for _, group := range groups {
		m := Minute{Start: group[0].Minute.UTC()}
		m.Orders, m.Revenue = add(group)
		minutes = append(minutes, m)
	}
	slices.SortFunc(minutes, func(a, b Minute) int { return a.Start.Compare(b.Start) })
	return minutes
}

// withoutZeros leaves out what was counted and taken back: it is as if it had never been.
func withoutZeros(totals []Total) []Total {
	return slices.DeleteFunc(slices.Clone(totals), func(t Total) bool { return t.N.Sign() == 0 })
}

func add(totals []Total) (Counts, []Revenue) {
	var counts Counts
	amounts := map[string]*big.Int{}
	for _, t := range totals {
		switch t.Name {
		case SumPlaced:
			counts.Placed += t.N.Int64()
		case SumPaid:
			counts.Paid += t.N.Int64()
		case SumShipped:
			counts.Shipped += t.N.Int64()
		case SumDelivered:
			counts.Delivered += t.N.Int64()
		case SumCancelled:
			counts.Cancelled += t.N.Int64()
		case SumRevenue:
			if amounts[t.Key] == nil {
				amounts[t.Key] = new(big.Int)
			}
			amounts[t.Key].Add(amounts[t.Key], t.N)
		}
	}
	revenue := make([]Revenue, 0, len(amounts))
	for currency, amount := range amounts {
		revenue = append(revenue, Revenue{currency, amount})
	}
	slices.SortFunc(revenue, func(a, b Revenue) int { return strings.Compare(a.Currency, b.Currency) })
	return counts, revenue
}
