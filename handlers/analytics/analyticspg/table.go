// Package analyticspg keeps the analytics service's rows and sums in Postgres, in
// the schema "analytics".
//
// The store appends what a change adds to the sums; a Folder adds that up from time to
// time; a Reader reads what is folded and what is not yet, in one snapshot, so a
// sum is never late or counted twice because of the folding.
package analyticspg

import (
	"embed"
	"io/fs"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/outbox"
)

// Schema is the Postgres schema of the service.
const Schema = "analytics"

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return outbox.Steps(migrations, "migrations") }

// Table says how the store keeps the service's rows.
func Table() outbox.Table[analytics.Order, outbox.None] {
	return outbox.Table[analytics.Order, outbox.None]{
		Service:   "analytics",
		Name:      "analytics.orders",
		New:       func(id event.OrderID) analytics.Order { return analytics.Order{ID: id} },
		Sums:      sums,
		SumsTable: "analytics.deltas",
	}
}

func sums(o *analytics.Order) []outbox.Sum {
	contribution := o.Contribution()
	sums := make([]outbox.Sum, len(contribution))
	for i, s := range contribution {
		sums[i] = outbox.Sum(s)
	}
	return sums
}
