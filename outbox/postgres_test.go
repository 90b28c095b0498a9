package outbox

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/event"
	"millrace/transport"
)

// Two replicas whose batches hold the same new orders, in opposite orders, must not deadlock:
// measured, a store that locks before it inserts does.
func TestTwoReplicasOnTheSameNewOrdersDoNotDeadlock(t *testing.T) {
	db := migrated(t)
	a, b := NewPostgres(db, basketTable, Options{}), NewPostgres(db, basketTable, Options{})
	start(t, a)
	start(t, b)
	var wg sync.WaitGroup
	for range 20 {
		ids := make([]event.OrderID, 50)
		for i := range ids {
			ids[i] = newOrder()
		}
		for i := range ids {
			wg.Go(func() { must(t, a.Update(fresh(t.Context()), ids[i], count)) })
			wg.Go(func() { must(t, b.Update(fresh(t.Context()), ids[len(ids)-1-i], count)) })
		}
		wg.Wait()
	}
	var deadlocks, rows, wrong int
	scan(t, db, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", &deadlocks)
	scan(t, db, "SELECT count(*), count(*) FILTER (WHERE (state->>'n')::int <> 2) FROM basket.rows", &rows, &wrong)
	if deadlocks != 0 || rows != 1000 || wrong != 0 {
		t.Errorf("%d deadlocks, %d rows, %d of them not counted twice", deadlocks, rows, wrong)
	}
}

func TestARowHeldByAnIdleSessionHoldsUpOnlyItsOwnOrder(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	held := newOrder()
	must(t, s.Update(fresh(t.Context()), held, count))

	idle, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = idle.ExecContext(t.Context(), "SELECT 1 FROM basket.rows WHERE order_id = $1 FOR UPDATE", string(held))
	must(t, err)

	var wg sync.WaitGroup
	order := make(chan int, 10)
	for i := range 10 {
		queued := make(chan struct{})
		wg.Go(func() {
			close(queued)
			must(t, s.Update(fresh(t.Context()), held, func(b *basket) ([]event.Event, error) { return count(b) }))
			order <- i
		})
		<-queued
	}
	for range 200 { // the others go on, one after the other, while the row is held
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		must(t, s.Update(fresh(ctx), newOrder(), count))
		cancel()
	}
	if len(order) != 0 {
		t.Error("an update went through a row that somebody holds")
	}
	must(t, idle.Rollback())
	wg.Wait()
	if row, _, _ := s.Load(t.Context(), held); row.N != 11 {
		t.Errorf("counted %d, want 11", row.N)
	}
}

func TestAHeldSKUHoldsUpOnlyOrdersThatNeedIt(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	for _, sku := range []string{"held", "free"} {
		must(t, s.UpdateSide(fresh(t.Context()), []string{sku}, func(l map[string]*level) error { l[sku].Available = 1000; return nil }))
	}
	idle, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = idle.ExecContext(t.Context(), "SELECT 1 FROM basket.levels WHERE sku = 'held' FOR UPDATE")
	must(t, err)
	take := func(ctx context.Context, sku string) error {
		return s.UpdateWith(fresh(ctx), newOrder(), func(*basket) []string { return []string{sku} }, func(_ *basket, l map[string]*level) ([]event.Event, error) {
			l[sku].Available--
			return nil, nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- take(t.Context(), "held") }()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		must(t, take(ctx, "free"))
		cancel()
	}
	select {
	case err := <-done:
		t.Errorf("an update went through a SKU that somebody holds: %v", err)
	default:
	}
	must(t, idle.Rollback())
	must(t, <-done)
}

func TestTheWholeBatchRunsAgainWhenTheServerEndsTheConnection(t *testing.T) {
	db := migrated(t)
	s := NewPostgres(db, basketTable, Options{})
	start(t, s)
	id := newOrder()
	const rounds, each = 20, 15
	killed := 0
	for range rounds {
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { // one connection a round loses its server, in the middle of whatever it does
			var n int
			for n == 0 && ctx.Err() == nil {
				_ = db.QueryRowContext(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`).Scan(&n)
			}
			killed += n
		})
		var updates sync.WaitGroup
		for range each {
			updates.Go(func() { must(t, s.Update(fresh(t.Context()), id, count)) })
		}
		updates.Wait()
		cancel()
		wg.Wait()
	}
	if killed == 0 {
		t.Error("no connection was ended: the test shows nothing")
	}
	var n, said int
	scan(t, db, "SELECT (state->>'n')::int, said FROM basket.rows", &n, &said)
	versions := map[string]bool{}
	for _, record := range (inPostgres{db}).outbox(t) {
		versions[headerOf(record, HeaderOrderVersion)] = true
	}
	if n != 300 || said != 300 || len(versions) != 300 {
		t.Errorf("counted %d, said %d, %d versions in the outbox; want 300 of each", n, said, len(versions))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func scan(t *testing.T, db *sql.DB, query string, targets ...any) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(targets...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

type inPostgres struct{ db *sql.DB }

func (p inPostgres) outbox(t *testing.T) (out []transport.Record) {
	t.Helper()
	rows, err := p.db.QueryContext(t.Context(), "SELECT topic, key, payload, headers FROM millrace.outbox ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r outboxRow
		if err := rows.Scan(&r.topic, &r.key, &r.payload, (*[]byte)(&r.headers)); err != nil {
			t.Fatal(err)
		}
		record, err := r.record()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, record)
	}
	return out
}

func (p inPostgres) waits(t *testing.T) map[string]time.Time {
	t.Helper()
	rows, err := p.db.QueryContext(t.Context(), "SELECT step, due_at FROM millrace.waits")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]time.Time{}
	for rows.Next() {
		var step string
		var due time.Time
		if err := rows.Scan(&step, &due); err != nil {
			t.Fatal(err)
		}
		out[step] = due
	}
	return out
}

func (p inPostgres) history(t *testing.T, id event.OrderID) (n int) {
	t.Helper()
	if err := p.db.QueryRowContext(t.Context(), "SELECT count(*) FROM basket.history WHERE order_id = $1", string(id)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (p inPostgres) sum(t *testing.T) (n int64) {
	scan(t, p.db, "SELECT coalesce(sum(n), 0) FROM basket.sums", &n)
	return n
}

func (p inPostgres) level(t *testing.T, sku string) (l level) {
	scan(t, p.db, "SELECT available, taken FROM basket.levels WHERE sku = '"+sku+"'", &l.Available, &l.Taken)
	return l
}

// A row that an operator has spoilt is its own order's trouble: those whose updates come in one batch with it go on.
func TestAnUnreadableRowIsItsOwnOrdersTrouble(t *testing.T) {
	db := migrated(t)
	store := NewPostgres(db, basketTable, Options{})
	q := &together{t: t, store: store}
	spoilt, other := newOrder(), newOrder()
	_, err := db.ExecContext(t.Context(), `INSERT INTO basket.rows (order_id, state) VALUES ($1, '{"n": "many"}')`, string(spoilt))
	need(t, err)
	mug := func(b *basket) []string { return []string{"MUG"} }
	q.update(func() error { return store.Update(fresh(t.Context()), spoilt, count) })
	q.update(func() error {
		return store.UpdateWith(fresh(t.Context()), spoilt, mug, func(b *basket, _ map[string]*level) ([]event.Event, error) { return count(b) })
	})
	q.update(func() error { return store.Update(fresh(t.Context()), other, count) })
	start(t, store)
	for i, answer := range q.answers {
		if err := <-answer; (err != nil) != (i < 2) || err != nil && !strings.Contains(err.Error(), string(spoilt)+" is not readable") {
			t.Errorf("update %d: %v", i, err)
		}
	}
	if row, _, err := store.Load(t.Context(), other); err != nil || row.N != 1 {
		t.Errorf("row %+v, %v; want N 1", row, err)
	}
}
