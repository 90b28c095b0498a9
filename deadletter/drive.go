package deadletter

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"millrace/outbox"
)

// Pace says how a redrive goes on.
type Pace struct {
	// Rate is how many letters a second are asked for; 0: as many as are processed.
	Rate float64
	// MaxFailures is after how many letters that failed again no more are asked for; 0: at the first. What
	// failed before a redrive was taken up again does not count.
	MaxFailures int64
}

const (
	// lookEvery is how often a redrive looks how far it has come.
	lookEvery = 200 * time.Millisecond
	// lookShare bounds what the looks cost: a pause is so many times as long as the look before it.
	lookShare = 5
	// mostAsked is how many letters are asked for at most, before outcomes are seen: what can still go
	// wrong when the first ones fail.
	mostAsked = 1000
)

// Drive asks for the letters of a redrive: one first, and when it got through, twice as many each time, up to
// mostAsked at once. It tells progress how far it has come, and returns when all have an outcome, when too many
// failed, or when ctx ends; what was asked for then goes on nevertheless.
func (d *Desk) Drive(ctx context.Context, r Redrive, pace Pace, progress func(Tally)) (t Tally, err error) {
	limiter := rate.NewLimiter(rate.Inf, mostAsked)
	if pace.Rate > 0 {
		limiter = rate.NewLimiter(rate.Limit(pace.Rate), max(int(pace.Rate*lookEvery.Seconds()), 1))
	}
	before, err := d.tally(ctx, r.ID)
	if err != nil {
		return before, err
	}
	first := before
	for window := int64(1); ; {
		looked := time.Now()
		if t, err = d.tally(ctx, r.ID); err != nil {
			return before, err
		}
		progress(t)
		tooMany := t.Failed-first.Failed > pace.MaxFailures
		if t.Asked == 0 && (tooMany || t.Waiting == 0) {
			return t, nil
		}
		if t.Asked == 0 && t.Resolved > first.Resolved || t.Resolved-before.Resolved > window/2 {
			window = min(2*window, mostAsked)
		}
		if !tooMany && t.Waiting > 0 {
			n := int(min(window-t.Asked, t.Waiting))
			for n > 0 && !limiter.AllowN(time.Now(), n) {
				n /= 2
			}
			if n > 0 {
				if err := d.ask(ctx, r, n); err != nil {
					return t, err
				}
			}
		}
		before = t
		select {
		case <-ctx.Done():
			return t, context.Cause(ctx)
		case <-time.After(max(lookEvery, lookShare*time.Since(looked))):
		}
	}
}

// ask asks for the next n letters.
func (d *Desk) ask(ctx context.Context, r Redrive, n int) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	ids, err := nextLetters(ctx, tx, r.ID, n)
	if err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	if _, err := d.redrive(ctx, tx, ids, r.Reason, map[string]string{"redrive": r.ID}); err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	return nil
}

// nextLetters takes the next n letters of a redrive.
func nextLetters(ctx context.Context, tx *sql.Tx, redrive string, n int) (ids outbox.UUIDArray, err error) {
	rows, err := tx.QueryContext(ctx, `UPDATE deadletter.redrive_letters SET outcome = 'asked' WHERE redrive_id = $1 AND n IN (
	SELECT n FROM deadletter.redrive_letters WHERE redrive_id = $1 AND outcome IS NULL ORDER BY n LIMIT $2) RETURNING letter_id`, redrive, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
