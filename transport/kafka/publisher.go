package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

const (
	// MaxRecordBytes is the largest record (key, value and headers) of a topic: what
	// Kafka's own default, 1,048,588 bytes a batch, leaves when framing is taken off.
	MaxRecordBytes = 1_000_000
	// MaxDeadLetterBytes is the same for topics under DeadLetterPrefix, which EnsureTopics
	// makes for larger records: a letter holds an event and the story of its failure.
	MaxDeadLetterBytes = 4<<20 - framing
	// DeadLetterPrefix is what the names of dead letter topics begin with.
	DeadLetterPrefix = "dlq."

	deadLetterTopicBytes = 4 << 20
	topicBytes           = MaxRecordBytes + framing
	// framing is more than a batch header and a record's lengths take, per header too.
	framing = 16 << 10

	// deliveryTimeout is how long the publisher tries for itself. It is long enough
	// for a leader election; after it the caller decides.
	deliveryTimeout = 10 * time.Second
	// callTimeout is when a caller stops waiting for an answer that franz-go still
	// hopes for: it cannot withdraw what may have been written.
	callTimeout = deliveryTimeout + time.Second
	// maxInFlight bounds the records buffered at once; a larger batch goes in parts.
	maxInFlight = 10_000
)

// ErrTooLarge is returned for a record above MaxRecordBytes, or MaxDeadLetterBytes. It
// is permanent, as the broker's own refusal would be.
var ErrTooLarge error = tooLarge{}

type tooLarge struct{}

func (tooLarge) Error() string   { return "the record is too large for its topic" }
func (tooLarge) Permanent() bool { return true }

// ErrOvertakes is returned for a record whose key has an earlier record that
// failed: sent all the same, it would overtake it when that is sent again.
var ErrOvertakes = errors.New("an earlier record of this key failed")

var errClosed = errors.New("kafka: the publisher is closed")

// Publisher sends records with acks=all and idempotence, partitioned by murmur2
// over the key as Kafka's own clients do; records without a key go anywhere. Calls at the
// same time share their round trips.
//
// A record that was reported as failed because no answer came may still arrive;
// what is sent of its key afterwards arrives after it.
type Publisher struct {
	client *kgo.Client
	turn   chan struct{}   // held by whoever sends
	known  map[string]bool // topics whose partitions franz-go knows; of whoever has the turn
	calls  sync.WaitGroup
	sends  sync.WaitGroup // these may outlast their callers

	mu      sync.Mutex
	waiting []*batch
	closed  bool
}

var (
	_ message.Publisher        = (*Publisher)(nil)
	_ transport.BatchPublisher = (*Publisher)(nil)
)

// NewPublisher makes a publisher. It does not wait for a broker.
func NewPublisher(config Config) (*Publisher, error) {
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	client, err := config.client(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // nil: Kafka's own murmur2
		kgo.ProducerBatchMaxBytesFn(maxBatchBytes),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
		kgo.MaxBufferedRecords(2*maxInFlight), // more than is ever buffered
		// A whole round is buffered before anything goes out: a partition that fails
		// then fails with all that was to follow in it.
		kgo.ManualFlushing(),
	)
	if err != nil {
		return nil, err
	}
	return &Publisher{client: client, turn: make(chan struct{}, 1), known: map[string]bool{}}, nil
}

func maxBatchBytes(topic string) int32 {
	if strings.HasPrefix(topic, DeadLetterPrefix) {
		return deadLetterTopicBytes
	}
	return topicBytes
}

// Publish sends the messages in order and returns when all are acknowledged, or
// the first error; others may have been sent all the same. It waits as long as the
// first message's context allows, and eleven seconds at most.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	records := make([]transport.Record, len(messages))
	for i, msg := range messages {
		records[i] = transport.Encode(topic, msg)
	}
	for i, err := range p.PublishBatch(messages[0].Context(), records) {
		if err != nil {
			return fmt.Errorf("kafka: publish message %s to %s: %w", messages[i].UUID, topic, err)
		}
	}
	return nil
}

// PublishBatch implements transport.BatchPublisher. When ctx ends, or eleven
// seconds are over, the records whose answer is still out are reported as failed.
func (p *Publisher) PublishBatch(ctx context.Context, records []transport.Record) []error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	b := newBatch(ctx, records)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		b.failOpen(errClosed)
		return b.errs
	}
	p.waiting = append(p.waiting, b)
	p.calls.Add(1)
	defer p.calls.Done()
	p.sends.Go(p.sendWaiting)
	p.mu.Unlock()
	select {
	case <-b.answered:
		return b.errs
	case <-ctx.Done():
		return b.answers(ctx.Err())
	}
}

// Close waits for the calls that are under way, eleven seconds at most. It may
// be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.calls.Wait()
	p.client.Close() // fails what nobody waits for any more
	p.sends.Wait()
	return nil
}
