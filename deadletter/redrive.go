package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"millrace/deadletter/filter"
	"millrace/outbox"
)

// Redrive is a selection of letters to be tried again, frozen: what fails later does not join it. It lies
// in the database, so it can be taken up again after whatever ended it.
type Redrive struct {
	ID        string    `json:"id"`
	Who       string    `json:"who"`
	Reason    string    `json:"reason"`
	Selection string    `json:"selection"`
	CreatedAt time.Time `json:"createdAt"`
	Tally     Tally     `json:"tally"`
}

// Tally is how far a redrive has come.
type Tally struct {
	Letters  int64 `json:"letters"`
	Waiting  int64 `json:"waiting"`  // not asked for yet
	Asked    int64 `json:"asked"`    // asked for, no outcome yet
	Resolved int64 `json:"resolved"` // processed
	Failed   int64 `json:"failed"`   // failed again
	Gone     int64 `json:"gone"`     // settled by somebody else meanwhile
}

// Freeze notes the letters that meet a filter and wait for somebody, the oldest first, as a redrive. text is the
// filter as it was typed.
func (d *Desk) Freeze(ctx context.Context, f filter.Condition, text, reason string) (Redrive, error) {
	return d.FreezeAs(ctx, uuid.NewString(), f, text, reason)
}

// FreezeAs is Freeze under a given id: a redrive of letters in several databases has the same in each.
func (d *Desk) FreezeAs(ctx context.Context, id string, f filter.Condition, text, reason string) (Redrive, error) {
	r := Redrive{ID: id, Who: d.who, Reason: reason, Selection: text}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return r, fmt.Errorf("note what to redrive: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := tx.QueryRowContext(ctx, "INSERT INTO deadletter.redrives (id, who, reason, selection) VALUES ($1, $2, $3, $4) RETURNING created_at",
		r.ID, r.Who, r.Reason, r.Selection).Scan(&r.CreatedAt); err != nil {
		return r, fmt.Errorf("note what to redrive: %w", err)
	}
	n := len(f.Args)
	result, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO deadletter.redrive_letters (redrive_id, n, letter_id)
SELECT $%d::uuid, row_number() OVER (ORDER BY position), id FROM deadletter.letters WHERE status IN ('new', 'retrying') AND (%s)`, n+1, f.SQL), append(f.Args[:n:n], r.ID)...)
	if err != nil {
		return r, fmt.Errorf("note what to redrive: %w", err)
	}
	if r.Tally.Letters, err = result.RowsAffected(); err != nil {
		return r, fmt.Errorf("note what to redrive: %w", err)
	}
	r.Tally.Waiting = r.Tally.Letters
	if err := tx.Commit(); err != nil {
		return r, fmt.Errorf("note what to redrive: %w", err)
	}
	return r, nil
}

// Add adds another tally, of another database.
func (t *Tally) Add(o Tally) {
	t.Letters += o.Letters
	t.Waiting += o.Waiting
	t.Asked += o.Asked
	t.Resolved += o.Resolved
	t.Failed += o.Failed
	t.Gone += o.Gone
}

// FindRedrive returns a redrive as far as it has come; one without letters where this database has none of it.
func (d *Desk) FindRedrive(ctx context.Context, id string) (Redrive, error) {
	r := Redrive{ID: id}
	if err := d.db.QueryRowContext(ctx, "SELECT who, reason, selection, created_at FROM deadletter.redrives WHERE id = $1", id).
		Scan(&r.Who, &r.Reason, &r.Selection, &r.CreatedAt); errors.Is(err, sql.ErrNoRows) {
		return r, nil
	} else if err != nil {
		return r, fmt.Errorf("redrive %s: %w", id, err)
	}
	var err error
	r.Tally, err = d.tally(ctx, id)
	return r, err
}

// tally looks what became of the letters that were asked for, and counts.
func (d *Desk) tally(ctx context.Context, id string) (t Tally, err error) {
	if _, err := d.db.ExecContext(ctx, `UPDATE deadletter.redrive_letters r SET outcome = CASE l.status WHEN 'resolved' THEN 'resolved' WHEN 'new' THEN 'failed' ELSE 'gone' END
FROM deadletter.letters l WHERE r.redrive_id = $1 AND r.outcome = 'asked' AND l.id = r.letter_id AND l.status NOT IN ('redriving', 'retrying')`, id); err != nil {
		return t, fmt.Errorf("redrive %s: %w", id, err)
	}
	// A letter that was only put aside to be tried again is removed once it was processed.
	if _, err := d.db.ExecContext(ctx, `UPDATE deadletter.redrive_letters r SET outcome = 'resolved'
WHERE r.redrive_id = $1 AND r.outcome = 'asked' AND NOT EXISTS (SELECT FROM deadletter.letters l WHERE l.id = r.letter_id)`, id); err != nil {
		return t, fmt.Errorf("redrive %s: %w", id, err)
	}
	err = d.db.QueryRowContext(ctx, `SELECT count(*), count(*) FILTER (WHERE outcome IS NULL), count(*) FILTER (WHERE outcome = 'asked'), count(*) FILTER (WHERE outcome = 'resolved'),
count(*) FILTER (WHERE outcome = 'failed'), count(*) FILTER (WHERE outcome = 'gone') FROM deadletter.redrive_letters WHERE redrive_id = $1`, id).
		Scan(&t.Letters, &t.Waiting, &t.Asked, &t.Resolved, &t.Failed, &t.Gone)
	if err != nil {
		return t, fmt.Errorf("redrive %s: %w", id, err)
	}
	return t, nil
}

// ask asks for the next n letters.
func (d *Desk) ask(ctx context.Context, r Redrive, n int) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	rows, err := tx.QueryContext(ctx, `UPDATE deadletter.redrive_letters SET outcome = 'asked' WHERE redrive_id = $1 AND n IN (
	SELECT n FROM deadletter.redrive_letters WHERE redrive_id = $1 AND outcome IS NULL ORDER BY n LIMIT $2) RETURNING letter_id`, r.ID, n)
	if err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	defer rows.Close()
	var ids outbox.UUIDArray
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return fmt.Errorf("redrive %s: %w", r.ID, err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	if _, err := d.redrive(ctx, tx, ids, r.Reason, map[string]string{"redrive": r.ID}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("redrive %s: %w", r.ID, err)
	}
	return nil
}

// Pace says how a redrive goes on.
type Pace struct {
	// Rate is how many letters a second are asked for; 0: as many as are processed.
	Rate float64
	// MaxFailures is after how many letters that failed again no more are asked for; 0: at the first.
	MaxFailures int64
}

const (
	// lookEvery is how often a redrive looks how far it has come.
	lookEvery = 200 * time.Millisecond
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
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for window := int64(1); ; {
		before := t
		if t, err = d.tally(ctx, r.ID); err != nil {
			return before, err
		}
		progress(t)
		if t.Failed > pace.MaxFailures && t.Asked == 0 || t.Waiting == 0 && t.Asked == 0 {
			return t, nil
		}
		if t.Asked == 0 && t.Resolved > 0 || t.Resolved-before.Resolved > window/2 {
			window = min(2*window, mostAsked)
		}
		if t.Failed <= pace.MaxFailures && t.Waiting > 0 {
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
		select {
		case <-ctx.Done():
			return t, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
