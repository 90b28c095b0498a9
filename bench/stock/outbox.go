package stock

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/topic"
)

// The metadata of every event.
const (
	metaType  = "type"
	metaOrder = "order_id" // the Kafka key
	metaTime  = "occurred_at"
)

// outbox is where events are written in the transaction that makes them true. An order's events are
// all under one of its forwarder topics, so that they stay in order.
type outbox struct {
	settings Settings
	adapter  wsql.DefaultPostgreSQLSchema
	log      watermill.LoggerAdapter
}

func newOutbox(s Settings, log watermill.LoggerAdapter) outbox {
	return outbox{s, wsql.DefaultPostgreSQLSchema{SubscribeBatchSize: s.BatchSize}, log}
}

// topics are the forwarder topics, each a table and a forwarder.
func (o outbox) topics() []string {
	list := make([]string, o.settings.Outboxes)
	for i := range list {
		list[i] = fmt.Sprintf("outbox_%d", i)
	}
	return list
}

// topicOf is the forwarder topic of an order's events.
func (o outbox) topicOf(id event.OrderID) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id)) // never fails
	return fmt.Sprintf("outbox_%d", hash.Sum32()%uint32(o.settings.Outboxes))
}

// publish writes the events with Watermill's SQL publisher, wrapped for the forwarder.
func (o outbox) publish(tx wsql.ContextExecutor, correlationID string, events []event.Event) error {
	if len(events) == 0 {
		return nil
	}
	publisher, err := wsql.NewPublisher(tx, wsql.PublisherConfig{SchemaAdapter: o.adapter}, o.log)
	if err != nil {
		return fmt.Errorf("make the outbox publisher: %w", err)
	}
	wrapped := forwarder.NewPublisher(publisher, forwarder.PublisherConfig{ForwarderTopic: o.topicOf(events[0].Key())})
	for _, e := range events {
		to, msg, err := newMessage(e, correlationID)
		if err != nil {
			return err
		}
		if err := wrapped.Publish(to, msg); err != nil {
			return fmt.Errorf("write %s of order %s to the outbox: %w", msg.Metadata.Get(metaType), e.Key(), err)
		}
	}
	return nil
}

// newMessage makes an event a message. Its id ascends with time, as indexes like it.
func newMessage(e event.Event, correlationID string) (to string, msg *message.Message, err error) {
	info, known := topic.For(e)
	if !known {
		return "", nil, fmt.Errorf("there is no topic for %T", e)
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return "", nil, fmt.Errorf("encode %s: %w", info.Event, err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", nil, fmt.Errorf("make a message id: %w", err)
	}
	msg = message.NewMessage(id.String(), payload)
	msg.Metadata = message.Metadata{
		metaType: info.Event, metaOrder: string(e.Key()), metaTime: time.Now().UTC().Format(time.RFC3339Nano),
		middleware.CorrelationIDMetadataKey: correlationID,
	}
	return info.Name, msg, nil
}

// inserts are the statements that publish runs.
func (o outbox) inserts() ([]string, error) {
	var list []string
	for _, name := range o.topics() {
		query, err := o.adapter.InsertQuery(name, message.Messages{message.NewMessage("", nil)})
		if err != nil {
			return nil, fmt.Errorf("make the INSERT into %s: %w", name, err)
		}
		list = append(list, query.Query)
	}
	return list, nil
}

// addForwarders has the router carry the outbox's events to Kafka.
func (o outbox) addForwarders(router *message.Router, db wsql.Beginner, to message.Publisher) error {
	for _, name := range o.topics() {
		subscriber, err := o.subscriber(db)
		if err != nil {
			return err
		}
		_, err = forwarder.NewForwarder(subscriber, to, o.log, forwarder.Config{
			ForwarderTopic: name, HandlerName: "forwarder/" + name, Router: router,
		})
		if err != nil {
			return fmt.Errorf("make the forwarder of %s: %w", name, err)
		}
	}
	return nil
}

func (o outbox) subscriber(db wsql.Beginner) (*wsql.Subscriber, error) {
	subscriber, err := wsql.NewSubscriber(db, wsql.SubscriberConfig{
		ConsumerGroup: "forwarder", PollInterval: o.settings.PollInterval,
		SchemaAdapter: o.adapter, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{}, InitializeSchema: true,
	}, o.log)
	if err != nil {
		return nil, fmt.Errorf("make the outbox's SQL subscriber: %w", err)
	}
	return subscriber, nil
}

// createTables makes the outbox's tables, so that events can be written before a forwarder runs.
func (o outbox) createTables(db wsql.Beginner) error {
	subscriber, err := o.subscriber(db)
	if err != nil {
		return err
	}
	for _, name := range o.topics() {
		if err := subscriber.SubscribeInitialize(name); err != nil {
			return fmt.Errorf("make the tables of %s: %w", name, err)
		}
	}
	return subscriber.Close()
}
