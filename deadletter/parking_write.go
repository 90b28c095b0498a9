package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"millrace/outbox"
)

// errAppeared means: a letter was written by somebody else since it was looked for.
var errAppeared = errors.New("a letter was written by somebody else at the same moment; do it again")

// knownLetters are those of a batch that lie here already.
func knownLetters(ctx context.Context, tx *sql.Tx, batch []*entry) (map[string]bool, error) {
	ids := make(outbox.UUIDArray, len(batch))
	for i, e := range batch {
		ids[i] = e.letter.ID
	}
	known, err := texted(ctx, tx, "SELECT id FROM deadletter.letters WHERE id = ANY($1::uuid[])", ids)
	if err != nil {
		return nil, fmt.Errorf("look for letters: %w", err)
	}
	return known, nil
}

// appendWrite is what one transaction writes.
type appendWrite struct {
	letters []*Letter
	status  []Status
	lanes   []*Letter
	copies  []*Letter
}

func (w *appendWrite) letter(l *Letter, s Status) {
	w.letters, w.status = append(w.letters, l), append(w.status, s)
	if s == New {
		w.copies = append(w.copies, l)
	}
}

func (w *appendWrite) lane(l *Letter) { w.lanes = append(w.lanes, l) }

// insertLetters draws the positions in the order of the arrays. A conflict is a letter that another process wrote since
// this one looked: no row is locked that both hold. It may be about another message (see identity), so nothing may be left out.
const insertLetters = `INSERT INTO deadletter.letters
(id, service, consumer_group, handler, lane, order_id, message_id, correlation_id, topic, partition, kafka_offset, key, headers, payload,
 attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, status, retry_at, published_at)
SELECT d.id, $1, d.consumer_group, d.handler, coalesce(d.order_id, d.id), d.order_id, d.message_id, d.correlation_id, d.topic, d.partition, d.kafka_offset,
 CASE WHEN d.has_key THEN d.key END, d.headers, d.payload,
 d.attempts, d.error_type, d.error, d.fingerprint, d.first_failed_at, d.last_failed_at, d.version, d.status,
 CASE WHEN d.status = 'retrying' THEN clock_timestamp() + d.retry_ms * interval '1 millisecond' END, d.published_at
FROM (SELECT id, consumer_group, handler, nullif(order_id, '')::uuid AS order_id, message_id, correlation_id, topic, partition, kafka_offset, has_key, key, headers, payload,
 attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, status, retry_ms, published_at, n
 FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::boolean[], $12::bytea[], $13::json[], $14::bytea[],
  $15::bigint[], $16::text[], $17::text[], $18::text[], $19::timestamptz[], $20::timestamptz[], $21::text[], $22::text[], $23::bigint[], $24::timestamptz[])
 WITH ORDINALITY AS u(id, consumer_group, handler, order_id, message_id, correlation_id, topic, partition, kafka_offset, has_key, key, headers, payload,
  attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, status, retry_ms, published_at, n)) AS d
ORDER BY d.n ON CONFLICT (id) DO NOTHING`

const insertLanes = `INSERT INTO deadletter.lanes (service, lane, order_id, due_at)
SELECT $1, d.lane, nullif(d.order_id, '')::uuid, CASE WHEN d.due THEN clock_timestamp() + d.ms * interval '1 millisecond' END
FROM unnest($2::uuid[], $3::text[], $4::boolean[], $5::bigint[]) AS d(lane, order_id, due, ms)
ON CONFLICT (service, lane) DO NOTHING`

func (w *appendWrite) run(ctx context.Context, tx *sql.Tx, service string) error {
	if len(w.letters) == 0 {
		return nil
	}
	args, err := letterArgs(service, w.letters, w.status)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, insertLetters, args...)
	if err != nil {
		return fmt.Errorf("write %d letters of %s: %w", len(w.letters), service, err)
	}
	if n, err := result.RowsAffected(); err != nil || n < int64(len(w.letters)) {
		return errors.Join(errAppeared, err)
	}
	if len(w.lanes) > 0 {
		var lanes outbox.UUIDArray
		var orders outbox.TextArray
		var due outbox.BooleanArray
		var in outbox.BigintArray
		for _, l := range w.lanes {
			lanes, orders = append(lanes, l.lane()), append(orders, l.OrderID)
			due, in = append(due, l.Status == Retrying), append(in, l.retryIn())
		}
		if _, err := tx.ExecContext(ctx, insertLanes, service, lanes, orders, due, in); err != nil {
			return fmt.Errorf("write %d lanes of %s: %w", len(lanes), service, err)
		}
	}
	return publishCopies(ctx, tx, service, w.copies)
}

// firstYear and lastYear are those that both Postgres and JSON can hold.
const firstYear, lastYear = 1, 9999

// letterArgs are the parameters of insertLetters.
func letterArgs(service string, letters []*Letter, status []Status) ([]any, error) {
	n := len(letters)
	var (
		ids                                      = make(outbox.UUIDArray, n)
		groups, handlers, orders, messages, corr = texts(n), texts(n), texts(n), texts(n), texts(n)
		topics                                   = texts(n)
		partitions, offsets, attempts            = make(outbox.BigintArray, n), make(outbox.BigintArray, n), make(outbox.BigintArray, n)
		hasKey                                   = make(outbox.BooleanArray, n)
		keys, payloads                           = make(outbox.ByteaArray, n), make(outbox.ByteaArray, n)
		headers                                  = make(outbox.JSONArray, n)
		types, errs, prints, versions, states    = texts(n), texts(n), texts(n), texts(n), texts(n)
		first, last, published                   = times(n), times(n), times(n)
		retry                                    = make(outbox.BigintArray, n)
	)
	for i, l := range letters {
		encoded, err := l.headersJSON()
		if err != nil {
			return nil, err
		}
		ids[i], groups[i], handlers[i], orders[i], messages[i], corr[i], topics[i] = l.ID, l.Group, l.Handler, l.OrderID, l.MessageID, l.CorrelationID, l.Topic
		partitions[i], offsets[i], hasKey[i], keys[i], headers[i], payloads[i] = int64(l.Partition), l.Offset, l.Key != nil, l.Key, encoded, l.Payload
		states[i], retry[i], published[i] = string(status[i]), l.retryIn(), l.PublishedAt
		if year := l.PublishedAt.UTC().Year(); year < firstYear || year > lastYear { // the producer's clock, or not even that
			published[i] = l.FirstFailed
		}
		first[i], last[i], versions[i] = l.FirstFailed, l.LastFailed, l.Version
		if status[i] == Parked { // it has not failed
			continue
		}
		attempts[i], types[i], errs[i], prints[i] = int64(l.Attempts), l.ErrorType, l.Error, l.Fingerprint()
	}
	return []any{service, ids, groups, handlers, orders, messages, corr, topics, partitions, offsets, hasKey, keys, headers, payloads,
		attempts, types, errs, prints, first, last, versions, states, retry, published}, nil
}

// retryIn is how long it is until a message is tried again, in milliseconds. When that is, is a matter of the database's
// clock: who is to try it goes by that one.
func (l *Letter) retryIn() int64 { return time.Until(l.RetryAt).Milliseconds() }

func texts(n int) outbox.TextArray        { return make(outbox.TextArray, n) }
func times(n int) outbox.TimestamptzArray { return make(outbox.TimestamptzArray, n) }
