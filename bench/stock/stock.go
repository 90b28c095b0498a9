// Package stock is Millrace's opponent: the same shop on stock Watermill, wired the way its
// documentation shows. A message.Router with one watermill-kafka subscription per service and
// topic; each message in a transaction of its own with a table of processed ids; events written
// by watermill-sql's publisher in that transaction, and carried to Kafka by components/forwarder.
//
// The domain (handlers/…), the events, the simulated payment provider, carrier and senders, and the
// HTTP routes are Millrace's own, so that nothing but the plumbing differs. None of Millrace's
// plumbing is used: no outbox, no transport, no router package.
//
// What it promises is what this wiring can: no accepted order lost, each message's effect once.
// It does not hold deadlines back while it lags behind, keeps no dead letter's order, and deletes
// neither sent outbox rows nor processed ids. Its process owns an empty database.
package stock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/handlers/analytics"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventorypg"
	"millrace/handlers/notification"
	"millrace/handlers/notification/notificationpg"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/payment/paymentpg"
	"millrace/handlers/payment/simulator"
	"millrace/handlers/shipping"
	carrier "millrace/handlers/shipping/simulator"
	"millrace/httpapi"
	"millrace/topic"
)

// Config is what a shop needs besides its settings.
type Config struct {
	// Database is the address of an empty database, for lib/pq.
	Database string
	Brokers  []string
	// Listen is the TCP address of POST /orders; port 0 takes any free one.
	Listen     string
	Partitions int // of each topic
	Settings   Settings

	// OrderDeadline and PaymentDeadline end an order that takes longer.
	OrderDeadline, PaymentDeadline time.Duration
	// CarrierStep is how long the simulated carrier takes from one status to the next.
	CarrierStep time.Duration
	Logger      *slog.Logger

	// Ready is called once, with the base URL, when the shop takes orders and all its
	// subscriptions have their partitions. May be nil.
	Ready func(url string)
}

// Run runs the whole shop until ctx ends.
func Run(ctx context.Context, c Config) (err error) {
	if percent := c.Settings.GCPercent; percent > 0 {
		defer debug.SetGCPercent(debug.SetGCPercent(percent))
	}
	listener, err := httpapi.Listen(ctx, "Listen", c.Listen) // first of all, and for its port
	if err != nil {
		return err
	}
	c.Listen = listener.Addr().String()
	defer listener.Close() // again, if it was served
	db, err := openDatabase(ctx, c.Database, c.Settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log := watermillLogger(c.Logger)
	shop, err := newShop(ctx, c, db, log)
	if err != nil {
		return err
	}
	topics := []string{poisonTopic}
	for _, t := range topic.All() {
		topics = append(topics, t.Name)
	}
	if err := createTopics(c.Brokers, c.Partitions, topics); err != nil {
		return err
	}
	publisher, err := newPublisher(c.Brokers, c.Settings, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	router, err := newRouter(publisher, log)
	if err != nil {
		return err
	}
	groups, err := shop.subscribe(router, c, log)
	if err != nil {
		return err
	}
	forwarders, err := shop.forward(publisher, log)
	if err != nil {
		return err
	}
	return shop.run(ctx, c, listener, router, forwarders, groups)
}

// shop is the six services on their rows.
type shop struct {
	services
	db       *database
	provider *simulator.Provider
	poller   *poller
	outbox   outbox
	secret   []byte // the provider's, for its callbacks
	reads    reads
	ready    atomic.Bool
}

func newShop(ctx context.Context, c Config, db *database, log watermill.LoggerAdapter) (*shop, error) {
	s := &shop{db: db, outbox: newOutbox(c.Settings, log), secret: []byte(rand.Text())}
	orders, payments, stock := orderRows(order.Policy{Deadline: c.OrderDeadline}), paymentRows(payment.Policy{Deadline: c.PaymentDeadline}), inventoryRows()
	parcelPolicy := shipping.Policy{Step: c.CarrierStep}
	parcels, notices, counts := shippingRows(parcelPolicy), notificationRows(), analyticsRows()
	orders.db, payments.db, stock.db, parcels.db, notices.db, counts.db = db, db, db, db, db, db
	box := s.outbox
	orders.outbox, payments.outbox, stock.outbox, parcels.outbox, notices.outbox, counts.outbox = box, box, box, box, box, box
	if err := box.createTables(db); err != nil {
		return nil, err
	}
	for _, r := range []interface {
		init(context.Context) error
	}{orders, payments, stock, parcels, notices, counts} {
		if err := r.init(ctx); err != nil {
			return nil, err
		}
	}
	if err := db.prepareCommon(ctx, box); err != nil {
		return nil, err
	}
	if _, err := inventorypg.Seed(ctx, db.DB); err != nil {
		return nil, err
	}
	// Its callback comes back to this process; whoever is not called asks after two seconds.
	s.provider = simulator.New(paymentpg.NewLedger(db.DB), simulator.Config{CallbackURL: "http://" + c.Listen + "/payments/callback", Secret: s.secret})
	sender := notificationpg.NewSender(db.DB, c.Logger)
	var err error
	s.order = order.New(orders, order.Policy{Deadline: c.OrderDeadline}, c.Logger)
	s.payment = payment.NewService(payments, s.provider)
	s.inventory = inventory.New(stock)
	s.shipping = shipping.New(parcels, carrier.New(c.CarrierStep), parcelPolicy)
	if s.notification, err = notification.New(notices, notification.Senders{Email: sender, SMS: sender, Push: sender}, nil); err != nil {
		return nil, err
	}
	if s.analytics, err = analytics.New(counts); err != nil {
		return nil, err
	}
	orders.perform, payments.perform = s.order.Perform, s.payment.Perform
	parcels.perform, notices.perform = s.shipping.Perform, s.notification.Perform
	s.poller = &poller{db: db, settings: c.Settings, log: c.Logger, services: map[string]firing{
		"order": orders, "payment": payments, "shipping": parcels, "notification": notices,
	}}
	s.reads = reads{payments}
	return s, nil
}

// subscribe adds a handler per service and topic, and returns how many members each group will have.
func (s *shop) subscribe(router *message.Router, c Config, log watermill.LoggerAdapter) (map[string]int, error) {
	groups, subscribers := map[string]int{}, map[string]*kafka.Subscriber{}
	for _, h := range s.handlers() {
		group := groupOf(h.service, h.topic.Name, c.Settings)
		if subscribers[group] == nil {
			subscriber, err := newSubscriber(c.Brokers, group, c.Settings, log)
			if err != nil {
				return nil, err
			}
			subscribers[group] = subscriber
		}
		router.AddConsumerHandler(h.service+"/"+h.topic.Name, h.topic.Name, subscribers[group], h.handle)
		groups[group]++
	}
	return groups, nil
}

// forward makes the router of the forwarders. It has no middleware: what cannot be
// published now is published later.
func (s *shop) forward(to message.Publisher, log watermill.LoggerAdapter) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, log)
	if err != nil {
		return nil, fmt.Errorf("make the forwarders' router: %w", err)
	}
	return router, s.outbox.addForwarders(router, s.db, to)
}
