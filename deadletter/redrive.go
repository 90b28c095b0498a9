package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter/filter"
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
	// Unchanged are those of the resolved ones that changed nothing: they had been processed already, mostly.
	Unchanged int64 `json:"unchanged"`
	Failed    int64 `json:"failed"` // failed again
	// Held wait, asked for, behind a letter of their order that was not asked for, or failed again. They go on by
	// themselves when that one is redriven or dropped.
	Held int64 `json:"held"`
	// Gone are settled otherwise: dropped, or redriven by somebody else before it was their turn or after they had failed.
	Gone int64 `json:"gone"`
}

// Left is how many have no outcome yet.
func (t Tally) Left() int64 { return t.Waiting + t.Asked }

// Freeze notes the letters that meet a filter and wait for somebody, the oldest first, as a redrive. text is the
// filter as it was typed. It has not begun before Begin or Drive; Discard has it forgotten. Where no letter is chosen,
// nothing is noted.
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
	if r.Tally.Waiting = r.Tally.Letters; r.Tally.Letters == 0 {
		return r, nil // nothing is noted
	}
	if err := tx.Commit(); err != nil {
		return r, fmt.Errorf("note what to redrive: %w", err)
	}
	return r, nil
}

// Begin notes that somebody agreed to a redrive: from now on Redrives lists it, and whatever ends it, it can be taken up
// again.
func (d *Desk) Begin(ctx context.Context, id string) error {
	if _, err := d.db.ExecContext(ctx, "UPDATE deadletter.redrives SET begun_at = now() WHERE id = $1 AND begun_at IS NULL", id); err != nil {
		return fmt.Errorf("begin redrive %s: %w", id, err)
	}
	return nil
}

// Discard forgets a redrive that has not begun. One that has stays as it is.
func (d *Desk) Discard(ctx context.Context, id string) error {
	if _, err := d.db.ExecContext(ctx, "DELETE FROM deadletter.redrives WHERE id = $1 AND begun_at IS NULL", id); err != nil {
		return fmt.Errorf("forget redrive %s: %w", id, err)
	}
	return nil
}

// Add adds another tally, of another database.
func (t *Tally) Add(o Tally) {
	t.Letters += o.Letters
	t.Waiting += o.Waiting
	t.Asked += o.Asked
	t.Resolved += o.Resolved
	t.Unchanged += o.Unchanged
	t.Failed += o.Failed
	t.Held += o.Held
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
