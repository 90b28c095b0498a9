package inventorypg

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/event"
	"millrace/handlers/inventory"
)

// Reader answers questions about stock and reservations from committed rows.
type Reader struct{ db *sql.DB }

// NewReader returns a reader that takes connections from db.
func NewReader(db *sql.DB) *Reader { return &Reader{db} }

const levelColumns = "sku, name, initial, restocked, available, reserved, sold, version"

// Level returns the stock of one SKU; false where there is no such SKU.
func (r *Reader) Level(ctx context.Context, sku string) (inventory.Level, bool, error) {
	levels, err := r.levels(ctx, "SELECT "+levelColumns+" FROM inventory.stock WHERE sku = $1 AND version > 0", sku)
	if err != nil || len(levels) == 0 {
		return inventory.Level{}, false, err
	}
	return levels[0], true, nil
}

// Levels returns the stock of the SKUs behind after, in bytewise order, limit at most.
func (r *Reader) Levels(ctx context.Context, after string, limit int) ([]inventory.Level, error) {
	return r.levels(ctx, "SELECT "+levelColumns+" FROM inventory.stock WHERE sku > $1 AND version > 0 ORDER BY sku LIMIT $2", after, limit)
}

func (r *Reader) levels(ctx context.Context, query string, args ...any) ([]inventory.Level, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read inventory.stock: %w", err)
	}
	defer rows.Close()
	var levels []inventory.Level
	for rows.Next() {
		var l inventory.Level
		if err := rows.Scan(&l.SKU, &l.Name, &l.Initial, &l.Restocked, &l.Available, &l.Reserved, &l.Sold, &l.Version); err != nil {
			return nil, fmt.Errorf("read inventory.stock: %w", err)
		}
		levels = append(levels, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read inventory.stock: %w", err)
	}
	return levels, nil
}

// Reservation returns what is held for an order. Where nothing is known of the order, a
// tombstone included, the error is event.ErrUnknownOrder.
func (r *Reader) Reservation(ctx context.Context, id event.OrderID) (inventory.Reservation, error) {
	row := inventory.Reservation{ID: id}
	var state []byte
	err := r.db.QueryRowContext(ctx, "SELECT state FROM inventory.reservations WHERE order_id = $1", string(id)).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = event.ErrUnknownOrder
	case err == nil:
		err = json.Unmarshal(state, &row)
	}
	if err == nil && row.Status == "" {
		err = event.ErrUnknownOrder
	}
	if err != nil {
		return row, fmt.Errorf("read the reservation of order %s: %w", id, err)
	}
	return row, nil
}
