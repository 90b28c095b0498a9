package outbox

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"

	"millrace/event"
)

// apart is an executor that finds nothing in the table: what it performs was handed to it.
func (f *effects) apart(t *testing.T) *Executor[basket] {
	t.Helper()
	e := f.executor(f.answer, ExecutorOptions[basket]{})
	nowhere, err := sql.Open("postgres", "host=/nowhere")
	need(t, err)
	t.Cleanup(func() { _ = nowhere.Close() })
	e.waits.polls.db = nowhere
	f.store.StartEffects(e)
	runExecutor(t, e)
	eventually(t, func() bool { return places(e) > 0 })
	return e
}

// due tells whether the one wait in the table is due, on the database's clock.
func (f *effects) due(t *testing.T) (due bool) {
	t.Helper()
	need(t, f.db.QueryRow(`SELECT since <= clock_timestamp() FROM millrace.waits`).Scan(&due))
	return due
}

func TestAWaitClaimedAheadIsPerformedWhenItIsDue(t *testing.T) {
	f := newEffects(t)
	e := f.apart(t)
	e.perform = func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		if !f.due(t) {
			t.Error("the call was made before it was due")
		}
		return f.answer(ctx, b, step, attempt)
	}
	id := f.place(t, "ship@300ms")
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if n := f.row(t, id).N; n != 1 || !slices.Equal(f.attempts(), []int{1}) {
		t.Errorf("answered %d times, attempts %v, want the first alone", n, f.attempts())
	}
	eventually(t, func() bool { return e.slots.free() == e.slots.most })
}

func TestAWaitThatBeganAnewIsAnotherOne(t *testing.T) {
	f := newEffects(t)
	e := f.apart(t)
	set := func(id event.OrderID, steps ...string) {
		need(t, f.store.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) { b.Steps = steps; return nil, nil }))
	}
	e.perform = func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		if !f.due(t) {
			t.Error("the call was made when the wait that had ended was due")
		}
		return f.answer(ctx, b, step, attempt)
	}
	// Long enough that it has ended before it is due on a slow machine as well: once it had been
	// answered, the new wait's first answer would count as given, and its second call, after the
	// pause, is found in the table alone, where this executor does not look.
	id := f.place(t, "ship@2s")
	set(id)
	set(id, "ship@3s")
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if got := f.attempts(); len(got) != 1 {
		t.Errorf("attempts %v, want one", got)
	}
	eventually(t, func() bool { return e.slots.free() == e.slots.most })
}

// Whoever dies with claims of waits that are not yet due leaves them to the others: they are
// neither lost nor early.
func TestWaitsClaimedAheadByTheDeadAreTakenOver(t *testing.T) {
	f := newEffects(t)
	e := f.executor(f.answer, ExecutorOptions[basket]{})
	f.store.StartEffects(e)
	stop := runExecutor(t, e)
	eventually(t, func() bool { return places(e) > 0 })
	f.place(t, "ship@2s")
	stop()
	next := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		if !f.due(t) {
			t.Error("the call was made before it was due")
		}
		return f.answer(ctx, b, step, attempt)
	}, ExecutorOptions[basket]{})
	runExecutor(t, next)
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if got := f.attempts(); !slices.Equal(got, []int{2}) {
		t.Errorf("attempts %v, want the second alone", got)
	}
}

func TestClaimsAheadOutlastAnOutage(t *testing.T) {
	f := newEffects(t)
	e := f.apart(t)
	id := f.place(t, "ship@100ms")
	_, err := f.db.Exec("ALTER TABLE millrace.waits RENAME TO away")
	need(t, err)
	pause(t.Context(), 3*pollWaits, nil)
	_, err = f.db.Exec("ALTER TABLE millrace.away RENAME TO waits")
	need(t, err)
	eventually(t, func() bool { return f.row(t, id).N == 1 })
	eventually(t, func() bool { return e.slots.free() == e.slots.most })
}

func TestWhatIsLeftToTheTable(t *testing.T) {
	f := newEffects(t)
	e := f.executor(f.answer, ExecutorOptions[basket]{})
	f.store.StartEffects(e)
	e.slots.open()
	e.calls = t.Context()
	f.place(t, "ship@10s", "deadline@10s", "late@1h")
	var ahead string
	need(t, f.db.QueryRow(`SELECT string_agg(step, ' ') FROM millrace.waits WHERE holder IS NOT NULL AND attempt = 1 AND due_at = since + interval '30 s'`).Scan(&ahead))
	if ahead != "ship" {
		t.Errorf("claimed ahead: %q, want ship alone", ahead)
	}
	e.ahead.add(make([]Claim[basket], maxAhead))
	if n := e.Ahead(); n != 0 {
		t.Errorf("%d more may be claimed ahead, beyond the bound", n)
	}
	// A claim whose lease may end before its call does is not called.
	e.ahead.due(e.clock.now())
	e.ahead.add([]Claim[basket]{{OrderID: newOrder(), Step: "ship", Since: e.clock.now().Add(-e.lease)}})
	e.waits.stmts = nil // it is not even looked for
	e.startAhead()
	e.slots.calls.Wait()
	if len(f.attempts()) > 0 || e.slots.free() != e.slots.most {
		t.Errorf("%d calls, %d of %d places free", len(f.attempts()), e.slots.free(), e.slots.most)
	}
}

// The answer to the COMMIT that claimed a wait ahead gets lost.
func TestAWaitIsPerformedThoughTheAnswerToItsCommitGotLost(t *testing.T) {
	for name, committed := range map[string]bool{"it had committed": true, "it had not": false} {
		t.Run(name, func(t *testing.T) {
			f := newEffects(t)
			e := f.apart(t)
			lost := false
			f.store.backend = faulty{f.store.backend, func(do func() error) error {
				switch {
				case lost:
					return do()
				case committed:
					lost = true
					return errors.Join(do(), errors.New("connection reset"))
				default:
					lost = true
					return errors.New("connection reset")
				}
			}}
			id := f.place(t, "ship@50ms")
			eventually(t, func() bool { return f.waiting(t) == 0 })
			if n := f.row(t, id).N; n != 1 || len(f.attempts()) != 1 {
				t.Errorf("answered %d times, attempts %v, want one", n, f.attempts())
			}
			eventually(t, func() bool { return e.slots.free() == e.slots.most })
		})
	}
}
