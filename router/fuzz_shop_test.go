package router_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/handlers/analytics/analyticshttp"
	"millrace/handlers/analytics/analyticspg"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventoryhttp"
	"millrace/handlers/inventory/inventorypg"
	"millrace/handlers/notification"
	"millrace/handlers/notification/notificationhttp"
	"millrace/handlers/notification/notificationpg"
	orders "millrace/handlers/order"
	"millrace/handlers/order/orderhttp"
	"millrace/handlers/order/orderpg"
	"millrace/handlers/payment"
	"millrace/handlers/payment/paymenthttp"
	"millrace/handlers/payment/paymentpg"
	paymentsim "millrace/handlers/payment/simulator"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/shippinghttp"
	"millrace/handlers/shipping/shippingpg"
	shippingsim "millrace/handlers/shipping/simulator"
	"millrace/httpapi"
	"millrace/outbox"
	"millrace/router"
)

// fuzzSecret is what provider and carrier sign with.
var fuzzSecret = []byte("the secret of both")

// memoryShop is every service and every route on memory stores. Nothing is ever sent.
type memoryShop struct {
	flow     router.Graph
	services router.Services
	api      *httpapi.API
	stop     context.CancelFunc
}

func newMemoryShop(tb testing.TB) *memoryShop {
	tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s, silent := &memoryShop{stop: stop}, slog.New(slog.DiscardHandler)
	placing, paying, parcels := orders.Policy{Deadline: time.Minute}, payment.Policy{Deadline: time.Minute}, shipping.Policy{Step: time.Second}

	orderRows := memoryStore(ctx, orderpg.Table(placing))
	paymentRows := memoryStore(ctx, paymentpg.Table(paying))
	stockRows := memoryStore(ctx, inventorypg.Table())
	parcelRows := memoryStore(ctx, shippingpg.Table(parcels))
	noticeRows := memoryStore(ctx, notificationpg.Table())
	sumRows := memoryStore(ctx, analyticspg.Table())
	s.services.Order = orders.New(orderRows, placing, silent)
	s.services.Payment = payment.NewService(paymentRows, paymentsim.New(paymentsim.NewMemory(), paymentsim.Config{}))
	s.services.Inventory = inventory.New(inventorypg.Reservations{Store: stockRows})
	s.services.Shipping = shipping.New(parcelRows, shippingsim.New(time.Second), parcels)
	var err error
	if s.services.Notification, err = notification.New(noticeRows, notification.Senders{Email: noSender{}}, nil); err != nil {
		tb.Fatal(err)
	}
	if s.services.Analytics, err = analytics.New(sumRows); err != nil {
		tb.Fatal(err)
	}
	s.flow = router.Flow(s.services)
	s.api = httpapi.New(httpapi.Config{Logger: silent})
	reads := memoryReads{orderRows, paymentRows, stockRows, parcelRows, noticeRows}
	orderhttp.Register(s.api.Huma, s.services.Order, orderReads{reads}, func() bool { return false })
	inventoryhttp.Register(s.api.Huma, s.services.Inventory, reads)
	paymenthttp.Register(s.api.Huma, s.services.Payment, reads, fuzzSecret)
	shippinghttp.Register(s.api.Huma, s.services.Shipping, reads, fuzzSecret)
	notificationhttp.Register(s.api.Huma, reads)
	analyticshttp.Register(s.api.Huma, reads)
	return s
}

func memoryStore[S, V any](ctx context.Context, table outbox.Table[S, V]) *outbox.Store[S, V] {
	store, _ := outbox.NewMemory(table, outbox.Options{
		Says: router.Flow(router.Services{}).MaySay(table.Service), Logger: slog.New(slog.DiscardHandler),
	}, nil)
	go func() { _ = store.Run(ctx) }() // ends with ctx
	return store
}

// memoryReads answers questions from the stores themselves.
type memoryReads struct {
	orders   *outbox.Store[orders.Order, outbox.None]
	payments *outbox.Store[payment.Payment, outbox.None]
	stock    *outbox.Store[inventory.Reservation, inventory.Level]
	parcels  *outbox.Store[shipping.Shipment, outbox.None]
	notices  *outbox.Store[notification.Order, outbox.None]
}

// noSender is never asked: no effect is performed.
type noSender struct{}

func (noSender) Send(context.Context, notification.Message) (time.Time, error) {
	return time.Time{}, notification.ErrRefused
}

// orderReads is apart, because Order and History are questions about orders alone.
type orderReads struct{ memoryReads }

func (r orderReads) Order(ctx context.Context, id event.OrderID) (orders.View, error) {
	o, err := known(r.orders.Load(ctx, id))
	if err == nil && o.Status == "" {
		err = event.ErrUnknownOrder
	}
	return orders.View{Order: o}, err
}

func (r orderReads) History(ctx context.Context, id event.OrderID) ([]orders.HistoryEntry, error) {
	_, err := r.Order(ctx, id)
	return []orders.HistoryEntry{}, err
}

func (r orderReads) List(context.Context, orders.Filter) (orders.Page, error) {
	return orders.Page{}, nil
}

func (r memoryReads) Payment(ctx context.Context, id event.OrderID) (payment.View, error) {
	p, err := known(r.payments.Load(ctx, id))
	return payment.View{Payment: p}, err
}

func (r memoryReads) Level(_ context.Context, sku string) (inventory.Level, bool, error) {
	return inventory.Level{SKU: sku}, true, nil
}

func (r memoryReads) Levels(context.Context, string, int) ([]inventory.Level, error) { return nil, nil }

func (r memoryReads) Reservation(ctx context.Context, id event.OrderID) (inventory.Reservation, error) {
	return known(r.stock.Load(ctx, id))
}

func (r memoryReads) Shipment(ctx context.Context, id event.OrderID) (shipping.Shipment, error) {
	return known(r.parcels.Load(ctx, id))
}

func (r memoryReads) OfOrder(ctx context.Context, id event.OrderID) ([]notification.Order, error) {
	o, found, err := r.notices.Load(ctx, id)
	if !found {
		return nil, err
	}
	return []notification.Order{o}, err
}

func (r memoryReads) OfCustomer(context.Context, string, int) ([]notification.Order, error) {
	return nil, nil
}

func (r memoryReads) Summary(context.Context) (analytics.Summary, error) {
	return analytics.Summary{}, nil
}

func (r memoryReads) Minutes(context.Context, time.Time, time.Time) ([]analytics.Minute, error) {
	return nil, nil
}

func known[S any](row S, found bool, err error) (S, error) {
	if err == nil && !found {
		err = event.ErrUnknownOrder
	}
	return row, err
}
