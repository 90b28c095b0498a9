package deadletter

import (
	"context"
	"fmt"
	"time"
)

// Pause is a service that takes no messages, or took none for a while.
type Pause struct {
	Service     string    `json:"service"`
	Fingerprint string    `json:"group"` // empty where it is not one kind of failure that led to it
	Error       string    `json:"error"`
	Since       time.Time `json:"since"`
	// ResumedAt, ResumedBy and Reason are of one that somebody has ended.
	ResumedAt *time.Time `json:"resumedAt,omitempty"`
	ResumedBy string     `json:"resumedBy,omitempty"`
	Reason    string     `json:"reason,omitempty"`

	id int64
}

// endedPauses is how many of those that are over Ended returns.
const endedPauses = 20

// Pauses are the services of this database that take no messages.
func (d *Desk) Pauses(ctx context.Context) ([]Pause, error) {
	return d.pauses(ctx, "WHERE resumed_at IS NULL ORDER BY service")
}

// EndedPauses are the last ones that somebody has ended, the latest first. They are kept for as long as settled letters.
func (d *Desk) EndedPauses(ctx context.Context) ([]Pause, error) {
	return d.pauses(ctx, "WHERE resumed_at IS NOT NULL ORDER BY resumed_at DESC LIMIT $1", endedPauses)
}

func (d *Desk) pauses(ctx context.Context, which string, args ...any) (list []Pause, err error) {
	rows, err := d.db.QueryContext(ctx, "SELECT id, service, fingerprint, error, since, resumed_at, coalesce(resumed_by, ''), coalesce(reason, '') FROM deadletter.pauses "+which, args...)
	if err != nil {
		return nil, fmt.Errorf("look for paused services: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var p Pause
		if err := rows.Scan(&p.id, &p.Service, &p.Fingerprint, &p.Error, &p.Since, &p.ResumedAt, &p.ResumedBy, &p.Reason); err != nil {
			return nil, fmt.Errorf("look for paused services: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// Resume has paused services take messages again. Those that failed are tried again; if they fail as before, and as many,
// the service is paused once more. It returns what was paused.
func (d *Desk) Resume(ctx context.Context, service, reason string) (list []Pause, err error) {
	rows, err := d.db.QueryContext(ctx, `UPDATE deadletter.pauses SET resumed_at = now(), resumed_by = $2, reason = $3
WHERE service = $1 AND resumed_at IS NULL RETURNING service, fingerprint, error, since`, service, d.who, reason)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", service, err)
	}
	defer rows.Close()
	for rows.Next() {
		var p Pause
		if err := rows.Scan(&p.Service, &p.Fingerprint, &p.Error, &p.Since); err != nil {
			return nil, fmt.Errorf("resume %s: %w", service, err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// pauseTail follows pauses.
type pauseTail struct {
	from time.Time      // by the database's clock: when it began
	told map[int64]bool // pauses that were told; true: and their end
}

// read tells what has begun or ended. Pauses are few: those that ended since the beginning are read each time.
func (t *pauseTail) read(ctx context.Context, d *Desk, do func(Happening)) error {
	list, err := d.pauses(ctx, "WHERE resumed_at IS NULL OR resumed_at > $1 ORDER BY id", t.from.Add(-followLate))
	if err != nil {
		return err
	}
	first := t.told == nil
	if first {
		t.told = map[int64]bool{}
	}
	for _, p := range list {
		ended, known := t.told[p.id]
		t.told[p.id] = p.ResumedAt != nil
		if first && p.ResumedAt != nil { // before it began, or just now
			continue
		}
		h := Happening{At: p.Since, What: "paused", Service: p.Service, Fingerprint: p.Fingerprint, Error: p.Error}
		if !known {
			do(h)
		}
		if p.ResumedAt != nil && !ended {
			h.At, h.What, h.Who, h.Reason = *p.ResumedAt, "resumed", p.ResumedBy, p.Reason
			do(h)
		}
	}
	return nil
}
