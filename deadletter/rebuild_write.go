package deadletter

import (
	"context"
	"database/sql"
	"fmt"

	"millrace/outbox"
)

const (
	// finishLetters writes what only a letter has that is put back: its first body, and its end.
	finishLetters = `UPDATE deadletter.letters l SET original = CASE WHEN d.edited THEN d.original END, closed_at = CASE WHEN l.status = 'resolved' THEN now() END
FROM unnest($1::uuid[], $2::boolean[], $3::bytea[]) AS d(id, edited, original) WHERE l.id = d.id`
	noteLetters = `INSERT INTO deadletter.steps (letter_id, who, action, reason)
SELECT d.id, $3, 'reindexed', d.place FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS d(id, place, n) ORDER BY d.n`
	// holdLanes leaves a time alone that is set, so as not to disturb who is at the lane.
	holdLanes = `INSERT INTO deadletter.lanes AS t (service, lane, order_id, due_at)
SELECT $1, d.lane, nullif(d.order_id, '')::uuid, CASE WHEN d.due THEN now() END FROM unnest($2::uuid[], $3::text[], $4::boolean[]) AS d(lane, order_id, due)
ON CONFLICT (service, lane) DO UPDATE SET due_at = coalesce(t.due_at, EXCLUDED.due_at)`
	// moveLetter puts a letter behind all others.
	moveLetter = `UPDATE deadletter.letters SET position = DEFAULT WHERE id = $1`
)

func (b *rebuild) write(ctx context.Context, tx *sql.Tx) error {
	if len(b.letters) > 0 {
		if err := b.writeLetters(ctx, tx); err != nil {
			return err
		}
	}
	for _, id := range b.moved {
		if _, err := tx.ExecContext(ctx, moveLetter, id); err != nil {
			return fmt.Errorf("move letter %s: %w", id, err)
		}
	}
	if len(b.lanes) > 0 {
		if _, err := tx.ExecContext(ctx, holdLanes, b.service, b.lanes, b.orders, b.due); err != nil {
			return fmt.Errorf("hold lanes: %w", err)
		}
	}
	if len(b.ended) > 0 {
		if _, err := tx.ExecContext(ctx, endLane, b.service, b.ended); err != nil {
			return fmt.Errorf("end lanes: %w", err)
		}
	}
	return nil
}

func (b *rebuild) writeLetters(ctx context.Context, tx *sql.Tx) error {
	args, err := letterArgs(b.service, b.letters, b.status)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, insertLetters, args...); err != nil {
		return fmt.Errorf("write letters: %w", err)
	}
	var noted, finished outbox.UUIDArray
	var places outbox.TextArray
	var edited outbox.BooleanArray
	var originals outbox.ByteaArray
	for i, l := range b.letters {
		if b.status[i] == Parked {
			continue
		}
		noted, places = append(noted, l.ID), append(places, "from "+b.from[i])
		if b.status[i] == Resolved || l.Before != nil {
			finished, edited, originals = append(finished, l.ID), append(edited, l.Before != nil), append(originals, l.Before)
		}
	}
	if len(finished) > 0 {
		if _, err := tx.ExecContext(ctx, finishLetters, finished, edited, originals); err != nil {
			return fmt.Errorf("finish letters: %w", err)
		}
	}
	if len(noted) > 0 {
		if _, err := tx.ExecContext(ctx, noteLetters, noted, places, b.who); err != nil {
			return fmt.Errorf("note where letters are from: %w", err)
		}
	}
	return nil
}
