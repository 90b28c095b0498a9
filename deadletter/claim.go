package deadletter

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"millrace/outbox"
)

// run looks for lanes that are due, and has them go on, until the redriver is closed.
func (r *Redriver) run() {
	pause, trouble := redrivePoll, false
	for {
		n, err := r.claim(r.stopped)
		if err != nil && r.stopped.Err() == nil && !trouble {
			r.log.Warn("parked messages cannot be read; still trying", "service", r.parking.service, "error", err)
		}
		trouble = err != nil
		if n > 0 {
			pause = busyPoll
			continue
		}
		select {
		case <-r.stopped.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, redrivePoll)
		case <-r.freed:
		}
	}
}

func (r *Redriver) giveBack() {
	<-r.places
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

const claimLanes = `WITH due AS MATERIALIZED (
	SELECT lane FROM deadletter.lanes WHERE service = $1 AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
	ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE deadletter.lanes t SET holder = gen_random_uuid(), lease_until = now() + $3::bigint * interval '1 millisecond', overruled = false
FROM due WHERE t.service = $1 AND t.lane = due.lane RETURNING t.lane, coalesce(t.order_id::text, ''), t.holder`

// claim takes lanes that are due, as many as there are places for, and has them go on.
func (r *Redriver) claim(ctx context.Context) (claimed int, err error) {
	free := cap(r.places) - len(r.places)
	if free == 0 || ctx.Err() != nil {
		return 0, nil
	}
	// A stop does not break off what the server may be doing: it would claim lanes that nobody knows of.
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	if err := r.giveUp(limited); err != nil {
		return 0, err
	}
	claims, next, err := r.claimed(limited, free)
	if err != nil {
		r.inDoubt = claims
		return 0, err
	}
	for _, c := range claims {
		head := next[c.lane]
		r.places <- struct{}{}
		r.take(c)
		r.running.Go(func() {
			defer r.giveBack()
			defer r.leave(c)
			if head == nil || head.Status == New {
				// Nothing to try, it seems. To leave the lane takes a look under its lock: somebody may be asking just now.
				var err error
				if head, err = r.parking.settleHead(ctx, c, nil, Outcome{}); err != nil {
					r.log.Warn("what is in a lane cannot be settled; it is looked at again", "service", r.parking.service, "lane", c.lane, "error", err)
					r.letGo(ctx, c)
					return
				}
			}
			r.goOn(ctx, c, head)
		})
	}
	return len(claims), nil
}

// giveUp releases lanes whose claim may have been committed though no answer came: nobody here is at them, and
// everybody would wait for the end of their lease.
func (r *Redriver) giveUp(ctx context.Context) error {
	if len(r.inDoubt) == 0 {
		return nil
	}
	lanes, holders := lanesOf(r.inDoubt)
	if _, err := r.parking.db.ExecContext(ctx, releaseClaims, r.parking.service, lanes, holders); err != nil {
		return fmt.Errorf("release %d lanes of %s: %w", len(lanes), r.parking.service, err)
	}
	r.inDoubt = nil
	return nil
}

// claimed claims lanes, and returns what is at their heads. That is looked up under the locks of the lanes: what
// came to lie in a lane that was lost and made anew must not be taken for the head it had. With an error, the claims are
// those that may have been committed nevertheless.
func (r *Redriver) claimed(ctx context.Context, limit int) (claims []*claim, next map[string]*Letter, err error) {
	tx, err := r.parking.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("claim lanes of %s: %w", r.parking.service, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if claims, err = r.claimIn(ctx, tx, limit); err != nil || len(claims) == 0 {
		return nil, nil, err
	}
	lanes := make(outbox.UUIDArray, len(claims))
	for i, c := range claims {
		lanes[i] = c.lane
	}
	if next, err = heads(ctx, tx, r.parking.service, lanes); err != nil {
		return nil, nil, err
	}
	if err := tx.Commit(); err != nil {
		return claims, nil, fmt.Errorf("claim lanes of %s: %w", r.parking.service, err)
	}
	return claims, next, nil
}

func (r *Redriver) claimIn(ctx context.Context, tx *sql.Tx, limit int) (claims []*claim, err error) {
	since := time.Now()
	rows, err := tx.QueryContext(ctx, claimLanes, r.parking.service, limit, r.parking.lease.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("claim lanes of %s: %w", r.parking.service, err)
	}
	defer rows.Close()
	for rows.Next() {
		c := &claim{since: since}
		if err := rows.Scan(&c.lane, &c.order, &c.id); err != nil {
			return nil, fmt.Errorf("claim lanes of %s: %w", r.parking.service, err)
		}
		claims = append(claims, c)
	}
	return claims, rows.Err()
}
