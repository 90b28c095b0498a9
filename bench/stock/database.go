package stock

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"

	_ "github.com/lib/pq" // the driver watermill-sql's documentation uses
)

//go:embed schema.sql
var schema string

// database is the pool, and what is prepared in it.
type database struct {
	*sql.DB
	prepared   bool                 // the setting
	statements map[string]*sql.Stmt // by text; filled before the first message
}

// openDatabase connects, and makes the tables, which must not be there yet.
func openDatabase(ctx context.Context, dsn string, s Settings) (*database, error) {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db.SetMaxOpenConns(s.Connections)
	db.SetMaxIdleConns(s.Connections)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("make the tables of stock Watermill's shop (it takes an empty database): %w", err)
	}
	return &database{DB: db, prepared: s.Prepared, statements: map[string]*sql.Stmt{}}, nil
}

// prepare has every transaction run these statements prepared, if the settings say so. It is not
// safe for use beside begin.
func (d *database) prepare(ctx context.Context, statements ...string) error {
	if !d.prepared {
		return nil
	}
	for _, text := range statements {
		stmt, err := d.PrepareContext(ctx, text)
		if err != nil {
			return fmt.Errorf("prepare %q: %w", text, err)
		}
		d.statements[text] = stmt
	}
	return nil
}

// prepareCommon prepares what is not one table's own.
func (d *database) prepareCommon(ctx context.Context, o outbox) error {
	statements, err := o.inserts()
	if err != nil {
		return err
	}
	return d.prepare(ctx, append(statements, insertProcessed, insertHistory, insertDelta, lockStock, updateStock, insertWait, deleteWaits)...)
}

func (d *database) begin(ctx context.Context) (*transaction, error) {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin a transaction: %w", err)
	}
	return &transaction{Tx: tx, db: d}, nil
}

// transaction is a *sql.Tx that uses what is prepared. Watermill's SQL publisher takes it as it
// takes a *sql.Tx.
type transaction struct {
	*sql.Tx
	db *database
}

// ExecContext is sql.Tx's.
func (t *transaction) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if stmt := t.db.statements[query]; stmt != nil {
		return t.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, query, args...)
}

// QueryContext is sql.Tx's.
func (t *transaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if stmt := t.db.statements[query]; stmt != nil {
		return t.StmtContext(ctx, stmt).QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, query, args...)
}

// QueryRowContext is sql.Tx's.
func (t *transaction) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt := t.db.statements[query]; stmt != nil {
		return t.StmtContext(ctx, stmt).QueryRowContext(ctx, args...)
	}
	return t.Tx.QueryRowContext(ctx, query, args...)
}
