package stock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/event"
	"millrace/topic"
)

// Parts are a single handler and the forwarder, each by itself, for those who measure one of them.
// They are the shop's own, on the shop's tables.
type Parts struct {
	db       *database
	outbox   outbox
	brokers  []string
	settings Settings
	log      watermill.LoggerAdapter
}

// OpenParts makes the tables in an empty database.
func OpenParts(ctx context.Context, dsn string, brokers []string, s Settings, log *slog.Logger) (*Parts, error) {
	db, err := openDatabase(ctx, dsn, s)
	if err != nil {
		return nil, err
	}
	p := &Parts{db: db, brokers: brokers, settings: s, log: watermillLogger(log)}
	p.outbox = newOutbox(s, p.log)
	if err := p.outbox.createTables(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return p, nil
}

// Close closes the pool of connections, once Forward and Consume have returned.
func (p *Parts) Close() error { return p.db.Close() }

// Begin begins a transaction for Enqueue.
func (p *Parts) Begin(ctx context.Context) (*sql.Tx, error) { return p.db.BeginTx(ctx, nil) }

// Enqueue writes events to the outbox in the caller's transaction, at most some thousand at a time,
// as if they had been said one by one.
func (p *Parts) Enqueue(tx *sql.Tx, events ...event.Event) error {
	publisher, err := wsql.NewPublisher(tx, wsql.PublisherConfig{SchemaAdapter: p.outbox.adapter}, p.log)
	if err != nil {
		return fmt.Errorf("make the outbox publisher: %w", err)
	}
	type way struct{ outbox, to string }
	batches := map[way][]*message.Message{}
	for _, e := range events {
		to, msg, err := newMessage(e, newID())
		if err != nil {
			return err
		}
		w := way{p.outbox.topicOf(e.Key()), to}
		batches[w] = append(batches[w], msg)
	}
	for w, msgs := range batches {
		wrapped := forwarder.NewPublisher(publisher, forwarder.PublisherConfig{ForwarderTopic: w.outbox})
		if err := wrapped.Publish(w.to, msgs...); err != nil {
			return fmt.Errorf("write %d events to %s: %w", len(msgs), w.outbox, err)
		}
	}
	return nil
}

// Tables are the outbox's tables of events.
func (p *Parts) Tables() []string {
	var tables []string
	for _, name := range p.outbox.topics() {
		tables = append(tables, p.outbox.adapter.MessagesTable(name))
	}
	return tables
}

// Outbox counts the events in the outbox, and those of them that the forwarder has noted as carried to
// Kafka; it notes whole batches.
func (p *Parts) Outbox(ctx context.Context) (written, forwarded int64, err error) {
	for _, name := range p.outbox.topics() {
		var all, done int64
		query := fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE (m.transaction_id, m."offset") <= (
  SELECT last_processed_transaction_id, offset_acked FROM %s)) FROM %s m`,
			wsql.DefaultPostgreSQLOffsetsAdapter{}.MessagesOffsetsTable(name), p.outbox.adapter.MessagesTable(name))
		if err := p.db.QueryRowContext(ctx, query).Scan(&all, &done); err != nil {
			return 0, 0, fmt.Errorf("count the events of %s: %w", name, err)
		}
		written, forwarded = written+all, forwarded+done
	}
	return written, forwarded, nil
}

// Forward carries the outbox's events to Kafka until ctx ends. It publishes with what wrap makes of the
// publisher.
func (p *Parts) Forward(ctx context.Context, wrap func(message.Publisher) message.Publisher) (err error) {
	publisher, err := newPublisher(p.brokers, p.settings, p.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, p.log)
	if err != nil {
		return fmt.Errorf("make the forwarder's router: %w", err)
	}
	if err := p.outbox.addForwarders(router, p.db, wrap(publisher)); err != nil {
		return err
	}
	return router.Run(ctx)
}

// Consume runs one handler until ctx ends: each message of the topic, in a transaction of its own,
// changes its order's row, of type S, and writes the events it says to the outbox. The rows are in
// inventory.reservations, as JSON. Messages pass watch before the router's own middleware. On
// each Parts it is called once.
func Consume[S any, E event.Event](ctx context.Context, p *Parts, t topic.Topic[E], react func(*S, E) []event.Event, watch message.HandlerMiddleware) (err error) {
	r := &rows[S]{db: p.db, outbox: p.outbox, service: "inventory", table: "inventory.reservations", empty: func(event.OrderID) S {
		var row S
		return row
	}}
	if err := r.init(ctx); err != nil {
		return err
	}
	if err := p.db.prepareCommon(ctx, p.outbox); err != nil {
		return err
	}
	h := on("inventory", t, func(ctx context.Context, e E) error {
		return r.Update(ctx, e.Key(), func(row *S) ([]event.Event, error) { return react(row, e), nil })
	})
	if err := createTopics(p.brokers, 1, []string{poisonTopic}); err != nil {
		return err
	}
	publisher, err := newPublisher(p.brokers, p.settings, p.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, p.log)
	if err != nil {
		return fmt.Errorf("make the router: %w", err)
	}
	router.AddMiddleware(watch)
	if err := addMiddleware(router, publisher, p.log); err != nil {
		return err
	}
	subscriber, err := newSubscriber(p.brokers, groupOf(h.service, t.Name, p.settings), p.settings, p.log)
	if err != nil {
		return err
	}
	router.AddConsumerHandler(h.service+"/"+t.Name, t.Name, subscriber, h.handle)
	return router.Run(ctx)
}
