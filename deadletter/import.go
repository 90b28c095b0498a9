package deadletter

import (
	"context"
	"database/sql"
	"fmt"

	"millrace/deadletter/plural"
	"millrace/event"
	"millrace/outbox"
)

// MaxImport is how many letters one Import takes: they are one transaction.
const MaxImport = maxBatch

// The body as it came of letters that had been edited, and the step of all.
const (
	noteOriginals = `UPDATE deadletter.letters l SET original = d.original FROM unnest($1::uuid[], $2::bytea[]) AS d(id, original) WHERE l.id = d.id`
	noteImported  = `INSERT INTO deadletter.steps (letter_id, who, action, reason) SELECT id, $2, 'imported', $3 FROM unnest($1::uuid[]) AS id`
)

// Import puts letters of one service, which were exported here or elsewhere, into their lanes, in the order of the list and
// all or none of them: at the end of a lane that waits, as the first of a new one otherwise. They wait for somebody (New);
// one that was parked is parked again where it finds something to wait behind. Letters that are
// known, in whatever state, are left alone. It returns the ids of the others.
//
// At most MaxImport letters; what is not open (settled where it came from) must not be among them.
func (d *Desk) Import(ctx context.Context, service string, list []*Letter, reason string) (added []string, err error) {
	marks := d.marks[service]
	if marks == nil {
		return nil, fmt.Errorf("import %s: the rows of service %s are not in this database", plural.Of(len(list), "letter", "letters"), service)
	}
	var orders []event.OrderID
	batch := make([]*entry, len(list))
	for i, l := range list {
		batch[i] = &entry{letter: *l}
		if l.OrderID != "" {
			orders = append(orders, event.OrderID(l.OrderID))
		}
	}
	err = marks.Hold(ctx, orders, func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error {
		known, err := knownLetters(ctx, tx, batch)
		if err != nil {
			return err
		}
		var w appendWrite
		var ids, edited outbox.UUIDArray
		var originals outbox.ByteaArray
		for _, e := range batch {
			l := e.letter
			if known[l.ID] {
				continue
			}
			waits := l.OrderID != "" && marked[event.OrderID(l.OrderID)]
			status := New
			switch {
			case l.Status == Parked && waits:
				status = Parked
			case l.Status == Parked: // what it waited behind is not here
				l.Describe(errAlone)
			}
			known[l.ID], l.Status = true, status
			if !waits { // the lane of a marked order is there, and may be about to go on
				w.lane(&l)
			}
			if l.OrderID != "" {
				marked[event.OrderID(l.OrderID)] = true
			}
			w.letter(&l, status)
			ids = append(ids, l.ID)
			if l.Before != nil {
				edited, originals = append(edited, l.ID), append(originals, l.Before)
			}
		}
		added = ids
		if err := w.run(ctx, tx, service); err != nil {
			return err
		}
		if len(edited) > 0 {
			if _, err := tx.ExecContext(ctx, noteOriginals, edited, originals); err != nil {
				return fmt.Errorf("note the original bodies of %d letters: %w", len(edited), err)
			}
		}
		if len(ids) == 0 {
			return nil
		}
		if _, err := tx.ExecContext(ctx, noteImported, ids, d.who, reason); err != nil {
			return fmt.Errorf("note that %d letters were imported: %w", len(ids), err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("import %s of %s: %w", plural.Of(len(list), "letter", "letters"), service, err)
	}
	return added, nil
}

// aloneError is the error of a letter that had not failed.
type aloneError struct{}

// Error says where it comes from.
func (aloneError) Error() string {
	return "it was parked behind a letter when it was exported, and nothing is there to wait behind"
}

var errAlone = aloneError{}
