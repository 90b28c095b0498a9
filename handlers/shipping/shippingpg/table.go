// Package shippingpg keeps the shipping service's rows in Postgres, in the schema
// "shipping", and answers what HTTP asks about them.
package shippingpg

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"millrace/event"
	"millrace/handlers/shipping"
	"millrace/outbox"
)

// Schema is the Postgres schema of the service.
const Schema = "shipping"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Table says how the store keeps the service's rows, which wait for the carrier as
// p says.
func Table(p shipping.Policy) outbox.Table[shipping.Shipment, outbox.None] {
	return outbox.Table[shipping.Shipment, outbox.None]{
		Service: "shipping",
		Name:    "shipping.shipments",
		New:     func(id event.OrderID) shipping.Shipment { return shipping.Shipment{ID: id} },
		Waits:   p.Due,
	}
}

// Reader answers questions about shipments from committed rows.
type Reader struct{ db *sql.DB }

// NewReader returns a reader that takes connections from db.
func NewReader(db *sql.DB) *Reader { return &Reader{db} }

// Shipment returns an order's shipment. Where nothing is known of the order, a
// tombstone included, the error is event.ErrUnknownOrder.
func (r *Reader) Shipment(ctx context.Context, id event.OrderID) (shipping.Shipment, error) {
	row := shipping.Shipment{ID: id}
	var state []byte
	err := r.db.QueryRowContext(ctx, "SELECT state FROM shipping.shipments WHERE order_id = $1", string(id)).Scan(&state)
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
		return row, fmt.Errorf("read the shipment of order %s: %w", id, err)
	}
	return row, nil
}
