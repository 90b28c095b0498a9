package outbox

import (
	"context"
	"database/sql"
	"testing"

	"github.com/google/uuid"

	"millrace/event"
)

// beingWritten is an order whose row somebody else has written, and not committed yet.
func beingWritten(t *testing.T, db *sql.DB, s *Store[basket, level]) event.OrderID {
	t.Helper()
	id := newOrder()
	must(t, s.Update(fresh(t.Context()), id, count))
	tx, err := db.Begin()
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	_, err = tx.Exec("UPDATE basket.rows SET updated_at = now() WHERE order_id = $1", string(id))
	must(t, err)
	return id
}

// A batch goes round a row that somebody else has written and not committed yet, as round one that is locked, and does not fail for
// it: another replica's commit may take long.
func TestABatchGoesRoundARowThatIsBeingWritten(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	written, other := beingWritten(t, db, s), newOrder()
	m := func(id event.OrderID) *member[basket, level] {
		return &member[basket, level]{ctx: t.Context(), id: id, create: true, cause: event.Cause{ID: uuid.NewString()}, change: withoutSide[basket, level](count)}
	}
	batch := []*member[basket, level]{m(written), m(other)}
	held, answers, err := s.attempt(t.Context(), batch, lockOptions{})
	must(t, err)
	if len(held) != 1 || held[0] != batch[0] || len(answers) != 1 || answers[0].member != batch[1] || answers[0].err != nil {
		t.Errorf("%d updates found their row held, %d have an answer: %+v", len(held), len(answers), answers)
	}
}

// The same of marks.
func TestMarksGoRoundARowThatIsBeingWritten(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	written, other := beingWritten(t, db, s), newOrder()
	must(t, NewMarks(db, s).TryHold(t.Context(), []event.OrderID{written, other}, func(_ context.Context, _ *sql.Tx, marked map[event.OrderID]bool) error {
		if parked, got := marked[other]; len(marked) != 1 || !got || parked {
			t.Errorf("told of %v, want the other row alone", marked)
		}
		return nil
	}))
}
