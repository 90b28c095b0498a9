package stock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Totals is what a shop at rest has done.
type Totals struct {
	Orders, Delivered, Cancelled int64
	Pieces                       int64 // sold
	Kept                         int64 // money captured and not refunded, in minor units
}

const readTotals = `SELECT
(SELECT count(*) FROM orders.orders),
(SELECT count(*) FROM orders.orders WHERE status = 'DELIVERED'),
(SELECT count(*) FROM orders.orders WHERE status = 'CANCELLED'),
(SELECT coalesce(sum(sold), 0) FROM inventory.stock),
(SELECT coalesce(sum(captured_amount - refunded_amount), 0) FROM provider.accounts)`

// Each of them counts what must not be there at rest.
var violations = []struct{ what, query string }{
	{"orders are not final", `SELECT count(*) FROM orders.orders WHERE status IS NULL OR status NOT IN ('DELIVERED', 'CANCELLED')`},
	{"articles have pieces still reserved", `SELECT count(*) FROM inventory.stock WHERE reserved <> 0`},
	{"articles have sold other pieces than reservations say", `SELECT count(*) FROM inventory.stock s WHERE sold <> (
  SELECT coalesce(sum((i->>'quantity')::bigint), 0) FROM inventory.reservations r, json_array_elements(r.state->'items') i
  WHERE r.state->>'status' = 'SOLD' AND i->>'sku' = s.sku)`},
	{"orders were charged more than once, or refunded more than that", `SELECT count(*) FROM provider.accounts WHERE captures > 1 OR refunded > captures`},
	{"orders have kept another amount than they should", `SELECT count(*) FROM orders.orders o LEFT JOIN provider.accounts a USING (order_id)
  WHERE coalesce(a.captured_amount - a.refunded_amount, 0) <> CASE WHEN o.status = 'DELIVERED' THEN (o.state->'total'->>'amount')::bigint ELSE 0 END`},
	{"notices have not been sent", `SELECT count(*) FROM notification.orders o, json_array_elements(o.state->'notices') n WHERE n->>'status' = 'WAITING'`},
	{"calls or deadlines are left", `SELECT count(*) FROM waits`},
	{"sums of analytics are wrong", `SELECT count(*) FROM (VALUES
  ('placed', (SELECT count(*) FROM orders.orders)),
  ('delivered', (SELECT count(*) FROM orders.orders WHERE status = 'DELIVERED')),
  ('cancelled', (SELECT count(*) FROM orders.orders WHERE status = 'CANCELLED')),
  ('revenue', (SELECT coalesce(sum(captured_amount - refunded_amount), 0) FROM provider.accounts))) AS want(name, n)
  WHERE n <> (SELECT coalesce(sum(d.n), 0) FROM analytics.deltas d WHERE d.name = want.name)`},
}

// Check looks whether a shop at rest has done everything, whole and once. Rest comes a little
// after the last order is final: analytics and notices may be behind.
func Check(ctx context.Context, db *sql.DB) (Totals, error) {
	var t Totals
	if err := db.QueryRowContext(ctx, readTotals).Scan(&t.Orders, &t.Delivered, &t.Cancelled, &t.Pieces, &t.Kept); err != nil {
		return t, fmt.Errorf("count what the shop on stock Watermill has done: %w", err)
	}
	var wrong error
	for _, v := range violations {
		var n int64
		if err := db.QueryRowContext(ctx, v.query).Scan(&n); err != nil {
			return t, fmt.Errorf("check whether %s: %w", v.what, err)
		}
		if n > 0 {
			wrong = errors.Join(wrong, fmt.Errorf("%d %s", n, v.what))
		}
	}
	return t, wrong
}
