package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// Sender writes records as they are to lie there: in a partition and with a time of their own. It is for
// records that have been in a log before; what is new goes through a Publisher. It may be used by one goroutine
// at a time.
type Sender struct{ client *kgo.Client }

// NewSender makes a sender. It does not wait for a broker.
func NewSender(config Config) (*Sender, error) {
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	client, err := config.client(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(placing{kgo.StickyKeyPartitioner(nil)}), // nil: Kafka's own murmur2
		kgo.ProducerBatchMaxBytesFn(maxBatchBytes),
		// No RecordDeliveryTimeout: it counts from the record's own time, which is long past.
		kgo.ManualFlushing(), // a partition that fails then fails with all that was to follow in it
	)
	if err != nil {
		return nil, err
	}
	return &Sender{client: client}, nil
}

// Send writes the records in their order and returns when every replica in sync has each of them, or it has
// failed. A record goes to its Partition where the topic has such a one, else where its key belongs (-1), and
// one without a key anywhere. A zero Time is the time of sending; a topic that keeps the broker's time
// keeps that in any case. errs has one entry per record. Behind one that failed, none of its partition is written,
// and behind one that is too large (see Publisher) none at all.
//
// A record whose answer did not come within eleven seconds is reported as failed, and may lie there all the same.
func (s *Sender) Send(ctx context.Context, records []transport.LogRecord) []error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// The caller's context stays out: what may have been written cannot be withdrawn.
	delivery, cancelDelivery := context.WithTimeout(context.WithoutCancel(ctx), deliveryTimeout)
	defer cancelDelivery()
	plain := make([]transport.Record, len(records))
	for i, r := range records {
		plain[i] = r.Record
	}
	b := newBatch(ctx, plain)
	sizes := &round{failed: map[string]bool{}}
	for i, r := range records {
		if err := sizes.refusal(&plain[i]); err != nil {
			b.answer(i, err)
			for j := i + 1; j < len(records); j++ {
				b.answer(j, ErrOvertakes)
			}
			break
		}
		headers := make([]kgo.RecordHeader, len(r.Headers))
		for j, h := range r.Headers {
			headers[j] = kgo.RecordHeader(h)
		}
		rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers, Timestamp: r.Time}
		s.client.Produce(delivery, rec, func(_ *kgo.Record, err error) { b.answer(i, err) })
	}
	if err := s.client.Flush(ctx); err != nil {
		return b.answers(err)
	}
	select {
	case <-b.answered:
		return b.errs
	case <-ctx.Done():
		return b.answers(ctx.Err())
	}
}

// Close drops what has no answer yet.
func (s *Sender) Close() error {
	s.client.Close()
	return nil
}

// placing is a partitioner that obeys a record's own partition.
type placing struct{ byKey kgo.Partitioner }

// ForTopic implements kgo.Partitioner.
func (p placing) ForTopic(topic string) kgo.TopicPartitioner {
	return placedIn{p.byKey.ForTopic(topic)}
}

type placedIn struct{ byKey kgo.TopicPartitioner }

// RequiresConsistency implements kgo.TopicPartitioner.
func (p placedIn) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.byKey.RequiresConsistency(r)
}

// Partition implements kgo.TopicPartitioner.
func (p placedIn) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 && int(r.Partition) < n {
		return int(r.Partition)
	}
	return p.byKey.Partition(r, n)
}
