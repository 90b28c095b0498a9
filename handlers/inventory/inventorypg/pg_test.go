package inventorypg_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventorypg"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

func database(t *testing.T) *sql.DB {
	t.Helper()
	db := testserver.Postgres(t)
	if err := outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Migrate(t.Context(), db, inventorypg.Schema, inventorypg.Migrations()); err != nil {
		t.Fatal(err)
	}
	return db
}

// replica is a service with a store of its own, as each process has.
func replica(t *testing.T, db *sql.DB) *inventory.Service {
	t.Helper()
	store := outbox.NewPostgres(db, inventorypg.Table(), outbox.Options{})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- store.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return inventory.New(inventorypg.Reservations{Store: store})
}

func caused(t *testing.T) context.Context {
	return event.WithCause(t.Context(), event.Cause{ID: uuid.NewString()})
}

func orderID(n int) event.OrderID {
	return event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n))
}

func created(n int, lines ...event.Item) event.OrderCreated {
	return event.OrderCreated{OrderID: orderID(n), Items: lines}
}

// TestManyOrdersOnOneSKU: two replicas, more orders than pieces, each order heard
// by both, SKUs named in opposite orders. Exactly what is there is set aside.
func TestManyOrdersOnOneSKU(t *testing.T) {
	db := database(t)
	replicas := []*inventory.Service{replica(t, db), replica(t, db)}
	for sku, pieces := range map[string]int64{"MUG": 150, "PEN": 10_000} {
		if err := replicas[0].Restock(caused(t), sku, "", pieces); err != nil {
			t.Fatal(err)
		}
	}
	const orders = 400
	mug, pen := event.Item{SKU: "MUG", Quantity: 1}, event.Item{SKU: "PEN", Quantity: 2}
	var all sync.WaitGroup
	for n := range orders {
		lines := []event.Item{mug, pen}
		if n%2 == 0 {
			lines = []event.Item{pen, mug}
		}
		cause := event.WithCause(t.Context(), event.Cause{ID: uuid.NewString()})
		for _, r := range replicas {
			all.Go(func() {
				if err := r.Reserve(cause, created(n, lines...)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	reader := inventorypg.NewReader(db)
	levels, err := reader.Levels(t.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []inventory.Level{
		{SKU: "MUG", Initial: 150, Reserved: 150, Version: 151},
		{SKU: "PEN", Initial: 10_000, Available: 9_700, Reserved: 300, Version: 151},
	}
	if diff := cmp.Diff(want, levels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	said := map[string]int{}
	rows, err := db.Query("SELECT topic, count(*) FROM millrace.outbox GROUP BY topic")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var topic string
		var n int
		if err := rows.Scan(&topic, &n); err != nil {
			t.Fatal(err)
		}
		said[topic] = n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"ecommerce.inventory.reserved": 150, "ecommerce.inventory.rejected": 250}, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

func TestAReservationIsReadBack(t *testing.T) {
	db := database(t)
	service, reader := replica(t, db), inventorypg.NewReader(db)
	if err := service.Restock(caused(t), "MUG", "Mug", 5); err != nil {
		t.Fatal(err)
	}
	lines := []event.Item{{SKU: "MUG", Quantity: 2, UnitPrice: 1250}}
	status := func(n int) inventory.Status {
		t.Helper()
		r, err := reader.Reservation(t.Context(), orderID(n))
		if (err != nil || r.Status == "") && !errors.Is(err, event.ErrUnknownOrder) {
			t.Fatal(err)
		}
		return r.Status
	}
	for _, step := range []struct {
		do   func() error
		want inventory.Status
	}{
		{func() error { return nil }, ""},
		{func() error { return service.Reserve(caused(t), created(1, lines...)) }, inventory.Reserved},
		{func() error { return service.Commit(caused(t), event.InventoryUpdate{OrderID: orderID(1)}) }, inventory.Sold},
		{func() error {
			return service.TakeBack(caused(t), event.ShippingStatus{OrderID: orderID(1), Status: event.ParcelReturned})
		}, inventory.Returned},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := status(1); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	if err := service.Release(caused(t), event.PaymentFailed{OrderID: orderID(2)}); err != nil {
		t.Fatal(err)
	}
	if got := status(2); got != "" {
		t.Errorf("a tombstone reads as %q", got)
	}
	if l, ok, err := reader.Level(t.Context(), "MUG"); err != nil || !ok || l.Available != 5 || l.Sold != 0 {
		t.Errorf("%+v %v %v", l, ok, err)
	}
}

// TestARefusedRestockLeavesNothing, not even an SKU that reads as empty, though the store
// had to make its row, and though another restock commits in the same transaction.
func TestARefusedRestockLeavesNothing(t *testing.T) {
	db := database(t)
	service, reader := replica(t, db), inventorypg.NewReader(db)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			if err := service.Restock(caused(t), fmt.Sprintf("GOOD-%02d", n), "", 1); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := service.Restock(caused(t), fmt.Sprintf("BAD-%02d", n), "", -1); !errors.Is(err, inventory.ErrNotAvailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	levels, err := reader.Levels(t.Context(), "", 200)
	if err != nil {
		t.Fatal(err)
	}
	if len(levels) != 50 || levels[0].SKU != "GOOD-00" || levels[49].SKU != "GOOD-49" {
		t.Errorf("%d SKUs: %v", len(levels), levels)
	}
	if _, ok, err := reader.Level(t.Context(), "BAD-01"); ok || err != nil {
		t.Errorf("BAD-01: %v %v", ok, err)
	}
	page, err := reader.Levels(t.Context(), "GOOD-09", 2)
	if err != nil || len(page) != 2 || page[0].SKU != "GOOD-10" || page[1].SKU != "GOOD-11" {
		t.Errorf("%v %v", page, err)
	}
}

func TestTheSameRestockTwiceCountsOnce(t *testing.T) {
	db := database(t)
	ctx := caused(t)
	for range 2 { // the second time by another process
		if err := replica(t, db).Restock(ctx, "MUG", "Mug", 5); err != nil {
			t.Fatal(err)
		}
	}
	if l, _, err := inventorypg.NewReader(db).Level(t.Context(), "MUG"); err != nil || l.Available != 5 || l.Version != 1 {
		t.Errorf("%+v %v", l, err)
	}
}

func TestSeedFillsAnEmptyCatalogueOnly(t *testing.T) {
	db := database(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := inventorypg.Seed(t.Context(), db); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	levels, err := inventorypg.NewReader(db).Levels(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(levels) != 20 {
		t.Errorf("%d SKUs", len(levels))
	}
	for _, l := range levels {
		if err := inventory.CheckSKU(l.SKU); err != nil || l.Name == "" || l.Available != l.Initial || l.Available == 0 {
			t.Errorf("%+v: %v", l, err)
		}
	}
	own := database(t)
	if err := replica(t, own).Restock(caused(t), "SAMOVAR", "", 0); err != nil {
		t.Fatal(err)
	}
	if added, err := inventorypg.Seed(t.Context(), own); err != nil || added != 0 {
		t.Errorf("added %d to somebody's own catalogue: %v", added, err)
	}
}

// TestTheDatabaseRefusesWrongStock, whatever the code says.
func TestTheDatabaseRefusesWrongStock(t *testing.T) {
	db := database(t)
	if err := replica(t, db).Restock(caused(t), "MUG", "", 5); err != nil {
		t.Fatal(err)
	}
	for change, constraint := range map[string]string{
		"available = -1, sold = 6":     "never_oversold",
		"available = 6, reserved = -1": "never_oversold",
		"available = 4":                "stock_adds_up",
		"restocked = 1":                "stock_adds_up",
	} {
		if _, err := db.Exec("UPDATE inventory.stock SET " + change); err == nil || !strings.Contains(err.Error(), constraint) {
			t.Errorf("%s: %v", change, err)
		}
	}
}
