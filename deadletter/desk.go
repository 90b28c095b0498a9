package deadletter

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"millrace/event"
	"millrace/outbox"
)

// Desk is where somebody decides what becomes of letters, in one database. Every decision is a step of the
// letter, with the name of who took it and the reason. It needs no running router; those that run
// carry out what was decided.
type Desk struct {
	db    *sql.DB
	marks map[string]*outbox.Marks
	who   string
}

// NewDesk returns a desk for the letters of the services that marks names, at which who decides.
func NewDesk(db *sql.DB, marks map[string]*outbox.Marks, who string) *Desk {
	return &Desk{db: db, marks: marks, who: who}
}

// ErrNoLetter is the error for an id that no letter has.
var ErrNoLetter = errors.New("there is no such letter")

// StatusError says that a letter is not what it would have to be.
type StatusError struct {
	ID     string
	Status Status
	Wanted string // what it would have to be
}

// Error names the letter, what it is, and what it would have to be.
func (e *StatusError) Error() string {
	return fmt.Sprintf("letter %s is %s; only one that is %s can be", e.ID, e.Status, e.Wanted)
}

const askForRedrive = `WITH asked AS (
	UPDATE deadletter.letters SET status = 'redriving', retry_at = NULL WHERE id = ANY($1::uuid[]) AND status IN ('new', 'retrying')
	RETURNING id, service, lane), due AS (
	UPDATE deadletter.lanes t SET due_at = now() FROM asked a WHERE t.service = a.service AND t.lane = a.lane
	  AND (t.lease_until IS NULL OR t.lease_until < now() OR t.due_at IS NULL)), noted AS (
	INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $2, 'redriven', $3, $4::json FROM asked)
SELECT id FROM asked`

// Redrive has letters tried again, each in its lane: it, and then what waits behind it. It returns the ids
// of those that are; the others are not waiting for it (any more).
func (d *Desk) Redrive(ctx context.Context, ids []string, reason string) (asked []string, err error) {
	return d.redrive(ctx, d.db, ids, reason, map[string]string{})
}

func (d *Desk) redrive(ctx context.Context, q querier, ids []string, reason string, detail map[string]string) (asked []string, err error) {
	encoded, err := json.Marshal(detail)
	if err != nil {
		return nil, fmt.Errorf("redrive %d letters: %w", len(ids), err)
	}
	rows, err := q.QueryContext(ctx, askForRedrive, outbox.UUIDArray(ids), d.who, reason, string(encoded))
	if err != nil {
		return nil, fmt.Errorf("redrive %d letters: %w", len(ids), err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return asked, fmt.Errorf("redrive %d letters: %w", len(ids), err)
		}
		asked = append(asked, id)
	}
	return asked, rows.Err()
}

// Drop gives a letter up: its message counts as processed, and what waits behind it goes on.
func (d *Desk) Drop(ctx context.Context, id, reason string) error {
	return d.change(ctx, id, func(ctx context.Context, tx *sql.Tx, l *Letter, marked map[event.OrderID]bool) error {
		if !l.Status.Open() {
			return &StatusError{id, l.Status, "open (new, retrying, redriving or parked)"}
		}
		if err := d.set(ctx, tx, l, Dropped, "dropped", reason); err != nil {
			return err
		}
		if err := d.processed(ctx, tx, l, true); err != nil {
			return err
		}
		next, err := heads(ctx, tx, l.Service, outbox.UUIDArray{l.lane()})
		if err != nil {
			return err
		}
		lane := outbox.UUIDArray{l.lane()}
		switch head := next[l.lane()]; {
		case head == nil:
			if l.OrderID != "" {
				marked[event.OrderID(l.OrderID)] = false
			}
			return endLanes(ctx, tx, l.Service, lane, nil)
		case head.Status == New:
			return nil
		default:
			_, err := tx.ExecContext(ctx, "UPDATE deadletter.lanes SET due_at = coalesce(least(due_at, now()), now()) WHERE service = $1 AND lane = $2", l.Service, l.lane())
			return err
		}
	})
}

// Restore takes a dropped letter up again: it waits as if it had just failed, and the messages that come of its
// order wait behind it. What was processed in between stays processed.
func (d *Desk) Restore(ctx context.Context, id, reason string) error {
	return d.change(ctx, id, func(ctx context.Context, tx *sql.Tx, l *Letter, marked map[event.OrderID]bool) error {
		if l.Status != Dropped {
			return &StatusError{id, l.Status, "dropped"}
		}
		if err := d.set(ctx, tx, l, New, "restored", reason); err != nil {
			return err
		}
		if err := d.processed(ctx, tx, l, false); err != nil {
			return err
		}
		if l.OrderID != "" {
			marked[event.OrderID(l.OrderID)] = true
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO deadletter.lanes (service, lane, order_id) VALUES ($1, $2, nullif($3, '')::uuid)
ON CONFLICT (service, lane) DO UPDATE SET due_at = NULL`, l.Service, l.lane(), l.OrderID)
		return err
	})
}

func (d *Desk) set(ctx context.Context, tx *sql.Tx, l *Letter, s Status, action, reason string) error {
	_, err := tx.ExecContext(ctx, `WITH changed AS (
	UPDATE deadletter.letters SET status = $2, retry_at = NULL, closed_at = CASE WHEN $2 = 'dropped' THEN now() END WHERE id = $1)
INSERT INTO deadletter.steps (letter_id, who, action, reason) VALUES ($1, $3, $4, $5)`, l.ID, string(s), d.who, action, reason)
	if err != nil {
		return fmt.Errorf("letter %s: %w", l.ID, err)
	}
	return nil
}

func (d *Desk) processed(ctx context.Context, tx *sql.Tx, l *Letter, processed bool) error {
	if l.OrderID == "" {
		return nil
	}
	return d.marks[l.Service].SetProcessed(ctx, tx, event.OrderID(l.OrderID), l.MessageID, processed)
}

// change runs a decision about one letter while its order's row is held.
func (d *Desk) change(ctx context.Context, id string, decide func(ctx context.Context, tx *sql.Tx, l *Letter, marked map[event.OrderID]bool) error) error {
	l, err := d.letter(ctx, d.db, id)
	if err != nil {
		return err
	}
	marks := d.marks[l.Service]
	if marks == nil {
		return fmt.Errorf("letter %s is of service %s, whose rows are not in this database", id, l.Service)
	}
	var ids []event.OrderID
	if l.OrderID != "" {
		ids = append(ids, event.OrderID(l.OrderID))
	}
	return marks.Hold(ctx, ids, func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error {
		l, err := d.letter(ctx, tx, id) // as it is under the lock
		if err != nil {
			return err
		}
		return decide(ctx, tx, l, marked)
	})
}

func (d *Desk) letter(ctx context.Context, q querier, id string) (*Letter, error) {
	list, err := letters(ctx, q, "id = $1", id)
	if err != nil {
		return nil, fmt.Errorf("letter %s: %w", id, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("letter %s: %w", id, ErrNoLetter)
	}
	return list[0], nil
}

// shortestID is how much of an id has to be typed.
const shortestID = 6

// Find returns the letter with that id, or the only one whose id begins so.
func (d *Desk) Find(ctx context.Context, id string) (*Letter, error) {
	id = strings.ToLower(id)
	if len(id) < shortestID || strings.Trim(id, "0123456789abcdef-") != "" {
		return nil, fmt.Errorf("letter %q: an id is hexadecimal, and at least its first %d digits are needed", id, shortestID)
	}
	const first, last = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
	lowest, highest := id+first[min(len(id), len(first)):], id+last[min(len(id), len(last)):]
	if uuid.Validate(lowest) != nil || len(lowest) != len(first) { // no id begins so
		return nil, fmt.Errorf("letter %s: %w", id, ErrNoLetter)
	}
	list, err := letters(ctx, d.db, "id BETWEEN $1::uuid AND $2::uuid AND "+listed+" LIMIT 2", lowest, highest)
	switch {
	case err != nil:
		return nil, fmt.Errorf("letter %s: %w", id, err)
	case len(list) == 0:
		return nil, fmt.Errorf("letter %s: %w", id, ErrNoLetter)
	case len(list) > 1:
		return nil, fmt.Errorf("letter %s: several begin like that, %s and %s for instance: type more of it", id, list[0].ID, list[1].ID)
	}
	return list[0], nil
}

// letters are those of a condition, which may end with an order and a limit.
func letters(ctx context.Context, q querier, condition string, args ...any) (list []*Letter, err error) {
	rows, err := q.QueryContext(ctx, "SELECT "+letterColumns+" FROM deadletter.letters WHERE "+condition, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLetter(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// Services are those whose letters can be decided about here.
func (d *Desk) Services() []string {
	var names []string
	for name := range d.marks {
		names = append(names, name)
	}
	return slices.Sorted(slices.Values(names))
}
