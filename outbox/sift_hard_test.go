package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/event"
)

// siftPatience is how long an answer may take in these tests: many times what it takes.
const siftPatience = time.Minute

// paid are causes of one kind.
func paid(ctx context.Context) context.Context {
	return event.WithCause(ctx, event.Cause{ID: uuid.NewString(), CorrelationID: "corr", Type: "OrderPaid"})
}

// note only says something.
func note(text string) func(*basket) ([]event.Event, error) {
	return func(b *basket) ([]event.Event, error) { b.Note += text; return nil, nil }
}

// answered waits for the answers: those updates are refused that are said to be, and no others.
func (q *together) answered(refused func(i int) bool) {
	q.t.Helper()
	end := time.After(siftPatience)
	for i, answer := range q.answers {
		select {
		case err := <-answer:
			var r *RefusedError
			if errors.As(err, &r) != refused(i) || err != nil && r == nil {
				q.t.Errorf("update %d: %v", i, err)
			}
		case <-end:
			q.t.Fatalf("update %d has no answer after %v", i, siftPatience)
		}
	}
}

// atMost fails the test if more transactions were begun.
func (b *begun) atMost(t *testing.T, transactions int64) {
	t.Helper()
	if n := b.optimistic.Load() + b.locking.Load(); n > transactions {
		t.Errorf("%d transactions, want %d at most", n, transactions)
	}
}

// What no text can hold would have the whole question refused.
func TestWhatNoTextCanHoldIsSifted(t *testing.T) {
	for name, bad := range map[string]string{"NUL": "a\x00b", "no UTF-8": "a\xff"} {
		t.Run(name, func(t *testing.T) {
			store := NewPostgres(withRefusals(t), basketTable, Options{})
			begun := &begun{backend: store.backend}
			store.backend = begun
			q := &together{t: t, store: store}
			const orders, most = 100, 12
			for i := range orders {
				text := []string{bad, "fine"}[i%2]
				q.update(func() error { return store.Update(paid(t.Context()), newOrder(), note(text)) })
			}
			start(t, store)
			q.answered(func(i int) bool { return i%2 == 0 })
			begun.atMost(t, most)
		})
	}
}

// An order with very many updates in a batch does not cost a transaction for each.
func TestManyUpdatesOfOneOrderAreHalved(t *testing.T) {
	store := NewPostgres(withRefusals(t), basketTable, Options{})
	begun := &begun{backend: store.backend}
	store.backend = begun
	q := &together{t: t, store: store}
	const updates, guilty, most = 200, 100, 25
	id := newOrder()
	for i := range updates {
		text := "fine"
		if i == guilty {
			text = refusedNote
		}
		q.update(func() error { return store.Update(paid(t.Context()), id, note(text)) })
	}
	start(t, store)
	q.answered(func(i int) bool { return i == guilty })
	begun.atMost(t, most)
}

// A batch that just fits its limit does not fit it when the database is asked as well.
func TestABatchThatTakesTooLongIsHalved(t *testing.T) {
	t.Parallel()
	db := withRefusals(t)
	_, err := db.ExecContext(t.Context(), `CREATE FUNCTION basket.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.006); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON basket.rows FOR EACH ROW EXECUTE FUNCTION basket.slow();`)
	need(t, err)
	store := NewPostgres(db, basketTable, Options{Logger: slog.New(slog.DiscardHandler)})
	q := &together{t: t, store: store}
	const orders, guilty = 450, 7
	for i := range orders {
		text := "fine"
		if i == guilty {
			text = refusedNote
		}
		q.update(func() error { return store.Update(paid(t.Context()), newOrder(), note(text)) })
	}
	start(t, store)
	q.answered(func(i int) bool { return i == guilty })
}

// In a flood somebody holds rows that many of the suspects write: others get through nevertheless.
func TestASiftDoesNotWaitForEachHeldRow(t *testing.T) {
	t.Parallel()
	db := withRefusals(t)
	store := NewPostgres(db, basketTable, Options{Logger: slog.New(slog.DiscardHandler)})
	gate := &gated{backend: store.backend}
	store.backend = gate
	start(t, store)
	const orders = 60
	ids := make([]event.OrderID, orders)
	for i := range ids {
		ids[i] = newOrder()
		need(t, store.Update(fresh(t.Context()), ids[i], noting("a")))
	}
	for range 2 * floodShare {
		if err := store.Update(paid(t.Context()), newOrder(), note(refusedNote)); !IsRefused(err) {
			t.Fatal(err)
		}
	}
	tx, err := db.BeginTx(t.Context(), nil)
	need(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(t.Context(), "SELECT FROM millrace.waits FOR UPDATE")
	need(t, err)
	gate.Lock()
	decoy := make(chan error, 1)
	go func() { decoy <- store.Update(fresh(t.Context()), newOrder(), note("decoy")) }()
	eventually(t, func() bool { return gate.waiting.Load() == 1 })
	q := &together{t: t, store: store}
	for _, id := range ids {
		q.update(func() error {
			return store.Update(paid(t.Context()), id, func(b *basket) ([]event.Event, error) { b.Steps = nil; return nil, nil })
		})
	}
	q.update(func() error { return store.Update(fresh(t.Context()), newOrder(), note("other")) })
	other := &together{t: t, answers: q.answers[orders:]}
	q.answers = q.answers[:orders]
	gate.Unlock()
	need(t, <-decoy)
	none := func(int) bool { return false }
	other.answered(none)
	need(t, tx.Rollback())
	q.answered(none)
}

// An error that may pass, and comes up while the refused ones are looked for, is nobody's refusal: all is done again.
func TestWhatMayPassIsNoRefusal(t *testing.T) {
	const tired, often = "tired", 2
	db := withRefusals(t)
	_, err := db.ExecContext(t.Context(), fmt.Sprintf(`CREATE SEQUENCE basket.tries;
CREATE FUNCTION basket.tire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF nextval('basket.tries') <= %d THEN RAISE 'no' USING ERRCODE = 'serialization_failure'; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER tires BEFORE INSERT OR UPDATE ON basket.rows FOR EACH ROW WHEN (concat(NEW.state, NEW.note) LIKE '%%%s%%') EXECUTE FUNCTION basket.tire()`, often, tired))
	need(t, err)
	store := NewPostgres(db, basketTable, Options{Logger: slog.New(slog.DiscardHandler)})
	q := &together{t: t, store: store}
	ids := []event.OrderID{newOrder(), newOrder(), newOrder()}
	slices.Sort(ids) // as they are written: the refused one is met before the tired one
	for i, text := range []string{refusedNote, tired, "fine"} {
		q.update(func() error { return store.Update(paid(t.Context()), ids[i], note(text)) })
	}
	start(t, store)
	q.answered(func(i int) bool { return i == 0 })
	var tries int
	need(t, db.QueryRowContext(t.Context(), "SELECT last_value FROM basket.tries").Scan(&tries))
	if tries <= often {
		t.Errorf("%d tries: nothing was in the way", tries)
	}
}

// Where the function is not there, or this role may not call it, nobody waits for ever.
func TestWithoutTheFunctionTheGuiltyAreFoundByHalving(t *testing.T) {
	db := withRefusals(t)
	_, err := db.ExecContext(t.Context(), "DROP FUNCTION millrace.refusals")
	need(t, err)
	store := NewPostgres(db, basketTable, Options{})
	q := &together{t: t, store: store}
	const orders = 10
	for i := range orders {
		text := []string{refusedNote, "fine"}[i%2]
		q.update(func() error { return store.Update(paid(t.Context()), newOrder(), note(text)) })
	}
	start(t, store)
	q.answered(func(i int) bool { return i%2 == 0 })
}
