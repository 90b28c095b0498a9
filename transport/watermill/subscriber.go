package watermill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"github.com/IBM/sarama"
	stock "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

var quieter = map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug}

var errClosed = errors.New("watermill: the subscriber is closed")

// Subscriber is a stock subscriber for each topic, plus transport.Delivery.
type Subscriber struct {
	transport *Transport
	group     string
	closing   chan struct{}
	forwards  sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*stock.Subscriber
	closed bool
}

var _ message.Subscriber = (*Subscriber)(nil)

// Subscribe implements message.Subscriber.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	sub, err := s.of(topic)
	if err != nil {
		return nil, err
	}
	in, err := sub.Subscribe(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("watermill: group %s: subscribe to %s: %w", s.group, topic, err)
	}
	out := make(chan *message.Message)
	s.forwards.Go(func() { s.forward(ctx, topic, in, out) })
	return out, nil
}

// of returns the stock subscriber of a topic; s.mu is held.
func (s *Subscriber) of(topic string) (*stock.Subscriber, error) {
	if sub := s.topics[topic]; sub != nil {
		return sub, nil
	}
	sub, err := stock.NewSubscriber(stock.SubscriberConfig{
		Brokers: s.transport.config.Brokers, Unmarshaler: marshaler{},
		OverwriteSaramaConfig: s.transport.subscriberConfig(), ConsumerGroup: groupOf(s.group, topic),
		NackResendSleep: s.transport.config.NackBackoff,
	}, s.transport.logger())
	if err != nil {
		return nil, fmt.Errorf("watermill: subscriber on %v: %w", s.transport.config.Brokers, err)
	}
	s.topics[topic] = sub
	return sub, nil
}

// seen is the last message of a partition, as it came from Kafka.
type seen struct {
	delivery transport.Delivery
	metadata message.Metadata
}

// forward fills each message's Delivery. Of one partition one message is in flight,
// so the same offset again is another attempt. That one stock hands out with what the
// handler made of the metadata; it gets the original's again.
func (s *Subscriber) forward(ctx context.Context, topic string, in <-chan *message.Message, out chan<- *message.Message) {
	defer close(out)
	last := map[int32]seen{}
	for msg := range in {
		d := delivery(msg.Context())
		d.Topic, d.Group, d.Attempt = topic, s.group, 1
		metadata := msg.Metadata
		if before, ok := last[d.Partition]; ok && before.delivery.Offset == d.Offset {
			d.Attempt, metadata = before.delivery.Attempt+1, before.metadata
		}
		last[d.Partition] = seen{d, metadata}
		msg.Metadata = maps.Clone(metadata)
		msg.SetContext(transport.WithDelivery(msg.Context(), d))
		select {
		case out <- msg:
		case <-s.closing:
		case <-ctx.Done():
		}
	}
}

func delivery(ctx context.Context) (d transport.Delivery) {
	d.Partition, _ = stock.MessagePartitionFromCtx(ctx)
	d.Offset, _ = stock.MessagePartitionOffsetFromCtx(ctx)
	d.Key, _ = stock.MessageKeyFromCtx(ctx)
	d.Time, _ = stock.MessageTimestampFromCtx(ctx)
	return d
}

// Close closes all of them. It may be called again.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	var failed []error
	var closing sync.WaitGroup
	var mu sync.Mutex
	for _, sub := range s.topics {
		closing.Go(func() {
			err := sub.Close()
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		})
	}
	closing.Wait()
	s.forwards.Wait()
	return errors.Join(failed...)
}

// marshaler is the stock one, with transport's keys and ids. It never fails on
// a record: that would end the session, again and again.
type marshaler struct{ stock.DefaultMarshaler }

// Marshal implements stock.Marshaler.
func (m marshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	out, err := m.DefaultMarshaler.Marshal(topic, msg)
	if err != nil {
		return nil, err
	}
	if key := transport.Key(msg); key != nil { // an empty key would put all of them into one partition
		out.Key = sarama.ByteEncoder(key)
	}
	return out, nil
}

// Unmarshal implements stock.Unmarshaler.
func (m marshaler) Unmarshal(in *sarama.ConsumerMessage) (*message.Message, error) {
	msg, err := m.DefaultMarshaler.Unmarshal(in)
	if err != nil {
		return nil, err
	}
	if id := msg.Metadata.Get(transport.IDHeader); id != "" {
		msg.UUID = id
	}
	if msg.UUID == "" {
		msg.UUID = transport.DerivedID(in.Topic, in.Partition, in.Offset)
	}
	return msg, nil
}
