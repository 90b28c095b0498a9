package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// retention is how long letters are kept that were resolved or dropped, with their steps; longer than Kafka keeps
	// their messages, which could otherwise come again and be taken for new. Redrives and ended
	// pauses are kept as long.
	retention = 30 * 24 * time.Hour
	// tidyEvery is how often older ones are removed, tidyBatch at a time.
	tidyEvery = time.Minute
	tidyBatch = 1000
	// tidyRedrives is the same of redrives: each may have a hundred thousand letters.
	tidyRedrives = 5
)

// What is removed, with its batch, which is chosen once (see nextLetters). Several processes tidy the same tables. That somebody
// decided about an order is kept when the letter is not: for ever, it explains what has become of the order.
var removals = []struct {
	query string
	batch int64
}{
	{`WITH old AS MATERIALIZED (
	SELECT id FROM deadletter.letters WHERE closed_at < now() - $1::bigint * interval '1 second' LIMIT $2 FOR UPDATE SKIP LOCKED),
decided AS (
	INSERT INTO deadletter.decided (service, order_id) SELECT DISTINCT l.service, l.order_id FROM deadletter.letters l JOIN old USING (id)
	WHERE l.order_id IS NOT NULL AND (l.status = 'dropped' OR l.original IS NOT NULL OR EXISTS (
	  SELECT FROM deadletter.steps s WHERE s.letter_id = l.id AND s.action IN ('edited', 'restored', 'imported')))
	ORDER BY l.service, l.order_id ON CONFLICT DO NOTHING) -- in one order: two processes do not wait for each other in a circle
	DELETE FROM deadletter.letters WHERE id IN (SELECT id FROM old)`, tidyBatch},
	{`WITH old AS MATERIALIZED (
	SELECT id FROM deadletter.redrives WHERE created_at < now() - $1::bigint * interval '1 second' LIMIT $2 FOR UPDATE SKIP LOCKED)
	DELETE FROM deadletter.redrives WHERE id IN (SELECT id FROM old)`, tidyRedrives},
	{`WITH old AS MATERIALIZED (
	SELECT id FROM deadletter.pauses WHERE resumed_at < now() - $1::bigint * interval '1 second' LIMIT $2 FOR UPDATE SKIP LOCKED)
	DELETE FROM deadletter.pauses WHERE id IN (SELECT id FROM old)`, tidyBatch},
}

// tidy removes what was settled long ago. more means that there is more of it.
func (p *Parking) tidy(ctx context.Context) (more bool, err error) {
	for _, r := range removals {
		n, failed := p.remove(ctx, r.query, r.batch)
		if failed != nil { // of one table: a role may lack a right
			err = errors.Join(err, fmt.Errorf("remove what was settled %s ago: %w", retention, failed))
		}
		more = more || n == r.batch
	}
	return more && err == nil, err
}

func (p *Parking) remove(ctx context.Context, query string, batch int64) (n int64, err error) {
	limited, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	result, err := p.db.ExecContext(limited, query, int64(retention.Seconds()), batch)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
