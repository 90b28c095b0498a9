package deadletter

import (
	"context"
	"fmt"
	"time"

	"millrace/event"
	"millrace/outbox"
)

// knownIDs are those of the letters and messages that lie in the index.
func knownIDs(ctx context.Context, q querier, list []*Letter) (map[string]bool, error) {
	ids := make(outbox.UUIDArray, len(list))
	for i, l := range list {
		ids[i] = l.ID
	}
	return texted(ctx, q, "SELECT id FROM deadletter.letters WHERE id = ANY($1::uuid[])", ids)
}

// doneIDs are those whose message the service counts as processed. One without an order may have been processed all the
// same, after an upgrade: if so, its key told whose it is.
func doneIDs(ctx context.Context, q querier, marks *outbox.Marks, list []*Letter) (map[string]bool, error) {
	var orders []event.OrderID
	var messages, ids []string
	for _, l := range list {
		id := event.OrderID(l.OrderID)
		if id == "" {
			var err error
			if id, err = event.ParseOrderID(string(l.Key)); err != nil {
				continue
			}
		}
		orders, messages, ids = append(orders, id), append(messages, l.MessageID), append(ids, l.ID)
	}
	processed, err := marks.Processed(ctx, q, orders, messages)
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	for i, id := range ids {
		if processed[i] {
			done[id] = true
		}
	}
	return done, nil
}

// texted is the set of what a query returns.
func texted(ctx context.Context, q querier, query string, args ...any) (map[string]bool, error) {
	list, err := column(ctx, q, query, args...)
	set := make(map[string]bool, len(list))
	for _, text := range list {
		set[text] = true
	}
	return set, err
}

// Missing are those of the messages that are neither in the index nor processed. What is true of them may change
// at once; Rebuild looks again.
func (d *Desk) Missing(ctx context.Context, service string, list []*Letter) ([]*Letter, error) {
	marks := d.marks[service]
	if marks == nil {
		return nil, fmt.Errorf("the rows of service %s are not in this database", service)
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	known, err := knownIDs(ctx, d.db, list)
	if err != nil {
		return nil, fmt.Errorf("look which of %d messages of %s are missing: %w", len(list), service, err)
	}
	done, err := doneIDs(ctx, d.db, marks, list)
	if err != nil {
		return nil, err
	}
	var missing []*Letter
	for _, l := range list {
		if !known[l.ID] && !done[l.ID] {
			missing = append(missing, l)
		}
	}
	return missing, nil
}

// readLimit bounds a look into the index.
const readLimit = 30 * time.Second

// Unknown are those of the letters that the index lacks.
func (d *Desk) Unknown(ctx context.Context, list []*Letter) ([]*Letter, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	known, err := knownIDs(ctx, d.db, list)
	if err != nil {
		return nil, fmt.Errorf("look which of %d letters are known: %w", len(list), err)
	}
	var unknown []*Letter
	for _, l := range list {
		if !known[l.ID] {
			unknown = append(unknown, l)
		}
	}
	return unknown, nil
}

// HeldLane is a lane that is held up, by what the index or the order's row says.
type HeldLane struct {
	ID      string
	OrderID event.OrderID // empty: a message without an order
}

const heldLanes = `SELECT lane, coalesce(order_id::text, '') FROM deadletter.lanes WHERE service = $1
UNION SELECT lane, CASE WHEN lane = order_id THEN order_id::text ELSE '' END FROM deadletter.letters WHERE service = $1 AND ` + open

// Held are the lanes of a service that are held up: those of the index, and the orders with a mark.
func (d *Desk) Held(ctx context.Context, service string) (list []HeldLane, err error) {
	marks := d.marks[service]
	if marks == nil {
		return nil, fmt.Errorf("the rows of service %s are not in this database", service)
	}
	rows, err := d.db.QueryContext(ctx, heldLanes, service)
	if err != nil {
		return nil, fmt.Errorf("look for the lanes of %s: %w", service, err)
	}
	defer rows.Close()
	held := map[string]bool{}
	for rows.Next() {
		var l HeldLane
		if err := rows.Scan(&l.ID, &l.OrderID); err != nil {
			return nil, fmt.Errorf("look for the lanes of %s: %w", service, err)
		}
		held[l.ID] = true
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for the lanes of %s: %w", service, err)
	}
	marked, err := marks.Marked(ctx)
	for _, id := range marked {
		if !held[string(id)] {
			list = append(list, HeldLane{ID: string(id), OrderID: id})
		}
	}
	return list, err
}
