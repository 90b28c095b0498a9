package load

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// counter is a shop that takes orders and finishes none by itself.
type counter struct {
	Shop
	mu     sync.Mutex
	bodies []string
	answer atomic.Int64
	// most is the most orders that were in flight at once.
	open, most atomic.Int64
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	db := testserver.Postgres(t)
	execute(t, db, `CREATE SCHEMA orders`)
	execute(t, db, `CREATE TABLE orders.orders (order_id uuid PRIMARY KEY, status text, customer_id text DEFAULT 'c', created_at timestamptz NOT NULL DEFAULT clock_timestamp())`)
	execute(t, db, `CREATE TABLE orders.history (order_id uuid, type text, data json, at timestamptz)`)
	c := &counter{}
	c.answer.Store(http.StatusAccepted)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if n := c.open.Add(1); n > c.most.Load() {
			c.most.Store(n)
		}
		if _, err := db.ExecContext(r.Context(), `INSERT INTO orders.orders (order_id, status) VALUES ($1, 'PENDING')`, uuid.NewString()); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		c.mu.Lock()
		c.bodies = append(c.bodies, string(body))
		c.mu.Unlock()
		w.WriteHeader(int(c.answer.Load()))
	}))
	t.Cleanup(server.Close)
	c.Shop = Shop{URL: server.URL, DB: db}
	return c
}

func execute(t *testing.T, db *sql.DB, statement string, args ...any) int64 {
	t.Helper()
	result, err := db.Exec(statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := result.RowsAffected()
	return n
}

func (c *counter) taken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bodies)
}

// finish makes all orders final that are not.
func (c *counter) finish(t *testing.T) {
	// They are counted off before anybody can see that they are final, and place more.
	tx, err := c.DB.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	result, err := tx.Exec(`UPDATE orders.orders SET status = 'DELIVERED' WHERE status = 'PENDING'`)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := result.RowsAffected()
	c.open.Add(-n)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within the time: %s", what)
		}
	}
}

func TestAClosedLoopKeepsItsBound(t *testing.T) {
	const bound, turns = 7, 4
	c := newCounter(t)
	run := c.Closed(t.Context(), 3, bound)
	for turn := 1; turn <= turns; turn++ {
		eventually(t, "the bound is used", func() bool { return c.taken() == turn*bound })
		c.finish(t)
		if err := run.Await(t.Context(), turn*bound); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the last turn", func() bool { return c.taken() == (turns+1)*bound })
	c.finish(t)
	ended := make(chan error)
	go func() { ended <- run.End(t.Context()) }()
	for done := false; !done; { // some were placed between the last turn and the end
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			done = true
		case <-time.After(5 * time.Millisecond):
			c.finish(t)
		}
	}
	if run.Accepted() != c.taken() || run.Finished() != c.taken() {
		t.Errorf("%d accepted, %d finished, want %d", run.Accepted(), run.Finished(), c.taken())
	}
	if c.most.Load() > bound {
		t.Errorf("%d orders were in flight, want %d at most", c.most.Load(), bound)
	}
	if p := run.Placed(); p.Orders != c.taken() || p.Amount != p.Pieces*unitPrice {
		t.Errorf("placed is %+v", p)
	}
}

func TestTheNextRunCountsFromZero(t *testing.T) {
	c := newCounter(t)
	for range 2 {
		c.mu.Lock()
		c.bodies = nil
		c.mu.Unlock()
		run := c.Closed(t.Context(), 1, 2)
		eventually(t, "orders are placed", func() bool { return c.taken() == 2 })
		if run.Finished() != 0 {
			t.Errorf("%d orders of the last run count", run.Finished())
		}
		run.stopping.Do(func() { close(run.stop) })
		c.finish(t)
		if err := run.End(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// An open loop does not wait for a system that stands still.
func TestAnOpenLoopGoesOn(t *testing.T) {
	c := newCounter(t)
	run := c.Open(t.Context(), 500)
	eventually(t, "orders arrive while none is final", func() bool { return c.taken() >= 50 })
	run.stopping.Do(func() { close(run.stop) })
	run.placing.Wait()
	c.finish(t)
	if err := run.End(t.Context()); err != nil {
		t.Error(err)
	}
	if run.Answers(0.99) < run.Answers(0.5) || run.Answers(0.5) <= 0 {
		t.Errorf("answers took %v, %v", run.Answers(0.5), run.Answers(0.99))
	}
}

// A connection the shop has closed meanwhile, because nobody used it, costs no order.
func TestAConnectionThatWasIdleIsReplaced(t *testing.T) {
	closed := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	server.Config.IdleTimeout = time.Millisecond
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			select {
			case closed <- struct{}{}:
			default: // only the first counts
			}
		}
	}
	server.Start()
	defer server.Close()
	c := newClient(server.URL)
	defer c.close()
	if err := c.place(t.Context(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	<-closed
	c.used = c.used.Add(-2 * maxIdle)
	if err := c.place(t.Context(), []byte("{}")); err != nil {
		t.Error(err)
	}
}

func TestARefusedOrderEndsTheRun(t *testing.T) {
	c := newCounter(t)
	c.answer.Store(http.StatusServiceUnavailable)
	for name, start := range map[string]func() *Run{
		"closed": func() *Run { return c.Closed(t.Context(), 2, 2) },
		"open":   func() *Run { return c.Open(t.Context(), 1000) },
	} {
		run := start()
		if err := run.Await(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if err := run.End(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("%s: the error at the end is %v", name, err)
		}
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	c := newCounter(t)
	ctx, cancel := context.WithCancel(t.Context())
	run := c.Closed(ctx, 2, 2)
	eventually(t, "orders are placed", func() bool { return c.taken() == 2 })
	cancel()
	if err := run.End(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestOrdersAreTheSameForEveryone(t *testing.T) {
	for n := range 200 {
		o := orderNumber(n)
		var body struct {
			Items []struct {
				SKU                 string
				Quantity, UnitPrice int64
			}
		}
		if err := json.Unmarshal(o.body, &body); err != nil {
			t.Fatal(err)
		}
		var pieces, amount int64
		seen := map[string]bool{}
		for _, i := range body.Items {
			pieces += i.Quantity
			amount += i.Quantity * i.UnitPrice
			if seen[i.SKU] {
				t.Errorf("order %d has %s twice", n, i.SKU)
			}
			seen[i.SKU] = true
		}
		if pieces != o.pieces || amount != o.amount || pieces == 0 {
			t.Errorf("order %d says %d pieces for %d, its items come to %d for %d", n, o.pieces, o.amount, pieces, amount)
		}
		if string(orderNumber(n).body) != string(o.body) {
			t.Errorf("order %d is not the same twice", n)
		}
	}
}

func TestLatencyIsReadFromTheHistory(t *testing.T) {
	c := newCounter(t)
	begin := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for i := range 100 {
		id, at := uuid.NewString(), begin.Add(time.Duration(i)*time.Second)
		execute(t, c.DB, `INSERT INTO orders.history VALUES ($1, 'Placed', '{}', $2), ($1, 'StatusChanged', '{"status":"AWAITING_PAYMENT"}', $2),
($1, 'StatusChanged', '{"status":"PAID"}', $3)`, id, at, at.Add(time.Duration(i+1)*time.Millisecond))
	}
	l, err := c.Latency(t.Context(), begin, begin.Add(time.Hour))
	if want := (Latency{P50: 50 * time.Millisecond, P99: 99 * time.Millisecond, Orders: 100}); err != nil || l != want {
		t.Errorf("latency is %+v (%v), want %+v", l, err, want)
	}
	if l, err := c.Latency(t.Context(), begin, begin.Add(9*time.Second)); err != nil || l.Orders != 10 {
		t.Errorf("of ten orders %d count (%v)", l.Orders, err)
	}
	if _, err := c.Latency(t.Context(), begin.Add(-time.Hour), begin.Add(-time.Minute)); err == nil {
		t.Error("a latency of no orders")
	}
	execute(t, c.DB, `DELETE FROM orders.history WHERE data->>'status' = 'PAID' AND order_id = (SELECT max(order_id::text)::uuid FROM orders.history)`)
	if l, err := c.Latency(t.Context(), begin, begin.Add(time.Hour)); err == nil {
		t.Errorf("%+v, though an order was never paid", l)
	}
}
