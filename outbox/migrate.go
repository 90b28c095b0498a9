package outbox

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is the Postgres schema that holds the outbox, the waits and the leases.
const Schema = "millrace"

// Migrations are the steps that make and change Schema.
func Migrations() fs.FS { return Steps(migrations, "migrations") }

// Steps is the directory dir of a package's embedded migrations.
func Steps(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // dir is a constant beside the embed directive: only its spelling can be wrong
	}
	return sub
}

// MigrationStatus is one step and whether it was applied.
type MigrationStatus struct {
	Schema  string `json:"schema"`
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Migrate brings one Postgres schema up to date. Its steps are recorded in a
// table inside that schema, so each service's schema can live in a database of
// its own. Two processes may call it at once: a session-level advisory lock makes one
// wait, which is why this, and nothing else, needs a direct connection.
func Migrate(ctx context.Context, db *sql.DB, schema string, steps fs.FS) error {
	// Two processes creating one schema at the same moment collide on a unique index of the
	// catalogue in spite of IF NOT EXISTS, and the loser only has to look again.
	if _, err := db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+pq.QuoteIdentifier(schema)); err != nil && !isUniqueViolation(err) {
		return fmt.Errorf("create schema %s: %w", schema, err)
	}
	provider, err := migrationProvider(db, schema, steps)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate schema %s: %w", schema, err)
	}
	for _, r := range results {
		slog.InfoContext(ctx, "migrated", "schema", schema, "step", r.Source.Path, "took", r.Duration)
	}
	return nil
}

// Status lists the steps of one schema in order.
func Status(ctx context.Context, db *sql.DB, schema string, steps fs.FS) ([]MigrationStatus, error) {
	var known bool
	if err := db.QueryRowContext(ctx, "SELECT to_regnamespace($1) IS NOT NULL", schema).Scan(&known); err != nil {
		return nil, fmt.Errorf("look for schema %s: %w", schema, err)
	}
	if !known {
		names, err := fs.Glob(steps, "*.sql")
		if err != nil {
			return nil, err
		}
		var out []MigrationStatus
		for i, n := range names {
			out = append(out, MigrationStatus{Schema: schema, Version: int64(i + 1), Name: n})
		}
		return out, nil
	}
	provider, err := migrationProvider(db, schema, steps)
	if err != nil {
		return nil, err
	}
	states, err := provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migration status of schema %s: %w", schema, err)
	}
	var out []MigrationStatus
	for _, s := range states {
		out = append(out, MigrationStatus{Schema: schema, Version: s.Source.Version, Name: s.Source.Path, Applied: s.State == goose.StateApplied})
	}
	return out, nil
}

func migrationProvider(db *sql.DB, schema string, steps fs.FS) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, steps,
		goose.WithTableName(schema+".goose_db_version"), goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read the migrations of schema %s: %w", schema, err)
	}
	return provider, nil
}
