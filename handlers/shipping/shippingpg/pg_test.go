package shippingpg_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/shippingpg"
	"millrace/handlers/shipping/simulator"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

const orderID = event.OrderID("0199c0de-0000-7000-8000-000000000001")

// step is so short that the simulated parcel has moved on whenever it is asked for.
const step = time.Millisecond

type system struct {
	db      *sql.DB
	store   *outbox.Store[shipping.Shipment, outbox.None]
	service *shipping.Service
	reader  *shippingpg.Reader
}

func newSystem(t *testing.T) system {
	t.Helper()
	db := testserver.Postgres(t)
	if err := outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Migrate(t.Context(), db, shippingpg.Schema, shippingpg.Migrations()); err != nil {
		t.Fatal(err)
	}
	policy := shipping.Policy{Step: step}
	store := outbox.NewPostgres(db, shippingpg.Table(policy), outbox.Options{})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- store.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return system{db, store, shipping.New(store, simulator.New(step), policy), shippingpg.NewReader(db)}
}

func caused(t *testing.T) context.Context {
	return event.WithCause(t.Context(), event.Cause{ID: uuid.NewString(), Time: time.Now()})
}

// TestAParcelGoesThroughTheDatabase: initiated, asked after until it is delivered, too
// late to be called back, resolved.
func TestAParcelGoesThroughTheDatabase(t *testing.T) {
	s := newSystem(t)
	if _, err := s.reader.Shipment(t.Context(), orderID); !errors.Is(err, event.ErrUnknownOrder) {
		t.Fatalf("before anything: %v", err)
	}
	e := event.ShippingInitiate{OrderID: orderID, Items: []event.Item{{SKU: "MUG", Quantity: 1}},
		ShippingAddress: &event.Address{Name: "Ada Byron", PostalCode: "BA1 1AA", Country: "GB"}}
	if err := s.service.Initiate(caused(t), e); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for calls := 1; ; calls++ {
		var due string
		switch err := s.db.QueryRow("SELECT coalesce(max(step), '') FROM millrace.waits WHERE service = 'shipping' AND order_id = $1", string(orderID)).Scan(&due); {
		case err != nil:
			t.Fatal(err)
		case time.Now().After(deadline):
			t.Fatalf("still waiting for %s", due)
		}
		if due == "" {
			break
		}
		row, _, err := s.store.Load(t.Context(), orderID)
		if err != nil {
			t.Fatal(err)
		}
		change, err := s.service.Perform(caused(t), row, due, calls)
		if err != nil {
			continue // not yet
		}
		if err := s.store.UpdateExisting(caused(t), orderID, change); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.service.Cancel(caused(t), event.OrderCancelled{OrderID: orderID}); err != nil {
		t.Fatal(err)
	}
	if err := s.service.Resolve(caused(t), orderID, shipping.ResolveReturned, "a neighbour had it"); err != nil {
		t.Fatal(err)
	}
	row, err := s.reader.Shipment(t.Context(), orderID)
	if err != nil {
		t.Fatal(err)
	}
	var passed []event.ParcelStatus
	for _, entry := range row.History {
		passed = append(passed, entry.Status)
	}
	want := []event.ParcelStatus{event.ParcelPreparing, event.ParcelShipped, event.ParcelDelivered, event.ParcelRecallFailed, event.ParcelReturned}
	if diff := cmp.Diff(want, passed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if row.TrackingNumber == "" || row.Carrier == "" || row.History[4].Note == "" {
		t.Errorf("%+v", row)
	}
	var said int
	if err := s.db.QueryRow("SELECT count(*) FROM millrace.outbox WHERE service = 'shipping' AND topic = 'ecommerce.shipping.status'").Scan(&said); err != nil || said != len(want) {
		t.Errorf("said %d, want %d: %v", said, len(want), err)
	}
}

func TestATombstoneReadsAsUnknown(t *testing.T) {
	s := newSystem(t)
	if err := s.service.Cancel(caused(t), event.OrderCancelled{OrderID: orderID}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.reader.Shipment(t.Context(), orderID); !errors.Is(err, event.ErrUnknownOrder) {
		t.Errorf("got %v", err)
	}
}
