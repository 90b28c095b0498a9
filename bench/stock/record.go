package stock

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"millrace/event"
)

// record is a row within its transaction.
type record[S any] struct {
	id            event.OrderID
	row           S
	was           any    // what measure said of the row before
	state         []byte // as stored; nil: there is no such row yet
	version       int64  // changes so far; for an order, entries of its history
	correlationID string
	cause         event.Cause
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (r *rows[S]) read(ctx context.Context, from queryer, query string, id event.OrderID) (*record[S], error) {
	rec := &record[S]{id: id, row: r.empty(id)}
	err := from.QueryRowContext(ctx, query, string(id)).Scan(&rec.state, &rec.version, &rec.correlationID)
	if errors.Is(err, sql.ErrNoRows) {
		return rec, nil
	}
	if err == nil {
		err = json.Unmarshal(rec.state, &rec.row)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", r.table, id, err)
	}
	return rec, nil
}

// Load reads the committed row; false if there is none.
func (r *rows[S]) Load(ctx context.Context, id event.OrderID) (S, bool, error) {
	rec, err := r.read(ctx, r.db, r.sql.load, id)
	if err != nil {
		var none S
		return none, false, err
	}
	return rec.row, rec.state != nil, nil
}

// save writes the row if it changed, and what the service keeps besides.
func (r *rows[S]) save(ctx context.Context, tx *transaction, rec *record[S]) error {
	if r.write != nil {
		if err := r.write(ctx, tx, rec); err != nil {
			return err
		}
	} else {
		rec.version++
	}
	state, err := json.Marshal(rec.row)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", r.table, rec.id, err)
	}
	if bytes.Equal(state, rec.state) {
		return nil
	}
	args := []any{string(rec.id), string(state), rec.version, rec.correlationID}
	for _, c := range r.columns {
		value := c.value(&rec.row)
		args = append(args, sql.NullString{String: value, Valid: value != ""})
	}
	query := r.sql.update
	if rec.state == nil {
		query = r.sql.insert
	}
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", r.table, rec.id, err)
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		return errRace
	}
	return nil
}
