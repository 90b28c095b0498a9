package scenario

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
	opponent "millrace/bench/stock"
	"millrace/event"
	"millrace/outbox"
	"millrace/topic"
	"millrace/transport/kafka"
)

const relayName = "relay"

// relay is how fast a backlog in the outbox gets to the broker, which has acknowledged each event at the end.
func relay() bench.Scenario {
	return bench.Scenario{
		Name:  relayName,
		Gives: []string{"relay_vs_forwarder"},
		Sides: []bench.Side{
			{Name: ours, Run: onRound(relayOutbox)},
			{Name: stock, Run: onRound(forward(opponent.Documented()))},
			onceInQuick(relayName, bench.Side{Name: stockTuned, Run: onRound(forward(opponent.Tuned()))}),
		},
		Figures: func(rows []bench.Row) []bench.Figure {
			return versusStopped("relay_vs_forwarder", rows, "rows_per_second", "rows")
		},
	}
}

// relaySize is how many rows wait, and when the stock sides are stopped: their rate is then that of what they
// sent, from a backlog as long as ours.
func relaySize(scale bench.Scale) (rows int, limit time.Duration) {
	switch scale {
	case bench.Smoke:
		return 500, 20 * time.Second // all of them, on both sides
	case bench.Quick: // filling takes longer than draining: the goal's 100,000 would take all of a quick run's time
		return 30_000, 2 * time.Second
	default:
		return 100_000, 20 * time.Second
	}
}

// outboxChunk is how many rows one transaction writes when the outbox is filled.
const outboxChunk = 5000

// relayOutbox is our side.
func relayOutbox(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
	rows, _ := relaySize(env.Scale)
	if err := makeTopics(ctx, round, env.Partitions, topic.OrderCreated.Name); err != nil {
		return nil, err
	}
	o, err := openOurs(ctx, round, env.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.parts.stop()) }()
	err = inChunks(ctx, o.db, rows, func(tx *sql.Tx, n int) error {
		publisher, err := outbox.NewPublisher(tx, "order")
		if err != nil {
			return err
		}
		msgs, err := createdMessages(n)
		if err != nil {
			return err
		}
		return publisher.Publish(topic.OrderCreated.Name, msgs...)
	})
	if err != nil {
		return nil, err
	}
	if err := settle(ctx, round, "millrace.outbox"); err != nil {
		return nil, err
	}
	acked := newMeter(rows)
	acked.begin()
	if _, err := o.relay(ctx, acked); err != nil {
		return nil, err
	}
	m, err := acked.await(ctx, patience, o.parts.failed)
	if err != nil {
		return nil, err
	}
	if err := o.parts.stop(); err != nil {
		return nil, err
	}
	unsent, err := o.unsent(ctx)
	if err != nil {
		return nil, err
	}
	return relayed(ctx, round, m, int64(rows), int64(rows)-unsent)
}

// forward is a stock side.
func forward(settings opponent.Settings) measurement {
	return func(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
		rows, limit := relaySize(env.Scale)
		if err := makeTopics(ctx, round, env.Partitions, topic.OrderCreated.Name); err != nil {
			return nil, err
		}
		s, err := openStock(ctx, round, settings, env.Log)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		err = inChunks(ctx, round.DB, rows, func(tx *sql.Tx, n int) error {
			events := make([]event.Event, n)
			for i := range events {
				events[i] = orderOf(sold)
			}
			return s.Enqueue(tx, events...)
		})
		if err != nil {
			return nil, err
		}
		if err := settle(ctx, round, s.Tables()...); err != nil {
			return nil, err
		}
		acked := newMeter(rows)
		acked.begin()
		s.forward(ctx, acked)
		m, err := acked.await(ctx, limit, s.parts.failed)
		if err != nil {
			return nil, err
		}
		if m.whole {
			if err := s.awaitNoted(ctx); err != nil {
				return nil, err
			}
		}
		if err := s.parts.stop(); err != nil {
			return nil, err
		}
		_, left, err := s.Outbox(ctx)
		if err != nil {
			return nil, err
		}
		return relayed(ctx, round, m, int64(rows), left)
	}
}

// makeTopics makes the topics.
func makeTopics(ctx context.Context, round *rig.Round, partitions int, topics ...string) error {
	admin, err := kafka.NewAdmin(kafka.Config{Brokers: round.Brokers})
	if err != nil {
		return err
	}
	return errors.Join(admin.EnsureTopics(ctx, partitions, topics...), admin.Close())
}

// inChunks has write write n orders, some thousand in each transaction.
func inChunks(ctx context.Context, db *sql.DB, n int, write func(tx *sql.Tx, n int) error) error {
	for left := n; left > 0; left -= outboxChunk {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("fill the outbox: %w", err)
		}
		if err := write(tx, min(left, outboxChunk)); err != nil {
			return errors.Join(fmt.Errorf("fill the outbox: %w", err), tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("fill the outbox: %w", err)
		}
	}
	return nil
}

// settle does what autovacuum and the checkpointer would do for a backlog that had come about slowly, so
// that they do not do it while it is measured.
func settle(ctx context.Context, round *rig.Round, tables ...string) error {
	for _, statement := range []string{"VACUUM ANALYZE " + strings.Join(tables, ", "), "CHECKPOINT"} {
		if _, err := round.DB.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s before a measurement: %w", statement, err)
		}
	}
	return nil
}

// relayed is what a side gets for what it relayed, if every row that left the outbox is in the log.
func relayed(ctx context.Context, round *rig.Round, m measured, rows, left int64) (bench.Values, error) {
	log, err := inLog(ctx, round.Brokers, topic.OrderCreated.Name)
	if err != nil {
		return nil, err
	}
	if err := checkRelayed(m, rows, left, log.different); err != nil {
		return nil, err
	}
	return bench.Values{"rows_per_second": m.perSecond(), "rows": float64(m.count), "backlog_rows": float64(rows)}, nil
}

// checkRelayed compares how many rows there were, how many left the outbox, and how many different ones
// the log has.
func checkRelayed(m measured, rows, left, logged int64) error {
	switch {
	case logged < left || logged > rows || logged < m.count:
		return fmt.Errorf("of %d rows %d left the outbox and %d were acknowledged, but the log has %d different messages", rows, left, m.count, logged)
	case m.whole && left < rows:
		return fmt.Errorf("the broker acknowledged all %d rows, but only %d left the outbox", m.count, left)
	}
	return nil
}
