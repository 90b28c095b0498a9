package scenario

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
	opponent "millrace/bench/stock"
	"millrace/topic"
)

const idleTxName = "idle_tx"

// idleTx is what it costs that somebody leaves a transaction open that has written something, in the same
// database and elsewhere in the server, while messages are handled and what they say is relayed.
func idleTx() bench.Scenario {
	return bench.Scenario{
		Name:  idleTxName,
		Gives: []string{"idle_tx"},
		Sides: []bench.Side{
			{Name: ours, Run: onRound(handleAndRelay)},
			{Name: ours + whileIdle, Run: onRound(besideIdle(handleAndRelay))},
			onceInQuick(idleTxName, bench.Side{Name: stockTuned, Run: onRound(handleAndForward)}),
			onceInQuick(idleTxName, bench.Side{Name: stockTuned + whileIdle, Run: onRound(besideIdle(handleAndForward))}),
		},
		Figures: func(rows []bench.Row) []bench.Figure {
			f := bench.Between("idle_tx", losses(rows, ours), losses(rows, stockTuned))
			f.Ratio, f.WorstPair = 0, 0 // of two losses, one of which may be none, a quotient says nothing
			f.Note = "theirs: " + stockTuned
			return []bench.Figure{f}
		},
	}
}

// whileIdle ends the names of the sides with open transactions.
const whileIdle = ", idle tx"

// losses is how much slower a side was with open transactions, in percent, round by round.
func losses(rows []bench.Row, side string) (percent []float64) {
	without := map[int]float64{}
	for _, r := range rows {
		if r.Side == side && r.Failed == "" {
			without[r.Round] = r.Values["events_per_second"]
		}
	}
	for _, r := range rows {
		if rate := without[r.Round]; r.Side == side+whileIdle && r.Failed == "" && rate > 0 {
			percent = append(percent, 100*(1-r.Values["events_per_second"]/rate))
		}
	}
	return percent
}

// idleSize is how many orders wait, and when the stock sides are stopped.
func idleSize(scale bench.Scale) (orders int, limit time.Duration) {
	switch scale {
	case bench.Smoke:
		return 500, 2 * time.Second // with open transactions nothing would come of a longer wait
	case bench.Quick:
		return 15_000, 2 * time.Second
	default:
		return 100_000, 10 * time.Second
	}
}

// handleAndRelay is our side: a consumer, its store, and the relay.
func handleAndRelay(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
	orders, _ := idleSize(env.Scale)
	if _, err := fill(ctx, round.Brokers, env.Partitions, orders, topic.OrderCreated.Name, topic.InventoryReserved.Name); err != nil {
		return nil, err
	}
	o, err := openOurs(ctx, round, env.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.parts.stop()) }()
	published := newMeter(orders)
	relay, err := o.relay(ctx, published)
	if err != nil {
		return nil, err
	}
	if err := o.consume(ctx, published.start, relay); err != nil {
		return nil, err
	}
	m, err := published.await(ctx, patience, o.parts.failed)
	if err != nil {
		return nil, err
	}
	handled, unsent, err := o.stopped(ctx)
	if err != nil {
		return nil, err
	}
	return said(ctx, round, m, int64(orders), handled, unsent)
}

// handleAndForward is the stock side, tuned: a consumer and the forwarder.
func handleAndForward(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
	orders, limit := idleSize(env.Scale)
	if _, err := fill(ctx, round.Brokers, env.Partitions, orders, topic.OrderCreated.Name, topic.InventoryReserved.Name); err != nil {
		return nil, err
	}
	s, err := openStock(ctx, round, opponent.Tuned(), env.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	published := newMeter(orders)
	s.forward(ctx, published)
	s.consume(ctx, published.start)
	m, err := published.await(ctx, limit, s.parts.failed)
	if err != nil {
		return nil, err
	}
	if err := s.parts.stop(); err != nil {
		return nil, err
	}
	handled, err := s.rows(ctx)
	if err != nil {
		return nil, err
	}
	written, forwarded, err := s.Outbox(ctx)
	if err != nil {
		return nil, err
	}
	return said(ctx, round, m, int64(orders), handled, written-forwarded)
}

// said is what a side gets for the events it published, if none was lost or made up.
func said(ctx context.Context, round *rig.Round, m measured, orders, handled, unsent int64) (bench.Values, error) {
	log, err := inLog(ctx, round.Brokers, topic.InventoryReserved.Name)
	if err != nil {
		return nil, err
	}
	if err := checkSaid(m, orders, handled, log.different, unsent); err != nil {
		return nil, err
	}
	return bench.Values{"events_per_second": m.perSecond(), "events": float64(m.count)}, nil
}

// checkSaid wants one event of every order that was handled, in the log or still in the outbox.
func checkSaid(m measured, orders, handled, logged, unsent int64) error {
	if logged+unsent < handled || logged > handled || m.whole && logged < orders {
		return fmt.Errorf("of %d orders %d were handled: %d of their events are in the log, and %d in the outbox", orders, handled, logged, unsent)
	}
	return nil
}

// besideIdle is a side with transactions open all the time.
func besideIdle(measure measurement) measurement {
	return func(ctx context.Context, env *bench.Env, round *rig.Round) (values bench.Values, err error) {
		for _, database := range []string{"", elsewhere} {
			end, failed := leaveOpen(ctx, round.DSN, database)
			if failed != nil {
				return nil, failed
			}
			defer func() { err = errors.Join(err, end()) }()
		}
		return measure(ctx, env, round)
	}
}

// elsewhere is a database that every server has, and that nobody here uses.
const elsewhere = "postgres"

// leaveOpen begins a transaction that writes and then does nothing, in the database of dsn, or in another
// one of the server. end rolls it back.
func leaveOpen(ctx context.Context, dsn, database string) (end func() error, err error) {
	if database != "" {
		address, err := url.Parse(dsn)
		if err != nil {
			return nil, fmt.Errorf("read the address of the round's database: %w", err)
		}
		address.Path = "/" + database
		dsn = address.String()
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, fmt.Errorf("open a database to leave a transaction open in: %w", err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err == nil {
		_, err = tx.ExecContext(ctx, "CREATE TABLE left_open AS SELECT 1 AS n")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("leave a transaction open: %w", err), db.Close())
	}
	return func() error { return errors.Join(tx.Rollback(), db.Close()) }, nil
}
