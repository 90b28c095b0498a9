// Package inventorypg keeps the inventory service's rows in Postgres, in the schema
// "inventory": reservations, the stock they share, and the ledger of restocks. It
// answers what HTTP asks about them, and fills an empty catalogue.
package inventorypg

import (
	"context"
	"embed"
	"io/fs"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/outbox"
)

// Schema is the Postgres schema of the service.
const Schema = "inventory"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Table says how the store keeps the service's rows and the stock.
func Table() outbox.Table[inventory.Reservation, inventory.Level] {
	return outbox.Table[inventory.Reservation, inventory.Level]{
		Service: "inventory",
		Name:    "inventory.reservations",
		New:     func(id event.OrderID) inventory.Reservation { return inventory.Reservation{ID: id} },
		Side: &outbox.Side[inventory.Level]{
			Name:    "inventory.stock",
			Key:     "sku",
			New:     func(sku string) inventory.Level { return inventory.Level{SKU: sku} },
			Columns: []string{"name", "initial", "restocked", "available", "reserved", "sold", "version"},
			Fields: func(l *inventory.Level) []any {
				return []any{&l.Name, &l.Initial, &l.Restocked, &l.Available, &l.Reserved, &l.Sold, &l.Version}
			},
			Ledger: "inventory.ledger",
		},
	}
}

// Reservations is a store as the inventory service sees it.
type Reservations struct {
	*outbox.Store[inventory.Reservation, inventory.Level]
}

var _ inventory.Reservations = Reservations{}

// Update is the store's UpdateWith: every change of a reservation may move stock.
func (r Reservations) Update(ctx context.Context, id event.OrderID, keys func(*inventory.Reservation) []string,
	change func(*inventory.Reservation, map[string]*inventory.Level) ([]event.Event, error)) error {
	return r.UpdateWith(ctx, id, keys, change)
}
