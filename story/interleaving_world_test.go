package story_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

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
	"millrace/topic"
	"millrace/transport"
)

// The times are the defaults with the simulated provider and carrier.
const (
	interleavingPaymentDeadline = 30 * time.Second
	interleavingOrderDeadline   = time.Minute
	interleavingCarrierStep     = time.Second
)

// interleavingWorld is the six services on memory stores, the outside simulated, and
// instead of a transport the messages that are on their way.
type interleavingWorld struct {
	t        *rapid.T
	scenario interleavingScenario
	reached  func(string)

	flow     router.Graph
	services router.Services
	order    *interleavingNode[order.Order, outbox.None]
	payment  *interleavingNode[payment.Payment, outbox.None]
	stock    *interleavingNode[inventory.Reservation, inventory.Level]
	shipping *interleavingNode[shipping.Shipment, outbox.None]
	notices  *interleavingNode[notification.Order, outbox.None]
	sums     *interleavingNode[analytics.Order, outbox.None]
	nodes    []interleavingService

	bank     *paymentsim.Memory
	provider *paymentsim.Provider
	carrier  *interleavingCarrier
	sender   *interleavingSender

	pending   []interleavingMessage // in the order they were published
	delivered []interleavingMessage
	said      map[event.OrderID]*interleavingSaid
	log       []interleavingEvent
	offset    int64

	placed  map[event.OrderID]bool
	settled map[event.OrderID]bool // refunded by hand, so not in the provider's book
	solved  map[event.OrderID]bool // the parcel was dealt with by hand
	cause   int                    // counts what came from outside

	stockMoved bool // perhaps, since it was last looked at

	wire *interleavingWire // nil: what is committed is on its way at once
}

// interleavingMessage is one record on its way to one service.
type interleavingMessage struct {
	service string
	record  transport.Record
	offset  int64
	event   event.Event
}

func (m interleavingMessage) lane() string {
	return m.service + " " + m.record.Topic + " " + string(m.record.Key)
}

// interleavingEvent is what was published, with its time.
type interleavingEvent struct {
	event.Event
	at time.Time
}

func newInterleavingWorld(t *rapid.T, scenario interleavingScenario, reached func(string)) *interleavingWorld {
	w := &interleavingWorld{
		t: t, scenario: scenario, reached: reached,
		bank: paymentsim.NewMemory(), said: map[event.OrderID]*interleavingSaid{}, placed: map[event.OrderID]bool{},
		settled: map[event.OrderID]bool{}, solved: map[event.OrderID]bool{},
		carrier: &interleavingCarrier{Carrier: shippingsim.New(interleavingCarrierStep), parcels: map[event.OrderID]*interleavingParcel{}, reached: reached},
		sender:  &interleavingSender{sent: map[string]time.Time{}, to: map[string]string{}},
	}
	w.provider = paymentsim.New(w.bank, paymentsim.Config{})
	silent := slog.New(slog.DiscardHandler)

	orders := order.Policy{Deadline: interleavingOrderDeadline}
	w.order = addInterleavingNode(w, orderpg.Table(orders))
	w.services.Order = order.New(w.order.store, orders, silent)
	w.order.perform = w.services.Order.Perform

	payments := payment.Policy{Deadline: interleavingPaymentDeadline}
	w.payment = addInterleavingNode(w, paymentpg.Table(payments))
	w.services.Payment = payment.NewService(w.payment.store, interleavingGateway{w.provider, reached})
	w.payment.perform = w.services.Payment.Perform

	w.stock = addInterleavingNode(w, inventorypg.Table())
	w.services.Inventory = inventory.New(inventorypg.Reservations{Store: w.stock.store})

	parcels := shipping.Policy{Step: interleavingCarrierStep}
	w.shipping = addInterleavingNode(w, shippingpg.Table(parcels))
	w.services.Shipping = shipping.New(w.shipping.store, w.carrier, parcels)
	w.shipping.perform = w.services.Shipping.Perform

	var err error
	w.notices = addInterleavingNode(w, notificationpg.Table())
	w.services.Notification, err = notification.New(w.notices.store, notification.Senders{Email: w.sender, SMS: w.sender, Push: w.sender}, nil)
	w.must(err)
	w.notices.perform = w.services.Notification.Perform

	w.sums = addInterleavingNode(w, analyticspg.Table())
	w.services.Analytics, err = analytics.New(w.sums.store)
	w.must(err)

	w.flow = router.Flow(w.services)
	w.run()
	for _, sku := range interleavingSKUs {
		w.must(w.services.Inventory.Restock(w.command(), sku, "", scenario.stock[sku]))
	}
	return w
}

// addInterleavingNode makes a service's memory store, on the bubble's clock.
func addInterleavingNode[S, V any](w *interleavingWorld, table outbox.Table[S, V]) *interleavingNode[S, V] {
	store, memory := outbox.NewMemory(table, outbox.Options{
		Says: router.Flow(router.Services{}).MaySay(table.Service), Logger: slog.New(slog.DiscardHandler),
	}, nil)
	node := &interleavingNode[S, V]{name: table.Service, store: store, rows: memory, waits: table.Waits}
	w.nodes = append(w.nodes, node)
	return node
}

func (w *interleavingWorld) run() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, len(w.nodes))
	for _, n := range w.nodes {
		go func() { done <- n.run(ctx) }()
	}
	w.t.Cleanup(func() {
		stop()
		for range w.nodes {
			<-done
		}
	})
}

func (w *interleavingWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// command is the cause of something from outside, on an order that is there already.
func (w *interleavingWorld) command() context.Context {
	w.cause++
	return w.commandAs(interleavingID("command", w.cause))
}

func (w *interleavingWorld) commandAs(id string) context.Context {
	return event.WithCause(context.Background(), event.Cause{ID: id, Time: time.Now(), Command: true})
}

// publish takes what the services said and puts it on its way to those who hear it.
func (w *interleavingWorld) publish() {
	w.t.Helper()
	if w.wire != nil {
		w.carry()
		return
	}
	for _, n := range w.nodes {
		for _, rec := range n.memory().TakeOutbox() {
			w.cameThrough(n.service(), rec)
		}
	}
}

// cameThrough is a record in the log.
func (w *interleavingWorld) cameThrough(service string, rec transport.Record) {
	w.t.Helper()
	info, ok := topic.Named(rec.Topic)
	if !ok {
		w.t.Fatalf("%s published on %s, which is no topic", service, rec.Topic)
	}
	e, err := info.Decode(rec.Value)
	w.must(err)
	if w.wire == nil || w.wire.first(w.t, service, rec) {
		w.note(service, rec, e)
	} else {
		w.reached(heardAgain)
	}
	w.offset++
	for _, s := range w.flow {
		if slices.Contains(s.Topics(), rec.Topic) {
			w.pending = append(w.pending, interleavingMessage{s.Name, rec, w.offset, e})
		}
	}
}

// deliver hands a message to its service, as a transport would.
func (w *interleavingWorld) deliver(m interleavingMessage) {
	w.t.Helper()
	w.stockMoved = w.stockMoved || m.service == w.stock.name
	msg := transport.Decode(m.record.Topic, 0, m.offset, m.record.Value, m.record.Headers)
	msg.SetContext(transport.WithDelivery(context.Background(), transport.Delivery{
		Topic: m.record.Topic, Offset: m.offset, Key: m.record.Key, Group: m.service + "-service", Attempt: 1, Time: time.Now(),
	}))
	if err := w.flow.Deliver(m.service, m.record.Topic, msg); err != nil {
		w.t.Fatalf("%s refused %s: %v", m.service, interleavingBrief(m.event), err)
	}
}

// heads are the messages that may be delivered next: the oldest of each lane.
func (w *interleavingWorld) heads() []interleavingMessage {
	var heads []interleavingMessage
	lanes := map[string]bool{}
	for _, m := range w.pending {
		if !lanes[m.lane()] {
			lanes[m.lane()] = true
			heads = append(heads, m)
		}
	}
	return heads
}

func (w *interleavingWorld) take(m interleavingMessage) {
	w.pending = slices.DeleteFunc(w.pending, func(p interleavingMessage) bool {
		return p.service == m.service && p.offset == m.offset
	})
}

func (w *interleavingWorld) node(service string) interleavingService {
	return w.nodes[slices.IndexFunc(w.nodes, func(n interleavingService) bool { return n.service() == service })]
}

// interleavingBrief names an event in the log of a failed run.
func interleavingBrief(e event.Event) string {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	name := strings.TrimPrefix(fmt.Sprintf("%T", e), "event.")
	const enough = 160
	if len(data) > enough {
		data = data[:enough]
	}
	return name + string(data)
}
