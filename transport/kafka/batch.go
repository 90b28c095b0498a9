package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// batch is the records of one call and what became of them.
type batch struct {
	ctx     context.Context
	records []transport.Record

	mu       sync.Mutex
	open     int
	errs     []error       // errNoAnswer where none came yet
	answered chan struct{} // closed: errs is final
}

var errNoAnswer = errors.New("no answer from the broker yet")

func newBatch(ctx context.Context, records []transport.Record) *batch {
	b := &batch{
		ctx: ctx, records: records, open: len(records),
		errs: make([]error, len(records)), answered: make(chan struct{}),
	}
	for i := range b.errs {
		b.errs[i] = errNoAnswer
	}
	if b.open == 0 {
		close(b.answered)
	}
	return b
}

func (b *batch) answer(i int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs[i] = err
	b.open--
	if b.open == 0 {
		close(b.answered)
	}
}

// failOpen answers every record of a batch that was never sent.
func (b *batch) failOpen(err error) {
	for i := range b.records {
		b.answer(i, err)
	}
}

// answers is what is known now; what is not is failed with err.
func (b *batch) answers(err error) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := slices.Clone(b.errs)
	for i := range errs {
		if errors.Is(errs[i], errNoAnswer) {
			errs[i] = fmt.Errorf("%w: %w", errNoAnswer, err)
		}
	}
	return errs
}

// sendWaiting sends what has gathered while others were sending. Every call
// starts one; most find that their records went along with somebody else's.
func (p *Publisher) sendWaiting() {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	p.mu.Lock()
	batches := p.waiting
	p.waiting = nil
	p.mu.Unlock()

	r := &round{client: p.client, failed: map[string]bool{}}
	wanted := batches[:0]
	for _, b := range batches {
		if err := b.ctx.Err(); err != nil { // nobody waits for it any more
			b.failOpen(err)
			continue
		}
		wanted = append(wanted, b)
	}
	went := p.sendFirsts(r, wanted)
	for _, b := range wanted {
		for i := range b.records {
			switch topic := b.records[i].Topic; {
			case went[sending{b, i}]:
			case !p.known[topic]:
				b.answer(i, fmt.Errorf("topic %s: %w", topic, errUnknownTopic))
			default:
				r.add(b, i)
			}
		}
	}
	r.flush()
	for topic := range r.troubled {
		delete(p.known, topic)
	}
}

// errUnknownTopic is for what was to follow a topic's first record, which the broker did not take.
var errUnknownTopic = errors.New("nothing is known of its partitions: its first record could not be sent")

// sending is a record of a batch.
type sending struct {
	batch *batch
	i     int
}

// sendFirsts sends the first record of each topic that nothing was sent to before, and waits for the answers. It tells which are
// answered. franz-go buffers what comes for a topic until it knows the partitions, and deals it out in the middle of a flush: what it
// dealt out by then would be sent, and might fail, before the rest of the same keys, which would overtake.
func (p *Publisher) sendFirsts(r *round, batches []*batch) (went map[sending]bool) {
	firsts := map[string]*kgo.Record{}
	for _, b := range batches {
		for i := range b.records {
			topic := b.records[i].Topic
			if p.known[topic] || firsts[topic] != nil {
				continue
			}
			if went == nil {
				went = map[sending]bool{}
			}
			went[sending{b, i}] = true
			if sent := r.add(b, i); sent != nil {
				firsts[topic] = sent
			}
		}
	}
	if len(firsts) == 0 {
		return went
	}
	r.flush()
	for topic, record := range firsts {
		if record.Partition != noPartition {
			p.known[topic] = true
		}
	}
	return went
}

// noPartition is the partition of a record that has none yet.
const noPartition = -1

// round is what one turn sends.
type round struct {
	client   *kgo.Client
	buffered int
	open     sync.WaitGroup

	mu       sync.Mutex
	failed   map[string]bool // by topic and key, so that nothing overtakes what failed
	lost     bool            // a record failed after it was buffered
	troubled map[string]bool // topics of such records: they may be gone
}

// add buffers a record, and flushes first when the buffer is full. It returns what it buffered; nil if it refused the record.
func (r *round) add(b *batch, i int) *kgo.Record {
	if r.buffered == maxInFlight {
		r.flush()
	}
	rec := &b.records[i]
	if err := r.refusal(rec); err != nil {
		r.fail(rec)
		b.answer(i, err)
		return nil
	}
	headers := make([]kgo.RecordHeader, len(rec.Headers))
	for j, h := range rec.Headers {
		headers[j] = kgo.RecordHeader(h)
	}
	r.buffered++
	r.open.Add(1)
	// The caller's context stays out: one record withdrawn would fail its whole
	// partition, other callers' records included.
	record := &kgo.Record{Topic: rec.Topic, Key: rec.Key, Value: rec.Value, Headers: headers, Partition: noPartition}
	r.client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
		if err != nil {
			r.lose(rec)
		}
		b.answer(i, err)
		r.open.Done()
	})
	return record
}

// flush sends what is buffered and waits for the answers. A partition may fail while it is being filled; what was added
// after that does not fail with it, and would overtake. Then nothing is sent.
func (r *round) flush() {
	send := r.client.Flush
	if r.lostAny() {
		send = r.client.AbortBufferedRecords
	}
	_ = send(context.Background()) // it reports its context's end only
	r.open.Wait()
	r.buffered, r.lost = 0, false
}

// lostAny tells whether a record has failed that was only buffered. franz-go tells of failures one after the other, some time
// after they happened; a record that cannot be buffered waits its turn behind all that have failed before it.
func (r *round) lostAny() bool {
	told := make(chan struct{})
	r.client.Produce(context.Background(), &kgo.Record{}, func(*kgo.Record, error) { close(told) }) // it has no topic
	<-told
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// refusal is why a record must not be sent.
func (r *round) refusal(rec *transport.Record) error {
	limit := MaxRecordBytes
	if maxBatchBytes(rec.Topic) == deadLetterTopicBytes {
		limit = MaxDeadLetterBytes
	}
	if size := recordSize(rec); size > limit {
		return fmt.Errorf("%s: %d bytes, at most %d: %w", rec.Topic, size, limit, ErrTooLarge)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) > 0 && r.failed[chain(rec)] {
		return ErrOvertakes
	}
	return nil
}

func (r *round) lose(rec *transport.Record) {
	r.fail(rec)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = true
	if r.troubled == nil {
		r.troubled = map[string]bool{}
	}
	r.troubled[rec.Topic] = true
}

func (r *round) fail(rec *transport.Record) {
	if len(rec.Key) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[chain(rec)] = true
}

// chain names the records that must keep their order.
func chain(rec *transport.Record) string { return rec.Topic + "\x00" + string(rec.Key) }

// recordSize is key, value and headers, with room for each header's lengths.
func recordSize(rec *transport.Record) int {
	const lengths = 10 // two varints
	size := len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		size += len(h.Key) + len(h.Value) + lengths
	}
	return size
}
