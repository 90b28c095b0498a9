//go:build unix

package story_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/deadletter"
	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/handlers/analytics/analyticspg"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventorypg"
	"millrace/handlers/notification"
	"millrace/handlers/notification/notificationpg"
	"millrace/handlers/order"
	"millrace/handlers/order/orderpg"
	"millrace/handlers/payment"
	"millrace/handlers/payment/paymentpg"
	paymentsim "millrace/handlers/payment/simulator"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/shippingpg"
	shippingsim "millrace/handlers/shipping/simulator"
	"millrace/outbox"
	"millrace/router"
	"millrace/testserver"
	"millrace/transport/memory"
)

const (
	// timeoutDeadline is longer than any claim's lease: no order is given up because of one mishap.
	timeoutDeadline = 10 * time.Minute
	// timeoutCall is how long provider, carrier and senders are waited for.
	timeoutCall = 100 * time.Millisecond
	// timeoutLook is how often a test looks whether an order is at its end.
	timeoutLook = 5 * time.Millisecond
	// timeoutPatience is for one order: a claim whose answer got lost stands for half a minute.
	timeoutPatience = 2 * time.Minute
)

// timeoutSystem is the whole system in this process: the six services with their effects and their dead letters on a real
// Postgres, the relay, the flow on the memory transport. All that leaves the process is counted.
type timeoutSystem struct {
	*testing.T
	calls    *outsideCalls
	dsn      string
	db       *sql.DB // the test's own, undisturbed
	bus      *memory.Bus
	services router.Services
	bank     *paymentsim.Memory
	carrier  callsToCarrier
	sender   callsToSender
	broker   *callsToBroker
	relay    *outbox.Relay
	silent   *slog.Logger
	refusing *refusingPayments
	parkings map[string]*deadletter.Parking
	marks    map[string]*outbox.Marks
	parts    []func(context.Context) error
}

// newTimeoutSystem starts the system. A parcel moves one step each carrierStep.
func newTimeoutSystem(t *testing.T, carrierStep time.Duration) *timeoutSystem {
	t.Helper()
	s := &timeoutSystem{
		T: t, calls: &outsideCalls{}, dsn: testserver.PostgresDSN(t), bus: memory.NewBus(), bank: paymentsim.NewMemory(), silent: slog.New(slog.DiscardHandler),
		parkings: map[string]*deadletter.Parking{}, marks: map[string]*outbox.Marks{},
	}
	ignored := func(string) {}
	s.carrier = callsToCarrier{s.calls, new(sync.Mutex), &interleavingCarrier{Carrier: shippingsim.New(carrierStep), parcels: map[event.OrderID]*interleavingParcel{}, reached: ignored}}
	s.sender = callsToSender{s.calls, new(sync.Mutex), &interleavingSender{sent: map[string]time.Time{}, to: map[string]string{}}}
	s.db = s.open(nil)
	for _, step := range []struct {
		schema string
		steps  fs.FS
	}{
		{outbox.Schema, outbox.Migrations()}, {deadletter.Schema, deadletter.Migrations()}, {orderpg.Schema, orderpg.Migrations()},
		{paymentpg.Schema, paymentpg.Migrations()}, {inventorypg.Schema, inventorypg.Migrations()}, {shippingpg.Schema, shippingpg.Migrations()},
		{notificationpg.Schema, notificationpg.Migrations()}, {analyticspg.Schema, analyticspg.Migrations()},
	} {
		s.must(outbox.Migrate(t.Context(), s.db, step.schema, step.steps))
	}
	s.must(s.bus.EnsureTopics(t.Context(), 1, router.Flow(router.Services{}).Topics()...))
	publisher, err := s.bus.Publisher()
	s.must(err)
	s.broker = &callsToBroker{outsideCalls: s.calls, Publisher: publisher}
	s.relay = outbox.NewRelay(s.open(s.calls, "relay"), s.broker, outbox.RelayOptions{Logger: s.silent})
	s.parts = append(s.parts, s.relay.Run)
	s.addServices(carrierStep)
	s.run()
	for _, sku := range interleavingSKUs {
		ctx := event.WithCause(t.Context(), event.Cause{ID: uuid.NewString(), Command: true, Time: time.Now()})
		s.must(s.services.Inventory.Restock(ctx, sku, "", timeoutStock))
	}
	return s
}

// timeoutStock is more than all orders of a run want.
const timeoutStock = 100_000

// open opens the test's database: directly, or with calls that are counted.
func (s *timeoutSystem) open(calls *outsideCalls, who ...string) *sql.DB {
	s.Helper()
	c, err := newCallsToDatabase(s.dsn, strings.Join(who, " "), calls)
	s.must(err)
	db := sql.OpenDB(c.Connector)
	if calls != nil {
		db = sql.OpenDB(c)
	}
	const enough = 6 // store, effects, letters
	db.SetMaxOpenConns(enough)
	db.SetMaxIdleConns(enough)
	s.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *timeoutSystem) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *timeoutSystem) addServices(carrierStep time.Duration) {
	orders, payments, parcels := order.Policy{Deadline: timeoutDeadline}, payment.Policy{Deadline: timeoutDeadline}, shipping.Policy{Step: carrierStep}

	orderTable, orderDB := orderpg.Table(orders), s.open(s.calls, "order")
	orderStore := addTimeoutStore(s, orderDB, orderTable)
	s.services.Order = order.New(orderStore, orders, s.silent)
	addTimeoutExecutor(s, orderDB, orderTable, orderStore, s.services.Order.Perform)

	paymentTable, paymentDB := paymentpg.Table(payments), s.open(s.calls, "payment")
	paymentStore := addTimeoutStore(s, paymentDB, paymentTable)
	s.refusing = &refusingPayments{Payments: paymentStore}
	s.services.Payment = payment.NewService(s.refusing, callsToProvider{s.calls, paymentsim.New(s.bank, paymentsim.Config{})})
	addTimeoutExecutor(s, paymentDB, paymentTable, paymentStore, s.services.Payment.Perform)

	s.services.Inventory = inventory.New(inventorypg.Reservations{Store: addTimeoutStore(s, s.open(s.calls, "inventory"), inventorypg.Table())})

	shippingTable, shippingDB := shippingpg.Table(parcels), s.open(s.calls, "shipping")
	shippingStore := addTimeoutStore(s, shippingDB, shippingTable)
	s.services.Shipping = shipping.New(shippingStore, s.carrier, parcels)
	addTimeoutExecutor(s, shippingDB, shippingTable, shippingStore, s.services.Shipping.Perform)

	noticeTable, noticeDB := notificationpg.Table(), s.open(s.calls, "notification")
	noticeStore := addTimeoutStore(s, noticeDB, noticeTable)
	var err error
	s.services.Notification, err = notification.New(noticeStore, notification.Senders{Email: s.sender, SMS: s.sender, Push: s.sender}, nil)
	s.must(err)
	addTimeoutExecutor(s, noticeDB, noticeTable, noticeStore, s.services.Notification.Perform)

	s.services.Analytics, err = analytics.New(addTimeoutStore(s, s.open(s.calls, "analytics"), analyticspg.Table()))
	s.must(err)
}

func addTimeoutStore[S, V any](s *timeoutSystem, db *sql.DB, table outbox.Table[S, V]) *outbox.Store[S, V] {
	store := outbox.NewPostgres(db, table, outbox.Options{Says: router.Flow(router.Services{}).MaySay(table.Service), Relay: s.relay, Logger: s.silent})
	s.marks[table.Service] = outbox.NewMarks(db, store)
	parking := deadletter.NewParking(db, table.Service, s.marks[table.Service], s.relay.Wake, deadletter.Options{Logger: s.silent})
	s.parkings[table.Service] = parking
	s.parts = append(s.parts, store.Run, parking.Run)
	return store
}

func addTimeoutExecutor[S, V any](s *timeoutSystem, db *sql.DB, table outbox.Table[S, V], store *outbox.Store[S, V], perform outbox.Perform[S]) {
	e := outbox.NewExecutor(db, table.Service, store.LoadAll, store.UpdateExisting, perform,
		outbox.ExecutorOptions[S]{Waits: table.Waits, CallTimeout: timeoutCall, Logger: s.silent})
	store.StartEffects(e)
	s.parts = append(s.parts, e.Run)
}

// run starts the parts, and ends them after the test.
func (s *timeoutSystem) run() {
	letters, redrives := map[string]router.Letters{}, map[string]message.Subscriber{}
	for name, p := range s.parkings {
		letters[name], redrives[name] = p, deadletter.NewRedriver(p, s.silent)
	}
	handlers, err := router.Bind(router.Flow(s.services), s.bus, router.BindConfig{
		Letters: letters, Redrives: redrives, Metrics: router.NewMetrics(prometheus.NewRegistry()), Version: "test",
		Timeout: time.Minute, CloseTimeout: time.Minute,
		Retry: router.RetryConfig{Tries: 2, First: time.Millisecond, Longest: 10 * time.Millisecond},
	})
	s.must(err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, part := range s.parts {
		running.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				s.Errorf("a part of the system ended: %v", err)
			}
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- handlers.Run(context.Background()) }()
	s.Cleanup(func() {
		if err := errors.Join(handlers.Close(), <-ended); err != nil {
			s.Error(err)
		}
		stop()
		running.Wait()
	})
	<-handlers.Running()
}

// refusingPayments is payment's store, with a bug in it that can be mended.
type refusingPayments struct {
	payment.Payments
	broken atomic.Bool
}

// errRefusing is permanent: the message becomes a dead letter at once.
type errRefusing struct{}

func (errRefusing) Error() string   { return "there is a bug" }
func (errRefusing) Permanent() bool { return true }

func (r *refusingPayments) Update(ctx context.Context, id event.OrderID, change func(*payment.Payment) ([]event.Event, error)) error {
	return r.Payments.Update(ctx, id, func(p *payment.Payment) ([]event.Event, error) {
		if r.broken.Load() {
			return nil, errRefusing{}
		}
		return change(p)
	})
}
