package deadletter

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"millrace/deadletter/filter"
	"millrace/event"
)

// A message that only waited, and in its turn meets trouble that may pass, holds its order up: whoever looks sees it, and why.
func TestWhatHoldsAnOrderUpIsALetter(t *testing.T) {
	db := database(t)
	var first, second atomic.Bool
	m := messages(newOrder(), 3)
	r := newReplica(t, db, "replica", func(_ context.Context, l Letter, redriven bool, update func() error) error {
		switch {
		case l.ID == m[0].ID && !first.Load():
			return errors.New("boom")
		case l.ID == m[1].ID && redriven && !second.Load():
			return context.DeadlineExceeded
		}
		return update()
	}, Options{}).start(t)
	desk := r.desk()
	r.must(t, New, m[0])
	r.must(t, Parked, m[1:]...)
	first.Store(true)
	if _, err := desk.Redrive(t.Context(), []string{m[0].ID}, "mended"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "somebody can see what holds the order up", func() bool {
		groups, err := desk.Groups(t.Context(), filter.Condition{SQL: open})
		if err != nil {
			t.Fatal(err)
		}
		return len(groups) == 1 && groups[0].Letters == 1 && groups[0].Orders == 1 && groups[0].Behind == 1 && groups[0].Error == context.DeadlineExceeded.Error()
	})
	l, err := desk.Find(t.Context(), m[1].ID)
	if err != nil || l.Status != Retrying || l.Attempts == 0 || l.RetryAt.Before(l.LastFailed) {
		t.Errorf("the letter is %+v, %v", l, err)
	}
	second.Store(true)
	settled(t, db)
	if seen := r.seen(t, event.OrderID(m[0].OrderID)); len(seen) != len(m) {
		t.Errorf("seen %v", seen)
	}
	if left := number(t, db, "SELECT count(*) FROM deadletter.letters"); left != 1 {
		t.Errorf("%d letters are kept: what got through by itself is none", left)
	}
}
