package outbox

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/event"
)

// refusedNote is what the database of these tests refuses to have in a row, there or in a step.
const refusedNote = "refused"

func withRefusals(t *testing.T) *sql.DB {
	t.Helper()
	db := migrated(t)
	_, err := db.ExecContext(t.Context(), `ALTER TABLE basket.rows ADD CONSTRAINT no_such_note CHECK (concat(state, note) NOT LIKE '%`+refusedNote+`%')`)
	need(t, err)
	return db
}

// together queues updates before the store runs: they come as one batch, in this order.
type together struct {
	t       *testing.T
	store   *Store[basket, level]
	answers []chan error
}

func (q *together) update(do func() error) {
	q.t.Helper()
	answer := make(chan error, 1)
	q.answers = append(q.answers, answer)
	go func() { answer <- do() }()
	eventually(q.t, func() bool {
		q.store.mu.Lock()
		defer q.store.mu.Unlock()
		return len(q.store.queue) == len(q.answers)
	})
}

// noting is count, and a note; it keeps what the notes were in the order they came.
func noting(note string) func(*basket) ([]event.Event, error) {
	return func(b *basket) ([]event.Event, error) {
		b.Note = note
		b.Steps = append(slices.Clone(b.Steps), "after "+note+"@1h")
		return count(b)
	}
}

// Many guilty updates among good ones: each gets its own answer, the good ones take effect once and in
// their order, with all that belongs to them; and it takes a few transactions, not some for each.
func TestManyRefusedUpdatesCostTheOthersLittle(t *testing.T) {
	db := withRefusals(t)
	store := NewPostgres(db, basketTable, Options{})
	begun := &begun{backend: store.backend}
	store.backend = begun
	q := &together{t: t, store: store}
	const orders, stock, most = 100, 1000, 12
	errOwn := errors.New("no")
	ids := make([]event.OrderID, orders)
	q.update(func() error {
		return store.UpdateSide(fresh(t.Context()), []string{"MUG"}, func(side map[string]*level) error {
			side["MUG"].Available = stock
			return nil
		})
	})
	take := func(note string) func(*basket, map[string]*level) ([]event.Event, error) {
		return func(b *basket, side map[string]*level) ([]event.Event, error) {
			side["MUG"].Available--
			side["MUG"].Taken++
			return noting(note)(b)
		}
	}
	mug := func(*basket) []string { return []string{"MUG"} }
	for i := range ids {
		ids[i] = newOrder()
	}
	repeated := uuid.NewString()
	paidBy := func(id string) context.Context { // the refused are of one type, and so are some of the others
		return event.WithCause(t.Context(), event.Cause{ID: id, CorrelationID: "corr", Type: "OrderPaid"})
	}
	paid := func() context.Context { return paidBy(uuid.NewString()) }
	for i, id := range ids {
		q.update(func() error { return store.UpdateWith(fresh(t.Context()), id, mug, take("a")) })
		switch i % 4 {
		case 0:
			q.update(func() error { return store.UpdateWith(paid(), id, mug, take(refusedNote)) })
		case 1:
			q.update(func() error { return store.Update(paid(), id, noting(refusedNote)) })
		case 2:
			q.update(func() error {
				return store.Update(fresh(t.Context()), id, func(*basket) ([]event.Event, error) { return nil, errOwn })
			})
		default:
			q.update(func() error { return store.Update(paidBy(repeated), id, noting("twice")) })
			q.update(func() error { return store.Update(paidBy(repeated), id, noting("twice")) })
		}
		because := fresh(t.Context())
		if i%10 == 0 {
			because = paid()
		}
		q.update(func() error { return store.Update(because, id, noting("z")) })
	}
	start(t, store)
	got := map[string]int{}
	for _, answer := range q.answers {
		err := <-answer
		var refused *RefusedError
		switch {
		case err == nil:
			got["done"]++
		case errors.As(err, &refused):
			got["refused"]++
		case errors.Is(err, errOwn):
			got["own"]++
		default:
			t.Error(err)
		}
	}
	if got["refused"] != orders/2 || got["own"] != orders/4 || got["done"] != 1+2*orders+orders/2 {
		t.Errorf("answers %v", got)
	}
	for i, id := range ids {
		want := []string{"after a@1h", "after z@1h"}
		if i%4 == 3 {
			want = slices.Insert(want, 1, "after twice@1h")
		}
		row, _, err := store.Load(t.Context(), id)
		if err != nil || !slices.Equal(row.Steps, want) || row.N != len(want) {
			t.Errorf("order %d: %+v, %v; want %v", i, row, err, want)
		}
	}
	var available, taken, said, entries, waits, wrong int
	scan(t, db, "SELECT available, taken FROM basket.levels WHERE sku = 'MUG'", &available, &taken)
	scan(t, db, `SELECT sum(said), count(*) FILTER (WHERE said <> version OR said <> (state->>'n')::int OR said <> cardinality(processed)) FROM basket.rows`, &said, &wrong)
	scan(t, db, `SELECT (SELECT count(*) FROM basket.history), (SELECT count(*) FROM millrace.waits)`, &entries, &waits)
	const counted = 2*orders + orders/4
	if available != stock-orders || taken != orders {
		t.Errorf("%d pieces left and %d taken; want %d and %d", available, taken, stock-orders, orders)
	}
	if rows := len((inPostgres{db}).outbox(t)); said != counted || wrong != 0 || entries != counted || waits != counted || rows != counted {
		t.Errorf("said %d, %d rows wrong, %d entries, %d waits, %d events; want %d and none wrong", said, wrong, entries, waits, rows, counted)
	}
	n := begun.optimistic.Load() + begun.locking.Load()
	if n > most {
		t.Errorf("%d transactions for %d updates, of which %d are refused; want %d at most", n, len(q.answers), orders/2, most)
	}
}

// gated begins no transaction while it is locked.
type gated struct {
	backend
	sync.Mutex
	waiting atomic.Int64
}

func (g *gated) begin(ctx context.Context, opts lockOptions) (session, time.Time, error) {
	g.waiting.Add(1)
	g.Lock()
	defer g.Unlock()
	g.waiting.Add(-1)
	return g.backend.begin(ctx, opts)
}

// In a flood the database is asked first, so that a batch takes one transaction; when it is over, nobody is asked any more.
// An update is judged on what those before it made of its order.
func TestAFloodIsSiftedAtOnce(t *testing.T) {
	store := NewPostgres(withRefusals(t), basketTable, Options{})
	begun := &begun{backend: store.backend}
	gate := &gated{backend: begun}
	store.backend = gate
	start(t, store)
	const orders = 20
	batch := func(transactions int64, says func(i int) string) {
		t.Helper()
		gate.Lock()
		before := begun.locking.Load() + begun.optimistic.Load()
		decoy := make(chan error, 1)
		go func() { decoy <- store.Update(fresh(t.Context()), newOrder(), noting("decoy")) }()
		eventually(t, func() bool { return gate.waiting.Load() == 1 })
		q := &together{t: t, store: store}
		id := newOrder()
		first := func(b *basket) ([]event.Event, error) { return noting("first")(b) }
		second := func(b *basket) ([]event.Event, error) {
			if b.Note == "" {
				return noting(refusedNote)(b)
			}
			return noting("second")(b)
		}
		for i := range orders {
			q.update(func() error { return store.Update(paid(t.Context()), newOrder(), noting(says(i))) })
		}
		q.update(func() error { return store.Update(paid(t.Context()), id, first) })
		q.update(func() error { return store.Update(paid(t.Context()), id, second) })
		gate.Unlock()
		need(t, <-decoy)
		q.answered(func(i int) bool { return i < orders && says(i) == refusedNote })
		if n := begun.locking.Load() + begun.optimistic.Load() - before - 1; n != transactions {
			t.Errorf("%d transactions, want %d", n, transactions)
		}
	}
	half := func(i int) string { return []string{"fine", refusedNote}[i%2] }
	fine := func(int) string { return "fine" }
	batch(3, half) // one that comes to nothing, and one for each round
	batch(2, half)
	batch(2, fine)
	batch(1, fine)
}

// What was sifted starts its effects once: the refused ones not at all, and no place is lost to them.
func TestRefusedUpdatesStartNoEffects(t *testing.T) {
	for name, lost := range map[string]bool{"the COMMIT is answered": false, "the answer to the COMMIT gets lost": true} {
		t.Run(name, func(t *testing.T) {
			f := &effects{db: withRefusals(t), calls: map[string]int{}}
			table := basketTable
			table.Waits = stepsOf
			f.store = NewPostgres(f.db, table, Options{Logger: slog.New(slog.DiscardHandler)})
			var answered atomic.Bool
			answered.Store(!lost)
			f.store.backend = faulty{f.store.backend, func(do func() error) error {
				err := do()
				if !answered.Swap(true) {
					return errors.Join(err, errors.New("connection reset"))
				}
				return err
			}}
			e := f.executor(f.answer, ExecutorOptions[basket]{})
			f.store.StartEffects(e)
			runExecutor(t, e)
			eventually(t, func() bool { return places(e) > 0 })
			q := &together{t: t, store: f.store}
			const orders = 20
			ids := make([]event.OrderID, orders)
			for i := range ids {
				ids[i] = newOrder()
				q.update(func() error {
					return f.store.Update(fresh(t.Context()), ids[i], func(b *basket) ([]event.Event, error) {
						b.Steps = []string{"charge"}
						if i%2 == 0 {
							b.Note = refusedNote
						}
						return nil, nil
					})
				})
			}
			start(t, f.store)
			for i, answer := range q.answers {
				var refused *RefusedError
				if err := <-answer; errors.As(err, &refused) != (i%2 == 0) || err != nil && refused == nil {
					t.Errorf("update %d: %v", i, err)
				}
			}
			eventually(t, func() bool { return f.waiting(t) == 0 && e.slots.free() == e.slots.most })
			for i, id := range ids {
				if i%2 == 1 && f.row(t, id).N != 1 {
					t.Errorf("update %d took effect %d times", i, f.row(t, id).N)
				}
			}
			if n := len(f.attempts()); n != orders/2 {
				t.Errorf("%d calls, want %d", n, orders/2)
			}
		})
	}
}
