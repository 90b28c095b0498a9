package orderpg_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/handlers/order/orderpg"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

var policy = order.Policy{Deadline: time.Minute}

type shop struct {
	t       *testing.T
	db      *sql.DB
	service *order.Service
	reads   *orderpg.Reads
}

// newShop runs the order service on a database of its own.
func newShop(t *testing.T) *shop {
	t.Helper()
	db := testserver.Postgres(t)
	for _, m := range []func() error{
		func() error { return outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()) },
		func() error { return outbox.Migrate(t.Context(), db, orderpg.Schema, orderpg.Migrations()) },
	} {
		if err := m(); err != nil {
			t.Fatal(err)
		}
	}
	store := outbox.NewPostgres(db, orderpg.Table(policy), outbox.Options{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	return &shop{t: t, db: db, service: order.New(store, policy, log), reads: orderpg.NewReads(db)}
}

func newID() event.OrderID { return event.OrderID(uuid.Must(uuid.NewV7()).String()) }

// caused gives each change a cause of its own, all of one correlation.
func (s *shop) caused() context.Context {
	return event.WithCause(s.t.Context(), event.Cause{ID: string(newID()), CorrelationID: "corr-1"})
}

func (s *shop) place(id event.OrderID, customer string) {
	s.t.Helper()
	_, err := s.service.Place(s.caused(), id, order.PlaceOrder{
		CustomerID: customer, Currency: "EUR", PaymentMethod: "pm_accepted",
		Items:           []event.Item{{SKU: "MUG-RED", Quantity: 2, UnitPrice: 1250}},
		ShippingAddress: &event.Address{Name: "Ada <Byron>", Street: "1 Mill Lane", City: "Bath", Country: "GB"},
		Contact:         &event.Contact{Email: "ada@example.com"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// live is an order of every kind of fact: paid, lost on its way, and refunded at the second try.
func (s *shop) live(id event.OrderID) {
	s.t.Helper()
	s.place(id, "c-42")
	s.do(s.service.InventoryReserved(s.caused(), event.InventoryReserved{OrderID: id}))
	s.do(s.service.PaymentPending(s.caused(), event.PaymentPending{OrderID: id, ProviderRef: "p-1"}))
	s.do(s.service.PaymentSucceeded(s.caused(), event.PaymentSucceeded{OrderID: id, ProviderRef: "p-1"}))
	for _, status := range []event.ParcelStatus{"PREPARING", "SHIPPED", "LOST"} {
		s.do(s.service.ShippingStatus(s.caused(), event.ShippingStatus{OrderID: id, Status: status, Carrier: "mill post"}))
	}
	s.do(s.service.PaymentRefundFailed(s.caused(), event.PaymentRefundFailed{OrderID: id, Message: "account \"closed\""}))
	s.do(s.service.PaymentRefunded(s.caused(), event.PaymentRefunded{OrderID: id, ProviderRef: "r-1"}))
}

func TestTheHistoryRebuildsTheRow(t *testing.T) {
	s := newShop(t)
	id := newID()
	s.live(id)

	view, err := s.reads.Order(t.Context(), id)
	s.do(err)
	rebuilt, err := s.reads.Rebuild(t.Context(), id)
	s.do(err)
	var state string
	s.do(s.db.QueryRow("SELECT state FROM orders.orders WHERE order_id = $1", string(id)).Scan(&state))
	want, err := json.Marshal(rebuilt)
	s.do(err)
	if state != string(want) {
		t.Errorf("\n    the row is %s\nits history says %s", state, want)
	}
	if view.Status != event.OrderIsCancelled || view.Reason != event.ReasonShipmentFailed || view.CorrelationID != "corr-1" {
		t.Errorf("the order is %s(%s), correlation %s", view.Status, view.Reason, view.CorrelationID)
	}

	history, err := s.reads.History(t.Context(), id)
	s.do(err)
	var types []string
	for i, e := range history {
		types = append(types, e.Type)
		if e.Version != int64(i+1) || e.CorrelationID != "corr-1" || uuid.Validate(e.EventID) != nil || uuid.Validate(e.CausationID) != nil || e.OccurredAt.IsZero() {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	wantTypes := []string{
		"Placed", "StockReserved", "StatusChanged", "PaymentPending", "StatusChanged", "PaymentSucceeded", "StatusChanged",
		"ParcelMoved", "ParcelMoved", "StatusChanged", "ParcelMoved", "StatusChanged",
		"PaymentRefundFailed", "StatusChanged", "PaymentRefunded", "StatusChanged",
	}
	if diff := cmp.Diff(wantTypes, types); diff != "" {
		t.Errorf("history (-want +got)\n%s", diff)
	}
	if view.Version != int64(len(history)) {
		t.Errorf("version %d, want the %d entries of the history", view.Version, len(history))
	}
}

func TestAnOpenOrderHasItsDeadline(t *testing.T) {
	s := newShop(t)
	id := newID()
	waits := func() (all []string) {
		rows, err := s.db.Query("SELECT step || ' ' || extract(epoch FROM since - (SELECT created_at FROM orders.orders))::int FROM millrace.waits WHERE order_id = $1 ORDER BY 1", string(id))
		s.do(err)
		defer rows.Close()
		for rows.Next() {
			var step string
			s.do(rows.Scan(&step))
			all = append(all, step)
		}
		s.do(rows.Err())
		return all
	}
	s.place(id, "c-42")
	if diff := cmp.Diff([]string{"deadline 60"}, waits()); diff != "" {
		t.Errorf("a new order waits for (-want +got)\n%s", diff)
	}
	s.do(s.service.InventoryRejected(s.caused(), event.InventoryRejected{OrderID: id}))
	if got := waits(); got != nil {
		t.Errorf("a cancelled order waits for %v", got)
	}
}

func TestOrdersNobodyPlacedAreNotShown(t *testing.T) {
	s := newShop(t)
	id := newID()
	s.do(s.service.InventoryReserved(s.caused(), event.InventoryReserved{OrderID: id}))
	for _, id := range []event.OrderID{id, newID()} {
		if _, err := s.reads.Order(t.Context(), id); !errors.Is(err, event.ErrUnknownOrder) {
			t.Errorf("order: got %v", err)
		}
		if _, err := s.reads.History(t.Context(), id); !errors.Is(err, event.ErrUnknownOrder) {
			t.Errorf("history: got %v", err)
		}
	}
	if page, err := s.reads.List(t.Context(), order.Filter{Limit: 10}); err != nil || len(page.Orders) != 0 {
		t.Errorf("list: %d orders, %v", len(page.Orders), err)
	}
}

func TestPlacedTwiceIsPlacedOnce(t *testing.T) {
	s := newShop(t)
	id := newID()
	ctx := s.caused()
	command := order.PlaceOrder{CustomerID: "c", Currency: "EUR", PaymentMethod: "m", Items: []event.Item{{SKU: "A", Quantity: 1}}}
	for i := range 3 {
		created, err := s.service.Place(ctx, id, command)
		if err != nil || created != (i == 0) {
			t.Fatalf("time %d: created %v, %v", i, created, err)
		}
	}
	command.CustomerID = "d"
	if _, err := s.service.Place(ctx, id, command); !errors.Is(err, order.ErrDifferentOrder) {
		t.Errorf("another order: %v", err)
	}
}

func TestPages(t *testing.T) {
	s := newShop(t)
	var all []event.OrderID
	for i := range 7 {
		id := newID()
		s.place(id, fmt.Sprint("c-", i%2))
		all = append(all, id)
	}
	s.do(s.service.InventoryReserved(s.caused(), event.InventoryReserved{OrderID: all[2]}))
	// Orders of one transaction share their time: the id decides then.
	_, err := s.db.Exec("UPDATE orders.orders SET created_at = '2026-01-02T03:04:05.678901Z' WHERE order_id = ANY(ARRAY[$1, $2]::uuid[])", string(all[0]), string(all[1]))
	s.do(err)
	slices.Reverse(all)

	pages := func(f order.Filter) (ids []event.OrderID) {
		for range 10 {
			page, err := s.reads.List(t.Context(), f)
			s.do(err)
			for _, o := range page.Orders {
				ids = append(ids, o.ID)
			}
			if f.Cursor = page.NextCursor; f.Cursor == "" {
				return ids
			}
			if len(page.Orders) != f.Limit {
				t.Errorf("a page of %d before the last, want %d", len(page.Orders), f.Limit)
			}
		}
		t.Fatal("the list has no end")
		return nil
	}
	for limit := 1; limit <= 8; limit++ {
		if diff := cmp.Diff(all, pages(order.Filter{Limit: limit})); diff != "" {
			t.Errorf("pages of %d (-want +got)\n%s", limit, diff)
		}
	}
	if diff := cmp.Diff([]event.OrderID{all[1], all[3], all[5]}, pages(order.Filter{CustomerID: "c-1", Limit: 2})); diff != "" {
		t.Errorf("a customer's orders (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]event.OrderID{all[4]}, pages(order.Filter{Status: "AWAITING_PAYMENT", Limit: 2})); diff != "" {
		t.Errorf("orders in a status (-want +got)\n%s", diff)
	}
	if got := pages(order.Filter{CustomerID: "c-1", Status: "AWAITING_PAYMENT", Limit: 2}); got != nil {
		t.Errorf("a customer's orders in a status: %v", got)
	}
	for _, cursor := range []string{"?", "abc", "MTIzIG5vLWlk", "LTEgMDE5OWMwZGUtMDAwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAx"} {
		if _, err := s.reads.List(t.Context(), order.Filter{Limit: 1, Cursor: cursor}); !errors.Is(err, order.ErrBadCursor) {
			t.Errorf("cursor %s: got %v", cursor, err)
		}
	}
}

func TestListsReadAnIndex(t *testing.T) {
	s := newShop(t)
	_, err := s.db.Exec(`INSERT INTO orders.orders (order_id, state, status, customer_id, created_at)
SELECT gen_random_uuid(), '{}', 'PAID', 'c-' || n % 1000, now() - n * interval '1 second' FROM generate_series(1, 20000) n`)
	s.do(err)
	_, err = s.db.Exec("ANALYZE orders.orders")
	s.do(err)
	for query, most := range map[string]int{
		"WHERE status IS NOT NULL":                         50,
		"WHERE status IS NOT NULL AND customer_id = 'c-7'": 50,
		"WHERE status IS NOT NULL AND (created_at, order_id) < (now() - interval '3 hours', gen_random_uuid())": 50,
	} {
		var plan []byte
		s.do(s.db.QueryRow("EXPLAIN (FORMAT JSON, ANALYZE, BUFFERS) SELECT * FROM orders.orders " + query +
			" ORDER BY created_at DESC, order_id DESC LIMIT 21").Scan(&plan))
		var read []struct {
			Plan struct {
				Hit  int `json:"Shared Hit Blocks"`
				Read int `json:"Shared Read Blocks"`
			}
		}
		s.do(json.Unmarshal(plan, &read))
		if got := read[0].Plan.Hit + read[0].Plan.Read; got > most {
			t.Errorf("%s reads %d blocks, want at most %d: %s", query, got, most, plan)
		}
	}
}
