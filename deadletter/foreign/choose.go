package foreign

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"millrace/deadletter/filter"
	"millrace/outbox"
)

// chooseQuery gives a batch of letters the columns that a filter knows, and has the database choose: the language
// means here what it means for our own letters. The parameters behind the filter's are named by %d.
const chooseQuery = `SELECT n - 1, coalesce(sent_to, ''), sent_at FROM (
	SELECT u.*, nullif(u.published, 'epoch') AS published_at, NULL::uuid AS order_id, '' AS version, deadletter.body(u.payload) IS NOT NULL AS is_json, s.sent_to, s.sent_at,
	  CASE WHEN s.topic IS NULL THEN 'new' ELSE 'redriven' END AS status
	FROM unnest($%d::uuid[], $%d::text[], $%d::text[], $%d::text[], $%d::text[], $%d::text[], $%d::text[], $%d::text[], $%d::text[],
	  $%d::bigint[], $%d::bigint[], $%d::bigint[], $%d::timestamptz[], $%d::timestamptz[], $%d::timestamptz[], $%d::json[], $%d::bytea[], $%d::bigint[], $%d::bigint[])
	  WITH ORDINALITY AS u(id, service, fingerprint, topic, handler, message_id, correlation_id, error, error_type,
	  partition, kafka_offset, attempts, first_failed_at, last_failed_at, published, headers, payload, at_partition, at_offset, n)
	LEFT JOIN deadletter.sent_back s ON s.topic = $%d AND s.partition = u.at_partition AND s.kafka_offset = u.at_offset AND s.written_at = u.last_failed_at
) AS letters WHERE %s ORDER BY n`

// chooseParameters counts those that are not the filter's.
const chooseParameters = 20

// chooseLimit bounds the comparison of one batch.
const chooseLimit = 30 * time.Second

// choose returns the letters that meet the filter, in their order, with what is known of their way back. All are of
// one topic.
func (d *Desk) choose(ctx context.Context, f filter.Condition, batch []*Letter) ([]*Letter, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	columns, err := columnsOf(batch)
	if err != nil {
		return nil, err
	}
	names := make([]any, 0, chooseParameters+1)
	for i := range chooseParameters {
		names = append(names, len(f.Args)+i+1)
	}
	query := fmt.Sprintf(chooseQuery, append(names, f.SQL)...)
	ctx, cancel := context.WithTimeout(ctx, chooseLimit)
	defer cancel()
	rows, err := d.db.QueryContext(ctx, query, append(f.Args[:len(f.Args):len(f.Args)], columns...)...)
	if err != nil {
		return nil, fmt.Errorf("compare %d letters with the filter: %w", len(batch), err)
	}
	defer rows.Close()
	var chosen []*Letter
	for rows.Next() {
		var n int
		var to string
		var at sql.NullTime
		if err := rows.Scan(&n, &to, &at); err != nil {
			return nil, fmt.Errorf("compare %d letters with the filter: %w", len(batch), err)
		}
		l := batch[n]
		l.SentTo, l.SentAt = to, at.Time
		chosen = append(chosen, l)
	}
	return chosen, rows.Err()
}

// columnsOf are the letters as the query takes them.
func columnsOf(batch []*Letter) ([]any, error) {
	n := len(batch)
	var (
		ids                           = make(outbox.UUIDArray, n)
		services, prints, topics      = make(outbox.TextArray, n), make(outbox.TextArray, n), make(outbox.TextArray, n)
		handlers, messages, corr      = make(outbox.TextArray, n), make(outbox.TextArray, n), make(outbox.TextArray, n)
		errs, types                   = make(outbox.TextArray, n), make(outbox.TextArray, n)
		partitions, offsets, attempts = make(outbox.BigintArray, n), make(outbox.BigintArray, n), make(outbox.BigintArray, n)
		first, last, published        = make(outbox.TimestamptzArray, n), make(outbox.TimestamptzArray, n), make(outbox.TimestamptzArray, n)
		headers                       = make(outbox.JSONArray, n)
		payloads                      = make(outbox.ByteaArray, n)
		atPartition, atOffset         = make(outbox.BigintArray, n), make(outbox.BigintArray, n)
	)
	for i, l := range batch {
		ids[i], services[i], prints[i], topics[i], handlers[i] = l.ID, storable(l.Service), l.Fingerprint(), storable(l.Topic), storable(l.Handler)
		messages[i], corr[i], errs[i], types[i] = storable(l.MessageID), storable(l.CorrelationID), storable(l.Error), storable(l.ErrorType)
		partitions[i], offsets[i], attempts[i] = int64(l.Partition), l.Offset, int64(l.Attempts)
		first[i], last[i], published[i] = l.FirstFailed, l.Record.Time, l.PublishedAt
		if l.PublishedAt.IsZero() {
			published[i] = time.Unix(0, 0) // stands for NULL
		}
		payloads[i], atPartition[i], atOffset[i] = l.Payload, int64(l.Record.Partition), l.Record.Offset
		texts := make(map[string]string, len(l.Headers))
		for k, v := range l.Headers {
			texts[storable(k)] = storable(v)
		}
		encoded, err := json.Marshal(texts)
		if err != nil {
			return nil, fmt.Errorf("encode the headers of %s: %w", l.Record.Place(), err)
		}
		headers[i] = encoded
	}
	return []any{ids, services, prints, topics, handlers, messages, corr, errs, types, partitions, offsets, attempts, first, last, published,
		headers, payloads, atPartition, atOffset, batch[0].Record.Topic}, nil
}

// storable is text as Postgres can hold it.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
