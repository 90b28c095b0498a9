package stock

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lib/pq"

	"millrace/event"
)

// lease is how long a step that is being performed is left alone; a process that was killed
// meanwhile costs this much. It is longer than any call may take.
const lease = 30 * time.Second

const (
	insertWait = `INSERT INTO waits (service, order_id, step, due_at) VALUES ($1, $2, $3, now() + $4 * interval '1 microsecond')
ON CONFLICT (service, order_id, step) DO UPDATE SET due_at = excluded.due_at, attempt = 0`
	deleteWaits = `DELETE FROM waits WHERE service = $1 AND order_id = $2 AND step = ANY($3)`
	// What is due is chosen once: a subselect may be run for each row, and would find others each time.
	claimWaits = `WITH c AS MATERIALIZED (
	SELECT service, order_id, step FROM waits WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE waits w SET due_at = now() + $2 * interval '1 microsecond', attempt = w.attempt + 1 FROM c
WHERE w.service = c.service AND w.order_id = c.order_id AND w.step = c.step
RETURNING w.service, w.order_id, w.step, w.attempt`
)

func (r *rows[S]) waits(row *S) []event.Wait {
	if r.due == nil {
		return nil
	}
	return r.due(row)
}

// saveWaits writes down what the row waits for now and did not before, deletes what it waits for no
// longer, and returns the steps that have just become due at once. Those are in the table too if
// everything is.
func (r *rows[S]) saveWaits(ctx context.Context, tx *transaction, id event.OrderID, before, after []event.Wait, everything bool) (calls []string, err error) {
	var gone []string
	for _, w := range before {
		if (w.After > 0 || everything) && !has(after, w.Step) {
			gone = append(gone, w.Step)
		}
	}
	if len(gone) > 0 {
		if _, err := tx.ExecContext(ctx, deleteWaits, r.service, string(id), pq.Array(gone)); err != nil {
			return nil, fmt.Errorf("end the waits %v of order %s: %w", gone, id, err)
		}
	}
	for _, w := range after {
		if has(before, w.Step) {
			continue
		}
		due := w.After
		if due == 0 {
			calls = append(calls, w.Step)
			if !everything {
				continue
			}
			due = lease // performed right after this, by us
		}
		if _, err := tx.ExecContext(ctx, insertWait, r.service, string(id), w.Step, due.Microseconds()); err != nil {
			return nil, fmt.Errorf("have order %s wait for %s: %w", id, w.Step, err)
		}
	}
	return calls, nil
}

func has(waits []event.Wait, step string) bool {
	return slices.ContainsFunc(waits, func(w event.Wait) bool { return w.Step == step })
}

// fire performs a step whose time has come.
func (r *rows[S]) fire(ctx context.Context, id event.OrderID, step string, attempt int) error {
	rec, err := r.read(ctx, r.db, r.sql.load, id)
	if err != nil {
		return err
	}
	if !has(r.waits(&rec.row), step) {
		if _, err := r.db.ExecContext(ctx, deleteWaits, r.service, string(id), pq.Array([]string{step})); err != nil {
			return fmt.Errorf("end the wait %s of order %s: %w", step, id, err)
		}
		return nil
	}
	change, err := r.callOne(ctx, rec, step, attempt)
	if err != nil {
		return r.postpone(ctx, id, step, attempt, err)
	}
	m := mode{fired: true}
	done, calls, err := r.answer(ctx, id, []string{step}, []func(*S) ([]event.Event, error){change}, m)
	if err != nil {
		return err
	}
	return r.call(ctx, done, calls, m)
}

type firing interface {
	fire(ctx context.Context, id event.OrderID, step string, attempt int) error
}

// poller performs the steps of all services that are due.
type poller struct {
	db       *database
	settings Settings
	services map[string]firing
	log      *slog.Logger
}

type dueWait struct {
	service string
	id      event.OrderID
	step    string
	attempt int
}

// run works until ctx ends.
func (p *poller) run(ctx context.Context) error {
	claimed := make(chan dueWait)
	var workers sync.WaitGroup
	for range p.settings.WaitWorkers {
		workers.Go(func() {
			for w := range claimed {
				if err := p.services[w.service].fire(ctx, w.id, w.step, w.attempt); err != nil && ctx.Err() == nil {
					p.log.WarnContext(ctx, "a step failed and is due again later", "service", w.service, "order_id", w.id, "step", w.step, "error", err)
				}
			}
		})
	}
	defer workers.Wait()
	defer close(claimed)
	for {
		batch, err := p.claim(ctx)
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "the due steps could not be claimed", "error", err)
		}
		for _, w := range batch {
			claimed <- w
		}
		if len(batch) == p.settings.WaitWorkers {
			continue // there is more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.settings.WaitInterval):
		}
	}
}

func (p *poller) claim(ctx context.Context) ([]dueWait, error) {
	found, err := p.db.QueryContext(ctx, claimWaits, p.settings.WaitWorkers, lease.Microseconds())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var batch []dueWait
	for found.Next() {
		var w dueWait
		if err := found.Scan(&w.service, &w.id, &w.step, &w.attempt); err != nil {
			return nil, err
		}
		batch = append(batch, w)
	}
	return batch, found.Err()
}
