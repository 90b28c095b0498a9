package outbox

import (
	"context"
	"database/sql"
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

// basket is a small service for these tests: it counts, waits, and says it was cancelled.
type basket struct {
	ID    event.OrderID `json:"id"`
	N     int           `json:"n"`
	Note  string        `json:"note,omitempty"`
	Steps []string      `json:"steps,omitempty"`
	facts []Entry
}

// unwritable is a note that makes a function of the table panic.
const unwritable = "unwritable"

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
	Columns: []Column[basket]{{Name: "note", Type: "text", Value: func(b *basket) string {
		if b.Note == unwritable {
			panic("boom")
		}
		return b.Note
	}}},
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

func start[V any](t testing.TB, s *Store[basket, V]) {
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

func migrated(t testing.TB) *sql.DB {
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

func (b faulty) begin(ctx context.Context, o lockOptions) (session, time.Time, error) {
	s, now, err := b.backend.begin(ctx, o)
	return faultySession{s, b.commit}, now, err
}

type faultySession struct {
	session
	end func(do func() error) error
}

func (s faultySession) commit(ctx context.Context) error {
	return s.end(func() error { return s.session.commit(ctx) })
}

func headerOf(r transport.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
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
