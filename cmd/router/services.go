package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/deadletter"
	"millrace/handlers/analytics"
	"millrace/handlers/analytics/analyticshttp"
	"millrace/handlers/analytics/analyticspg"
	"millrace/handlers/inventory"
	"millrace/handlers/inventory/inventoryhttp"
	"millrace/handlers/inventory/inventorypg"
	"millrace/handlers/notification"
	"millrace/handlers/notification/notificationhttp"
	"millrace/handlers/notification/notificationpg"
	"millrace/handlers/order"
	"millrace/handlers/order/orderhttp"
	"millrace/handlers/order/orderpg"
	"millrace/handlers/payment"
	"millrace/handlers/payment/breaker"
	"millrace/handlers/payment/paymenthttp"
	"millrace/handlers/payment/paymentpg"
	"millrace/handlers/payment/simulator"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/shippinghttp"
	"millrace/handlers/shipping/shippingpg"
	carrier "millrace/handlers/shipping/simulator"
	"millrace/outbox"
	"millrace/router"
	"millrace/transport"
)

// assembly puts the services of this process together.
type assembly struct {
	cfg      config.Config
	flow     router.Graph // the whole flow, on nil services: names and rights
	log      *slog.Logger
	metrics  prometheus.Registerer
	lag      func(db *database, groups ...string) func(context.Context) (time.Time, error)
	lineup   *lineup
	services router.Services
	routes   map[string]func(huma.API)
	marks    map[string]*outbox.Marks
	parkings []*deadletter.Parking
}

// add builds one service on its database.
func (a *assembly) add(name string, db *database) error {
	switch name {
	case "order":
		return a.addOrder(db)
	case "payment":
		return a.addPayment(db)
	case "inventory":
		return a.addInventory(db)
	case "shipping":
		return a.addShipping(db)
	case "notification":
		return a.addNotification(db)
	case "analytics":
		return a.addAnalytics(db)
	default:
		return fmt.Errorf("there is no service %q", name)
	}
}

// openStore makes a service's store and has it run.
func openStore[S, V any](a *assembly, db *database, table outbox.Table[S, V]) *outbox.Store[S, V] {
	store := outbox.NewPostgres(db.work, table, outbox.Options{Says: a.flow.MaySay(table.Service), Relay: db.relay, Logger: a.log})
	a.lineup.add(storePart(table.Service), store.Run)
	a.marks[table.Service] = outbox.NewMarks(db.work, store)
	return store
}

// storePart names the part of the process that is a service's store.
func storePart(service string) string { return service + " store" }

// deadlines are what holds a service's deadlines back; see outbox.ExecutorOptions. Zero: it has none.
type deadlines struct {
	lag            func(context.Context) (time.Time, error)
	grace, longest time.Duration
}

// openExecutor makes what a service's rows wait for happen.
func openExecutor[S, V any](a *assembly, db *database, table outbox.Table[S, V], store *outbox.Store[S, V], perform outbox.Perform[S], d deadlines) error {
	executor := outbox.NewExecutor(db.work, table.Service, store.LoadAll, store.UpdateExisting, perform, outbox.ExecutorOptions[S]{
		Waits: table.Waits, Lag: d.lag, Grace: d.grace, Longest: d.longest, Concurrency: a.cfg.Effects.Concurrency, CallTimeout: a.cfg.Effects.Timeout, Logger: a.log})
	store.StartEffects(executor)
	a.lineup.add(table.Service+" effects", executor.Run)
	if err := a.metrics.Register(executor); err != nil {
		return fmt.Errorf("register the metrics of %s effects: %w", table.Service, err)
	}
	return nil
}

func (a *assembly) addOrder(db *database) error {
	policy := order.Policy{Deadline: a.cfg.Order.Deadline}
	table := orderpg.Table(policy)
	store := openStore(a, db, table)
	a.services.Order = order.New(store, policy, a.log)
	a.routes["order"] = func(api huma.API) {
		orderhttp.Register(api, a.services.Order, orderpg.NewReads(db.reads), db.relay.Saturated)
	}
	// An order is waiting for stock, for money and for a parcel. After an outage payment may only just have
	// been asked: it gets its whole time before the order gives up.
	return openExecutor(a, db, table, store, a.services.Order.Perform,
		deadlines{a.lag(db, "order", "inventory", "payment", "shipping"), a.cfg.Payment.Deadline, a.cfg.Order.Deadline})
}

func (a *assembly) addPayment(db *database) error {
	table := paymentpg.Table(payment.Policy{Deadline: a.cfg.Payment.Deadline})
	store := openStore(a, db, table)
	p := a.cfg.Payment
	if p.Provider != config.SimulatedProvider {
		return exit.Misuse(fmt.Errorf("PAYMENT_PROVIDER=%q: no such gateway is built in; implement payment.Gateway and name it here, or use %q", p.Provider, config.SimulatedProvider))
	}
	if !p.CallbackSecret.IsSet() { // the provider is in this process too: nobody else needs to know it
		p.CallbackSecret = config.NewSecret(rand.Text())
	}
	provider := simulator.New(paymentpg.NewLedger(db.work), simulator.Config{
		CallbackURL: a.callbackURL(), Secret: []byte(p.CallbackSecret.Reveal())})
	a.lineup.add("simulated provider", provider.Run)
	gateway := breaker.New(misbehaving(provider), breaker.Settings{Window: p.Window, MinCalls: uint32(p.MinCalls), FailureRatio: p.FailureRatio, OpenFor: p.OpenFor, Probes: uint32(p.Probes)})
	a.services.Payment = payment.NewService(store, gateway)
	a.routes["payment"] = func(api huma.API) {
		paymenthttp.Register(api, a.services.Payment, paymentpg.NewReads(db.reads), []byte(p.CallbackSecret.Reveal()))
	}
	return openExecutor(a, db, table, store, a.services.Payment.Perform, deadlines{lag: a.lag(db, "payment"), longest: a.cfg.Payment.Deadline})
}

// callbackURL is where the simulated provider calls back: the payment service's own port.
func (a *assembly) callbackURL() string {
	port := a.cfg.Ports.Payment
	if port == 0 {
		return "" // any free one, unknown yet; whoever is not called back asks
	}
	host := a.cfg.HTTP.Host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/payments/callback"
}

func (a *assembly) addInventory(db *database) error {
	store := openStore(a, db, inventorypg.Table())
	a.services.Inventory = inventory.New(inventorypg.Reservations{Store: store})
	a.routes["inventory"] = func(api huma.API) {
		inventoryhttp.Register(api, a.services.Inventory, inventorypg.NewReader(db.reads))
	}
	return nil
}

func (a *assembly) addShipping(db *database) error {
	policy := shipping.Policy{Step: a.cfg.Shipping.CarrierStep}
	table := shippingpg.Table(policy)
	store := openStore(a, db, table)
	a.services.Shipping = shipping.New(store, carrier.New(a.cfg.Shipping.CarrierStep), policy)
	a.routes["shipping"] = func(api huma.API) {
		shippinghttp.Register(api, a.services.Shipping, shippingpg.NewReader(db.reads), []byte(a.cfg.Shipping.CallbackSecret.Reveal()))
	}
	return openExecutor(a, db, table, store, a.services.Shipping.Perform, deadlines{})
}

func (a *assembly) addNotification(db *database) error {
	table := notificationpg.Table()
	store := openStore(a, db, table)
	sender := notificationpg.NewSender(db.work, a.log)
	service, err := notification.New(store, notification.Senders{Email: sender, SMS: sender, Push: sender}, nil)
	if err != nil {
		return err
	}
	a.services.Notification = service
	a.routes["notification"] = func(api huma.API) { notificationhttp.Register(api, notificationpg.NewReader(db.reads)) }
	return openExecutor(a, db, table, store, service.Perform, deadlines{})
}

func (a *assembly) addAnalytics(db *database) error {
	store := openStore(a, db, analyticspg.Table())
	service, err := analytics.New(store)
	if err != nil {
		return err
	}
	a.services.Analytics = service
	a.lineup.add("analytics sums", analyticspg.NewFolder(db.work, a.log).Run)
	a.routes["analytics"] = func(api huma.API) { analyticshttp.Register(api, analyticspg.NewReader(db.reads)) }
	return nil
}

// lagBehind tells how old the oldest message is that could still prevent a deadline: in the
// backlogs of the groups an order passes, or unsent in the outbox.
func lagBehind(t transport.Transport, flow router.Graph) func(db *database, services ...string) func(context.Context) (time.Time, error) {
	return func(db *database, services ...string) func(context.Context) (time.Time, error) {
		return func(ctx context.Context) (time.Time, error) {
			oldest, err := db.relay.OldestUnsent(ctx)
			if err != nil {
				return time.Time{}, err
			}
			for _, s := range flow.Only(services...) {
				backlog, err := t.Backlog(ctx, s.Group(), s.Topics()...)
				if err != nil {
					return oldest, err
				}
				if at := backlog.Oldest; !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
					oldest = at
				}
			}
			return oldest, nil
		}
	}
}
