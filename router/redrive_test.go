package router_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/deadletter"
	"millrace/event"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/shippingpg"
	"millrace/handlers/shipping/simulator"
	"millrace/outbox"
	"millrace/router"
	"millrace/testserver"
	"millrace/topic"
	"millrace/transport"
	"millrace/transport/memory"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// warehouse is the shipping service, whole, on a bus in memory and a real database.
type warehouse struct {
	*testing.T
	db    *sql.DB
	bus   transport.BatchPublisher
	graph router.Graph
	desk  *deadletter.Desk
}

const (
	// carrierStep is longer than any test: no parcel moves by itself.
	carrierStep = time.Hour
	patience    = 60 * time.Second
	trace       = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

func newWarehouse(t *testing.T) *warehouse {
	t.Helper()
	db := testserver.Postgres(t)
	for _, step := range []func() error{
		func() error { return outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()) },
		func() error {
			return outbox.Migrate(t.Context(), db, deadletter.Schema, deadletter.Migrations())
		},
		func() error {
			return outbox.Migrate(t.Context(), db, shippingpg.Schema, shippingpg.Migrations())
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	policy := shipping.Policy{Step: carrierStep}
	store := outbox.NewPostgres(db, shippingpg.Table(policy), outbox.Options{})
	marks := outbox.NewMarks(db, store)
	parking := deadletter.NewParking(db, "shipping", marks, nil, deadletter.Options{})
	bus := memory.NewBus()
	if err := bus.EnsureTopics(t.Context(), 3, topic.ShippingInitiate.Name, topic.OrderCancelled.Name); err != nil {
		t.Fatal(err)
	}
	graph := router.Flow(router.Services{Shipping: shipping.New(store, simulator.New(carrierStep), policy)}).Only("shipping")
	r, err := router.Bind(graph, bus, router.BindConfig{
		Letters: map[string]router.Letters{"shipping": parking}, Metrics: router.NewMetrics(prometheus.NewRegistry()), Version: "1.4.2",
		Redrives: map[string]message.Subscriber{"shipping": deadletter.NewRedriver(parking, slog.Default())},
		Retry:    router.RetryConfig{Tries: 2, First: time.Millisecond, Longest: 10 * time.Millisecond}, Timeout: 10 * time.Second, CloseTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := bus.Publisher()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped, ended := make(chan error, 1), make(chan error, 1)
	go func() { stopped <- store.Run(ctx) }()
	go func() { ended <- r.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		<-ended
		stop()
		<-stopped
	})
	<-r.Running()
	return &warehouse{t, db, publisher.(transport.BatchPublisher), graph, deadletter.NewDesk(db, map[string]*outbox.Marks{"shipping": marks}, "tester")}
}

// say publishes an event as the outbox does, with what a test has against it.
func (w *warehouse) say(e event.Event, spoil func(r *transport.Record)) (id string) {
	w.Helper()
	info, _ := topic.For(e)
	body, err := json.Marshal(e)
	if err != nil {
		w.Fatal(err)
	}
	id = uuid.NewString()
	record := transport.Record{Topic: info.Name, Key: []byte(e.Key()), Value: body}
	for _, h := range [][2]string{
		{transport.UUIDHeader, id}, {outbox.HeaderID, id}, {outbox.HeaderType, info.Event}, {outbox.HeaderSchemaVersion, "1"},
		{outbox.HeaderTime, time.Now().UTC().Format(time.RFC3339Nano)}, {outbox.HeaderCorrelationID, "c"}, {outbox.HeaderTraceParent, trace},
	} {
		record.Headers = append(record.Headers, transport.Header{Key: h[0], Value: []byte(h[1])})
	}
	if spoil != nil {
		spoil(&record)
	}
	for _, err := range w.bus.PublishBatch(w.Context(), []transport.Record{record}) {
		if err != nil {
			w.Fatal(err)
		}
	}
	return deadletter.NewID("shipping-service", id)
}

func (w *warehouse) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func (w *warehouse) text(query string, args ...any) (s string) {
	w.Helper()
	if err := w.db.QueryRow("SELECT coalesce(("+query+")::text, '')", args...).Scan(&s); err != nil {
		w.Fatal(err)
	}
	return s
}

// becomes waits until a message is put aside, or settled.
func (w *warehouse) becomes(id string, s deadletter.Status) {
	w.Helper()
	w.eventually(fmt.Sprintf("letter %s is %s", id, s), func() bool { return w.status(id) == string(s) })
}

func (w *warehouse) status(id string) string {
	w.Helper()
	return w.text("SELECT status FROM deadletter.letters WHERE id = $1", id)
}

func (w *warehouse) parcel(id event.OrderID) string {
	w.Helper()
	return w.text("SELECT state ->> 'status' FROM shipping.shipments WHERE order_id = $1", string(id))
}

func (w *warehouse) exec(statement string) {
	w.Helper()
	if _, err := w.db.Exec(statement); err != nil {
		w.Fatal(err)
	}
}

// breakFor has the database refuse what the service wants to write of an order, until the constraint is dropped.
func (w *warehouse) breakFor(id event.OrderID) {
	w.exec(fmt.Sprintf("ALTER TABLE shipping.shipments ADD CONSTRAINT broken CHECK (order_id <> '%s' OR state::text = '{}') NOT VALID", id))
}

func (w *warehouse) mend() { w.exec("ALTER TABLE shipping.shipments DROP CONSTRAINT broken") }

func (w *warehouse) redrive(ids ...string) {
	w.Helper()
	if asked, err := w.desk.Redrive(w.Context(), ids, "mended"); err != nil || len(asked) != len(ids) {
		w.Fatalf("asked for %v, %v", asked, err)
	}
}

func newOrder() event.OrderID { return event.OrderID(uuid.NewString()) }

func initiate(id event.OrderID) event.ShippingInitiate {
	return event.ShippingInitiate{OrderID: id, Items: []event.Item{{SKU: "MUG", Quantity: 1}}}
}

func cancelled(id event.OrderID) event.OrderCancelled {
	return event.OrderCancelled{OrderID: id, Reason: event.ReasonCustomer}
}

// A failed message holds up its order, across topics, and nothing else; redriven, all of it is processed in order.
func TestAFailedMessageHoldsUpItsOrderAlone(t *testing.T) {
	w := newWarehouse(t)
	broken, healthy := newOrder(), newOrder()
	w.breakFor(broken)
	failed := w.say(initiate(broken), nil)
	w.becomes(failed, deadletter.New)
	behind := w.say(cancelled(broken), nil)
	w.becomes(behind, deadletter.Parked)
	w.say(initiate(healthy), nil)
	w.eventually("the other order goes on", func() bool { return w.parcel(healthy) == "PREPARING" })
	w.mend()
	w.redrive(failed)
	w.becomes(failed, deadletter.Resolved)
	w.eventually("what waited is processed", func() bool { return w.status(behind) == "" })
	w.eventually("the order goes on", func() bool {
		return w.text("SELECT parked_at FROM shipping.shipments WHERE order_id = $1", string(broken)) == ""
	})
	if got := w.text("SELECT state ->> 'cancelled' FROM shipping.shipments WHERE order_id = $1", string(broken)); got != "true" || w.parcel(broken) != "PREPARING" {
		t.Errorf("the parcel is %s, cancelled %s", w.parcel(broken), got)
	}
	steps, err := w.desk.Steps(t.Context(), failed)
	if err != nil || len(steps) != 2 {
		t.Fatalf("steps %+v, %v", steps, err)
	}
	var detail struct {
		Version, TraceParent, Link string
		Changed                    bool
	}
	if err := json.Unmarshal(steps[1].Detail, &detail); err != nil {
		t.Fatal(err)
	}
	if detail.Link != trace || detail.TraceParent == trace || len(detail.TraceParent) != len(trace) || !detail.Changed || detail.Version != "1.4.2" {
		t.Errorf("the step tells %+v; want a trace of its own, and the one it came with", detail)
	}
	if said := w.text("SELECT count(*) FROM millrace.outbox WHERE topic = $1", topic.ShippingStatus.Name); said != "2" {
		t.Errorf("%s events were said, want one of each order", said)
	}
}

// Who cannot read a message does not know whose it is: nobody waits. Of a newer release's it is known: its order waits.
func TestWhatCannotBeReadHoldsUpNobody(t *testing.T) {
	w := newWarehouse(t)
	for what, c := range map[string]struct {
		spoil  func(r *transport.Record)
		status deadletter.Status
	}{
		"no JSON":       {func(r *transport.Record) { r.Value = []byte("{") }, ""},
		"another's key": {func(r *transport.Record) { r.Value = []byte(`{"orderId":"` + string(newOrder()) + `"}`) }, ""},
		"no order's key": {func(r *transport.Record) {
			r.Key, r.Value = []byte("x"), []byte(`{"orderId":"x"}`)
		}, ""},
		"a newer version": {func(r *transport.Record) {
			for i := range r.Headers {
				if r.Headers[i].Key == outbox.HeaderSchemaVersion {
					r.Headers[i].Value = []byte("99")
				}
			}
		}, deadletter.Parked},
	} {
		t.Run(what, func(t *testing.T) {
			order := newOrder()
			letter := w.say(initiate(order), c.spoil)
			w.becomes(letter, deadletter.New)
			next := w.say(cancelled(order), nil)
			if c.status != "" {
				w.becomes(next, c.status)
				return
			}
			w.eventually("the order goes on", func() bool {
				return w.text("SELECT state ->> 'cancelled' FROM shipping.shipments WHERE order_id = $1", string(order)) == "true"
			})
			if l, err := w.desk.Find(t.Context(), letter); err != nil || l.OrderID != "" || l.Lane != l.ID {
				t.Errorf("letter %+v, %v; want a lane of its own", l, err)
			}
		})
	}
}

// The verdict is what really happens.
func TestTheVerdictIsWhatHappens(t *testing.T) {
	w := newWarehouse(t)
	judge := func(id string) router.Verdict {
		t.Helper()
		l, err := w.desk.Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return w.graph.Judge(t.Context(), l)
	}
	expect := func(id string, result router.Result, why string) router.Verdict {
		t.Helper()
		v := judge(id)
		if v.Result != result || !strings.Contains(v.Why, why) {
			t.Errorf("verdict %s (%s), want %s (%s)", v.Result, v.Why, result, why)
		}
		return v
	}
	order := newOrder()
	w.breakFor(order)
	first := w.say(initiate(order), nil)
	w.becomes(first, deadletter.New)
	expect(first, router.Fails, `"broken"`)
	if row := w.text("SELECT state FROM shipping.shipments WHERE order_id = $1", string(order)); row != "{}" {
		t.Errorf("a verdict left %s", row)
	}
	w.mend()
	v := expect(first, router.Applied, "PREPARING; says "+topic.ShippingStatus.Name)
	if v.Before != "" || v.After != "PREPARING" {
		t.Errorf("from %q to %q", v.Before, v.After)
	}

	tx, err := w.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() // after the commit it does nothing
	if _, err := tx.Exec("SELECT FROM shipping.shipments WHERE order_id = $1 FOR UPDATE", string(order)); err != nil {
		t.Fatal(err)
	}
	expect(first, router.Unknown, "could not be tried")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	w.redrive(first)
	w.becomes(first, deadletter.Resolved)
	expect(first, router.Ignored, "processed already")

	// A second message of the same meaning: applied as long as the row is not there, ignored once it is.
	other := newOrder()
	w.breakFor(other)
	again := w.say(initiate(other), nil)
	w.becomes(again, deadletter.New)
	w.mend()
	w.exec(fmt.Sprintf("UPDATE shipping.shipments t SET state = replace(s.state::text, '%s', '%s')::json, version = 1 FROM shipping.shipments s WHERE t.order_id = '%s' AND s.order_id = '%s'", order, other, other, order))
	expect(again, router.Ignored, "it changes nothing in PREPARING")
	w.redrive(again)
	w.becomes(again, deadletter.Resolved)
	if reason := w.text("SELECT reason FROM deadletter.steps WHERE letter_id = $1 AND action = 'resolved'", again); reason != "it changes nothing any more" {
		t.Errorf("the step says %q", reason)
	}

	unread := w.say(initiate(newOrder()), func(r *transport.Record) { r.Value = []byte("{") })
	w.becomes(unread, deadletter.New)
	expect(unread, router.Fails, "not readable")
	w.redrive(unread)
	w.eventually("it fails again", func() bool {
		return w.text("SELECT count(*) FROM deadletter.steps WHERE letter_id = $1 AND action = 'failed again'", unread) == "1"
	})

	idle := router.Graph{router.Service("shipping", router.On(topic.ShippingInitiate, func(context.Context, event.ShippingInitiate) error { return nil }))}
	l, err := w.desk.Find(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if v := idle.Judge(t.Context(), l); v.Result != router.Ignored || !strings.Contains(v.Why, "does nothing") {
		t.Errorf("verdict %+v, want that the service does nothing", v)
	}
	if v := (router.Graph{}).Judge(t.Context(), l); v.Result != router.Fails {
		t.Errorf("verdict %+v of a service that does not hear the topic", v)
	}
}
