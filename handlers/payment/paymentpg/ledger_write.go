package paymentpg

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lib/pq"

	"millrace/event"
	"millrace/handlers/payment/simulator"
)

const accountColumns = "order_id, account, captures, refunded, captured_amount, refunded_amount, currency"

const accountRows = `unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bigint[], $7::text[])
  AS d(` + accountColumns + `)`

// Both statements go through the accounts in id order, so that the batches of two
// replicas cannot wait for each other in a circle.
const (
	insertAccounts = `INSERT INTO provider.accounts (` + accountColumns + `)
SELECT order_id, account::json, captures, refunded, captured_amount, refunded_amount, currency FROM ` + accountRows + `
ORDER BY order_id ON CONFLICT (order_id) DO NOTHING RETURNING order_id`

	lockAccounts = `SELECT order_id, account FROM provider.accounts
WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE`

	updateAccounts = `UPDATE provider.accounts a SET account = d.account::json, captures = d.captures, refunded = d.refunded,
  captured_amount = d.captured_amount, refunded_amount = d.refunded_amount, currency = d.currency
FROM ` + accountRows + ` WHERE a.order_id = d.order_id`
)

// write makes one batch durable. Most calls are first charges, so it takes every
// account for new at first: those are written by one statement, which is a
// transaction by itself. What was there already is changed under a lock.
func (l *Ledger) write(ctx context.Context, orders map[event.OrderID][]*entry) error {
	var fresh accounts
	for id, entries := range orders {
		a, err := apply(entries, nil)
		if err != nil {
			return err
		}
		if a.Empty() { // a look at nothing leaves nothing
			continue
		}
		if err := fresh.add(id, a, nil); err != nil {
			return err
		}
	}
	if len(fresh.ids) > 0 {
		rows, err := l.db.QueryContext(ctx, insertAccounts, fresh.args()...)
		if err == nil {
			err = each(rows, func(id event.OrderID, _ []byte) error { delete(orders, id); return nil })
		}
		if err != nil {
			return fmt.Errorf("open %d provider accounts: %w", len(fresh.ids), err)
		}
	}
	if len(orders) == 0 {
		return nil
	}
	return l.change(ctx, orders)
}

// change runs the entries on accounts that exist. Those of orders that have none
// saw an empty account already, and left it empty.
func (l *Ledger) change(ctx context.Context, orders map[event.OrderID][]*entry) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("change provider accounts: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	ids := make([]string, 0, len(orders))
	for id := range orders {
		ids = append(ids, string(id))
	}
	var changed accounts
	rows, err := tx.QueryContext(ctx, lockAccounts, pq.Array(ids))
	if err == nil {
		err = each(rows, func(id event.OrderID, before []byte) error {
			a, err := apply(orders[id], before)
			if err != nil {
				return err
			}
			return changed.add(id, a, before)
		})
	}
	if err == nil && len(changed.ids) > 0 {
		_, err = tx.ExecContext(ctx, updateAccounts, changed.args()...)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("change %d provider accounts: %w", len(ids), err)
	}
	return nil
}

// apply runs the calls for one order on a copy of its account, one after the other.
func apply(entries []*entry, stored []byte) (simulator.Account, error) {
	var a simulator.Account
	if stored != nil {
		if err := json.Unmarshal(stored, &a); err != nil {
			return a, fmt.Errorf("the provider's account of order %s is not readable: %w", entries[0].id, err)
		}
	}
	for _, e := range entries {
		e.change(&a)
	}
	return a, nil
}

// each calls do for every row and closes rows; the account is nil where only ids were asked for.
func each(rows *sql.Rows, do func(id event.OrderID, account []byte) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		var id string
		var account []byte
		if err := rows.Scan([]any{&id, &account}[:len(columns)]...); err != nil {
			return err
		}
		if err := do(event.OrderID(id), account); err != nil {
			return err
		}
	}
	return rows.Err()
}

// accounts are rows, column by column, as unnest takes them.
type accounts struct {
	ids, states, currencies          []string
	captures, refunded               []int64
	capturedAmounts, refundedAmounts []int64
}

// add takes an account, unless it is what is stored already.
func (c *accounts) add(id event.OrderID, a simulator.Account, stored []byte) error {
	state, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode the provider's account of order %s: %w", id, err)
	}
	if bytes.Equal(state, stored) {
		return nil
	}
	c.ids, c.states, c.currencies = append(c.ids, string(id)), append(c.states, string(state)), append(c.currencies, a.Currency)
	c.captures, c.refunded = append(c.captures, int64(a.Captures)), append(c.refunded, int64(a.Refunded))
	c.capturedAmounts, c.refundedAmounts = append(c.capturedAmounts, a.CapturedAmount), append(c.refundedAmounts, a.RefundedAmount)
	return nil
}

func (c *accounts) args() []any {
	return []any{
		pq.Array(c.ids), pq.Array(c.states), pq.Array(c.captures), pq.Array(c.refunded),
		pq.Array(c.capturedAmounts), pq.Array(c.refundedAmounts), pq.Array(c.currencies),
	}
}
