package scenario

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/bench/rig"
	"millrace/deadletter"
	"millrace/event"
	"millrace/handlers/inventory/inventorypg"
	"millrace/outbox"
	"millrace/router"
	"millrace/topic"
	"millrace/transport"
	"millrace/transport/kafka"
)

// reservation is a consumer's row, in inventory's table: what was asked for, and how often it was answered.
type reservation struct {
	ID       event.OrderID `json:"id"`
	Items    []event.Item  `json:"items"`
	Answered int           `json:"answered"`
}

// reserve is the reaction that is measured: it changes the row and says one event. There is no
// domain logic, so that what remains is deduplication, state and outbox.
func (r *reservation) reserve(e event.OrderCreated) event.InventoryReserved {
	r.ID, r.Items = e.OrderID, e.Items
	r.Answered++
	return event.InventoryReserved{OrderID: e.OrderID, Items: e.Items}
}

// connections are as many as a router with one service opens.
const connections = 11

// The router's defaults.
const (
	handlerTimeout = 30 * time.Second
	closeTimeout   = 20 * time.Second
	retryTries     = 5
	retryFirst     = 100 * time.Millisecond
	retryLongest   = 5 * time.Second
)

// ourService is one service of Millrace in this process, put together as the router does it.
type ourService struct {
	round *rig.Round
	db    *sql.DB
	parts *parts
	log   *slog.Logger
}

// openOurs makes the schemas that every service has.
func openOurs(ctx context.Context, round *rig.Round, log *slog.Logger) (*ourService, error) {
	address, err := pq.NewConfig(round.DSN)
	if err != nil {
		return nil, fmt.Errorf("read the address of our side's database: %w", err)
	}
	address.BinaryParameters = true // as the router's pools have it
	connector, err := pq.NewConnectorConfig(address)
	if err != nil {
		return nil, fmt.Errorf("open the database of our side: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	o := &ourService{round: round, db: db, parts: newParts(), log: log}
	o.parts.closing(db.Close)
	for _, s := range []struct {
		schema string
		steps  fs.FS
	}{{outbox.Schema, outbox.Migrations()}, {deadletter.Schema, deadletter.Migrations()}} {
		if err := outbox.Migrate(ctx, db, s.schema, s.steps); err != nil {
			return nil, errors.Join(err, o.parts.stop())
		}
	}
	return o, nil
}

// relay starts a relay that has each acknowledged event counted.
func (o *ourService) relay(ctx context.Context, acked *meter) (*outbox.Relay, error) {
	publisher, err := kafka.NewPublisher(kafka.Config{Brokers: o.round.Brokers, Logger: o.log})
	if err != nil {
		return nil, err
	}
	o.parts.closing(publisher.Close)
	relay := outbox.NewRelay(o.db, countedPublisher{publisher, acked}, outbox.RelayOptions{Logger: o.log})
	o.parts.start(ctx, "the relay", relay.Run)
	return relay, nil
}

// consume starts the consumer: the router's handlers on a subscriber, and a store, which wakes the
// relay if there is one. Every message passes watch.
func (o *ourService) consume(ctx context.Context, watch message.HandlerMiddleware, relay *outbox.Relay) error {
	if err := outbox.Migrate(ctx, o.db, inventorypg.Schema, inventorypg.Migrations()); err != nil {
		return err
	}
	wake := func() {}
	if relay != nil {
		wake = relay.Wake
	}
	store := outbox.NewPostgres(o.db, outbox.Table[reservation, outbox.None]{
		Service: "inventory", Name: "inventory.reservations",
		New: func(id event.OrderID) reservation { return reservation{ID: id} },
	}, outbox.Options{Wake: wake, Logger: o.log})
	o.parts.start(ctx, "the store", store.Run)
	react := func(ctx context.Context, e event.OrderCreated) error {
		return store.Update(ctx, e.OrderID, func(r *reservation) ([]event.Event, error) {
			return []event.Event{r.reserve(e)}, nil
		})
	}
	on, err := kafka.New(kafka.Config{Brokers: o.round.Brokers, Logger: o.log})
	if err != nil {
		return err
	}
	o.parts.closing(on.Close)
	flow := router.Graph{router.Service("inventory", router.On(topic.OrderCreated, react), router.Says(topic.InventoryReserved))}
	handlers, err := router.Bind(flow, on, router.BindConfig{
		Letters: map[string]router.Letters{"inventory": deadletter.NewParking(o.db, "inventory", outbox.NewMarks(o.db, store), wake, deadletter.Options{Logger: o.log})},
		Metrics: router.NewMetrics(prometheus.NewRegistry()),
		Retry:   router.RetryConfig{Tries: retryTries, First: retryFirst, Longest: retryLongest},
		Timeout: handlerTimeout, CloseTimeout: closeTimeout,
	})
	if err != nil {
		return err
	}
	handlers.AddMiddleware(watch)
	o.parts.start(ctx, "the handlers", runHandlers(handlers))
	return nil
}

// runHandlers runs a Watermill router and, unlike its Run, lets handlers finish when it is to end.
func runHandlers(handlers *message.Router) func(context.Context) error {
	return func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = handlers.Close() }) // Run tells the same
		defer stop()
		return handlers.Run(context.WithoutCancel(ctx))
	}
}

// countedPublisher counts what the broker acknowledged.
type countedPublisher struct {
	*kafka.Publisher
	acked *meter
}

// PublishBatch is what the relay calls.
func (p countedPublisher) PublishBatch(ctx context.Context, records []transport.Record) []error {
	errs := p.Publisher.PublishBatch(ctx, records)
	n := 0
	for _, err := range errs {
		if err == nil {
			n++
		}
	}
	p.acked.done(n)
	return errs
}

// stopped ends the service and tells what it left: orders with a row, and events in the outbox.
func (o *ourService) stopped(ctx context.Context) (rows, unsent int64, err error) {
	if err := o.parts.stop(); err != nil {
		return 0, 0, err
	}
	if rows, err = o.rows(ctx); err != nil {
		return 0, 0, err
	}
	unsent, err = o.unsent(ctx)
	return rows, unsent, err
}

// rows counts the orders that were handled, once the consumer has stopped. It fails if one was handled
// twice, or became a dead letter.
func (o *ourService) rows(ctx context.Context) (rows int64, err error) {
	var changes, letters int64
	err = o.round.DB.QueryRowContext(ctx, `SELECT count(*), coalesce(sum((state->>'answered')::bigint), 0),
(SELECT count(*) FROM deadletter.letters) FROM inventory.reservations`).Scan(&rows, &changes, &letters)
	switch {
	case err != nil:
		return 0, fmt.Errorf("count what our consumer handled: %w", err)
	case changes != rows || letters > 0:
		return 0, fmt.Errorf("our consumer changed the rows of %d orders %d times, and left %d dead letters", rows, changes, letters)
	}
	return rows, nil
}

// unsent counts the outbox.
func (o *ourService) unsent(ctx context.Context) (rows int64, err error) {
	if err := o.round.DB.QueryRowContext(ctx, `SELECT count(*) FROM millrace.outbox`).Scan(&rows); err != nil {
		return 0, fmt.Errorf("count our outbox: %w", err)
	}
	return rows, nil
}
