package outbox

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/google/uuid"

	"millrace/event"
)

// heard is a context as a message from the log has it.
func heard(ctx context.Context) context.Context {
	return event.WithCause(ctx, event.Cause{ID: uuid.NewString(), CorrelationID: "corr", Parkable: true})
}

func setMark(t *testing.T, m *Marks, id event.OrderID, parked bool) {
	t.Helper()
	must(t, m.Hold(t.Context(), []event.OrderID{id}, func(_ context.Context, _ *sql.Tx, marked map[event.OrderID]bool) error {
		if marked[id] == parked {
			t.Errorf("the mark of %s is %v already", id, parked)
		}
		marked[id] = parked
		return nil
	}))
}

// Messages of a parked order change nothing; everything else does, as do those of other orders.
func TestOnlyMessagesOfAParkedOrderWait(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	marks := NewMarks(db, s)
	known, unheard, other := newOrder(), newOrder(), newOrder()
	must(t, s.Update(heard(t.Context()), known, count)) // the store has it in memory now
	setMark(t, marks, known, true)
	setMark(t, marks, unheard, true)
	for _, id := range []event.OrderID{known, unheard} {
		for range 2 {
			if err := s.Update(heard(t.Context()), id, count); !errors.Is(err, ErrParked) {
				t.Errorf("a message of a parked order: %v, want ErrParked", err)
			}
		}
		must(t, s.Update(fresh(t.Context()), id, count)) // an answer, a deadline, a redrive
	}
	must(t, s.Update(heard(t.Context()), other, count))
	setMark(t, marks, known, false)
	setMark(t, marks, unheard, false)
	for id, want := range map[event.OrderID]int{known: 3, unheard: 2, other: 1} {
		if id != other {
			must(t, s.Update(heard(t.Context()), id, count))
		}
		if row, _, err := s.Load(t.Context(), id); err != nil || row.N != want {
			t.Errorf("row %+v, %v; want N %d", row, err, want)
		}
	}
}

// A message that was processed is not parked again: it is done.
func TestAProcessedMessageOfAParkedOrderIsDone(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	id, ctx := newOrder(), heard(t.Context())
	must(t, s.Update(ctx, id, count))
	setMark(t, NewMarks(db, s), id, true)
	must(t, s.Update(ctx, id, count))
	if row, _, err := s.Load(t.Context(), id); err != nil || row.N != 1 {
		t.Errorf("row %+v, %v; want N 1", row, err)
	}
}

// What fails while the rows are held leaves no mark.
func TestAMarkCommitsWithWhatItStandsFor(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	marks, id, boom := NewMarks(db, s), newOrder(), errors.New("boom")
	err := marks.Hold(t.Context(), []event.OrderID{id}, func(_ context.Context, _ *sql.Tx, marked map[event.OrderID]bool) error {
		marked[id] = true
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	must(t, s.Update(heard(t.Context()), id, count))
}

// A rehearsal tells what an update would do, and does nothing.
func TestARehearsalChangesNothing(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	id := newOrder()
	ctx, r := Rehearse(fresh(t.Context()))
	must(t, s.Update(ctx, id, count))
	if !r.Asked || r.Processed || !r.Changes() || len(r.Said) != 1 || len(r.Before) != 0 {
		t.Errorf("rehearsal %+v; want one event, on no row", r)
	}
	var rows, events int
	scan(t, db, "SELECT (SELECT count(*) FROM basket.rows), (SELECT count(*) FROM millrace.outbox)", &rows, &events)
	if rows != 0 || events != 0 {
		t.Errorf("%d rows and %d events after a rehearsal", rows, events)
	}
	cause := fresh(t.Context())
	must(t, s.Update(cause, id, count))
	ctx, r = Rehearse(cause)
	must(t, s.Update(ctx, id, count))
	if !r.Processed || r.Changes() {
		t.Errorf("rehearsal %+v of what was processed; want no change", r)
	}
	boom := errors.New("boom")
	ctx, r = Rehearse(fresh(t.Context()))
	if err := s.Update(ctx, id, func(*basket) ([]event.Event, error) { return nil, boom }); !errors.Is(err, boom) || r.Changes() {
		t.Errorf("a rehearsal of what fails: %v, %+v", err, r)
	}
}

// Rows that somebody else holds are gone round; those that are free, or were not there, are held.
func TestTryHoldGoesRoundHeldRows(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	held, free, missing := newOrder(), newOrder(), newOrder()
	for _, id := range []event.OrderID{held, free} {
		must(t, s.Update(fresh(t.Context()), id, count))
	}
	tx, err := db.Begin()
	must(t, err)
	defer tx.Rollback() // nothing was written
	_, err = tx.Exec("SELECT FROM basket.rows WHERE order_id = $1 FOR UPDATE", string(held))
	must(t, err)
	must(t, NewMarks(db, s).TryHold(t.Context(), []event.OrderID{held, free, missing}, func(_ context.Context, _ *sql.Tx, marked map[event.OrderID]bool) error {
		if _, got := marked[held]; got || len(marked) != 2 {
			t.Errorf("held %v, want two rows, not %s", marked, held)
		}
		for id := range marked {
			marked[id] = true
		}
		marked[held] = true // what is not held is not marked either
		return nil
	}))
	for id, want := range map[event.OrderID]bool{free: true, missing: true} {
		if err := s.Update(heard(t.Context()), id, count); errors.Is(err, ErrParked) != want {
			t.Errorf("%s: %v", id, err)
		}
	}
	must(t, tx.Rollback())
	must(t, s.Update(heard(t.Context()), held, count))
}

// An update tells what it came to: that it changed something, or why it did not.
func TestAnUpdateTellsWhatItCameTo(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	id, cause := newOrder(), fresh(t.Context())
	nothing := func(*basket) ([]event.Event, error) { return nil, nil }
	for _, c := range []struct {
		what               string
		ctx                context.Context
		change             func(*basket) ([]event.Event, error)
		changed, processed bool
	}{
		{"nothing, on no row", fresh(t.Context()), nothing, false, false},
		{"a change", cause, count, true, false},
		{"the same again", cause, count, false, true},
		{"nothing, on a row", fresh(t.Context()), nothing, false, false},
	} {
		ctx, o := Observe(c.ctx)
		must(t, s.Update(ctx, id, c.change))
		if !o.Asked() || o.Changed() != c.changed || o.Processed() != c.processed {
			t.Errorf("%s: changed %v, processed %v; want %v, %v", c.what, o.Changed(), o.Processed(), c.changed, c.processed)
		}
	}
	ctx, r := Rehearse(fresh(t.Context()))
	must(t, s.Update(ctx, newOrder(), nothing))
	if r.Changes() {
		t.Errorf("rehearsal %+v of an update that puts nothing into an empty row", r)
	}
	if _, o := Observe(t.Context()); o.Asked() {
		t.Error("asked, though nobody was")
	}
}

// What a row from memory says was processed may have been taken back since, by another process.
func TestAMessageTakenBackIsProcessedAgain(t *testing.T) {
	db := migrated(t)
	s, other := NewPostgres(db, basketTable, Options{}), NewPostgres(db, basketTable, Options{})
	start(t, s)
	id, ctx := newOrder(), fresh(t.Context())
	must(t, s.Update(ctx, id, count))
	must(t, NewMarks(db, other).Hold(t.Context(), []event.OrderID{id}, func(hold context.Context, tx *sql.Tx, _ map[event.OrderID]bool) error {
		for _, want := range []bool{true, false} {
			if changed, err := NewMarks(db, other).SetProcessed(hold, tx, id, event.CauseFrom(ctx).ID, false); err != nil || changed != want {
				t.Errorf("taken back: %v, %v; want %v", changed, err, want)
			}
		}
		return nil
	}))
	must(t, s.Update(ctx, id, count))
	if row, _, err := s.Load(t.Context(), id); err != nil || row.N != 2 {
		t.Errorf("row %+v, %v; want N 2", row, err)
	}
}
