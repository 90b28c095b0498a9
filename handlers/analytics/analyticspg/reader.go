package analyticspg

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"time"

	"millrace/handlers/analytics"
)

// Reader reads the sums.
type Reader struct{ db *sql.DB }

// NewReader returns a reader that takes connections from db.
func NewReader(db *sql.DB) *Reader { return &Reader{db} }

// One statement is one snapshot: a delta is seen either as such or folded, never both.
const readTotals = `SELECT now(), s.name, s.key, s.n::text FROM (SELECT) AS always LEFT JOIN (
  SELECT name, key, sum(n) AS n FROM (
    SELECT name, key, n FROM analytics.totals UNION ALL SELECT name, key, n FROM analytics.deltas) AS all_sums
  GROUP BY name, key) AS s ON true`

// Summary is what happened so far.
func (r *Reader) Summary(ctx context.Context) (analytics.Summary, error) {
	rows, err := r.db.QueryContext(ctx, readTotals)
	if err != nil {
		return analytics.Summary{}, fmt.Errorf("read the sums: %w", err)
	}
	defer rows.Close()
	var totals []analytics.Total
	var asOf time.Time
	for rows.Next() {
		var name, key, n sql.NullString
		if err := rows.Scan(&asOf, &name, &key, &n); err != nil {
			return analytics.Summary{}, fmt.Errorf("read the sums: %w", err)
		}
		if !name.Valid {
			continue // the one row that tells the time where nothing was counted yet
		}
		total, err := totalOf(time.Time{}, name.String, key.String, n.String)
		if err != nil {
			return analytics.Summary{}, err
		}
		totals = append(totals, total)
	}
	if err := rows.Err(); err != nil {
		return analytics.Summary{}, fmt.Errorf("read the sums: %w", err)
	}
	return analytics.Summarize(totals, asOf.UTC())
}

const readMinutes = `SELECT minute, name, key, sum(n)::text FROM (
  SELECT minute, name, key, n FROM analytics.minutes WHERE minute >= $1 AND minute < $2
  UNION ALL
  SELECT minute, name, key, n FROM analytics.deltas WHERE minute >= $1 AND minute < $2 AND name <> $3) AS all_sums
GROUP BY minute, name, key`

// Minutes is what happened in the minutes that begin at from or later, and before to.
func (r *Reader) Minutes(ctx context.Context, from, to time.Time) ([]analytics.Minute, error) {
	rows, err := r.db.QueryContext(ctx, readMinutes, from, to, analytics.SumTimeToPaid)
	if err != nil {
		return nil, fmt.Errorf("read the sums by minute: %w", err)
	}
	defer rows.Close()
	var totals []analytics.Total
	for rows.Next() {
		var minute time.Time
		var name, key, n string
		if err := rows.Scan(&minute, &name, &key, &n); err != nil {
			return nil, fmt.Errorf("read the sums by minute: %w", err)
		}
		total, err := totalOf(minute, name, key, n)
		if err != nil {
			return nil, err
		}
		totals = append(totals, total)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the sums by minute: %w", err)
	}
	return analytics.ByMinute(totals), nil
}

func totalOf(minute time.Time, name, key, n string) (analytics.Total, error) {
	const base = 10
	number, ok := new(big.Int).SetString(n, base)
	if !ok {
		return analytics.Total{}, fmt.Errorf("read the sums: %q of %q is %q, which is no whole number", key, name, n)
	}
	return analytics.Total{Minute: minute, Name: name, Key: key, N: number}, nil
}
