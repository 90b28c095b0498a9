package outbox

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"millrace/event"
)

// The answer to the COMMIT that claimed an effect gets lost: the call is made all the same, at
// once and not when the claim's lease is over, and nothing is called that was not committed.
func TestAnEffectStartsThoughTheAnswerToItsCommitGotLost(t *testing.T) {
	for name, committed := range map[string]bool{"it had committed": true, "it had not": false} {
		t.Run(name, func(t *testing.T) {
			f := &effects{db: migrated(t), calls: map[string]int{}}
			table := basketTable
			table.Waits = stepsOf
			f.store = NewPostgres(f.db, table, Options{Logger: slog.New(slog.DiscardHandler)})
			var lost atomic.Bool
			f.store.backend = faulty{f.store.backend, func(do func() error) error {
				if lost.Swap(true) {
					return do()
				}
				if committed {
					return errors.Join(do(), errors.New("connection reset"))
				}
				return errors.New("connection reset")
			}}
			e := f.executor(f.answer, ExecutorOptions[basket]{})
			f.store.StartEffects(e)
			start(t, f.store)
			runExecutor(t, e)
			eventually(t, func() bool { return places(e) > 0 })
			id := f.place(t, "charge")
			eventually(t, func() bool { return f.waiting(t) == 0 })
			if n := f.row(t, id).N; n != 1 || len(f.attempts()) != 1 {
				t.Errorf("answered %d times, attempts %v, want one", n, f.attempts())
			}
			eventually(t, func() bool { return e.slots.free() == e.slots.most })
		})
	}
}

// An outage that lasts a second must not keep an effect for the half minute of its claim's lease:
// that is as long as a payment's deadline with the simulated provider.
func TestAnEffectIsDueAgainSoonAfterAnOutage(t *testing.T) {
	f := newEffects(t)
	away, back := make(chan struct{}), make(chan struct{})
	e := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		if attempt == 1 {
			close(away)
			<-back
			return nil, errors.New("no answer")
		}
		return f.answer(ctx, b, step, attempt)
	}, ExecutorOptions[basket]{})
	f.store.StartEffects(e)
	runExecutor(t, e)
	eventually(t, func() bool { return places(e) > 0 })
	id := f.place(t, "charge")
	<-away
	_, err := f.db.Exec("ALTER TABLE millrace.waits RENAME TO away")
	need(t, err)
	close(back)
	pause(t.Context(), 4*firstRetry, nil)
	_, err = f.db.Exec("ALTER TABLE millrace.away RENAME TO waits")
	need(t, err)
	began := time.Now()
	eventually(t, func() bool { return f.row(t, id).N == 1 })
	if took := time.Since(began); took > claimLease/2 || !slices.Equal(f.attempts(), []int{2}) {
		t.Errorf("attempts %v after %s", f.attempts(), took)
	}
}
