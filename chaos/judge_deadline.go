package chaos

import (
	"context"
	"fmt"

	"github.com/lib/pq"
)

// mostExamples are named where many orders are wrong in the same way.
const mostExamples = 5

// judgeDeadlines: no order is cancelled for an outage of ours. Those that nothing but we can have delayed are neither
// cancelled nor being cancelled at a deadline, their own or their payment's.
func (r *run) judgeDeadlines(ctx context.Context) {
	sound := r.load.soundOrders()
	late, err := r.system.database.cancelledLate(ctx, sound)
	if err != nil {
		r.wrong("%v", err)
		return
	}
	if len(late) > 0 {
		r.wrong("%d of %d orders that nothing but an outage of ours delayed were cancelled at a deadline, such as %v", len(late), len(sound), late[:min(len(late), mostExamples)])
		return
	}
	r.say("%d orders that nothing but an outage of ours could delay: none was cancelled at a deadline", len(sound))
	if len(sound) == 0 {
		r.wrong("no order could show that none is cancelled for an outage of ours")
	}
}

func (d *database) cancelledLate(ctx context.Context, ids []string) (late []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sqlPatience)
	defer cancel()
	rows, err := d.admin.QueryContext(ctx, "SELECT order_id FROM orders.orders WHERE order_id = ANY($1::uuid[]) AND state->>'reason' = 'DEADLINE' ORDER BY created_at", pq.Array(ids))
	if err != nil {
		return nil, fmt.Errorf("look for orders that were cancelled at a deadline: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look for orders that were cancelled at a deadline: %w", err)
		}
		late = append(late, id)
	}
	return late, rows.Err()
}
