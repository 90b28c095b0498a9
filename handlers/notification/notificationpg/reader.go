package notificationpg

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"millrace/event"
	"millrace/handlers/notification"
)

// Reader answers questions about notices from committed rows.
type Reader struct{ db *sql.DB }

// NewReader returns a reader that takes connections from db.
func NewReader(db *sql.DB) *Reader { return &Reader{db} }

// OfOrder returns the row of an order, or nothing where there is none.
func (r *Reader) OfOrder(ctx context.Context, id event.OrderID) ([]notification.Order, error) {
	return r.rows(ctx, "SELECT state FROM notification.orders WHERE order_id = $1", string(id))
}

// OfCustomer returns the latest orders of a customer, the newest first, limit at most.
func (r *Reader) OfCustomer(ctx context.Context, customerID string, limit int) ([]notification.Order, error) {
	return r.rows(ctx, `SELECT state FROM notification.orders
WHERE left(customer_id, 128) = left($1, 128) AND customer_id = $1
ORDER BY created_at DESC, order_id DESC LIMIT $2`, customerID, limit)
}

func (r *Reader) rows(ctx context.Context, query string, args ...any) ([]notification.Order, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	defer rows.Close()
	var orders []notification.Order
	for rows.Next() {
		var state []byte
		if err := rows.Scan(&state); err != nil {
			return nil, fmt.Errorf("read notices: %w", err)
		}
		var o notification.Order
		if err := json.Unmarshal(state, &o); err != nil {
			return nil, fmt.Errorf("read notices: the row is not readable: %w", err)
		}
		orders = append(orders, o)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	return orders, nil
}
