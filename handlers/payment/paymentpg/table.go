// Package paymentpg keeps payments in Postgres, and the simulated provider's
// ledger beside them, in a schema of its own.
package paymentpg

import (
	"embed"
	"io/fs"

	"millrace/event"
	"millrace/handlers/payment"
	"millrace/outbox"
)

// The Postgres schemas: the payment service's, and the simulated provider's.
const (
	Schema         = "payments"
	ProviderSchema = "provider"
)

// service is the name under which the store keeps payment's waits.
const service = "payment"

//go:embed migrations/payments/*.sql migrations/provider/*.sql
var migrations embed.FS

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations/payments") }

// ProviderMigrations are the steps that make and change ProviderSchema. They are
// needed only where the simulated provider is.
func ProviderMigrations() fs.FS { return outbox.Steps(migrations, "migrations/provider") }

// Table says how the store keeps payments.
func Table(policy payment.Policy) outbox.Table[payment.Payment, outbox.None] {
	return outbox.Table[payment.Payment, outbox.None]{
		Service: service,
		Name:    Schema + ".payments",
		New:     func(id event.OrderID) payment.Payment { return payment.Payment{ID: id} },
		Waits:   policy.Due,
	}
}
