package outbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"

	"millrace/event"
)

// wholeClaim is how often the executor looks at all due waits, however old: at those, too, that
// were locked whenever it looked, or committed later than they may.
const wholeClaim = time.Minute

// claimWaits moves due waits forward by the lease. Rows that are locked are
// passed over: a store transaction may hold several of them, and waiting for one while
// holding another would be a deadlock. $4 bounds how far back to look, so that rows deleted
// long ago are not stepped over while a transaction elsewhere keeps them. Deadlines that were to fire
// after $5 are left alone.
const claimWaits = `WITH due AS MATERIALIZED (
	SELECT order_id, step FROM millrace.waits
	WHERE service = $1 AND due_at <= now() AND due_at > $4 AND (since <= $5 OR step <> '` + event.DeadlineStep + `')
	ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE millrace.waits w SET due_at = now() + $3::bigint * interval '1 millisecond', attempt = attempt + 1, holder = $6::uuid
FROM due WHERE w.service = $1 AND w.order_id = due.order_id AND w.step = due.step
RETURNING w.order_id, w.step, w.attempt, w.since`

const (
	// A wait that ended and began anew is another one: since tells them apart.
	putOffWait = `UPDATE millrace.waits SET due_at = now() + $6::bigint * interval '1 millisecond', holder = NULL
WHERE service = $1 AND order_id = $2 AND step = $3 AND attempt = $4 AND since = $5`

	standingClaims = `SELECT w.order_id, w.step, w.since FROM unnest($3::uuid[], $4::text[]) AS d(order_id, step)
JOIN millrace.waits w ON w.service = $1 AND w.order_id = d.order_id AND w.step = d.step
WHERE w.holder = $2::uuid AND w.attempt = 1`

	forgetWait = `DELETE FROM millrace.waits WHERE service = $1 AND order_id = $2 AND step = $3 AND attempt = $4 AND since = $5`
)

// waitTable changes one service's rows of millrace.waits. The polls are one
// goroutine's; the rest is everybody's.
type waitTable struct {
	service string
	holder  string // of the claims
	stmts   *statements
	polls   *replanned
	drained time.Time // nothing that was due by then is left, on the database's clock
	whole   time.Time // when the executor last looked at all
}

// claimed is a wait as it came from the table.
type claimed struct {
	id      event.OrderID
	step    string
	attempt int
	since   time.Time
}

// comparable has its time in one form, as exact as the database keeps it.
func (c claimed) comparable() claimed {
	c.since = c.since.UTC().Round(time.Microsecond)
	return c
}

// claim takes up to n due waits, deadlines up to the horizon; full means that
// there may be more. now is the database's time.
func (t *waitTable) claim(ctx context.Context, n int, lease time.Duration, now, horizon time.Time) (list []claimed, full bool, err error) {
	// A wait is due no earlier than the transaction began that wrote it, and that has committed by
	// gapLifetime after: only what was written since then can be due and unseen.
	after := t.drained.Add(-gapLifetime)
	whole := now.Sub(t.whole) > wholeClaim
	if whole {
		after = time.Unix(0, 0)
	}
	stmt, err := t.polls.get(ctx, claimWaits)
	if err != nil {
		return nil, false, fmt.Errorf("claim waits of %s: %w", t.service, err)
	}
	rows, err := stmt.QueryContext(ctx, t.service, n, lease.Milliseconds(), after, horizon, t.holder)
	if err != nil {
		return nil, false, fmt.Errorf("claim waits of %s: %w", t.service, err)
	}
	defer rows.Close()
	for rows.Next() {
		var c claimed
		if err := rows.Scan(&c.id, &c.step, &c.attempt, &c.since); err != nil {
			return nil, false, fmt.Errorf("claim waits of %s: %w", t.service, err)
		}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("claim waits of %s: %w", t.service, err)
	}
	full = len(list) == n
	if !full {
		t.drained = now
		if horizon.Before(now) {
			t.drained = horizon
		}
		if whole {
			t.whole = now
		}
	}
	return list, full, nil
}

// standing returns which of these first claims of its holder are in the table, as they are here.
func (t *waitTable) standing(ctx context.Context, claims []claimed) ([]claimed, error) {
	ids, steps := make([]string, len(claims)), make([]string, len(claims))
	expected := make(map[claimed]bool, len(claims))
	for i, c := range claims {
		ids[i], steps[i] = string(c.id), c.step
		expected[c.comparable()] = true
	}
	// Not prepared: a plan for a table that was empty then would be kept while it fills.
	rows, err := t.stmts.db.QueryContext(ctx, standingClaims, t.service, t.holder, pq.Array(ids), pq.Array(steps))
	if err != nil {
		return nil, fmt.Errorf("look for %d claims of %s: %w", len(claims), t.service, err)
	}
	defer rows.Close()
	var list []claimed
	for rows.Next() {
		c := claimed{attempt: 1}
		if err := rows.Scan(&c.id, &c.step, &c.since); err != nil {
			return nil, fmt.Errorf("look for claims of %s: %w", t.service, err)
		}
		if expected[c.comparable()] {
			delete(expected, c.comparable()) // of two claims of one step at most one stands
			list = append(list, c)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for claims of %s: %w", t.service, err)
	}
	return list, nil
}

// putOff makes a wait due again after d, unless it has been claimed by somebody else or has ended.
func (t *waitTable) putOff(ctx context.Context, c claimed, d time.Duration) error {
	if _, err := t.stmts.exec(ctx, putOffWait, t.service, string(c.id), c.step, c.attempt, c.since, d.Milliseconds()); err != nil {
		return fmt.Errorf("put off step %s of order %s: %w", c.step, c.id, err)
	}
	return nil
}

// forget removes a wait nobody waits for.
func (t *waitTable) forget(ctx context.Context, c claimed) error {
	if _, err := t.stmts.exec(ctx, forgetWait, t.service, string(c.id), c.step, c.attempt, c.since); err != nil {
		return fmt.Errorf("forget step %s of order %s: %w", c.step, c.id, err)
	}
	return nil
}

// clock tells the database's time without asking each time.
type clock struct {
	ahead atomic.Int64 // nanoseconds by which the database's clock is ahead of ours
	mu    sync.Mutex
	asked time.Time
}

// now is the database's time, as exact as the last look at it. It has no monotonic reading: that stands still while the
// machine sleeps, and does not go along when the clocks are compared after one of them was set.
func (c *clock) now() time.Time { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }

// clockEvery is how often the clocks are compared: they drift by microseconds a second.
const clockEvery = time.Minute

func (c *clock) compare(ctx context.Context, stmts *statements) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := time.Now()
	if before.Sub(c.asked) < clockEvery {
		return nil
	}
	stmt, err := stmts.get(ctx, "SELECT clock_timestamp()")
	if err != nil {
		return fmt.Errorf("ask the database for its time: %w", err)
	}
	var theirs time.Time
	if err := stmt.QueryRowContext(ctx).Scan(&theirs); err != nil {
		return fmt.Errorf("ask the database for its time: %w", err)
	}
	middle := before.Add(time.Since(before) / 2)
	c.ahead.Store(int64(theirs.Sub(middle)))
	c.asked = before
	return nil
}
