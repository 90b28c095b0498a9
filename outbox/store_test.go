package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"

	"millrace/event"
	"millrace/testserver"
	"millrace/transport"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// basket is a small service for these tests: it counts, waits, and says it was cancelled.
type basket struct {
	ID    event.OrderID `json:"id"`
	N     int           `json:"n"`
	Note  string        `json:"note,omitempty"`
	Steps []string      `json:"steps,omitempty"`
	facts []Entry
}

type level struct{ Available, Taken int64 }

const basketSchema = `-- +goose Up
CREATE TABLE basket.rows (
  order_id uuid PRIMARY KEY, state json NOT NULL, version bigint NOT NULL DEFAULT 0, said bigint NOT NULL DEFAULT 0,
  processed uuid[] NOT NULL DEFAULT '{}', commands uuid[] NOT NULL DEFAULT '{}', waiting text[] NOT NULL DEFAULT '{}',
  correlation_id text NOT NULL DEFAULT '', parked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(), note text);
CREATE TABLE basket.history (order_id uuid, version bigint, event_id uuid, type text, data json, correlation_id text,
  causation_id uuid, at timestamptz, PRIMARY KEY (order_id, version));
CREATE TABLE basket.sums (minute timestamptz, name text, key text, n bigint);
CREATE TABLE basket.levels (sku text PRIMARY KEY, available bigint NOT NULL DEFAULT 0 CHECK (available >= 0), taken bigint NOT NULL DEFAULT 0);
CREATE TABLE basket.ledger (id uuid, key text, state json, correlation_id text, at timestamptz, PRIMARY KEY (id, key));
-- +goose Down
`

var basketTable = Table[basket, level]{
	Service: "basket", Name: "basket.rows",
	New: func(id event.OrderID) basket { return basket{ID: id} },
	Waits: func(b *basket) (waits []event.Wait) {
		for _, s := range b.Steps {
			waits = append(waits, event.Wait{Step: s, After: time.Hour})
		}
		return waits
	},
	Columns:      []Column[basket]{{Name: "note", Type: "text", Value: func(b *basket) string { return b.Note }}},
	History:      func(b *basket) []Entry { f := b.facts; b.facts = nil; return f },
	HistoryTable: "basket.history",
	Sums: func(b *basket) []Sum {
		return []Sum{{Minute: time.Unix(0, 0), Name: "n", N: int64(b.N)}}
	},
	SumsTable: "basket.sums",
	Side: &Side[level]{
		Name: "basket.levels", Key: "sku", New: func(string) level { return level{} },
		Columns: []string{"available", "taken"}, Fields: func(l *level) []any { return []any{&l.Available, &l.Taken} },
		Ledger: "basket.ledger",
	},
}

// count is the ordinary change of these tests.
func count(b *basket) ([]event.Event, error) {
	b.N++
	b.facts = append(b.facts, Entry{Type: "Counted", Data: []byte(`{}`)})
	return []event.Event{event.OrderCancelled{OrderID: b.ID, Reason: event.ReasonCustomer}}, nil
}

func newOrder() event.OrderID { return event.OrderID(uuid.NewString()) }

func because(ctx context.Context, id string) context.Context {
	return event.WithCause(ctx, event.Cause{ID: id, CorrelationID: "corr", Time: time.Now()})
}

func fresh(ctx context.Context) context.Context { return because(ctx, uuid.NewString()) }

// inspect looks at what a backend holds, past the store.
type inspect interface {
	outbox(t *testing.T) []transport.Record
	waits(t *testing.T) map[string]time.Time
	history(t *testing.T, id event.OrderID) int
	sum(t *testing.T) int64
	level(t *testing.T, sku string) level
}

type fixture struct {
	store *Store[basket, level]
	db    *sql.DB // nil in memory
	inspect
	commits *atomic.Int64
	// wrap puts a failing session in front of the backend.
	wrap func(commit func(do func() error) error)
}

func start(t *testing.T, s *Store[basket, level]) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func forBoth(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Run("memory", func(t *testing.T) {
		var commits atomic.Int64
		s, m := NewMemory(basketTable, Options{Wake: func() { commits.Add(1) }}, nil)
		f := &fixture{store: s, inspect: &inMemory{m}, commits: &commits}
		f.wrapBackend()
		start(t, s)
		test(t, f)
	})
	t.Run("postgres", func(t *testing.T) {
		db := migrated(t)
		var commits atomic.Int64
		s := NewPostgres(db, basketTable, Options{Wake: func() { commits.Add(1) }})
		f := &fixture{store: s, db: db, inspect: inPostgres{db}, commits: &commits}
		f.wrapBackend()
		start(t, s)
		test(t, f)
	})
}

func migrated(t *testing.T) *sql.DB {
	t.Helper()
	db := testserver.Postgres(t)
	if err := Migrate(t.Context(), db, Schema, Migrations()); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), db, "basket", fstest.MapFS{"00001_basket.sql": {Data: []byte(basketSchema)}}); err != nil {
		t.Fatal(err)
	}
	return db
}

// wrapBackend lets a test decide how each commit ends.
func (f *fixture) wrapBackend() {
	var mu sync.Mutex
	current := func(do func() error) error { return do() }
	f.wrap = func(c func(do func() error) error) { mu.Lock(); current = c; mu.Unlock() }
	f.store.backend = faulty{f.store.backend, func(do func() error) error {
		mu.Lock()
		c := current
		mu.Unlock()
		return c(do)
	}}
}

type faulty struct {
	backend
	commit func(do func() error) error
}

func (b faulty) begin(ctx context.Context, o lockOptions) (session, error) {
	s, err := b.backend.begin(ctx, o)
	return faultySession{s, b.commit}, err
}

type faultySession struct {
	session
	end func(do func() error) error
}

func (s faultySession) commit(ctx context.Context) error {
	return s.end(func() error { return s.session.commit(ctx) })
}

func TestAnUpdateCommitsRowEventsWaitsAndCauseTogether(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		id, cause := newOrder(), uuid.NewString()
		change := func(b *basket) ([]event.Event, error) {
			b.Steps = []string{"call"}
			return count(b)
		}
		for range 3 { // the same cause again changes nothing, for ever
			if err := f.store.Update(because(t.Context(), cause), id, change); err != nil {
				t.Fatal(err)
			}
		}
		row, ok, err := f.store.Load(t.Context(), id)
		if err != nil || !ok || row.N != 1 {
			t.Fatalf("row %+v, %v, %v; want N 1", row, ok, err)
		}
		out := f.outbox(t)
		if len(out) != 1 {
			t.Fatalf("%d events in the outbox, want 1", len(out))
		}
		if out[0].Topic != "ecommerce.order.cancelled" || string(out[0].Key) != string(id) {
			t.Errorf("topic %s, key %s", out[0].Topic, out[0].Key)
		}
		for name, want := range map[string]string{
			HeaderType: "OrderCancelled", HeaderSource: "basket", HeaderSubject: string(id), HeaderOrderVersion: "1",
			HeaderCorrelationID: "corr", HeaderCausationID: cause, HeaderSchemaVersion: "1", HeaderSpecVersion: "1.0",
		} {
			if got := headerOf(out[0], name); got != want {
				t.Errorf("header %s is %q, want %q", name, got, want)
			}
		}
		if headerOf(out[0], HeaderUUID) != headerOf(out[0], HeaderID) || headerOf(out[0], HeaderID) == "" {
			t.Error("the message's id and ce_id differ")
		}
		if w := f.waits(t); len(w) != 1 || f.history(t, id) != 1 || f.sum(t) != 1 {
			t.Errorf("waits %v, %d history entries, sum %d; want one of each", w, f.history(t, id), f.sum(t))
		}
	})
}

func headerOf(r transport.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func TestAWaitThatStaysKeepsItsDueTime(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		id := newOrder()
		set := func(steps ...string) {
			t.Helper()
			if err := f.store.Update(fresh(t.Context()), id, func(b *basket) ([]event.Event, error) { b.Steps = steps; return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}
		set("a", "b")
		before := f.waits(t)
		set("b", "c")
		after := f.waits(t)
		if len(after) != 2 || !after["b"].Equal(before["b"]) || after["c"].IsZero() {
			t.Errorf("before %v, after %v: b must keep its time, a must be gone, c be there", before, after)
		}
	})
}

func TestACommandOnAnUnknownOrderCreatesNothing(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		id := newOrder()
		if err := f.store.UpdateExisting(fresh(t.Context()), id, count); !errors.Is(err, event.ErrUnknownOrder) {
			t.Fatalf("error %v, want ErrUnknownOrder", err)
		}
		if _, ok, err := f.store.Load(t.Context(), id); ok || err != nil {
			t.Fatalf("row exists: %v, %v", ok, err)
		}
	})
}

func TestAFailedChangeLeavesNothingBehindAndItsNeighboursAlone(t *testing.T) {
	boom := errors.New("boom")
	bad := map[string]func(b *basket) ([]event.Event, error){
		"error": func(b *basket) ([]event.Event, error) { b.N, b.Steps = 99, []string{"x"}; return nil, boom },
		"panic": func(b *basket) ([]event.Event, error) { b.N = 99; panic("boom") },
		"foreign": func(b *basket) ([]event.Event, error) {
			b.N = 99
			return []event.Event{event.OrderCancelled{OrderID: newOrder()}}, nil
		},
		"database": func(b *basket) ([]event.Event, error) {
			b.Note = "a\x00b" // no Postgres text can hold it: SQLSTATE 22021
			return nil, nil
		},
	}
	forBoth(t, func(t *testing.T, f *fixture) {
		for name, change := range bad {
			if name == "database" && f.db == nil {
				continue
			}
			t.Run(name, func(t *testing.T) {
				id := newOrder()
				others := make([]event.OrderID, 20)
				var wg sync.WaitGroup
				var badErr error
				for i := range others {
					others[i] = newOrder()
					wg.Go(func() {
						if err := f.store.Update(fresh(t.Context()), others[i], count); err != nil {
							t.Errorf("neighbour: %v", err)
						}
					})
				}
				wg.Go(func() { badErr = f.store.Update(fresh(t.Context()), id, change) })
				wg.Wait()
				if badErr == nil {
					t.Fatal("the bad change was accepted")
				}
				if name == "error" && !errors.Is(badErr, boom) {
					t.Errorf("error %v, want the change's own", badErr)
				}
				if p, ok := errors.AsType[interface {
					error
					Permanent() bool
				}](badErr); name != "error" && (!ok || !p.Permanent()) {
					t.Errorf("%v is not permanent", badErr)
				}
				if err := f.store.Update(fresh(t.Context()), id, count); err != nil {
					t.Fatal(err)
				}
				if row, _, err := f.store.Load(t.Context(), id); err != nil || row.N != 1 || len(row.Steps) != 0 {
					t.Errorf("row %+v, %v: the failed change left something", row, err)
				}
			})
		}
	})
}

func TestConcurrentUpdatesShareTransactions(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		const callers = 400
		entered, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		f.wrap(func(do func() error) error {
			once.Do(func() { close(entered); <-release })
			return do()
		})
		id := newOrder()
		var wg sync.WaitGroup
		update := func() {
			if err := f.store.Update(fresh(t.Context()), id, count); err != nil {
				t.Error(err)
			}
		}
		wg.Go(update)
		<-entered
		for range callers {
			wg.Go(update)
		}
		eventually(t, func() bool { f.store.mu.Lock(); defer f.store.mu.Unlock(); return len(f.store.queue) == callers })
		close(release)
		wg.Wait()
		if row, _, _ := f.store.Load(t.Context(), id); row.N != callers+1 {
			t.Errorf("counted %d of %d", row.N, callers+1)
		}
		if got := f.commits.Load(); got != 2 {
			t.Errorf("%d transactions, want 2: the first, and one for all that waited", got)
		}
		var last int64
		for _, r := range f.outbox(t) {
			var v int64
			if _, err := fmt.Sscan(headerOf(r, HeaderOrderVersion), &v); err != nil || v != last+1 {
				t.Fatalf("ce_orderversion %d after %d: %v", v, last, err)
			}
			last = v
		}
	})
}

func TestWhateverMayPassIsRunAgain(t *testing.T) {
	ends := map[string]func(do func() error) error{
		"nothing was committed":         func(func() error) error { return errors.New("connection reset") },
		"the answer to COMMIT got lost": func(do func() error) error { return errors.Join(do(), errors.New("connection reset")) },
	}
	forBoth(t, func(t *testing.T, f *fixture) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				var failures atomic.Int64
				f.wrap(func(do func() error) error {
					if failures.Add(1) <= 3 {
						return end(do)
					}
					return do()
				})
				id := newOrder()
				before := len(f.outbox(t))
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						if err := f.store.Update(fresh(t.Context()), id, count); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				row, _, err := f.store.Load(t.Context(), id)
				if err != nil || row.N != 50 {
					t.Errorf("counted %d of 50: %v", row.N, err)
				}
				if f.db != nil {
					if got := len(f.outbox(t)) - before; got != 50 {
						t.Errorf("%d events for 50 updates", got)
					}
				}
			})
		}
	})
}

func TestManyOrdersOnOneSKUNeverTakeMoreThanThereIs(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		const stock, orders = 100, 300
		key := uuid.NewString()
		for range 2 { // the ledger remembers the cause
			if err := f.store.UpdateSide(because(t.Context(), key), []string{"MUG"}, func(side map[string]*level) error {
				side["MUG"].Available += stock
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		var got, refused atomic.Int64
		for range orders {
			wg.Go(func() {
				id, taken := newOrder(), false
				err := f.store.UpdateWith(fresh(t.Context()), id, func(*basket) []string { return []string{"MUG", "unknown"} },
					func(b *basket, side map[string]*level) ([]event.Event, error) {
						if _, ok := side["unknown"]; ok {
							return nil, errors.New("an unknown SKU appeared")
						}
						if taken = side["MUG"].Available > 0; taken {
							side["MUG"].Available--
							side["MUG"].Taken++
						}
						return nil, nil
					})
				switch {
				case err != nil:
					t.Error(err)
				case taken:
					got.Add(1)
				default:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if l := f.level(t, "MUG"); got.Load() != stock || l.Available != 0 || l.Taken != stock {
			t.Errorf("%d got one, %d did not, level %+v", got.Load(), refused.Load(), l)
		}
	})
}

func TestSumsBeyondWhatANumberHoldsAreNotWrappedRound(t *testing.T) {
	w := &work[basket, level]{store: &Store[basket, level]{table: basketTable}}
	out, sums := &outcome{}, map[sumKey]int64{}
	for range 3 {
		w.sumsOf(out, sums, &row[basket]{current: basket{N: math.MaxInt64}})
	}
	total := new(big.Int)
	for _, s := range out.sums {
		total.Add(total, big.NewInt(s.N))
	}
	for _, n := range sums {
		total.Add(total, big.NewInt(n))
	}
	if want := new(big.Int).Mul(big.NewInt(3), big.NewInt(math.MaxInt64)); total.Cmp(want) != 0 {
		t.Errorf("the deltas add up to %s, want %s", total, want)
	}
}

func TestAnUndeclaredEventIsRefused(t *testing.T) {
	s, m := NewMemory(basketTable, Options{Says: func(topic string) bool { return false }}, nil)
	start(t, s)
	err := s.Update(fresh(t.Context()), newOrder(), count)
	var unsayable *UnsayableError
	if !errors.As(err, &unsayable) {
		t.Fatalf("error %v, want UnsayableError", err)
	}
	if len(m.TakeOutbox()) != 0 {
		t.Error("it reached the outbox")
	}
}

func TestACallerWhoLeavesHoldsNobodyUp(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.store.Update(fresh(ctx), newOrder(), count); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if err := f.store.Update(fresh(t.Context()), newOrder(), count); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyTheLast256CommandsAreRemembered(t *testing.T) {
	s, m := NewMemory(basketTable, Options{}, nil)
	start(t, s)
	id := newOrder()
	for range maxCommands + 10 {
		ctx := event.WithCause(t.Context(), event.Cause{ID: uuid.NewString(), Command: true})
		if err := s.Update(ctx, id, count); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.rows[id].commands); n != maxCommands {
		t.Errorf("%d commands remembered, want %d", n, maxCommands)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 20 s")
		}
	}
}

type inMemory struct{ *Memory }

func (m *inMemory) outbox(*testing.T) []transport.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.Memory.outbox)
}

func (m *inMemory) waits(*testing.T) map[string]time.Time {
	out := map[string]time.Time{}
	for _, w := range m.Waits() {
		out[w.Step] = w.Due
	}
	return out
}
func (m *inMemory) history(_ *testing.T, id event.OrderID) int { return len(m.History(id)) }
func (m *inMemory) sum(*testing.T) (n int64) {
	for _, s := range m.Sums() {
		n += s.N
	}
	return n
}
func (m *inMemory) level(_ *testing.T, sku string) level {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.sides[sku]
	return level{f[0].(int64), f[1].(int64)}
}
