package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Rehearsal is what an update would have done. It is filled by a store whose update has a context from
// Rehearse, which changes nothing then.
type Rehearsal struct {
	// Asked tells that a store was asked at all.
	Asked bool
	// Processed: the row knows the cause already, and would not be changed.
	Processed bool
	// Parked: the order waits behind a dead letter.
	Parked bool
	// Before and After are the row as JSON; Before is empty where there is no row.
	Before, After []byte
	// Said are the events that would be published.
	Said []Said

	probe bool // only whether a store is asked
}

// Said is an event that would be published.
type Said struct {
	Topic   string
	Payload []byte
}

// Changes tells whether the update would have changed or said anything.
func (r *Rehearsal) Changes() bool {
	return len(r.Said) > 0 || string(r.Before) != string(r.After)
}

type rehearsalKey struct{}

// Rehearse returns a context whose updates are run, up to the point where they would be committed, and
// rolled back. They hold the order's row for that moment. What an update would be refused for, its caller is told as
// always.
func Rehearse(ctx context.Context) (context.Context, *Rehearsal) {
	r := new(Rehearsal)
	return context.WithValue(ctx, rehearsalKey{}, r), r
}

// Probe returns a context whose updates are not even begun: only Asked is found out, and their callers get no error.
func Probe(ctx context.Context) (context.Context, *Rehearsal) {
	r := &Rehearsal{probe: true}
	return context.WithValue(ctx, rehearsalKey{}, r), r
}

// rehearse runs one update in a transaction of its own, and rolls it back. The store need not run.
func (s *Store[S, V]) rehearse(ctx context.Context, m *member[S, V], r *Rehearsal) error {
	if r.probe {
		r.Asked = true
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, transactionLimit)
	defer cancel()
	tx, now, err := s.backend.begin(ctx, lockOptions{wait: true})
	if err != nil {
		return err
	}
	defer tx.rollback()
	w := newWork(s, now)
	if err := w.prepare(ctx, tx, []*member[S, V]{m}, false); err != nil {
		return fmt.Errorf("%s: rehearse: %w", s.table.Service, err)
	}
	r.Asked = true
	var before []byte
	if row := w.rows[m.id]; row != nil {
		before = row.good
		r.Parked = row.parked
		r.Processed = slices.Contains(row.processed, m.cause.ID) || slices.Contains(row.commands, m.cause.ID)
		if row.version > 0 {
			r.Before = slices.Clone(row.good)
			r.After = r.Before
		} // otherwise there is none: After stays empty too, unless something is put into it
	}
	switch err := w.run(m); {
	case errors.Is(err, errHeld):
		return fmt.Errorf("%s: the row of order %s cannot be looked at: %w; ask again", s.table.Service, m.id, err)
	case err != nil:
		return err
	}
	out, err := w.outcome()
	if err != nil || out.empty() {
		return err
	}
	if row := w.rows[m.id]; row != nil && row.dirty && !s.same(m.id, before, row.good) {
		r.After = slices.Clone(row.good)
	}
	for _, msg := range out.messages {
		r.Said = append(r.Said, Said{msg.topic, msg.payload})
	}
	// What the database itself would refuse shows only now.
	if _, err := tx.write(ctx, out); err != nil {
		if kindOf(err) == guilty {
			return &RefusedError{err}
		}
		return fmt.Errorf("%s: rehearse: %w", s.table.Service, err)
	}
	return nil
}
