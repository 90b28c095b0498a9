package deadletter

import (
	"context"
	"fmt"
	"time"

	"millrace/deadletter/filter"
)

// Happening is something that became of a letter.
type Happening struct {
	At time.Time `json:"at"`
	// What is failed, or retrying, for a new letter, and else the action of a step. Of a service, which has no letter, it
	// is paused or resumed.
	What        string `json:"what"`
	Who         string `json:"who,omitempty"`
	Reason      string `json:"reason,omitempty"`
	ID          string `json:"id"`
	Service     string `json:"service"`
	Topic       string `json:"topic"`
	OrderID     string `json:"orderId,omitempty"`
	Fingerprint string `json:"group"`
	Error       string `json:"error"`
}

// followLate is how long after a number was drawn its row may be committed: a transaction of ours is not longer than
// writeLimit.
const followLate = 2 * writeLimit

// tail follows numbers that are drawn in order, but committed in any.
type tail struct {
	from int64 // what is not above it was seen, or never comes
	seen map[int64]time.Time
}

// fresh tells whether a number is seen for the first time.
func (t *tail) fresh(n int64, now time.Time) bool {
	if _, known := t.seen[n]; known {
		return false
	}
	t.seen[n] = now
	return true
}

// forget moves on from numbers that were seen long ago: none below them comes any more.
func (t *tail) forget(now time.Time) {
	for n, at := range t.seen {
		if now.Sub(at) > followLate {
			t.from = max(t.from, n)
		}
	}
	for n := range t.seen {
		if n <= t.from {
			delete(t.seen, n)
		}
	}
}

// Follower tells what becomes of the letters of one database that meet a filter. It is not for several goroutines.
type Follower struct {
	desk    *Desk
	filter  filter.Condition
	letters tail
	steps   tail
	pauses  pauseTail
}

// Follow begins to follow: what was there before is not told.
func (d *Desk) Follow(ctx context.Context, f filter.Condition) (*Follower, error) {
	w := &Follower{desk: d, filter: f, letters: tail{seen: map[int64]time.Time{}}, steps: tail{seen: map[int64]time.Time{}}}
	err := d.db.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(position), 0) FROM deadletter.letters WHERE `+listed+`), (SELECT coalesce(max(id), 0) FROM deadletter.steps), now()`).
		Scan(&w.letters.from, &w.steps.from, &w.pauses.from)
	if err != nil {
		return nil, fmt.Errorf("follow the letters: %w", err)
	}
	return w, nil
}

// Next calls do for each thing that happened since the last call: pauses, letters that came, what was done to letters. The
// filter is for letters: that a service stands still is always told, with the first call also where it does already.
// What has failed may be asked for again: nothing is told twice, and nothing left out.
func (w *Follower) Next(ctx context.Context, do func(Happening)) error {
	if err := w.pauses.read(ctx, w.desk, do); err != nil {
		return err
	}
	n := len(w.filter.Args)
	came := fmt.Sprintf(`SELECT position, first_failed_at, CASE status WHEN 'retrying' THEN 'retrying' ELSE 'failed' END, '', '', id, service, topic, coalesce(order_id::text, ''), fingerprint, error
FROM deadletter.letters WHERE %s AND (%s) AND position > $%d ORDER BY position`, listed, w.filter.SQL, n+1)
	if err := w.read(ctx, &w.letters, came, do); err != nil {
		return err
	}
	stepped := fmt.Sprintf(`SELECT s.id, s.at, s.action, s.who, s.reason, l.id, l.service, l.topic, coalesce(l.order_id::text, ''), l.fingerprint, l.error
FROM deadletter.steps s JOIN (SELECT * FROM deadletter.letters WHERE %s) AS l ON l.id = s.letter_id WHERE s.id > $%d ORDER BY s.id`, w.filter.SQL, n+1)
	return w.read(ctx, &w.steps, stepped, do)
}

func (w *Follower) read(ctx context.Context, t *tail, query string, do func(Happening)) error {
	n := len(w.filter.Args)
	rows, err := w.desk.db.QueryContext(ctx, query, append(w.filter.Args[:n:n], t.from)...)
	if err != nil {
		return fmt.Errorf("follow the letters: %w", err)
	}
	defer rows.Close()
	now := time.Now()
	for rows.Next() {
		var number int64
		var h Happening
		if err := rows.Scan(&number, &h.At, &h.What, &h.Who, &h.Reason, &h.ID, &h.Service, &h.Topic, &h.OrderID, &h.Fingerprint, &h.Error); err != nil {
			return fmt.Errorf("follow the letters: %w", err)
		}
		if t.fresh(number, now) {
			do(h)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("follow the letters: %w", err)
	}
	t.forget(now)
	return nil
}
