package deadletter

import (
	"context"
	"fmt"
	"strings"
	"time"

	"millrace/outbox"
)

// Share is the part of a redrive that is of one service and one group: of now, for a letter that failed again.
type Share struct {
	Service     string `json:"service"` // empty for letters that are gone
	Fingerprint string `json:"group"`
	Error       string `json:"error"` // of one of them
	Tally
}

// Shares is what a redrive consists of, and how far each part has come; the largest first. Outcomes are those that were
// noted by the last look of Drive or FindRedrive.
func (d *Desk) Shares(ctx context.Context, id string) (list []Share, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT coalesce(l.service, ''), coalesce(l.fingerprint, ''), coalesce(min(l.error), ''), `+tallyColumns+`
FROM deadletter.redrive_letters r LEFT JOIN deadletter.letters l ON l.id = r.letter_id WHERE r.redrive_id = $1 GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2`, id)
	if err != nil {
		return nil, fmt.Errorf("redrive %s: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Share
		if err := rows.Scan(append([]any{&s.Service, &s.Fingerprint, &s.Error}, s.targets()...)...); err != nil {
			return nil, fmt.Errorf("redrive %s: %w", id, err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// First are the letters that a redrive asks for first.
func (d *Desk) First(ctx context.Context, id string, limit int) ([]*Letter, error) {
	list, err := letters(ctx, d.db, `id IN (SELECT letter_id FROM deadletter.redrive_letters WHERE redrive_id = $1 ORDER BY n LIMIT $2) ORDER BY position`, id, limit)
	if err != nil {
		return nil, fmt.Errorf("redrive %s: %w", id, err)
	}
	return list, nil
}

// Redrives are the last ones that have begun, the youngest first, as far as they had come when somebody last looked.
func (d *Desk) Redrives(ctx context.Context, limit int) (list []Redrive, err error) {
	rows, err := d.db.QueryContext(ctx, `SELECT x.id, x.who, x.reason, x.selection, x.created_at, t.*
FROM (SELECT * FROM deadletter.redrives WHERE begun_at IS NOT NULL ORDER BY created_at DESC LIMIT $1) AS x
CROSS JOIN LATERAL (SELECT `+tallyColumns+` FROM deadletter.redrive_letters r WHERE r.redrive_id = x.id) AS t ORDER BY x.created_at DESC`, limit)
	if err != nil {
		return nil, fmt.Errorf("list redrives: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Redrive
		if err := rows.Scan(append([]any{&r.ID, &r.Who, &r.Reason, &r.Selection, &r.CreatedAt}, r.Tally.targets()...)...); err != nil {
			return nil, fmt.Errorf("list redrives: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// Due is what the redrivers of some services have before them.
type Due struct {
	// Lanes are to go on now, and nobody is at them yet; Held are those that somebody is at.
	Lanes, Held int64
	// Idle is how long the oldest of Lanes has been waiting for somebody, since its last lease ended if it had one, if nobody
	// is at any; 0 otherwise. Longer than a few seconds means that no process runs a redriver.
	Idle time.Duration
}

// Due looks at the lanes of services.
func (d *Desk) Due(ctx context.Context, services ...string) (due Due, err error) {
	var idle float64
	err = d.db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE free), count(*) FILTER (WHERE lease_until > now()),
	coalesce(extract(epoch FROM now() - min(greatest(due_at, lease_until)) FILTER (WHERE free)), 0)::float8
FROM (SELECT due_at, lease_until, due_at <= now() AND (lease_until IS NULL OR lease_until < now()) AS free
	FROM deadletter.lanes WHERE service = ANY($1::text[]) AND due_at <= now()) AS l`, outbox.TextArray(services)).Scan(&due.Lanes, &due.Held, &idle)
	if err != nil {
		return due, fmt.Errorf("look at the lanes of %s: %w", strings.Join(services, ", "), err)
	}
	if due.Held == 0 {
		due.Idle = time.Duration(idle * float64(time.Second))
	}
	return due, nil
}
