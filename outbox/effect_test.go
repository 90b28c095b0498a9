package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/event"
)

// effects is a basket service whose rows wait for the steps they name: "charge" at once,
// "deadline@50ms" later.
type effects struct {
	db    *sql.DB
	store *Store[basket, level]

	mu    sync.Mutex
	calls map[string]int // order/step/attempt: how often
	order []int          // attempts in the order they were made
}

func newEffects(t *testing.T) *effects {
	t.Helper()
	f := &effects{db: migrated(t), calls: map[string]int{}}
	table := basketTable
	table.Waits = stepsOf
	f.store = NewPostgres(f.db, table, Options{Logger: slog.New(slog.DiscardHandler)})
	start(t, f.store)
	return f
}

func stepsOf(b *basket) (waits []event.Wait) {
	for _, s := range b.Steps {
		step, after, _ := strings.Cut(s, "@")
		d, _ := time.ParseDuration(after)
		waits = append(waits, event.Wait{Step: step, After: d})
	}
	return waits
}

// place makes an order that waits for steps.
func (f *effects) place(t *testing.T, steps ...string) event.OrderID {
	t.Helper()
	id := newOrder()
	need(t, f.store.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) {
		b.Steps = steps
		return nil, nil
	}))
	return id
}

// done is the answer that ends a step.
func done(step string) func(*basket) ([]event.Event, error) {
	return func(b *basket) ([]event.Event, error) {
		b.N++
		b.Steps = slices.DeleteFunc(slices.Clone(b.Steps), func(s string) bool { return s == step || strings.HasPrefix(s, step+"@") })
		return nil, nil
	}
}

// answer is a Perform that always knows the answer.
func (f *effects) answer(_ context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
	f.called(b.ID, step, attempt)
	return done(step), nil
}

func (f *effects) called(id event.OrderID, step string, attempt int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[fmt.Sprintf("%s/%s/%d", id, step, attempt)]++
	f.order = append(f.order, attempt)
}

func (f *effects) attempts() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

// executor is one with short pauses; it does not run yet.
func (f *effects) executor(perform Perform[basket], opts ExecutorOptions[basket]) *Executor[basket] {
	opts.Waits, opts.Logger = stepsOf, slog.New(slog.DiscardHandler)
	e := NewExecutor(f.db, "basket", f.store.LoadAll, f.store.UpdateExisting, perform, opts)
	e.firstRetry, e.lastRetry = time.Millisecond, 20*time.Millisecond
	return e
}

func runExecutor(t *testing.T, e *Executor[basket]) (stop func()) {
	t.Helper()
	return background(t, func(ctx context.Context) { _ = e.Run(ctx) })
}

// places is how many new effects could start now.
func places(e *Executor[basket]) int {
	n := e.Reserve(1000)
	e.Unreserve(n)
	return n
}

func (f *effects) waiting(t *testing.T) (n int) {
	t.Helper()
	need(t, f.db.QueryRow(`SELECT count(*) FROM millrace.waits`).Scan(&n))
	return n
}

func (f *effects) row(t *testing.T, id event.OrderID) basket {
	t.Helper()
	row, ok, err := f.store.Load(t.Context(), id)
	need(t, err)
	if !ok {
		t.Fatalf("order %s has no row", id)
	}
	return row
}

func TestAnEffectStartsWithTheCommitThatMadeItDue(t *testing.T) {
	f := newEffects(t)
	e := f.executor(f.answer, ExecutorOptions[basket]{})
	nowhere, err := sql.Open("postgres", "host=/nowhere")
	need(t, err)
	defer nowhere.Close()
	e.waits.polls.db = nowhere // so that nothing is found in the table
	f.store.StartEffects(e)
	runExecutor(t, e)
	eventually(t, func() bool { return places(e) > 0 })
	id := f.place(t, "charge")
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if n := f.row(t, id).N; n != 1 {
		t.Errorf("answered %d times, want once", n)
	}
	if got := f.attempts(); !slices.Equal(got, []int{1}) {
		t.Errorf("attempts %v, want 1 alone", got)
	}
}

func TestTwoExecutorsNeverMakeTheSameAttempt(t *testing.T) {
	f := newEffects(t)
	const orders = 300
	for range 2 {
		runExecutor(t, f.executor(f.answer, ExecutorOptions[basket]{Concurrency: 16}))
	}
	var group sync.WaitGroup
	ids := make(chan event.OrderID, orders)
	for range orders {
		group.Go(func() { ids <- f.place(t, "charge") })
	}
	group.Wait()
	close(ids)
	eventually(t, func() bool { return f.waiting(t) == 0 })
	for id := range ids {
		if n := f.row(t, id).N; n != 1 {
			t.Errorf("order %s was answered %d times", id, n)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) != orders {
		t.Errorf("%d different attempts for %d orders", len(f.calls), orders)
	}
	for call, n := range f.calls {
		if n != 1 {
			t.Errorf("%s was made %d times", call, n)
		}
	}
}

func TestACrashedExecutorsClaimIsTakenOver(t *testing.T) {
	f := newEffects(t)
	id := f.place(t, "charge")
	crashed := f.executor(f.answer, ExecutorOptions[basket]{})
	list, _, err := crashed.waits.claim(t.Context(), 10, 300*time.Millisecond, time.Now(), always)
	need(t, err)
	if len(list) != 1 || list[0].attempt != 1 {
		t.Fatalf("claimed %v, want the first attempt", list)
	}
	runExecutor(t, f.executor(f.answer, ExecutorOptions[basket]{}))
	eventually(t, func() bool { return f.row(t, id).N == 1 })
	if got := f.attempts(); !slices.Equal(got, []int{2}) {
		t.Errorf("attempts %v, want the second alone", got)
	}
}

func TestAStepIsAskedForUntilTheAnswerIsStored(t *testing.T) {
	f := newEffects(t)
	var lost atomic.Int64
	e := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		change, err := f.answer(ctx, b, step, attempt)
		switch attempt {
		case 1:
			return nil, errors.New("timeout")
		case 2:
			panic("a bug in the gateway")
		case 3:
			return nil, nil
		case 4: // answered, but the row goes on waiting
			return func(*basket) ([]event.Event, error) { return nil, nil }, nil
		}
		return change, err
	}, ExecutorOptions[basket]{})
	update := e.update
	e.update = func(ctx context.Context, id event.OrderID, change func(*basket) ([]event.Event, error)) error {
		if len(f.attempts()) == 5 {
			lost.Add(1)
			return errors.New("the database is down")
		}
		return update(ctx, id, change)
	}
	runExecutor(t, e)
	id := f.place(t, "charge")
	eventually(t, func() bool { return f.waiting(t) == 0 })
	if got := f.attempts(); !slices.Equal(got, []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("attempts %v, want 1 to 6", got)
	}
	if lost.Load() != 1 || f.row(t, id).N != 1 {
		t.Errorf("%d answers lost, %d stored; want one of each", lost.Load(), f.row(t, id).N)
	}
}

func TestAnAnswerNobodyWaitsForIsDropped(t *testing.T) {
	f := newEffects(t)
	called, goOn := make(chan struct{}), make(chan struct{})
	runExecutor(t, f.executor(func(context.Context, basket, string, int) (func(*basket) ([]event.Event, error), error) {
		close(called)
		<-goOn
		return done("charge"), nil
	}, ExecutorOptions[basket]{}))
	id := f.place(t, "charge")
	<-called
	need(t, f.store.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) { b.Steps, b.Note = nil, "cancelled"; return nil, nil }))
	close(goOn)
	var n int
	eventually(t, func() bool {
		need(t, f.db.QueryRow(`SELECT cardinality(processed) FROM basket.rows`).Scan(&n))
		return n == 3 // placed, cancelled, answered
	})
	if row := f.row(t, id); row.N != 0 || row.Note != "cancelled" {
		t.Errorf("the late answer changed the row: %+v", row)
	}
}

func TestAWaitWithoutARowIsForgotten(t *testing.T) {
	f := newEffects(t)
	_, err := f.db.Exec(`INSERT INTO millrace.waits (service, order_id, step, due_at, since) VALUES
		('basket', gen_random_uuid(), 'charge', now(), now()), ('other', gen_random_uuid(), 'charge', now(), now())`)
	need(t, err)
	runExecutor(t, f.executor(f.answer, ExecutorOptions[basket]{}))
	eventually(t, func() bool { return f.waiting(t) == 1 }) // the other service's stays
	if len(f.attempts()) > 0 {
		t.Error("a call was made for an order nobody knows")
	}
}

func TestASlowCallHoldsUpNobodyAndCallsAreBounded(t *testing.T) {
	f := newEffects(t)
	const most = 4
	slow := make(chan struct{})
	defer close(slow)
	var first, inFlight, highest atomic.Int64
	e := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
		}
		if first.Add(1) == 1 {
			select {
			case <-slow:
			case <-ctx.Done():
			}
			return nil, errors.New("slow")
		}
		return f.answer(ctx, b, step, attempt)
	}, ExecutorOptions[basket]{Concurrency: most})
	f.store.StartEffects(e)
	runExecutor(t, e)
	var group sync.WaitGroup
	const orders = 60
	for range orders {
		group.Go(func() { f.place(t, "charge") })
	}
	group.Wait()
	eventually(t, func() bool { return f.waiting(t) == 1 })
	if h := highest.Load(); h > most {
		t.Errorf("%d calls at once, want at most %d", h, most)
	}
	if n := places(e); n > most-2 { // one is in use, and one is left for waits found in the table
		t.Errorf("%d places for new effects with one call in flight, of %d in all", n, most)
	}
}

func TestAnExecutorThatStopsFinishesWhatItCan(t *testing.T) {
	f := newEffects(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
	called, goOn := make(chan struct{}), make(chan struct{})
	e := f.executor(func(ctx context.Context, b basket, step string, attempt int) (func(*basket) ([]event.Event, error), error) {
		close(called)
		<-goOn
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return f.answer(ctx, b, step, attempt)
	}, ExecutorOptions[basket]{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = e.Run(ctx) }()
	id := f.place(t, "charge")
	<-called
	cancel()
	eventually(t, func() bool { return places(e) == 0 })
	close(goOn)
	<-stopped
	if f.row(t, id).N != 1 {
		t.Error("a call in flight was not finished")
	}
}

func TestACallThatIsCutOffIsDueAtOnce(t *testing.T) {
	f := newEffects(t)
	called := make(chan struct{})
	e := f.executor(func(ctx context.Context, _ basket, _ string, _ int) (func(*basket) ([]event.Event, error), error) {
		close(called)
		<-ctx.Done()
		return nil, ctx.Err()
	}, ExecutorOptions[basket]{})
	e.drain = time.Millisecond
	stop := runExecutor(t, e)
	f.place(t, "charge")
	<-called
	stop()
	var due bool
	need(t, f.db.QueryRow(`SELECT due_at <= now() FROM millrace.waits`).Scan(&due))
	if !due {
		t.Error("the next executor has to wait for the end of the lease")
	}
}

type busy struct{ after time.Duration }

func (b busy) Error() string             { return "busy" }
func (b busy) RetryAfter() time.Duration { return b.after }

func TestPausesGrowAndTheOtherSideMayChooseThem(t *testing.T) {
	e := &Executor[basket]{firstRetry: firstAsk, lastRetry: lastAsk}
	for attempt, step := 1, firstAsk; attempt <= 100; attempt++ {
		for range 20 {
			got := e.pauseAfter(attempt, errors.New("any"))
			low, high := step-step/2, step+step/2
			if got < low || got > high+1 {
				t.Fatalf("attempt %d: a pause of %v, want %v to %v", attempt, got, low, high)
			}
		}
		step = min(2*step, lastAsk)
	}
	for _, c := range []struct{ wish, want time.Duration }{
		{3 * time.Second, 3 * time.Second}, {0, firstAsk}, {-time.Second, firstAsk}, {time.Hour, longestAsk},
	} {
		if got := e.pauseAfter(1, fmt.Errorf("charge: %w", busy{c.wish})); got != c.want {
			t.Errorf("RetryAfter %v: a pause of %v, want %v", c.wish, got, c.want)
		}
	}
}
