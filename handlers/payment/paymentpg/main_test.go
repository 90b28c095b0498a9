package paymentpg

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

// database is a fresh one with all that payment needs.
func database(t *testing.T) *sql.DB {
	t.Helper()
	db := testserver.Postgres(t)
	must(t, outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()))
	must(t, outbox.Migrate(t.Context(), db, Schema, Migrations()))
	must(t, outbox.Migrate(t.Context(), db, ProviderSchema, ProviderMigrations()))
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newOrder() event.OrderID { return event.OrderID(uuid.NewString()) }

// caused is ctx with a new cause.
func caused(ctx context.Context) context.Context {
	return event.WithCause(ctx, event.Cause{ID: uuid.NewString(), Time: time.Now()})
}

func scan(t *testing.T, db *sql.DB, query string, into ...any) {
	t.Helper()
	must(t, db.QueryRowContext(t.Context(), query).Scan(into...))
}

// eventually waits for what must come.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	const patience, pause = 20 * time.Second, 5 * time.Millisecond
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(pause):
		}
	}
}
