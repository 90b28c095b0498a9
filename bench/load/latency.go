package load

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Latency is how long orders took from accepted to PAID.
type Latency struct {
	P50, P99 time.Duration
	Orders   int
}

// Both ends are the start of a database transaction, of the one that accepted the order and of the one
// that made it PAID, by the database's clock: nobody has to watch.
const paidAfter = `SELECT count(*), count(paid.at), coalesce(percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM paid.at - placed.at)), '{0,0}')
FROM orders.history AS placed LEFT JOIN orders.history AS paid
  ON paid.order_id = placed.order_id AND paid.type = 'StatusChanged' AND paid.data->>'status' = 'PAID'
WHERE placed.type = 'Placed' AND placed.at BETWEEN $1 AND $2`

// Latency measures the orders that were accepted between two moments of the database's clock; after
// the end of the run. It fails if one of them was never paid: left out, the slowest would make a side look quick.
func (s Shop) Latency(ctx context.Context, from, to time.Time) (Latency, error) {
	var l Latency
	var paid int
	var seconds pq.Float64Array
	if err := s.DB.QueryRowContext(ctx, paidAfter, from, to).Scan(&l.Orders, &paid, &seconds); err != nil {
		return l, fmt.Errorf("read how long orders took to be paid: %w", err)
	}
	if l.Orders == 0 {
		return l, fmt.Errorf("no order was accepted between %s and %s", from, to)
	}
	if paid != l.Orders {
		return l, fmt.Errorf("of %d orders accepted between %s and %s only %d were paid, once each", l.Orders, from, to, paid)
	}
	l.P50, l.P99 = time.Duration(seconds[0]*float64(time.Second)), time.Duration(seconds[1]*float64(time.Second))
	return l, nil
}

// Now is the database's clock.
func (s Shop) Now(ctx context.Context) (now time.Time, err error) {
	if err := s.DB.QueryRowContext(ctx, "SELECT clock_timestamp()").Scan(&now); err != nil {
		return now, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}
