// Package deadlettertest is the service that tests of dead letters use: it writes down what it hears, per order.
// It knows nothing of the letters themselves, so that package deadletter's own tests can have it too. Only tests import this.
package deadlettertest

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"millrace/event"
	"millrace/outbox"
)

const (
	// Service is what the service is called.
	Service = "seen"
	// Group is its consumer group.
	Group = Service + "-service"
	// Rows is its table.
	Rows = Service + ".rows"

	rowsSchema = `-- +goose Up
CREATE TABLE ` + Rows + ` (
    order_id uuid PRIMARY KEY, state json NOT NULL, version bigint NOT NULL DEFAULT 0, said bigint NOT NULL DEFAULT 0,
    processed uuid[] NOT NULL DEFAULT '{}', commands uuid[] NOT NULL DEFAULT '{}', waiting text[] NOT NULL DEFAULT '{}',
    correlation_id text NOT NULL DEFAULT '', parked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
`
)

const (
	// Patience is how long Eventually waits: many times what anything takes, since all tests share a few cores with the race detector.
	Patience = 60 * time.Second
	// look is how often it looks.
	look = 20 * time.Millisecond
)

// Row is what the service has seen of an order, in this order.
type Row struct {
	ID   event.OrderID `json:"id"`
	Seen []string      `json:"seen"`
}

// Store is where the rows are.
type Store = outbox.Store[Row, outbox.None]

// NewStore is the service's store in one process. Somebody has to Run it.
func NewStore(tb testing.TB, db *sql.DB) *Store {
	return outbox.NewPostgres(db, outbox.Table[Row, outbox.None]{
		Service: Service, Name: Rows, New: func(id event.OrderID) Row { return Row{ID: id} },
	}, outbox.Options{Logger: Log(tb)})
}

// Migrate makes the tables of the outbox, of the letters, whose schema and steps are given, and of the service.
func Migrate(tb testing.TB, db *sql.DB, letters string, steps fs.FS) {
	tb.Helper()
	for _, schema := range []struct {
		name  string
		steps fs.FS
	}{
		{outbox.Schema, outbox.Migrations()},
		{letters, steps},
		{Service, fstest.MapFS{"00001_rows.sql": {Data: []byte(rowsSchema)}}},
	} {
		if err := outbox.Migrate(tb.Context(), db, schema.name, schema.steps); err != nil {
			tb.Fatalf("make the tables of %s: %v", schema.name, err)
		}
	}
}

// See writes down, in the row of an order, that text was seen, because of a cause: once for each cause. Its errors are the store's.
func See(ctx context.Context, store *Store, cause event.Cause, order event.OrderID, text string) error {
	return store.Update(event.WithCause(ctx, cause), order, func(row *Row) ([]event.Event, error) {
		row.Seen = append(row.Seen, text)
		return nil, nil
	})
}

// Seen is what is written down of an order.
func Seen(tb testing.TB, store *Store, order event.OrderID) []string {
	tb.Helper()
	row, _, err := store.Load(tb.Context(), order)
	if err != nil {
		tb.Fatalf("read the row of order %s: %v", order, err)
	}
	return row.Seen
}

// Eventually waits until ok, for Patience at most.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	Within(tb, Patience, what, ok)
}

// Within is Eventually for what takes longer by itself.
func Within(tb testing.TB, patience time.Duration, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %s: %s", patience, what)
		}
	}
}
