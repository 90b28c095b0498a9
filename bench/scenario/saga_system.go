package scenario

import (
	"context"
	"fmt"
	"time"

	"millrace/bench/load"
	"millrace/bench/rig"
)

// The names of sides.
const (
	ours       = "ours"
	stock      = "stock"       // as the documentation shows it
	stockTuned = "stock tuned" // as those recommend it who need more
	pgBench    = "pgbench"
)

// What the systems are told, all the same things.
const (
	// carrierStep is how long the simulated carrier takes for each of its two steps: so little that
	// it is not what orders wait for.
	carrierStep = 10 * time.Millisecond
	// paymentDeadline and orderDeadline are longer than any round, so that an opponent who is asked
	// for more than it can do is slow and not wrong.
	paymentDeadline = 15 * time.Minute
	orderDeadline   = 20 * time.Minute
)

// system is a whole order system.
type system struct {
	name  string
	start func(context.Context, *rig.Round) (*running, error)
}

// running is a system that takes orders.
type running struct {
	name    string
	shop    load.Shop
	process *rig.Process
	admin   string // the router's operations address; empty for others
}

// oursSystem is a router with all services.
var oursSystem = system{ours, func(ctx context.Context, o *rig.Round) (*running, error) {
	r, err := o.StartRouter(ctx, routerProcess, ourSettings()...)
	if err != nil {
		return nil, err
	}
	return &running{name: ours, shop: load.Shop{URL: r.URL, DB: o.DB}, process: r.Process, admin: r.Admin}, nil
}}

// routerProcess is what the router is called where processes are told apart.
const routerProcess = "router"

func ourSettings() []string {
	return []string{
		"CARRIER_STEP=" + carrierStep.String(), "PAYMENT_DEADLINE=" + paymentDeadline.String(), "ORDER_DEADLINE=" + orderDeadline.String(),
	}
}

// check looks whether what was placed was done, whole and once: every order delivered, the stock and
// the money moved as ordered, every event in the log. It returns what the log holds. Ours is verified as well.
func (s *running) check(ctx context.Context, brokers []string, placed load.Placed) (log logged, err error) {
	if err := s.checkBooks(ctx, placed); err != nil {
		return log, err
	}
	if log, err = awaitLog(ctx, s.name, brokers, int64(placed.Orders)*eventsPerOrder, eventsPatience); err != nil || s.name != ours {
		return log, err
	}
	return log, s.verified(ctx, brokers, placed.Orders)
}

// checkBooks is check without the log.
func (s *running) checkBooks(ctx context.Context, placed load.Placed) error {
	var delivered int
	var sold, held, captured, refunded, captures int64
	err := s.shop.DB.QueryRowContext(ctx, `SELECT
(SELECT count(*) FROM orders.orders WHERE status = 'DELIVERED'),
(SELECT sum(sold) FROM inventory.stock), (SELECT sum(reserved) FROM inventory.stock),
(SELECT coalesce(sum(captured_amount), 0) FROM provider.accounts), (SELECT coalesce(sum(refunded_amount), 0) FROM provider.accounts),
(SELECT coalesce(sum(captures), 0) FROM provider.accounts)`).Scan(&delivered, &sold, &held, &captured, &refunded, &captures)
	if err != nil {
		return fmt.Errorf("check what became of the orders: %w", err)
	}
	for what, pair := range map[string][2]int64{
		"orders delivered":               {int64(delivered), int64(placed.Orders)},
		"pieces sold":                    {sold, placed.Pieces},
		"pieces still reserved":          {held, 0},
		"money captured, in minor units": {captured, placed.Amount},
		"captures":                       {captures, int64(placed.Orders)},
		"money refunded":                 {refunded, 0},
	} {
		if pair[0] != pair[1] {
			return fmt.Errorf("%s is wrong at the end: %s: %d, want %d", s.name, what, pair[0], pair[1])
		}
	}
	return nil
}
