// Package memory carries messages within one process: keys, partitions,
// groups, order and redelivery as with Kafka, nothing on disk. What was published is kept
// until the Bus is garbage, so it suits tests and small demonstrations.
package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
	"millrace/transport/internal/perkey"
)

// Bus is the broker: the logs, and how far each group has come. A subscriber that
// comes back goes on where its group was. A Bus is a transport.Transport.
type Bus struct {
	// NackBackoff is the wait before the second attempt; 0 is 0.1 s. Set it before
	// the first subscriber.
	NackBackoff time.Duration
	// Drain is how long handlers may go on when their partition moves or their
	// subscriber closes; 0 is 5 s. Set it before the first subscriber.
	Drain time.Duration

	mu     sync.Mutex
	topics map[string][]*log
	groups map[string]*group
}

const (
	defaultDrain = 5 * time.Second // as with Kafka
	maxSpan      = 1000            // as with Kafka
)

var _ transport.Transport = (*Bus)(nil)

// NewBus returns an empty one.
func NewBus() *Bus {
	return &Bus{topics: map[string][]*log{}, groups: map[string]*group{}}
}

// EnsureTopics implements transport.Transport.
func (b *Bus) EnsureTopics(_ context.Context, partitions int, topics ...string) error {
	if partitions < 1 {
		return fmt.Errorf("memory: %d partitions a topic; at least 1 is needed", partitions)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		logs, ok := b.topics[topic]
		if ok && len(logs) != partitions {
			return fmt.Errorf("memory: topic %s has %d partitions, %d are asked for: with another number keys would move and lose their order",
				topic, len(logs), partitions)
		}
		if !ok {
			for n := range partitions {
				logs = append(logs, newLog(place{topic, int32(n)}))
			}
			b.topics[topic] = logs
		}
	}
	return nil
}

// partitions returns a topic's logs.
func (b *Bus) partitions(topic string) ([]*log, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	logs, ok := b.topics[topic]
	if !ok {
		return nil, fmt.Errorf("memory: there is no topic %s; EnsureTopics makes it", topic)
	}
	return logs, nil
}

// logs returns all of them.
func (b *Bus) logs() []*log {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*log
	for _, logs := range b.topics {
		all = append(all, logs...)
	}
	return all
}

func (b *Bus) group(name string) *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[name]
	if g == nil {
		g = &group{name: name, bus: b, done: map[place]int64{}, owners: map[place]*owned{}}
		b.groups[name] = g
	}
	return g
}

// Subscriber implements transport.Transport.
func (b *Bus) Subscriber(group string) (message.Subscriber, error) {
	drain := b.Drain
	if drain == 0 {
		drain = defaultDrain
	}
	backoff := perkey.Backoff(b.NackBackoff)
	if backoff == 0 {
		backoff = perkey.DefaultBackoff
	}
	return &Subscriber{group: b.group(group), subs: perkey.NewSubscriptions(drain, backoff)}, nil
}

// Publisher implements transport.Transport; it is a transport.BatchPublisher too.
func (b *Bus) Publisher() (message.Publisher, error) {
	return &Publisher{bus: b, partitioners: map[string]kgo.TopicPartitioner{}}, nil
}

// Backlog implements transport.Transport.
func (b *Bus) Backlog(_ context.Context, group string, topics ...string) (transport.Backlog, error) {
	var backlog transport.Backlog
	g := b.group(group)
	for _, topic := range topics {
		logs, err := b.partitions(topic)
		if err != nil {
			return transport.Backlog{}, err
		}
		for _, l := range logs {
			n, first := l.after(g.position(l.place))
			backlog.Messages += n
			if n > 0 && (backlog.Oldest.IsZero() || first.Before(backlog.Oldest)) {
				backlog.Oldest = first
			}
		}
	}
	return backlog, nil
}

// Close does nothing: the Bus holds memory only.
func (b *Bus) Close() error { return nil }

// Publisher publishes to a Bus.
type Publisher struct {
	bus *Bus

	mu           sync.Mutex
	partitioners map[string]kgo.TopicPartitioner
	closed       bool
}

var errClosed = errors.New("memory: the publisher is closed")

var _ transport.BatchPublisher = (*Publisher)(nil)

// Publish implements message.Publisher.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	records := make([]transport.Record, len(messages))
	for i, msg := range messages {
		records[i] = transport.Encode(topic, msg)
	}
	for i, err := range p.PublishBatch(context.Background(), records) {
		if err != nil {
			return fmt.Errorf("memory: publish message %s to %s: %w", messages[i].UUID, topic, err)
		}
	}
	return nil
}

// PublishBatch implements transport.BatchPublisher.
func (p *Publisher) PublishBatch(_ context.Context, records []transport.Record) []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := make([]error, len(records))
	for i, r := range records {
		errs[i] = p.append(r)
	}
	return errs
}

func (p *Publisher) append(r transport.Record) error {
	if p.closed {
		return errClosed
	}
	logs, err := p.bus.partitions(r.Topic)
	if err != nil {
		return err
	}
	by := p.partitioners[r.Topic]
	if by == nil { // Kafka's own murmur2, as franz-go computes it
		by = kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic)
		p.partitioners[r.Topic] = by
	}
	r.Value = slices.Clone(r.Value) // the caller may use its bytes again
	logs[by.Partition(&kgo.Record{Key: r.Key}, len(logs))].append(r)
	return nil
}

// Close implements message.Publisher. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
