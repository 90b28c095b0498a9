package deadletter

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"millrace/outbox"
)

// lanesOfLetters locks the lanes of letters that can be asked for. The letters themselves are looked at when it has them.
const lanesOfLetters = `SELECT t.service, t.lane FROM deadletter.lanes t
WHERE (t.service, t.lane) IN (SELECT service, lane FROM deadletter.letters WHERE id = ANY($1::uuid[]) AND status IN ('new', 'retrying'))
ORDER BY t.service, t.lane FOR UPDATE`

// askForRedrive makes the lanes due even while somebody is at them: whoever lets go of a lane looks what is in it.
const askForRedrive = `WITH held AS (
	SELECT * FROM unnest($5::text[], $6::uuid[]) AS d(service, lane)), asked AS (
	UPDATE deadletter.letters l SET status = 'redriving', retry_at = NULL FROM held h
	WHERE l.id = ANY($1::uuid[]) AND l.status IN ('new', 'retrying') AND l.service = h.service AND l.lane = h.lane RETURNING l.id, l.service, l.lane), due AS (
	UPDATE deadletter.lanes t SET due_at = clock_timestamp() FROM (SELECT DISTINCT service, lane FROM asked) a WHERE t.service = a.service AND t.lane = a.lane), noted AS (
	INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $2, 'redriven', $3, $4::json FROM asked)
SELECT id FROM asked`

// Redrive has letters tried again, each in its lane: it, and then what waits behind it. It returns the ids
// of those that are; the others are not waiting for it (any more).
func (d *Desk) Redrive(ctx context.Context, ids []string, reason string) (asked []string, err error) {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("redrive %d letters: %w", len(ids), err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if asked, err = d.redrive(ctx, tx, ids, reason, map[string]string{}); err != nil {
		return nil, fmt.Errorf("redrive %d letters: %w", len(ids), err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("redrive %d letters: %w", len(ids), err)
	}
	return asked, nil
}

func (d *Desk) redrive(ctx context.Context, tx *sql.Tx, ids []string, reason string, detail map[string]string) (asked []string, err error) {
	encoded, err := json.Marshal(detail)
	if err != nil {
		return nil, err
	}
	services, lanes, err := lockLanesOf(ctx, tx, ids)
	if err != nil || len(lanes) == 0 {
		return nil, err
	}
	return column(ctx, tx, askForRedrive, outbox.UUIDArray(ids), d.who, reason, string(encoded), services, lanes)
}

func lockLanesOf(ctx context.Context, tx *sql.Tx, ids []string) (services outbox.TextArray, lanes outbox.UUIDArray, err error) {
	rows, err := tx.QueryContext(ctx, lanesOfLetters, outbox.UUIDArray(ids))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var service, lane string
		if err := rows.Scan(&service, &lane); err != nil {
			return nil, nil, err
		}
		services, lanes = append(services, service), append(lanes, lane)
	}
	return services, lanes, rows.Err()
}

// column reads the answer of a query for one text in each row.
func column(ctx context.Context, q querier, query string, args ...any) (list []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}
