package analyticshttp

import (
	"math/big"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"millrace/handlers/analytics"
)

// Summary is what happened so far.
type Summary struct {
	Orders      Counts           `json:"orders"`
	CancelledBy map[string]int64 `json:"cancelledBy" doc:"Cancelled orders by reason."`
	Revenue     []Revenue        `json:"revenue"`
	Conversion  float64          `json:"conversion" doc:"Share of the placed orders that were ever paid; 0 without orders." minimum:"0"`
	TimeToPaid  Quantiles        `json:"timeToPaid"`
	AsOf        time.Time        `json:"asOf"`
}

// Counts are orders by the states they were ever in.
type Counts struct {
	Placed    int64 `json:"placed"`
	Paid      int64 `json:"paid"`
	Shipped   int64 `json:"shipped"`
	Delivered int64 `json:"delivered"`
	Cancelled int64 `json:"cancelled"`
}

// Revenue is money captured minus money refunded.
type Revenue struct {
	Currency string     `json:"currency" example:"EUR"`
	Amount   minorUnits `json:"amount"`
}

// minorUnits is an integer of any size: amounts of many orders add up.
type minorUnits struct{ *big.Int }

// Schema says so in OpenAPI.
func (minorUnits) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Description: "In minor units of the currency. May exceed 64 bits."}
}

// Quantiles are how long orders took to be paid, in seconds.
type Quantiles struct {
	P50 *float64 `json:"p50" doc:"Seconds from placing to PAID, at most 4.4 % off; null until an order was paid."`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
}

// Series is what happened by the minute.
type Series struct {
	By      string    `json:"by" enum:"minute"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to" doc:"Not included."`
	Minutes []Minute  `json:"minutes"`
}

// Minute is what happened in one minute.
type Minute struct {
	Minute time.Time `json:"minute" doc:"Its start."`
	Counts
	Revenue []Revenue `json:"revenue"`
}

func summaryOf(s analytics.Summary) Summary {
	out := Summary{
		Orders: Counts(s.Orders), CancelledBy: map[string]int64{}, Revenue: revenueOf(s.Revenue),
		Conversion: s.Conversion, AsOf: s.AsOf,
	}
	for reason, n := range s.CancelledBy {
		out.CancelledBy[string(reason)] = n
	}
	if q := s.TimeToPaid; q != nil {
		out.TimeToPaid = Quantiles{secondsOf(q.P50), secondsOf(q.P95), secondsOf(q.P99)}
	}
	return out
}

func seriesOf(by string, from, to time.Time, minutes []analytics.Minute) Series {
	out := Series{By: by, From: from, To: to, Minutes: make([]Minute, 0, len(minutes))}
	for _, m := range minutes {
		out.Minutes = append(out.Minutes, Minute{Minute: m.Start, Counts: Counts(m.Orders), Revenue: revenueOf(m.Revenue)})
	}
	return out
}

func revenueOf(revenue []analytics.Revenue) []Revenue {
	out := make([]Revenue, 0, len(revenue)) // [] where there is none
	for _, r := range revenue {
		out = append(out, Revenue{r.Currency, minorUnits{r.Amount}})
	}
	return out
}

// secondsOf rounds to milliseconds; the error of a quantile is larger.
func secondsOf(d time.Duration) *float64 {
	s := d.Round(time.Millisecond).Seconds()
	return &s
}
