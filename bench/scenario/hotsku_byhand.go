package scenario

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventorypg"
	"millrace/outbox"
	"millrace/topic"
)

// handConnections is how many reservations are made by hand at once. They wait for one row, so more
// gain nothing.
const handConnections = 16

// byHand reserves one piece for an order, in a transaction of its own, with what it said as JSON.
type byHand func(ctx context.Context, e event.OrderCreated, row, said []byte) error

// The statements of a reservation. Tables and effects are ours: an order that comes a second time is
// recognised by its row, and stock that is not there is not sold.
const (
	insertReservation = `INSERT INTO inventory.reservations (order_id, state) VALUES ($1, $2) ON CONFLICT DO NOTHING`
	moveStock         = `UPDATE inventory.stock SET available = available - $2, reserved = reserved + $2, version = version + 1
WHERE sku = $1 AND available >= $2`
	insertReserved = `INSERT INTO millrace.outbox (service, topic, key, payload, headers) VALUES ('inventory', $1, $2, $3, '{}')`

	// all three at once: one round trip, and the row is locked for one statement and its commit
	reserveAll = `WITH reservation AS (
	INSERT INTO inventory.reservations (order_id, state) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING order_id
), moved AS (
	UPDATE inventory.stock SET available = available - $4, reserved = reserved + $4, version = version + 1
	WHERE sku = $3 AND available >= $4 AND EXISTS (SELECT FROM reservation) RETURNING sku
)
INSERT INTO millrace.outbox (service, topic, key, payload, headers) SELECT 'inventory', $5, $6, $7, '{}' FROM moved`
)

// reserveStepByStep does it the usual way, statement by statement.
func reserveStepByStep(ctx context.Context, env *bench.Env, round *rig.Round) (bench.Values, error) {
	return reserveByHand(ctx, env, round, func(ctx context.Context, db *sql.DB) (byHand, error) {
		var stmts [3]*sql.Stmt
		for i, text := range []string{insertReservation, moveStock, insertReserved} {
			var err error
			if stmts[i], err = db.PrepareContext(ctx, text); err != nil {
				return nil, fmt.Errorf("prepare %q: %w", text, err)
			}
		}
		return func(ctx context.Context, e event.OrderCreated, row, said []byte) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // after a commit it does nothing
			for i, args := range [][]any{
				{string(e.OrderID), row},
				{e.Items[0].SKU, e.Items[0].Quantity},
				{topic.InventoryReserved.Name, []byte(e.OrderID), said},
			} {
				if err := exactlyOne(tx.StmtContext(ctx, stmts[i]).ExecContext(ctx, args...)); err != nil {
					return err
				}
			}
			return tx.Commit()
		}, nil
	})
}

// reserveAtOnce does it as those do who have met a hot row before.
func reserveAtOnce(ctx context.Context, env *bench.Env, round *rig.Round) (bench.Values, error) {
	return reserveByHand(ctx, env, round, func(ctx context.Context, db *sql.DB) (byHand, error) {
		stmt, err := db.PrepareContext(ctx, reserveAll)
		if err != nil {
			return nil, fmt.Errorf("prepare %q: %w", reserveAll, err)
		}
		return func(ctx context.Context, e event.OrderCreated, row, said []byte) error {
			return exactlyOne(stmt.ExecContext(ctx, string(e.OrderID), row, e.Items[0].SKU, e.Items[0].Quantity,
				topic.InventoryReserved.Name, []byte(e.OrderID), said))
		}, nil
	})
}

// exactlyOne wants a statement to have changed one row.
func exactlyOne(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("a statement of a reservation changed %d rows, not 1", n), err)
	}
	return nil
}

// reserveByHand measures one way to reserve.
func reserveByHand(ctx context.Context, env *bench.Env, round *rig.Round, prepare func(context.Context, *sql.DB) (byHand, error)) (values bench.Values, err error) {
	db, err := sql.Open("postgres", round.DSN)
	if err != nil {
		return nil, fmt.Errorf("open the database of the reservations by hand: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(handConnections)
	db.SetMaxIdleConns(handConnections)
	if err := outbox.Migrate(ctx, db, outbox.Schema, outbox.Migrations()); err != nil {
		return nil, err
	}
	if err := outbox.Migrate(ctx, db, inventorypg.Schema, inventorypg.Migrations()); err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, `INSERT INTO inventory.stock (sku, initial, available) VALUES ($1, $2, $2)`, sold, hotPieces); err != nil {
		return nil, fmt.Errorf("fill the stock: %w", err)
	}
	reserve, err := prepare(ctx, db)
	if err != nil {
		return nil, err
	}
	made, span, err := repeat(ctx, handConnections, hotTime(env.Scale), nil, func(ctx context.Context) error {
		e := orderOf(sold)
		row, err := json.Marshal(inventory.Reservation{ID: e.OrderID, Status: inventory.Reserved, Items: e.Items})
		if err != nil {
			return err
		}
		said, err := json.Marshal(event.InventoryReserved{OrderID: e.OrderID, Items: e.Items})
		if err != nil {
			return err
		}
		return reserve(ctx, e, row, said)
	})
	if err != nil {
		return nil, fmt.Errorf("reserve by hand: %w", err)
	}
	env.Concurrency = handConnections
	return reservations(ctx, round, made, span)
}
