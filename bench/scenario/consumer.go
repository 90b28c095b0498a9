package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
	opponent "millrace/bench/stock"
	"millrace/topic"
)

const consumerName = "consumer"

// consumer is how fast waiting messages are handled for good: deduplicated, the row of their order
// changed, one event each written to the outbox, all of it on disk. Nothing is relayed.
func consumer() bench.Scenario {
	return bench.Scenario{
		Name:  consumerName,
		Gives: []string{"consumer_vs_router"},
		Sides: []bench.Side{
			{Name: ours, Run: onRound(drainOurs)},
			{Name: stock, Run: onRound(drainStock(opponent.Documented()))},
			onceInQuick(consumerName, bench.Side{Name: stockTuned, Run: onRound(drainStock(opponent.Tuned()))}),
		},
		Figures: func(rows []bench.Row) []bench.Figure {
			return versusStopped("consumer_vs_router", rows, "messages_per_second", "messages")
		},
	}
}

// consumerSize is how many orders wait, and when the stock sides are stopped: their rate is then that of what
// they handled.
func consumerSize(scale bench.Scale) (orders int, limit time.Duration) {
	switch scale {
	case bench.Smoke:
		return 500, 20 * time.Second // all of them, on both sides
	case bench.Quick:
		return 20_000, 2 * time.Second
	default:
		return 200_000, 15 * time.Second
	}
}

// drainOurs is our side.
func drainOurs(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
	orders, _ := consumerSize(env.Scale)
	records, err := fill(ctx, round.Brokers, env.Partitions, orders, topic.OrderCreated.Name, topic.InventoryReserved.Name)
	if err != nil {
		return nil, err
	}
	o, err := openOurs(ctx, round, env.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.parts.stop()) }()
	handled := newMeter(records)
	if err := o.consume(ctx, handled.handle, nil); err != nil {
		return nil, err
	}
	m, err := handled.await(ctx, patience, o.parts.failed)
	if err != nil {
		return nil, err
	}
	rows, said, err := o.stopped(ctx)
	if err != nil {
		return nil, err
	}
	return consumed(m, int64(orders), rows, said)
}

// drainStock is a stock side.
func drainStock(settings opponent.Settings) measurement {
	return func(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
		orders, limit := consumerSize(env.Scale)
		records, err := fill(ctx, round.Brokers, env.Partitions, orders, topic.OrderCreated.Name, topic.InventoryReserved.Name)
		if err != nil {
			return nil, err
		}
		s, err := openStock(ctx, round, settings, env.Log)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		handled := newMeter(records)
		s.consume(ctx, handled.handle)
		m, err := handled.await(ctx, limit, s.parts.failed)
		if err != nil {
			return nil, err
		}
		if err := s.parts.stop(); err != nil {
			return nil, err
		}
		rows, err := s.rows(ctx)
		if err != nil {
			return nil, err
		}
		said, _, err := s.Outbox(ctx)
		if err != nil {
			return nil, err
		}
		return consumed(m, int64(orders), rows, said)
	}
}

// consumed is what a side gets for what it handled, if it left what it should.
func consumed(m measured, orders, rows, said int64) (bench.Values, error) {
	if err := checkConsumed(m, orders, rows, said); err != nil {
		return nil, err
	}
	return bench.Values{"messages_per_second": m.perSecond(), "messages": float64(m.count)}, nil
}

// checkConsumed checks what a consumer left: for each order that it handled one row and one event, and for
// all orders if it handled all messages.
func checkConsumed(m measured, orders, rows, said int64) error {
	duplicates := m.count / duplicateEvery // at most so many of the messages were no order's first
	switch {
	case said != rows:
		return fmt.Errorf("%d orders were handled, and %d events said", rows, said)
	case m.whole && rows != orders:
		return fmt.Errorf("of %d orders %d were handled", orders, rows)
	case rows < m.count-duplicates-1 || rows > orders:
		return fmt.Errorf("%d messages were handled, of %d orders there are rows", m.count, rows)
	}
	return nil
}
