package scenario

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventorypg"
	"millrace/outbox"
)

const hotSKUName = "hot_sku"

// hotSKU is how many orders a second can reserve one and the same article: ours through the inventory
// service and its store, theirs with one transaction per reservation, written by hand.
func hotSKU() bench.Scenario {
	return bench.Scenario{
		Name:  hotSKUName,
		Gives: []string{"hot_sku"},
		Sides: []bench.Side{
			{Name: ours, Run: onRound(reserveThroughStore)},
			{Name: stock, Run: onRound(reserveStepByStep)},
			onceInQuick(hotSKUName, bench.Side{Name: stockTuned, Run: onRound(reserveAtOnce)}),
		},
		Figures: func(rows []bench.Row) []bench.Figure {
			return versusStopped("hot_sku", rows, "reservations_per_second", "reservations")
		},
	}
}

// hotTime is how long reservations are made.
func hotTime(scale bench.Scale) time.Duration {
	switch scale {
	case bench.Smoke:
		return 300 * time.Millisecond
	case bench.Quick:
		return 1500 * time.Millisecond
	default:
		return 10 * time.Second
	}
}

const (
	// hotPieces is more than anybody reserves within hotTime.
	hotPieces = 1_000_000_000
	// hotOrders is how many of our reservations wait at once: as many as the subscriber keeps in flight of
	// one partition.
	hotOrders = 1000
)

func reserveThroughStore(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
	o, err := openOurs(ctx, round, env.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.parts.stop()) }()
	if err := outbox.Migrate(ctx, o.db, inventorypg.Schema, inventorypg.Migrations()); err != nil {
		return nil, err
	}
	store := outbox.NewPostgres(o.db, inventorypg.Table(), outbox.Options{Logger: env.Log})
	o.parts.start(ctx, "the store", store.Run)
	service := inventory.New(inventorypg.Reservations{Store: store})
	caused := func(ctx context.Context) context.Context { return event.WithCause(ctx, event.Cause{ID: newID()}) }
	if err := service.Restock(caused(ctx), sold, "Mug, red", hotPieces); err != nil {
		return nil, err
	}
	made, span, err := repeat(ctx, hotOrders, hotTime(env.Scale), o.parts.failed, func(ctx context.Context) error {
		return service.Reserve(caused(ctx), orderOf(sold))
	})
	if err != nil {
		return nil, err
	}
	if err := o.parts.stop(); err != nil {
		return nil, err
	}
	env.Concurrency = hotOrders
	return reservations(ctx, round, made, span)
}

// repeat calls do from that many goroutines at once for d, and tells how often it succeeded and how long
// that took. The first error ends it.
func repeat(ctx context.Context, callers int, d time.Duration, failed <-chan error, do func(context.Context) error) (calls int64, span time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := newMeter(1)
	m.begin()
	begin := time.Now()
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for ctx.Err() == nil && time.Since(begin) < d {
				if err := do(ctx); err != nil {
					cancel(err)
					return
				}
				m.done(1)
			}
		})
	}
	go func() {
		select {
		case err := <-failed:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	group.Wait()
	return m.count.Load(), time.Since(begin), context.Cause(ctx)
}

// reservations checks that each reservation that was made moved one piece, has one row, and said one
// event.
func reservations(ctx context.Context, round *rig.Round, made int64, span time.Duration) (bench.Values, error) {
	var reserved, rows, said int64
	err := round.DB.QueryRowContext(ctx, `SELECT reserved, (SELECT count(*) FROM inventory.reservations WHERE state->>'status' = 'RESERVED'),
(SELECT count(*) FROM millrace.outbox) FROM inventory.stock WHERE sku = $1 AND initial = available + reserved`, sold).Scan(&reserved, &rows, &said)
	if err != nil {
		return nil, fmt.Errorf("count the reservations: %w", err)
	}
	if reserved != made || rows != made || said != made {
		return nil, fmt.Errorf("%d reservations were made: %d pieces are reserved, for %d orders, and %d events said", made, reserved, rows, said)
	}
	return bench.Values{"reservations_per_second": float64(made) / span.Seconds(), "reservations": float64(made)}, nil
}
