// Package notificationpg keeps the notification service's rows in Postgres, in the
// schema "notification", answers what HTTP asks about them, and holds the
// built-in sender.
package notificationpg

import (
	"embed"
	"io/fs"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/outbox"
)

// Schema is the Postgres schema of the service.
const Schema = "notification"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Table says how the store keeps the service's rows.
func Table() outbox.Table[notification.Order, outbox.None] {
	return outbox.Table[notification.Order, outbox.None]{
		Service: "notification",
		Name:    "notification.orders",
		New:     func(id event.OrderID) notification.Order { return notification.Order{ID: id} },
		Waits:   (*notification.Order).Due,
		Columns: []outbox.Column[notification.Order]{
			{Name: "customer_id", Type: "text", Value: func(o *notification.Order) string { return o.CustomerID }},
		},
	}
}
