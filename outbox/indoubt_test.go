package outbox

import (
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
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
			if n := f.row(t, id).N; n != 1 || !slices.Equal(f.attempts(), []int{1}) {
				t.Errorf("answered %d times, attempts %v, want the first alone", n, f.attempts())
			}
			eventually(t, func() bool { return e.slots.free() == e.slots.most })
		})
	}
}
