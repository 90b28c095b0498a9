// Package transport carries messages between the services. Kafka, stock
// Watermill and memory carry them alike: handlers do not know which one it is.
package transport

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Transport is one way to carry messages.
type Transport interface {
	// EnsureTopics creates the topics that are missing, each with that many
	// partitions, and refuses a topic that exists with another count: a key would
	// move to another partition, and order would be lost.
	EnsureTopics(ctx context.Context, partitions int, topics ...string) error
	// Subscriber returns one member of a consumer group. Subscribe is called once per
	// topic; all topics share the member. Messages of one key arrive one after the
	// other, messages of different keys may be in flight together, in one partition as well.
	Subscriber(group string) (message.Subscriber, error)
	// Publisher sends messages; it may also be a BatchPublisher.
	Publisher() (message.Publisher, error)
	// Backlog tells how old the oldest message is that the group has yet to finish.
	Backlog(ctx context.Context, group string, topics ...string) (Backlog, error)
	// Close releases what the transport itself holds. Subscribers and publishers
	// are closed by those who asked for them.
	Close() error
}

// Backlog is what a consumer group has yet to finish.
type Backlog struct {
	// Messages counts what lies between the committed offsets and the ends of the logs.
	Messages int64
	// Oldest is the timestamp of the oldest of them; zero when there is none.
	Oldest time.Time
}

// Delivery says where a message came from. Every transport puts one into the
// context of each message it delivers.
type Delivery struct {
	Topic     string
	Partition int32
	Offset    int64
	// Key is the record's key, which is not a header; nil where it has none.
	Key []byte
	// Group is the consumer group it was delivered to.
	Group string
	// Attempt is 1 at first delivery, and one more after each Nack in this process.
	Attempt int
	// Time is the record's timestamp.
	Time time.Time
}

type deliveryKey struct{}

// WithDelivery returns a context that carries d.
func WithDelivery(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, d)
}

// DeliveryFrom returns the delivery in ctx; false where no transport put one there.
func DeliveryFrom(ctx context.Context) (Delivery, bool) {
	if m := inFlight(ctx); m != nil {
		return m.Delivery(), true
	}
	d, ok := ctx.Value(deliveryKey{}).(Delivery)
	return d, ok
}

// Record is a message as it lies in the outbox and in Kafka.
type Record struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header is one Kafka header.
type Header struct {
	Key   string
	Value []byte
}

// BatchPublisher sends many records in few round trips.
type BatchPublisher interface {
	// PublishBatch sends the records in order and returns when each is either
	// acknowledged by the broker or has failed. errs has one entry per record, nil
	// for an acknowledged one. Records of one key never overtake each other within the
	// records that were acknowledged: once one has failed, later ones of that key fail too.
	PublishBatch(ctx context.Context, records []Record) (errs []error)
}

type messageKey struct{}

// WithKey returns a context that gives a message published with it a record
// key other than its ce_subject. Dead letters need that: they keep the original's key.
func WithKey(ctx context.Context, key []byte) context.Context {
	return context.WithValue(ctx, messageKey{}, key)
}

// SubjectHeader is the CloudEvents header that names the order, which is the key.
const SubjectHeader = "ce_subject"

// Key is the record key a message is published under: the one WithKey set, else
// ce_subject, else the key it was delivered with, else none.
func Key(msg *message.Message) []byte {
	if key, ok := msg.Context().Value(messageKey{}).([]byte); ok {
		return key
	}
	if s := msg.Metadata.Get(SubjectHeader); s != "" {
		return []byte(s)
	}
	if d, ok := DeliveryFrom(msg.Context()); ok {
		return d.Key
	}
	return nil
}
