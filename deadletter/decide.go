package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"millrace/event"
	"millrace/outbox"
)

var (
	// ErrProcessed is the error for a letter whose message turned out to have had its effect: it is resolved now, and
	// there was nothing to drop.
	ErrProcessed = errors.New("its message had been processed already: it is resolved now, and nothing was dropped")
	// ErrInHand is the error for a letter that a router is trying at this moment. Asking again in a minute helps.
	ErrInHand = errors.New("a router is trying it at this moment; ask again in a minute")
)

// Drop gives a letter up: its message counts as processed, and what waits behind it goes on. A letter whose message
// had been processed is resolved instead, and the error is ErrProcessed. One without an order cannot be
// dropped while it is tried: ErrInHand.
func (d *Desk) Drop(ctx context.Context, id, reason string) error {
	processed := false
	err := d.change(ctx, id, func(ctx context.Context, tx *sql.Tx, l *Letter, lane lockedLane, marked map[event.OrderID]bool) (err error) {
		processed = false
		switch {
		case !l.Status.Open():
			return &StatusError{id, l.Status, "open (new, retrying, redriving or parked)"}
		case l.OrderID == "" && l.Status != New && lane.leased:
			return fmt.Errorf("letter %s: %w", id, ErrInHand)
		}
		if l.OrderID != "" {
			dropped, err := d.marks[l.Service].SetProcessed(ctx, tx, event.OrderID(l.OrderID), l.MessageID, true)
			if err != nil {
				return err
			}
			processed = !dropped
		}
		if processed {
			err = d.set(ctx, tx, l, Resolved, "resolved", "it had been processed already; nothing changed")
		} else {
			err = d.set(ctx, tx, l, Dropped, "dropped", reason)
		}
		if err != nil {
			return err
		}
		next, err := heads(ctx, tx, l.Service, outbox.UUIDArray{l.lane()})
		if err != nil {
			return err
		}
		switch head := next[l.lane()]; {
		case head == nil:
			if id := l.marks(); id != "" {
				marked[id] = false
			}
			return changeLanes(ctx, tx, endLane, l.Service, outbox.UUIDArray{l.lane()})
		case head.Status == New:
			return nil
		default:
			return changeLanes(ctx, tx, wakeLane, l.Service, outbox.UUIDArray{l.lane()})
		}
	})
	if err == nil && processed {
		return fmt.Errorf("letter %s: %w", id, ErrProcessed)
	}
	return err
}

// Restore takes a dropped letter up again: it waits as if it had just failed, and the messages that come of its
// order wait behind it. What was processed in between stays processed.
func (d *Desk) Restore(ctx context.Context, id, reason string) error {
	return d.change(ctx, id, func(ctx context.Context, tx *sql.Tx, l *Letter, _ lockedLane, marked map[event.OrderID]bool) error {
		if l.Status != Dropped {
			return &StatusError{id, l.Status, "dropped"}
		}
		if l.OrderID != "" {
			if _, err := d.marks[l.Service].SetProcessed(ctx, tx, event.OrderID(l.OrderID), l.MessageID, false); err != nil {
				return err
			}
		}
		if id := l.marks(); id != "" {
			marked[id] = true
		}
		// A lane that is there goes on as it would have, and finds this letter when it comes to it. Whoever is at it may have
		// found the message dropped: what it says does not count any more. It looks again when it is done with its attempt.
		if _, err := tx.ExecContext(ctx, `INSERT INTO deadletter.lanes AS t (service, lane, order_id) VALUES ($1, $2, nullif($3, '')::uuid)
ON CONFLICT (service, lane) DO UPDATE SET overruled = t.holder IS NOT NULL`, l.Service, l.lane(), string(l.marks())); err != nil {
			return fmt.Errorf("letter %s: %w", id, err)
		}
		if l.ErrorType == "" { // it was only parked
			l.Describe(errNotTried)
			if _, err := tx.ExecContext(ctx, "UPDATE deadletter.letters SET error_type = $2, error = $3, fingerprint = $4 WHERE id = $1", l.ID, l.ErrorType, l.Error, l.Fingerprint()); err != nil {
				return fmt.Errorf("letter %s: %w", id, err)
			}
		}
		if err := d.set(ctx, tx, l, New, "restored", reason); err != nil {
			return err
		}
		return publishCopies(ctx, tx, l.Service, []*Letter{l}) // it may never have been one that others were told of
	})
}

// errNotTried is the error of a letter whose message was dropped while it waited, and restored.
var errNotTried error = notTriedError{}

type notTriedError struct{}

// Error says why there is none.
func (notTriedError) Error() string { return "it was dropped before it was tried" }

func (d *Desk) set(ctx context.Context, tx *sql.Tx, l *Letter, s Status, action, reason string) error {
	_, err := tx.ExecContext(ctx, `WITH changed AS (
	UPDATE deadletter.letters SET status = $2, retry_at = NULL, closed_at = CASE WHEN $2 IN ('dropped', 'resolved') THEN now() END WHERE id = $1)
INSERT INTO deadletter.steps (letter_id, who, action, reason) VALUES ($1, $3, $4, $5)`, l.ID, string(s), d.who, action, reason)
	if err != nil {
		return fmt.Errorf("letter %s: %w", l.ID, err)
	}
	return nil
}

// change runs a decision about one letter while its order's row and its lane are held.
func (d *Desk) change(ctx context.Context, id string, decide func(ctx context.Context, tx *sql.Tx, l *Letter, lane lockedLane, marked map[event.OrderID]bool) error) error {
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
		lanes, err := lockLanes(ctx, tx, l.Service, outbox.UUIDArray{l.lane()})
		if err != nil {
			return err
		}
		now, err := d.letter(ctx, tx, id)
		if err != nil {
			return err
		}
		return decide(ctx, tx, now, lanes[l.lane()], marked)
	})
}
