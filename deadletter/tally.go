package deadletter

import (
	"context"
	"fmt"
)

// tallyColumns are what a Tally is read from.
const tallyColumns = `count(*), count(*) FILTER (WHERE r.outcome IS NULL), count(*) FILTER (WHERE r.outcome = 'asked'), count(*) FILTER (WHERE r.outcome IN ('resolved', 'unchanged')),
 count(*) FILTER (WHERE r.outcome = 'unchanged'), count(*) FILTER (WHERE r.outcome = 'failed'), count(*) FILTER (WHERE r.outcome = 'held'), count(*) FILTER (WHERE r.outcome = 'gone')`

func (t *Tally) targets() []any {
	return []any{&t.Letters, &t.Waiting, &t.Asked, &t.Resolved, &t.Unchanged, &t.Failed, &t.Held, &t.Gone}
}

// The outcomes of a redrive's letters, as texts in the table; null is one that was not asked for yet.
const (
	outcomeResolved  = "resolved"
	outcomeUnchanged = "unchanged"
	outcomeFailed    = "failed"
	outcomeHeld      = "held"
	outcomeGone      = "gone"
)

// note counts an outcome of a letter that was asked for.
func (t *Tally) note(outcome string) {
	t.Asked--
	switch outcome {
	case outcomeUnchanged:
		t.Unchanged++
		t.Resolved++
	case outcomeResolved:
		t.Resolved++
	case outcomeFailed:
		t.Failed++
	case outcomeHeld:
		t.Held++
	case outcomeGone:
		t.Gone++
	}
}

// findOutcomes finds what became of letters, which it takes from a condition on r. One that was only put aside to be tried
// again is removed once it was processed. A lane that is not due has a head nobody asked for: whoever looked at the lane
// left it so, and what was asked for behind that head is held.
const (
	findOutcomes = `WITH looked AS MATERIALIZED (
	SELECT r.n, r.outcome, r.letter_id FROM deadletter.redrive_letters r WHERE r.redrive_id = $1 AND `
	noteOutcomes = `), found AS MATERIALIZED (
	SELECT d.n, d.outcome, CASE
		WHEN d.outcome IN ('asked', 'held') THEN CASE
			WHEN l.id IS NULL THEN 'resolved'
			WHEN l.status = 'resolved' THEN CASE (SELECT s.detail ->> 'changed' FROM deadletter.steps s WHERE s.letter_id = l.id AND s.action = 'resolved' ORDER BY s.id DESC LIMIT 1)
				WHEN 'false' THEN 'unchanged' ELSE 'resolved' END
			WHEN l.status = 'new' THEN 'failed'
			WHEN l.status = 'redriving' AND t.lane IS NOT NULL AND t.due_at IS NULL THEN 'held'
			WHEN l.status NOT IN ('redriving', 'retrying') THEN 'gone' END
		WHEN l.id IS NULL OR l.status IN ('resolved', 'dropped') THEN 'gone' END AS became
	FROM looked d LEFT JOIN deadletter.letters l ON l.id = d.letter_id LEFT JOIN deadletter.lanes t ON t.service = l.service AND t.lane = l.lane)
UPDATE deadletter.redrive_letters r SET outcome = f.became FROM found f
WHERE r.redrive_id = $1 AND r.n = f.n AND f.became IS NOT NULL AND r.outcome IS NOT DISTINCT FROM f.outcome AND r.outcome IS DISTINCT FROM f.became
RETURNING r.outcome`
	// noteAsked is for the letters under way, noteAll for all that are not settled for good. What failed again, or was
	// never asked for, may have been settled by somebody else.
	noteAsked     = findOutcomes + `r.outcome = 'asked'` + noteOutcomes
	noteAll       = findOutcomes + `(r.outcome IS NULL OR r.outcome IN ('asked', 'held', 'failed'))` + noteOutcomes
	countOutcomes = `SELECT ` + tallyColumns + ` FROM deadletter.redrive_letters r WHERE redrive_id = $1`
)

// tally looks what became of all letters of a redrive, and counts.
func (d *Desk) tally(ctx context.Context, id string) (t Tally, err error) {
	if _, err := d.db.ExecContext(ctx, noteAll, id); err != nil {
		return t, fmt.Errorf("redrive %s: %w", id, err)
	}
	return d.count(ctx, id)
}

// count counts the outcomes that were noted.
func (d *Desk) count(ctx context.Context, id string) (t Tally, err error) {
	if err := d.db.QueryRowContext(ctx, countOutcomes, id).Scan(t.targets()...); err != nil {
		return t, fmt.Errorf("redrive %s: %w", id, err)
	}
	return t, nil
}

// look looks what became of the letters under way.
func (d *Desk) look(ctx context.Context, id string) (outcomes []string, err error) {
	if outcomes, err = column(ctx, d.db, noteAsked, id); err != nil {
		return nil, fmt.Errorf("redrive %s: %w", id, err)
	}
	return outcomes, nil
}
