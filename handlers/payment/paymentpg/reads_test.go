package paymentpg

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/payment"
	"millrace/handlers/payment/simulator"
	"millrace/outbox"
)

// What the service decides comes back from the database as it was decided.
func TestPaymentsAreKept(t *testing.T) {
	db := database(t)
	store := outbox.NewPostgres(db, Table(payment.Policy{Deadline: simulator.DefaultDelay}), outbox.Options{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	defer func() { stop(); must(t, <-done) }()

	service := payment.NewService(store, simulator.New(NewLedger(db), simulator.Config{}))
	reads := NewReads(db)
	initiated := event.PaymentInitiated{
		OrderID: newOrder(), Total: event.Money{Amount: 2500, Currency: "EUR"}, PaymentMethod: simulator.PendingForever,
		Items:           []event.Item{{SKU: "MUG-RED", Quantity: 2, UnitPrice: 1250}},
		ShippingAddress: &event.Address{Name: "Ada Byron"},
	}
	id := initiated.OrderID
	shown := func() payment.View {
		t.Helper()
		view, err := reads.Payment(t.Context(), id)
		must(t, err)
		return view
	}

	if _, err := reads.Payment(t.Context(), id); !errors.Is(err, event.ErrUnknownOrder) {
		t.Errorf("before it was asked for: %v, want ErrUnknownOrder", err)
	}
	must(t, service.Initiate(caused(t.Context()), initiated))
	want := payment.Payment{
		ID: id, Status: payment.StatusCharging, Total: initiated.Total, PaymentMethod: initiated.PaymentMethod,
		Items: initiated.Items, ShippingAddress: initiated.ShippingAddress,
	}
	if diff := cmp.Diff(payment.View{Payment: want}, shown()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Calls without an answer stand with the waits alone; those of the deadline are none.
	for step, attempt := range map[string]int{payment.StepCharge: 2, event.DeadlineStep: 7} {
		_, err := db.ExecContext(t.Context(), "UPDATE millrace.waits SET attempt = $1 WHERE order_id = $2 AND step = $3", attempt, string(id), step)
		must(t, err)
	}
	if view := shown(); view.Shown() != payment.StatusUnknown || view.Calls() != 2 {
		t.Errorf("after two calls without an answer: %s, %d calls", view.Shown(), view.Calls())
	}

	row, _, err := store.Load(t.Context(), id)
	must(t, err)
	change, err := service.Perform(t.Context(), row, payment.StepCharge, 3)
	must(t, err)
	must(t, store.UpdateExisting(caused(t.Context()), id, change))
	view := shown()
	if view.Shown() != payment.StatusPending || view.Calls() != 3 || view.ProviderRef == "" || view.ExpiresAt.IsZero() {
		t.Errorf("pending: %+v", view)
	}
	var topics string
	scan(t, db, "SELECT string_agg(topic, ' ' ORDER BY id) FROM millrace.outbox", &topics)
	if topics != "ecommerce.payment.pending" {
		t.Errorf("said on %s", topics)
	}

	tombstone := event.OrderCancelled{OrderID: newOrder(), Reason: event.ReasonCustomer}
	must(t, service.Cancel(caused(t.Context()), tombstone))
	if _, err := reads.Payment(t.Context(), tombstone.OrderID); !errors.Is(err, event.ErrUnknownOrder) {
		t.Errorf("a tombstone: %v, want ErrUnknownOrder", err)
	}
}
