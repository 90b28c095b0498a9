package stock

import (
	"encoding/json"
	"fmt"
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

// outbox is where a service's events are written in the transaction that makes them true, and
// the forwarder topic they wait under.
type outbox struct {
	topic   string
	adapter wsql.DefaultPostgreSQLSchema
	log     watermill.LoggerAdapter
}

const sharedOutbox = "outbox"

func newOutbox(service string, s Settings, log watermill.LoggerAdapter) outbox {
	o := outbox{topic: sharedOutbox, adapter: wsql.DefaultPostgreSQLSchema{SubscribeBatchSize: s.BatchSize}, log: log}
	if s.OutboxPerService {
		o.topic = sharedOutbox + "_" + service
	}
	return o
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
	wrapped := forwarder.NewPublisher(publisher, forwarder.PublisherConfig{ForwarderTopic: o.topic})
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

// insert is the statement publish runs for each event.
func (o outbox) insert() (string, error) {
	query, err := o.adapter.InsertQuery(o.topic, message.Messages{message.NewMessage("", nil)})
	if err != nil {
		return "", fmt.Errorf("make the outbox's INSERT: %w", err)
	}
	return query.Query, nil
}

// addForwarder has the router carry the outbox's events to Kafka. It makes the tables when the
// router starts; createTables does so before.
func (o outbox) addForwarder(router *message.Router, db wsql.Beginner, to message.Publisher, s Settings) error {
	subscriber, err := o.subscriber(db, s)
	if err != nil {
		return err
	}
	_, err = forwarder.NewForwarder(subscriber, to, o.log, forwarder.Config{
		ForwarderTopic: o.topic, HandlerName: "forwarder/" + o.topic, Router: router,
	})
	if err != nil {
		return fmt.Errorf("make the forwarder of %s: %w", o.topic, err)
	}
	return nil
}

func (o outbox) subscriber(db wsql.Beginner, s Settings) (*wsql.Subscriber, error) {
	subscriber, err := wsql.NewSubscriber(db, wsql.SubscriberConfig{
		ConsumerGroup: "forwarder", PollInterval: s.PollInterval,
		SchemaAdapter: o.adapter, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{}, InitializeSchema: true,
	}, o.log)
	if err != nil {
		return nil, fmt.Errorf("make the SQL subscriber of %s: %w", o.topic, err)
	}
	return subscriber, nil
}

// createTables makes the outbox's tables, so that events can be written before the forwarder runs.
func (o outbox) createTables(db wsql.Beginner, s Settings) error {
	subscriber, err := o.subscriber(db, s)
	if err != nil {
		return err
	}
	if err := subscriber.SubscribeInitialize(o.topic); err != nil {
		return fmt.Errorf("make the tables of %s: %w", o.topic, err)
	}
	return subscriber.Close()
}
