package outbox

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"millrace/event"
)

func TestMarksAreFound(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	marks, first, second, free := NewMarks(db, s), newOrder(), newOrder(), newOrder()
	setMark(t, marks, first, true)
	setMark(t, marks, second, true)
	must(t, s.Update(heard(t.Context()), free, count))
	got, err := marks.Marked(t.Context())
	if err != nil || !slices.Equal(got, []event.OrderID{first, second}) {
		t.Errorf("marked %v, %v; want %v", got, err, []event.OrderID{first, second})
	}
}

// Each message is asked of its own order; one that nobody has heard of has processed nothing.
func TestWhatWasProcessedIsKnown(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	marks, id, other := NewMarks(db, s), newOrder(), newOrder()
	ctx := heard(t.Context())
	message := event.CauseFrom(ctx).ID
	must(t, s.Update(ctx, id, count))
	must(t, s.Update(heard(t.Context()), other, count))
	got, err := marks.Processed(t.Context(), db, []event.OrderID{other, id, id, newOrder()}, []string{message, uuid.NewString(), message, message})
	if err != nil || !slices.Equal(got, []bool{false, false, true, false}) {
		t.Errorf("processed %v, %v", got, err)
	}
	if got, err := marks.Processed(t.Context(), db, nil, nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}
