package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/fault"
	"millrace/transport"
)

// publishTimeout bounds one batch. A broker that does not answer must not keep the relay
// from looking at its lease.
const publishTimeout = 10 * time.Second

// maxRefusals is after how many refusals in a row a publisher that sends one by one is
// left alone for a moment: it may take seconds to refuse each.
const maxRefusals = 3

// sent is what became of a batch.
type sent struct {
	acked  []int64
	failed []failure
	// tried counts the rows that were looked at, from the first. The others were not sent.
	tried int
}

type failure struct {
	row outboxRow
	err error
}

func (s *sent) fail(row outboxRow, err error) { s.failed = append(s.failed, failure{row, err}) }

// errBehind is the failure of a row whose predecessor in its lane failed.
var errBehind = errors.New("an earlier row of its key could not be published")

// publish sends rows in order. Within a lane nothing is sent behind a row that failed.
func publish(ctx context.Context, publisher message.Publisher, rows []outboxRow) sent {
	if len(rows) == 0 {
		return sent{}
	}
	if fault.On(fault.SwapEvents) {
		rows = slices.Clone(rows)
		slices.Reverse(rows)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if batch, ok := publisher.(transport.BatchPublisher); ok {
		return publishBatch(ctx, batch, rows)
	}
	return publishEach(ctx, publisher, rows)
}

func publishBatch(ctx context.Context, publisher transport.BatchPublisher, rows []outboxRow) sent {
	result := sent{tried: len(rows)}
	records, batch := make([]transport.Record, 0, len(rows)), make([]outboxRow, 0, len(rows))
	broken := map[string]bool{}
	for _, row := range rows {
		if broken[row.lane()] {
			result.fail(row, errBehind)
			continue
		}
		record, err := row.record()
		if err != nil {
			broken[row.lane()] = true
			result.fail(row, unreadable{err})
			continue
		}
		records, batch = append(records, record), append(batch, row)
	}
	if len(records) == 0 {
		return result
	}
	errs := publisher.PublishBatch(ctx, records)
	if len(errs) != len(records) {
		errs = make([]error, len(records))
		for i := range errs {
			errs[i] = fmt.Errorf("%T.PublishBatch answered for another number of records than the %d it was given", publisher, len(records))
		}
	}
	for i, err := range errs {
		if err != nil && !fault.On(fault.DeleteRefused) {
			result.fail(batch[i], err)
		} else {
			result.acked = append(result.acked, batch[i].id)
		}
	}
	return result
}

func publishEach(ctx context.Context, publisher message.Publisher, rows []outboxRow) sent {
	var result sent
	broken := map[string]bool{}
	refusals := 0
	for _, row := range rows {
		if ctx.Err() != nil || refusals == maxRefusals {
			return result
		}
		result.tried++
		if broken[row.lane()] {
			result.fail(row, errBehind)
			continue
		}
		if err := publishOne(ctx, publisher, row); err != nil {
			broken[row.lane()] = true
			refusals++
			result.fail(row, err)
			continue
		}
		refusals = 0
		result.acked = append(result.acked, row.id)
	}
	return result
}

func publishOne(ctx context.Context, publisher message.Publisher, row outboxRow) error {
	record, err := row.record()
	if err != nil {
		return unreadable{err}
	}
	msg := message.NewMessage("", row.payload)
	for _, h := range record.Headers {
		if h.Key == HeaderUUID { // the marshalers of Watermill's publishers write it from the message's id
			msg.UUID = string(h.Value)
		} else {
			msg.Metadata[h.Key] = string(h.Value)
		}
	}
	msg.SetContext(transport.WithKey(ctx, row.key))
	if err := publisher.Publish(row.topic, msg); err != nil {
		return fmt.Errorf("publish outbox row %d to %s: %w", row.id, row.topic, err)
	}
	return nil
}

// unreadable is a row nobody can send, ever.
type unreadable struct{ error }

func (u unreadable) Unwrap() error   { return u.error }
func (u unreadable) Permanent() bool { return true }

// isUnsendable tells whether the fault is the row's own: the broker is well, and would
// refuse it again. What is not on this list counts as our lag.
func isUnsendable(err error) bool {
	for _, own := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.PolicyViolation,
		kerr.UnknownTopicOrPartition, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed,
	} {
		if errors.Is(err, own) {
			return true
		}
	}
	var permanent interface{ Permanent() bool }
	return errors.As(err, &permanent) && permanent.Permanent()
}
