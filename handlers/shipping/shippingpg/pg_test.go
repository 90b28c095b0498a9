package shippingpg_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// step is as short as the executor makes it: it looks every 100 ms.
const step = 50 * time.Millisecond

// patience is for a machine that is busy with other tests.
const patience = time.Minute

type system struct {
	*testing.T
	db      *sql.DB
	service *shipping.Service
	reader  *shippingpg.Reader
}

// newSystem runs a whole shipping service: store, executor and simulated carrier.
func newSystem(t *testing.T) system {
	t.Helper()
	return newSystemAt(t, step)
}

// newSystemAt has a carrier of another pace.
func newSystemAt(t *testing.T, step time.Duration) system {
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
	service := shipping.New(store, simulator.New(step), policy)
	executor := outbox.NewExecutor(db, "shipping", store.LoadAll, store.UpdateExisting, service.Perform,
		outbox.ExecutorOptions[shipping.Shipment]{Waits: policy.Due})
	store.StartEffects(executor)
	run(t, store.Run) // ends last: the executor's answers go through it
	run(t, executor.Run)
	return system{t, db, service, shippingpg.NewReader(db)}
}

func run(t *testing.T, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func (s system) caused() context.Context {
	return event.WithCause(s.Context(), event.Cause{ID: uuid.NewString(), Time: time.Now()})
}

func (s system) initiate(id event.OrderID, postalCode string) {
	s.Helper()
	e := event.ShippingInitiate{OrderID: id, Items: []event.Item{{SKU: "MUG", Quantity: 1}}}
	if postalCode != "" {
		e.ShippingAddress = &event.Address{Name: "Ada Byron", PostalCode: postalCode, Country: "GB"}
	}
	if err := s.service.Initiate(s.caused(), e); err != nil {
		s.Fatal(err)
	}
}

func (s system) cancel(id event.OrderID) {
	s.Helper()
	if err := s.service.Cancel(s.caused(), event.OrderCancelled{OrderID: id}); err != nil {
		s.Fatal(err)
	}
}

// wait returns the shipment once it has got to a status.
func (s system) wait(id event.OrderID, status event.ParcelStatus) shipping.Shipment {
	s.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); ; <-look.C {
		row, err := s.reader.Shipment(s.Context(), id)
		if err == nil && row.Status == status {
			return row
		}
		if err != nil && !errors.Is(err, event.ErrUnknownOrder) {
			s.Fatal(err)
		}
		if time.Now().After(deadline) {
			s.Fatalf("order %s is %q, and not %s", id, row.Status, status)
		}
	}
}

func orderID(n int) event.OrderID {
	return event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n))
}

func TestParcelsFareAsTheirPostalCodeSays(t *testing.T) {
	s := newSystem(t)
	ends := []struct {
		code string
		want event.ParcelStatus
	}{
		{"BA1 1AA", event.ParcelDelivered},
		{"", event.ParcelDelivered}, // collected
		{simulator.Slow, event.ParcelDelivered},
		{simulator.Refused, event.ParcelRefused},
		{simulator.Lost, event.ParcelLost},
	}
	for n, end := range ends {
		s.initiate(orderID(n), end.code)
	}
	for n, end := range ends {
		s.wait(orderID(n), end.want)
	}
	var waiting int
	if err := s.db.QueryRow("SELECT count(*) FROM millrace.waits").Scan(&waiting); err != nil || waiting != 0 {
		t.Errorf("%d waits are left: %v", waiting, err)
	}
}

// TestPastRecall goes the longest way there is: cancelled, not stopped, not called back,
// resolved by an operator; and each status is said once, in order.
func TestPastRecall(t *testing.T) {
	const unhurried = 5 * time.Second // it must not arrive before it is called back
	s := newSystemAt(t, unhurried)
	id := orderID(1)
	s.initiate(id, simulator.NoRecall)
	s.cancel(id)
	s.wait(id, event.ParcelRecallFailed)
	if err := s.service.Resolve(s.caused(), id, shipping.ResolveReturned, "a neighbour had it"); err != nil {
		t.Fatal(err)
	}
	row := s.wait(id, event.ParcelReturned)
	var passed []event.ParcelStatus
	for _, entry := range row.History {
		passed = append(passed, entry.Status)
	}
	want := []event.ParcelStatus{event.ParcelPreparing, event.ParcelShipped, event.ParcelRecallFailed, event.ParcelReturned}
	if diff := cmp.Diff(want, passed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if last := row.History[len(row.History)-1]; last.Note != "a neighbour had it" || row.TrackingNumber == "" {
		t.Errorf("%+v", row)
	}
	var said, correlated int
	if err := s.db.QueryRow(`SELECT count(*), count(*) FILTER (WHERE position(convert_to(s.correlation_id, 'UTF8') IN o.headers) > 0)
FROM millrace.outbox o, shipping.shipments s WHERE s.correlation_id <> '' AND o.service = 'shipping' AND o.topic = 'ecommerce.shipping.status'`).Scan(&said, &correlated); err != nil {
		t.Fatal(err)
	}
	if said != len(want) || correlated != said {
		t.Errorf("said %d, %d of them under the order's correlation id, want %d", said, correlated, len(want))
	}
}

func TestATombstoneReadsAsUnknown(t *testing.T) {
	s := newSystem(t)
	id := orderID(1)
	s.cancel(id)
	if _, err := s.reader.Shipment(t.Context(), id); !errors.Is(err, event.ErrUnknownOrder) {
		t.Errorf("got %v", err)
	}
	s.initiate(id, "BA1 1AA")
	s.wait(id, event.ParcelStopped)
}
