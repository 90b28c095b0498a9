package paymentpg

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/event"
	"millrace/handlers/payment"
)

// Reads answers questions about payments. It takes no locks, and sees what is committed.
type Reads struct{ db *sql.DB }

// NewReads returns the queries on db.
func NewReads(db *sql.DB) *Reads { return &Reads{db: db} }

// The tries stand with the waits: calls without an answer do not touch the row.
// A deadline is no call, and a call that is yet to be made is no try.
const selectPayment = `SELECT p.state, coalesce((
  SELECT max(w.attempt) FROM millrace.waits w
  WHERE w.service = '` + service + `' AND w.order_id = p.order_id AND w.since <= now() AND w.step <> '` + event.DeadlineStep + `'), 0)
FROM payments.payments p WHERE p.order_id = $1`

// Payment returns the payment of an order; an error that is event.ErrUnknownOrder
// if payment was never asked for it. A tombstone does not count.
func (r *Reads) Payment(ctx context.Context, id event.OrderID) (payment.View, error) {
	var view payment.View
	var state []byte
	err := r.db.QueryRowContext(ctx, selectPayment, string(id)).Scan(&state, &view.Tries)
	if errors.Is(err, sql.ErrNoRows) {
		err = event.ErrUnknownOrder
	}
	if err == nil {
		err = json.Unmarshal(state, &view.Payment)
	}
	if err == nil && !view.Heard() {
		err = event.ErrUnknownOrder
	}
	if err != nil {
		return payment.View{}, fmt.Errorf("read the payment of order %s: %w", id, err)
	}
	return view, nil
}
