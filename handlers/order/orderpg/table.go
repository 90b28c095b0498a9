// Package orderpg keeps orders in Postgres: their rows, their history, and the
// queries behind the service's routes.
package orderpg

import (
	"embed"
	"fmt"
	"io/fs"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/outbox"
)

// Schema is the Postgres schema of the order service.
const Schema = "orders"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Table says how the store keeps orders.
func Table(policy order.Policy) outbox.Table[order.Order, outbox.None] {
	return outbox.Table[order.Order, outbox.None]{
		Service: "order",
		Name:    Schema + ".orders",
		New:     func(id event.OrderID) order.Order { return order.Order{ID: id} },
		Waits:   policy.Due,
		Columns: []outbox.Column[order.Order]{
			{Name: "customer_id", Type: "text", Value: func(o *order.Order) string { return o.CustomerID }},
			{Name: "status", Type: "text", Value: func(o *order.Order) string { return string(o.Status) }},
		},
		History:      entries,
		HistoryTable: Schema + ".history",
	}
}

// entries takes what the last change recorded.
func entries(o *order.Order) []outbox.Entry {
	facts := o.TakeFacts()
	taken := make([]outbox.Entry, len(facts))
	for i, fact := range facts {
		name, data, err := order.EncodeFact(fact)
		if err != nil {
			// The facts are a closed set of plain structs, all of them tested.
			panic(fmt.Sprintf("orderpg: %v", err))
		}
		taken[i] = outbox.Entry{Type: name, Data: data}
	}
	return taken
}
