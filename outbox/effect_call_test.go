package outbox

import (
	"context"
	"errors"
	"testing"

	"millrace/event"
)

// Whoever gives up waiting for the store reads nothing that the store may still write. Only the race detector sees a fault here.
func TestAnAnswerGivenUpIsNotLookedAt(t *testing.T) {
	gaveUp, later := errors.New("gave up"), make(chan struct{})
	e := &Executor[basket]{
		opts: ExecutorOptions[basket]{Waits: stepsOf},
		update: func(_ context.Context, _ event.OrderID, change func(*basket) ([]event.Event, error)) error {
			go func() {
				defer close(later)
				_, _ = change(&basket{Steps: []string{"charge"}}) // what comes of it is nobody's any more
			}()
			return gaveUp
		},
	}
	if _, err := e.answer(t.Context(), Claim[basket]{Step: "charge"}, done("charge")); !errors.Is(err, gaveUp) {
		t.Errorf("%v, want that it gave up", err)
	}
	<-later
}
