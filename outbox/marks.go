package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"

	"millrace/event"
	"millrace/fault"
)

// Marks are the park marks of one service's rows. A row that is marked takes no message from the log
// (see ErrParked).
type Marks struct {
	db       *sql.DB
	name     string
	lock     string
	lockFree string // the same, but for rows that somebody else holds
	set      string
	done     string
	undone   string
	forget   func([]event.OrderID)
}

// NewMarks returns the marks of a store's rows, which are in db.
func NewMarks[S, V any](db *sql.DB, store *Store[S, V]) *Marks {
	name := store.table.Name
	lock := fmt.Sprintf(`WITH inserted AS (
	%[1]s
	RETURNING order_id, false AS parked), locked AS (
	SELECT order_id, parked_at IS NOT NULL AS parked FROM %[2]s WHERE order_id = ANY($1::uuid[]) AND (SELECT count(*) FROM inserted) >= 0
	ORDER BY order_id FOR UPDATE%%s)
SELECT * FROM locked UNION ALL SELECT * FROM inserted`, insertMissing(name, "$1"), name)
	return &Marks{
		db: db, name: name, forget: store.recent.drop,
		lock: fmt.Sprintf(lock, ""), lockFree: fmt.Sprintf(lock, " SKIP LOCKED"),
		set: fmt.Sprintf(`UPDATE %s t SET parked_at = CASE WHEN d.parked THEN coalesce(t.parked_at, now()) END
FROM unnest($1::uuid[], $2::boolean[]) AS d(order_id, parked) WHERE %s`, name, sameKey("order_id")),
		done:   fmt.Sprintf(`UPDATE %s SET processed = processed || $2::uuid WHERE order_id = $1 AND NOT processed @> ARRAY[$2::uuid]`, name),
		undone: fmt.Sprintf(`UPDATE %s SET processed = array_remove(processed, $2::uuid) WHERE order_id = $1 AND processed @> ARRAY[$2::uuid]`, name),
	}
}

// errAppeared means: a row was inserted by somebody else while it was being locked.
var errAppeared = errors.New("a row appeared while it was being locked")

// Hold locks the rows of ids, empty ones where there are none, and runs do in the same transaction. do is told which
// rows are marked, and leaves in marked which are to be. Both commit together or not at all, so nothing
// that depends on a mark can happen between two looks at it. do may be run again.
//
// It waits for rows that somebody else holds, up to a second; then, as after any other trouble, it fails
// with an error that IsTransient.
func (m *Marks) Hold(ctx context.Context, ids []event.OrderID, do func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error) error {
	ids = sorted(ids)
	for {
		err := m.hold(ctx, ids, true, do)
		if !errors.Is(err, errAppeared) {
			return err
		}
	}
}

// TryHold is Hold for many rows at once: it goes round those that somebody else holds. They are missing in what do
// is told; the others have their entry, marked or not.
func (m *Marks) TryHold(ctx context.Context, ids []event.OrderID, do func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error) error {
	return m.hold(ctx, sorted(ids), false, do)
}

func (m *Marks) hold(ctx context.Context, ids []event.OrderID, all bool, do func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error) (err error) {
	whole := ctx
	ctx, cancel := context.WithTimeout(whole, transactionLimit)
	defer cancel()
	defer func() { // whatever the driver says then, "bad connection" for instance
		if err != nil && ctx.Err() != nil && whole.Err() == nil {
			err = fmt.Errorf("a transaction that holds %d rows of %s took longer than %v: %w", len(ids), m.name, transactionLimit, err)
		}
	}()
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("hold %d rows of %s: %w", len(ids), m.name, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, asideLimits); err != nil {
		return fmt.Errorf("hold %d rows of %s: set the limits: %w", len(ids), m.name, err)
	}
	query := m.lockFree
	if all {
		query = m.lock
	}
	before, err := m.read(ctx, tx, query, ids)
	if err != nil {
		return fmt.Errorf("hold %d rows of %s: %w", len(ids), m.name, err)
	}
	if all && len(before) < len(ids) {
		return errAppeared
	}
	marked := maps.Clone(before)
	if err := do(ctx, tx, marked); err != nil {
		return err
	}
	var held []event.OrderID
	var changed UUIDArray
	var to BooleanArray
	for _, id := range ids {
		was, ok := before[id]
		if !ok {
			continue
		}
		held = append(held, id)
		if marked[id] != was {
			changed, to = append(changed, string(id)), append(to, marked[id])
		}
	}
	if len(changed) > 0 && !fault.On(fault.LoseMark) {
		if _, err := tx.ExecContext(ctx, m.set, changed, to); err != nil {
			return fmt.Errorf("mark rows of %s: %w", m.name, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("mark rows of %s: commit: %w", m.name, err)
	}
	m.forget(held)
	return nil
}

func (m *Marks) read(ctx context.Context, tx *sql.Tx, query string, ids []event.OrderID) (map[event.OrderID]bool, error) {
	found := make(map[event.OrderID]bool, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	rows, err := tx.QueryContext(ctx, query, uuids(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var parked bool
		if err := rows.Scan(&id, &parked); err != nil {
			return nil, err
		}
		found[event.OrderID(id)] = parked
	}
	return found, rows.Err()
}

// SetProcessed writes into a row that a message counts as processed, or no longer does. It tells whether that
// is new. It is for the transaction that Hold runs, on a row it holds.
func (m *Marks) SetProcessed(ctx context.Context, tx *sql.Tx, id event.OrderID, messageID string, processed bool) (changed bool, err error) {
	query := m.undone
	if processed {
		query = m.done
	}
	result, err := tx.ExecContext(ctx, query, string(id), messageID)
	if err != nil {
		return false, fmt.Errorf("remember in %s that message %s is done with: %w", m.name, messageID, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
