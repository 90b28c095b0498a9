package load

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// straggle is how much later than a younger order an order may become visible: a transaction's
// length, since created_at is its start.
const straggle = time.Second

// watch counts the orders that are final, and reads only those that may not have been at the last look.
type watch struct {
	db    *sql.DB
	since time.Time // older orders are final, or another run's
	final int64     // how many of this run's are older
}

// The orders since $1, by the index on created_at: how many are final, from when on there may be others, and
// how many final ones are older than that.
const countFinal = `WITH young AS (SELECT created_at, status IN ('DELIVERED', 'CANCELLED', 'NEEDS_ATTENTION') AS final
  FROM orders.orders WHERE created_at >= $1 AND customer_id IS NOT NULL),
frontier AS (SELECT least(min(created_at) FILTER (WHERE NOT final), max(created_at)) - $2 * interval '1 second' AS at FROM young)
SELECT count(*) FILTER (WHERE final), coalesce(max(at), $1), count(*) FILTER (WHERE created_at < at) FROM young, frontier`

func (w *watch) finished(ctx context.Context) (int64, error) {
	var final, settled int64
	var frontier time.Time
	if err := w.db.QueryRowContext(ctx, countFinal, w.since, straggle.Seconds()).Scan(&final, &frontier, &settled); err != nil {
		return 0, fmt.Errorf("count the orders that are final: %w", err)
	}
	final += w.final
	if frontier.After(w.since) {
		w.since, w.final = frontier, w.final+settled
	}
	return final, nil
}
