package outbox

import (
	"context"
	"fmt"

	"millrace/event"
)

// ids lists a batch's orders, and those that a member may create.
func idsOf[S, V any](batch []*member[S, V]) (all, create []event.OrderID) {
	for _, m := range batch {
		if m.id == "" {
			continue
		}
		all = append(all, m.id)
		if m.create {
			create = append(create, m.id)
		}
	}
	return sorted(all), sorted(create)
}

// read takes the batch's rows from memory, and from the database what is not there, without
// locks. Whether they are still the newest shows at the write.
func (w *work[S, V]) read(ctx context.Context, tx session, batch []*member[S, V]) error {
	all, create := idsOf(batch)
	var missing []event.OrderID
	for _, id := range all {
		rec, ok := w.store.recent.get(id)
		if !ok {
			missing = append(missing, id)
			continue
		}
		w.add(rec)
		w.rows[id].fromMemory = true
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := tx.read(ctx, missing)
	if err != nil {
		return err
	}
	creates := setOf(create)
	for _, id := range missing {
		rec, ok := found[id]
		switch {
		case ok:
		case creates[id]:
			rec = newRecord(id)
		default:
			w.unknown[id] = true
			continue
		}
		w.add(rec)
	}
	return nil
}

func (w *work[S, V]) isFromMemory(id event.OrderID) bool {
	r := w.rows[id]
	return r != nil && r.fromMemory
}

// lock locks the orders' rows. Every row that is missing is inserted before any row is locked: the
// other way round, two processes whose batches overlap on new orders deadlock.
func (w *work[S, V]) lock(ctx context.Context, tx session, batch []*member[S, V]) error {
	all, create := idsOf(batch)
	if len(all) == 0 {
		return nil
	}
	locked, err := tx.lock(ctx, all, create)
	if err != nil {
		return err
	}
	w.unknown = locked.unknown
	for _, rec := range locked.rows {
		w.add(rec)
	}
	return nil
}

// insertSides inserts the side rows that members without an order bring with them.
func (w *work[S, V]) insertSides(ctx context.Context, tx session, batch []*member[S, V]) (keys []string, err error) {
	for _, m := range batch {
		if m.id == "" {
			keys = append(keys, m.keys(nil)...)
		}
	}
	if keys = sorted(keys); len(keys) == 0 {
		return nil, nil
	}
	return keys, tx.insertSides(ctx, keys)
}

// lockSides locks the side rows that the batch needs, those it has inserted among them.
func (w *work[S, V]) lockSides(ctx context.Context, tx session, batch []*member[S, V], inserted []string) (err error) {
	keys := sorted(append(w.keys(batch), inserted...))
	if len(keys) == 0 {
		return nil
	}
	if w.sides, w.sideHeld, err = tx.lockSides(ctx, keys); err != nil {
		return err
	}
	w.sideAsked = setOf(keys)
	var ledger []string
	for _, m := range batch {
		if m.id == "" {
			ledger = append(ledger, m.cause.ID)
		}
	}
	if w.inLedger, err = tx.inLedger(ctx, ledger); err != nil {
		return err
	}
	return w.decodeSides()
}

// prepare brings the batch's rows into memory, and locks what it must not share: the side rows
// always, for batches do fight for them.
func (w *work[S, V]) prepare(ctx context.Context, tx session, batch []*member[S, V], optimistic bool) error {
	inserted, err := w.insertSides(ctx, tx, batch)
	if err != nil {
		return err
	}
	if optimistic {
		err = w.read(ctx, tx, batch)
	} else {
		err = w.lock(ctx, tx, batch)
	}
	if err != nil || w.store.table.Side == nil {
		return err
	}
	return w.lockSides(ctx, tx, batch, inserted)
}

// keys asks the members which side rows they need, from the rows as they were read.
func (w *work[S, V]) keys(batch []*member[S, V]) []string {
	var keys []string
	for _, m := range batch {
		if r := w.rows[m.id]; r != nil && r.unreadable == nil && m.keys != nil {
			// A panic is met again, and answered, when the member is run.
			_ = w.guard(m, func() error {
				keys = append(keys, m.keys(&r.current)...)
				return nil
			})
		}
	}
	return keys
}

func (w *work[S, V]) decodeSides() error {
	for key, fields := range w.sides {
		v := w.store.table.Side.New(key)
		for i, target := range w.store.table.Side.Fields(&v) {
			if err := assign(target, fields[i]); err != nil {
				return fmt.Errorf("%s %s: %w", w.store.table.Side.Name, key, err)
			}
		}
		w.current[key] = v
	}
	return nil
}
