package deadletter

import (
	"context"
	"database/sql"
	"fmt"

	"millrace/event"
	"millrace/outbox"
)

// Whoever changes what is in a lane locks, in this order: the order's row (outbox.Marks), the lane, the letters. So
// a look at the head of a lane, and what is done about it, are one; and nobody waits in a circle.

// lockLanesQuery waits for lanes that somebody else holds.
const lockLanesQuery = `SELECT lane, coalesce(holder::text, ''), coalesce(lease_until > clock_timestamp(), false), overruled FROM deadletter.lanes
WHERE service = $1 AND lane = ANY($2::uuid[]) ORDER BY lane FOR UPDATE`

// lockedLane is a lane that this transaction has locked.
type lockedLane struct {
	holder string // the claim it is under; empty if it is under none
	leased bool   // the claim's lease is not over
	// overruled: what whoever is at it says of the head does not count.
	overruled bool
}

// lockLanes locks those lanes that exist.
func lockLanes(ctx context.Context, tx *sql.Tx, service string, lanes outbox.UUIDArray) (map[string]lockedLane, error) {
	rows, err := tx.QueryContext(ctx, lockLanesQuery, service, lanes)
	if err != nil {
		return nil, fmt.Errorf("lock %d lanes of %s: %w", len(lanes), service, err)
	}
	defer rows.Close()
	locked := make(map[string]lockedLane, len(lanes))
	for rows.Next() {
		var lane string
		var l lockedLane
		if err := rows.Scan(&lane, &l.holder, &l.leased, &l.overruled); err != nil {
			return nil, fmt.Errorf("lock lanes of %s: %w", service, err)
		}
		locked[lane] = l
	}
	return locked, rows.Err()
}

// marks is the order whose row bears the mark of the letter's lane; empty for a lane that holds up nobody.
func (l *Letter) marks() event.OrderID {
	if l.OrderID == "" || l.lane() != l.OrderID {
		return ""
	}
	return event.OrderID(l.OrderID)
}

const (
	endLane  = `DELETE FROM deadletter.lanes WHERE service = $1 AND lane = ANY($2::uuid[])`
	stopLane = `UPDATE deadletter.lanes SET due_at = NULL, holder = NULL, lease_until = NULL, overruled = false WHERE service = $1 AND lane = ANY($2::uuid[])`
	// heedLane has what is said of the next head count again.
	heedLane = `UPDATE deadletter.lanes SET overruled = false WHERE service = $1 AND lane = ANY($2::uuid[])`
	// wakeLane has a lane go on as soon as whoever is at it lets go.
	wakeLane = `UPDATE deadletter.lanes SET due_at = clock_timestamp() WHERE service = $1 AND lane = ANY($2::uuid[])`
)

// changeLanes runs one of the statements above on lanes that this transaction has locked.
func changeLanes(ctx context.Context, tx *sql.Tx, query, service string, lanes outbox.UUIDArray) error {
	if len(lanes) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, query, service, lanes); err != nil {
		return fmt.Errorf("change %d lanes of %s: %w", len(lanes), service, err)
	}
	return nil
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// headQuery finds the first open message of each lane.
const headQuery = `SELECT l.* FROM unnest($2::uuid[]) AS d(lane) CROSS JOIN LATERAL (
	SELECT ` + letterColumns + ` FROM deadletter.letters WHERE service = $1 AND lane = d.lane AND ` + open + ` ORDER BY position LIMIT 1) AS l`

// heads are the first open messages of those lanes that have one.
func heads(ctx context.Context, q querier, service string, lanes outbox.UUIDArray) (map[string]*Letter, error) {
	found := make(map[string]*Letter, len(lanes))
	if len(lanes) == 0 {
		return found, nil
	}
	rows, err := q.QueryContext(ctx, headQuery, service, lanes)
	if err != nil {
		return nil, fmt.Errorf("look for what comes next in %d lanes of %s: %w", len(lanes), service, err)
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLetter(rows)
		if err != nil {
			return nil, err
		}
		found[l.lane()] = l
	}
	return found, rows.Err()
}
