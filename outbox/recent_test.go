package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/event"
)

// sideless is the baskets' table without side rows and without history,
// whose key would refuse a change of a stale row: here the comparison alone has to.
func sideless() Table[basket, None] {
	return Table[basket, None]{
		Service: basketTable.Service, Name: basketTable.Name, New: basketTable.New, Waits: basketTable.Waits,
		Columns: basketTable.Columns,
		Sums:    basketTable.Sums, SumsTable: basketTable.SumsTable,
	}
}

// begun counts a store's transactions by how they began.
type begun struct {
	backend
	optimistic, locking atomic.Int64
}

func (b *begun) begin(ctx context.Context, opts lockOptions) (tx session, now time.Time, err error) {
	if opts.optimistic {
		b.optimistic.Add(1)
	} else {
		b.locking.Add(1)
	}
	return b.backend.begin(ctx, opts)
}

func sidelessStore(t *testing.T, db *sql.DB) (*Store[basket, None], *begun) {
	t.Helper()
	s := NewPostgres(db, sideless(), Options{})
	b := &begun{backend: s.backend}
	s.backend = b
	return s, b
}

// trustMemory has stores do without locks again, as if each had been alone for long.
func trustMemory[S, V any](stores []*Store[S, V]) {
	for _, s := range stores {
		s.recent.mu.Lock()
		s.recent.lockUntil = s.recent.lockUntil.Add(-contested)
		s.recent.mu.Unlock()
	}
}

// Several stores on one table, as replicas have it, each with rows of the others in its memory:
// nothing is lost, nothing is done twice, and the versions of what was said are contiguous.
func TestReplicasThatTrustTheirMemoryLoseNothing(t *testing.T) {
	db := migrated(t)
	const replicas, orders, rounds = 3, 40, 15
	stores := make([]*Store[basket, None], replicas)
	for i := range stores {
		stores[i], _ = sidelessStore(t, db)
		start(t, stores[i])
	}
	ids := make([]event.OrderID, orders)
	for i := range ids {
		ids[i] = newOrder()
	}
	for range rounds {
		trustMemory(stores)
		var updates sync.WaitGroup
		for _, id := range ids {
			cause := uuid.NewString()
			for i, s := range stores {
				updates.Go(func() { must(t, s.Update(fresh(t.Context()), id, count)) })
				if i < 2 { // one message, delivered to two of them
					updates.Go(func() { must(t, s.Update(because(t.Context(), cause), id, count)) })
				}
			}
		}
		updates.Wait()
	}
	const each = rounds * (replicas + 1)
	var rows, wrong, gaps int
	scan(t, db, fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE (state->>'n')::int <> %[1]d OR said <> %[1]d OR version <> %[1]d OR cardinality(processed) <> %[1]d) FROM basket.rows`, each), &rows, &wrong)
	said := map[string]int{}
	for _, r := range (inPostgres{db}).outbox(t) {
		said[string(r.Key)]++
		if headerOf(r, HeaderOrderVersion) != strconv.Itoa(said[string(r.Key)]) {
			gaps++
		}
	}
	if rows != orders || wrong != 0 || gaps != 0 {
		t.Errorf("%d rows, %d of them wrong, %d events whose version is not the next", rows, wrong, gaps)
	}
}

// The same with what orders share. A stock of half of what is asked for is taken to the last piece and
// no further: its rows are locked even where those of the orders are trusted.
func TestReplicasThatTrustTheirMemoryShareTheStock(t *testing.T) {
	db := migrated(t)
	const replicas, orders, rounds = 3, 40, 10
	const asked = orders * rounds * replicas
	stores := make([]*Store[basket, level], replicas)
	for i := range stores {
		stores[i] = NewPostgres(db, basketTable, Options{})
		start(t, stores[i])
	}
	must(t, stores[0].UpdateSide(fresh(t.Context()), []string{"MUG"}, func(side map[string]*level) error {
		side["MUG"].Available = asked / 2
		return nil
	}))
	ids := make([]event.OrderID, orders)
	for i := range ids {
		ids[i] = newOrder()
	}
	take := func(b *basket, side map[string]*level) ([]event.Event, error) {
		if side["MUG"].Available == 0 {
			return nil, nil
		}
		side["MUG"].Available--
		side["MUG"].Taken++
		return count(b)
	}
	for range rounds {
		trustMemory(stores)
		var updates sync.WaitGroup
		for _, id := range ids {
			cause := uuid.NewString()
			for i, s := range stores {
				updates.Go(func() {
					must(t, s.UpdateWith(fresh(t.Context()), id, func(*basket) []string { return []string{"MUG"} }, take))
				})
				if i < 2 { // one message, delivered to two of them, that takes nothing
					updates.Go(func() { must(t, s.Update(because(t.Context(), cause), id, count)) })
				}
			}
		}
		updates.Wait()
	}
	var available, taken, counted, said int
	scan(t, db, "SELECT available, taken FROM basket.levels WHERE sku = 'MUG'", &available, &taken)
	scan(t, db, "SELECT sum((state->>'n')::int), sum(said) FROM basket.rows", &counted, &said)
	if want := asked/2 + orders*rounds; available != 0 || taken != asked/2 || counted != want || said != want {
		t.Errorf("%d pieces left and %d taken, of %d; the orders counted %d and said %d, want %d", available, taken, asked/2, counted, said, want)
	}
}

// A store alone neither locks nor reads what it wrote itself. Once somebody else has written a row
// it locks for a while.
func TestAStoreLocksOnlyWhileItIsNotAlone(t *testing.T) {
	db := migrated(t)
	s, begun := sidelessStore(t, db)
	start(t, s)
	id := newOrder()
	for range 3 {
		must(t, s.Update(fresh(t.Context()), id, count))
	}
	if o, l := begun.optimistic.Load(), begun.locking.Load(); o != 3 || l != 0 {
		t.Fatalf("%d optimistic transactions and %d that lock; want 3 and 0", o, l)
	}
	// An operator's hand, which knows nothing of versions.
	_, err := db.ExecContext(t.Context(), `UPDATE basket.rows SET state = jsonb_set(state::jsonb, '{n}', '100')::json`)
	must(t, err)
	for range 2 {
		must(t, s.Update(fresh(t.Context()), id, count))
	}
	if o, l := begun.optimistic.Load(), begun.locking.Load(); o != 4 || l != 2 {
		t.Errorf("%d optimistic transactions and %d that lock; want 4 and 2", o, l)
	}
	if row, _, err := s.Load(t.Context(), id); err != nil || row.N != 102 {
		t.Errorf("row %+v, %v; want N 102: what the operator wrote was lost", row, err)
	}
}

// A row that somebody else inserts between the look and the write is found, not overwritten.
func TestARowThatAppearsMeanwhileIsFound(t *testing.T) {
	db := migrated(t)
	s, _ := sidelessStore(t, db)
	start(t, s)
	id := newOrder()
	var once sync.Once
	must(t, s.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) {
		once.Do(func() {
			_, err := db.ExecContext(t.Context(), `INSERT INTO basket.rows (order_id, state) VALUES ($1, '{"n": 41}')`, string(id))
			must(t, err)
		})
		return count(b)
	}))
	if row, _, err := s.Load(t.Context(), id); err != nil || row.N != 42 {
		t.Errorf("row %+v, %v; want N 42", row, err)
	}
}

// A refusal writes nothing, so no version check shows that it was decided on an old row: the row was
// this store's last, somebody else has written it since, and this store never does again.
func TestNothingIsRefusedForWhatOnlyMemorySays(t *testing.T) {
	db := migrated(t)
	mine, begun := sidelessStore(t, db)
	theirs, _ := sidelessStore(t, db)
	start(t, mine)
	start(t, theirs)
	id, other := newOrder(), newOrder()
	must(t, mine.Update(fresh(t.Context()), id, count))
	must(t, mine.Update(fresh(t.Context()), other, count))
	must(t, theirs.Update(fresh(t.Context()), id, count))
	errEarly := errors.New("too early")
	second := func(b *basket) ([]event.Event, error) {
		if b.N < 2 {
			return nil, errEarly
		}
		return nil, nil
	}
	if err := mine.UpdateExisting(fresh(t.Context()), id, second); err != nil {
		t.Errorf("%v, though the other store has written what this waits for", err)
	}
	before := begun.optimistic.Load()
	for range 2 {
		if err := mine.UpdateExisting(fresh(t.Context()), other, second); !errors.Is(err, errEarly) {
			t.Errorf("%v, want a refusal", err)
		}
	}
	if n, l := begun.optimistic.Load()-before, begun.locking.Load(); n != 3 || l != 0 {
		t.Errorf("two refusals took %d optimistic transactions and all %d that lock; want 3 (the first looked twice) and 0", n, l)
	}
}

// What a change hands out, in an answer or to an effect, is not changed by the updates that follow.
func TestWhatAChangeHandsOutStaysAsItWas(t *testing.T) {
	forBothSideless(t, func(t *testing.T, s *Store[basket, None]) {
		id := newOrder()
		var out []basket
		for _, step := range []string{"a", "b"} {
			must(t, s.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) {
				if len(b.Steps) == 0 {
					b.Steps = []string{""}
				}
				b.Steps[0] = step
				out = append(out, *b)
				return nil, nil
			}))
		}
		if out[0].Steps[0] != "a" || out[1].Steps[0] != "b" {
			t.Errorf("handed out %v", out)
		}
	})
}

// After a failed COMMIT it is not known what the rows are: none is taken from memory.
func TestAfterAFailedCommitRowsAreReadAgain(t *testing.T) {
	forBothSideless(t, func(t *testing.T, s *Store[basket, None]) {
		id := newOrder()
		must(t, s.Update(fresh(t.Context()), id, count))
		var failed atomic.Bool
		s.backend = faulty{s.backend, func(do func() error) error {
			if failed.Swap(true) {
				return do()
			}
			return errors.Join(do(), errors.New("connection reset"))
		}}
		must(t, s.Update(fresh(t.Context()), id, count))
		must(t, s.Update(fresh(t.Context()), id, count))
		if row, _, err := s.Load(t.Context(), id); err != nil || row.N != 3 {
			t.Errorf("row %+v, %v; want N 3", row, err)
		}
		if !s.recent.alone() {
			t.Error("a row was taken from memory, and was stale")
		}
	})
}

func forBothSideless(t *testing.T, test func(t *testing.T, s *Store[basket, None])) {
	t.Run("memory", func(t *testing.T) {
		s, _ := NewMemory(sideless(), Options{}, nil)
		start(t, s)
		test(t, s)
	})
	t.Run("postgres", func(t *testing.T) {
		s, _ := sidelessStore(t, migrated(t))
		start(t, s)
		test(t, s)
	})
}

func TestWhatIsKeptOfRowsIsBounded(t *testing.T) {
	var r recent
	state := make([]byte, 1<<10)
	var last event.OrderID
	for range 4 * maxRecentBytes / len(state) {
		last = newOrder()
		r.keep([]rowWrite{{record: record{id: last, state: state}}}, 1)
		kept := 0
		for _, half := range []map[event.OrderID]*record{r.young, r.old} {
			kept += len(half) * len(state)
		}
		if kept > maxRecentBytes {
			t.Fatalf("%d bytes are kept, more than %d", kept, maxRecentBytes)
		}
	}
	if _, ok := r.get(last); !ok {
		t.Error("the row written last was forgotten")
	}
	r.forget()
	if _, ok := r.get(last); ok {
		t.Error("a row was kept that was to be forgotten")
	}
}
