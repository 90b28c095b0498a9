package story_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
)

const (
	pureOrderID = event.OrderID("0199c0de-0000-7000-8000-000000000001")
	pureSKU     = "MUG"
	pureStock   = 5
)

// pureWorld is one order among the four services that decide about it, as functions on plain rows: no store, no JSON, no
// goroutine. What it leaves out (batches, commits, the relay) the other interleavings play, a thousand times slower.
type pureWorld struct {
	random *rand.Rand
	trace  func(string, ...any) // nil: none

	orders   *order.Service
	payments *payment.Service
	stocks   *inventory.Service
	parcels  *shipping.Service
	order    pureRow[order.Order]
	payment  pureRow[payment.Payment]
	shipment pureRow[shipping.Shipment]
	stock    pureStockRows
	facts    []order.Fact

	provider pureProvider
	carrier  pureCarrier

	pending   []pureMessage
	delivered []pureMessage
	answers   []pureAnswer
	words     map[string]bool
	ids       int
	left      [pureRarities]int
	vain      int // how often the provider was asked and had not decided

	settled, solved bool // by an operator
	wrong           string
}

// pureMessage is an event on its way to one service. Those of one lane keep their order.
type pureMessage struct {
	lane  pureLane
	id    string
	event event.Event
}

// pureAnswer is one of a call that was made, on its way home.
type pureAnswer struct {
	step string
	home func() error
}

// pureRow is one service's row, with what a store keeps beside it.
type pureRow[S any] struct {
	w         *pureWorld
	row       S
	exists    bool
	processed []string
	waits     []event.Wait
	due       func(*S) []event.Wait
	perform   func(ctx context.Context, row S, step string, attempt int) (func(*S) ([]event.Event, error), error)
}

func (r *pureRow[S]) Load(context.Context, event.OrderID) (S, bool, error) {
	return r.row, r.exists, nil
}

func (r *pureRow[S]) UpdateExisting(ctx context.Context, id event.OrderID, change func(*S) ([]event.Event, error)) error {
	if !r.exists {
		return event.ErrUnknownOrder
	}
	return r.Update(ctx, id, change)
}

func (r *pureRow[S]) Update(ctx context.Context, _ event.OrderID, change func(*S) ([]event.Event, error)) error {
	id := event.CauseFrom(ctx).ID
	if slices.Contains(r.processed, id) {
		return nil
	}
	row := r.row
	said, err := change(&row)
	if err != nil {
		return err
	}
	r.row, r.exists = row, true
	r.processed = append(r.processed, id)
	r.waits = r.due(&r.row)
	if o, ok := any(&r.row).(*order.Order); ok {
		r.w.facts = append(r.w.facts, o.TakeFacts()...)
	}
	r.w.publish(said)
	return nil
}

// claim makes the call that a row waits for; its answer is brought home later.
func (r *pureRow[S]) claim(step string) (home func() error, err error) {
	change, err := r.perform(r.w.context(r.w.id()), r.row, step, 1)
	if err != nil {
		return nil, err
	}
	ctx := r.w.context(r.w.id())
	return func() error {
		return r.UpdateExisting(ctx, pureOrderID, func(row *S) ([]event.Event, error) {
			if !slices.ContainsFunc(r.due(row), func(w event.Wait) bool { return w.Step == step }) {
				return nil, nil
			}
			return change(row)
		})
	}, nil
}

// pureStockRows is inventory's row, and the one level it shares with nobody here.
type pureStockRows struct {
	w         *pureWorld
	row       inventory.Reservation
	exists    bool
	level     inventory.Level
	processed []string
}

func (r *pureStockRows) Update(ctx context.Context, _ event.OrderID, keys func(*inventory.Reservation) []string,
	change func(*inventory.Reservation, map[string]*inventory.Level) ([]event.Event, error)) error {
	id := event.CauseFrom(ctx).ID
	if slices.Contains(r.processed, id) {
		return nil
	}
	row, level := r.row, r.level
	stock := map[string]*inventory.Level{}
	if slices.Contains(keys(&row), pureSKU) {
		stock[pureSKU] = &level
	}
	said, err := change(&row, stock)
	if err != nil {
		return err
	}
	r.row, r.level, r.exists = row, level, true
	r.processed = append(r.processed, id)
	if level.Initial != level.Available+level.Reserved+level.Sold || level.Available < 0 || level.Reserved < 0 || level.Sold < 0 {
		r.w.fail("the stock does not add up: %+v", level)
	}
	r.w.publish(said)
	return nil
}

func (r *pureStockRows) UpdateSide(context.Context, []string, func(map[string]*inventory.Level) error) error {
	return nil // nobody restocks here
}

var pureSilent = slog.New(slog.DiscardHandler)

// newPureWorld draws who pays how, and what becomes of the parcel.
func newPureWorld(random *rand.Rand) *pureWorld {
	w := &pureWorld{random: random, words: make(map[string]bool, 32)}
	orders, payments, parcels := order.Policy{Deadline: time.Minute}, payment.Policy{Deadline: time.Minute}, shipping.Policy{Step: time.Second}
	w.orders = order.New(&w.order, orders, pureSilent)
	w.payments = payment.NewService(&w.payment, &w.provider)
	w.stocks = inventory.New(&w.stock)
	w.parcels = shipping.New(&w.shipment, &w.carrier, parcels)
	w.order = pureRow[order.Order]{w: w, row: order.Order{ID: pureOrderID}, due: orders.Due, perform: w.orders.Perform}
	w.payment = pureRow[payment.Payment]{w: w, row: payment.Payment{ID: pureOrderID}, due: payments.Due, perform: w.payments.Perform}
	w.shipment = pureRow[shipping.Shipment]{w: w, row: shipping.Shipment{ID: pureOrderID}, due: parcels.Due, perform: w.parcels.Perform}
	w.stock = pureStockRows{w: w, row: inventory.Reservation{ID: pureOrderID}, level: inventory.Level{SKU: pureSKU, Initial: pureStock, Available: pureStock}}
	w.provider.method = pureMethods[random.IntN(len(pureMethods))]
	w.carrier.way = pureWays[random.IntN(len(pureWays))]
	for i := range w.left {
		w.left[i] = random.IntN(3)
	}
	return w
}

func (w *pureWorld) id() string {
	w.ids++
	return strconv.Itoa(w.ids)
}

// pureTime is when everything happens.
var pureTime = time.Unix(1_790_000_000, 0).UTC()

func (w *pureWorld) context(id string) context.Context {
	return event.WithCause(context.Background(), event.Cause{ID: id, CorrelationID: "c", Time: pureTime})
}

func (w *pureWorld) say(format string, args ...any) {
	if w.trace != nil {
		w.trace(format, args...)
	}
}

// pureLane is a service and a topic: what it hears of one order there stays in order.
type pureLane struct {
	service byte // 'o', 'p', 'i' or 's'
	topic   string
}

// publish puts what was said on its way to those who hear it.
func (w *pureWorld) publish(said []event.Event) {
	for _, e := range said {
		word, hearers := pureRoute(e)
		if word != "" && w.words[word] {
			w.fail("said again: %T %+v", e, e)
		}
		w.words[word] = true
		id := w.id()
		for _, s := range []byte(hearers) {
			w.pending = append(w.pending, pureMessage{pureLane{s, pureTopic(e)}, id, e})
		}
		w.check(e)
	}
}

func (w *pureWorld) react(m pureMessage) error {
	ctx := w.context(m.id)
	switch e := m.event.(type) {
	case event.OrderCreated:
		return w.stocks.Reserve(ctx, e)
	case event.PaymentInitiated:
		return w.payments.Initiate(ctx, e)
	case event.InventoryReserved:
		return w.orders.InventoryReserved(ctx, e)
	case event.InventoryRejected:
		return w.orders.InventoryRejected(ctx, e)
	case event.InventoryReleased:
		return w.orders.InventoryReleased(ctx, e)
	case event.PaymentPending:
		return w.orders.PaymentPending(ctx, e)
	case event.PaymentSucceeded:
		return w.orders.PaymentSucceeded(ctx, e)
	case event.PaymentFailed:
		if m.lane.service == 'i' {
			return w.stocks.Release(ctx, e)
		}
		return w.orders.PaymentFailed(ctx, e)
	case event.PaymentRefunded:
		return w.orders.PaymentRefunded(ctx, e)
	case event.PaymentRefundFailed:
		return w.orders.PaymentRefundFailed(ctx, e)
	case event.InventoryUpdate:
		return w.stocks.Commit(ctx, e)
	case event.ShippingInitiate:
		return w.parcels.Initiate(ctx, e)
	case event.OrderCancelled:
		if m.lane.service == 's' {
			return w.parcels.Cancel(ctx, e)
		}
		return w.payments.Cancel(ctx, e)
	case event.ShippingStatus:
		if m.lane.service == 'i' {
			return w.stocks.TakeBack(ctx, e)
		}
		return w.orders.ShippingStatus(ctx, e)
	}
	return nil
}
