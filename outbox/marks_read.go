package outbox

import (
	"context"
	"database/sql"
	"fmt"

	"millrace/event"
)

// Querier is a database, or a transaction on it.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Marked returns the orders whose rows are marked now. It reads the whole table: no index has the marks, since
// setting one would cost more then.
func (m *Marks) Marked(ctx context.Context) (ids []event.OrderID, err error) {
	rows, err := m.db.QueryContext(ctx, fmt.Sprintf("SELECT order_id FROM %s WHERE parked_at IS NOT NULL ORDER BY parked_at, order_id", m.name))
	if err != nil {
		return nil, fmt.Errorf("look for marked rows of %s: %w", m.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look for marked rows of %s: %w", m.name, err)
		}
		ids = append(ids, event.OrderID(id))
	}
	return ids, rows.Err()
}

// Processed tells of each message whether the row of the order beside it counts it as processed. In a transaction
// that Hold runs, on rows it holds, that remains so until its end.
func (m *Marks) Processed(ctx context.Context, q Querier, ids []event.OrderID, messages []string) ([]bool, error) {
	done := make([]bool, len(messages))
	if len(messages) == 0 {
		return done, nil
	}
	rows, err := q.QueryContext(ctx, fmt.Sprintf(`SELECT d.n - 1 FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS d(order_id, message, n)
JOIN %s t ON %s WHERE t.processed @> ARRAY[d.message]`, m.name, sameKey("order_id")), uuids(ids), UUIDArray(messages))
	if err != nil {
		return nil, fmt.Errorf("look in %s for what was processed: %w", m.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return nil, fmt.Errorf("look in %s for what was processed: %w", m.name, err)
		}
		done[n] = true
	}
	return done, rows.Err()
}
