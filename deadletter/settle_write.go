package deadletter

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"millrace/outbox"
)

// settleWrite is what one transaction writes of the heads themselves.
type settleWrite struct {
	passed  outbox.UUIDArray // lanes whose head was settled, whatever the outcome
	done    outbox.UUIDArray // messages that were processed
	why     outbox.TextArray // nothing changed, if it did not
	details outbox.JSONArray
	failed  []*Letter
	stories outbox.JSONArray // of the failed ones
	later   outbox.UUIDArray // lanes that are tried again
	laterAt outbox.BigintArray
	tried   []*Letter // heads of such lanes that were tried in vain; until now, some of them only waited
}

// stepDetail is what a step of a redrive tells besides its reason.
type stepDetail struct {
	Version string `json:"version,omitempty"`
	// Changed is false where the message had been processed already, or changed nothing.
	Changed *bool `json:"changed,omitempty"`
	// TraceParent is the redrive's own trace, Link the one the message came with.
	TraceParent string `json:"traceparent,omitempty"`
	Link        string `json:"link,omitempty"`
}

func (s *settlement) detail(changed *bool) []byte {
	encoded, err := json.Marshal(stepDetail{
		Version: s.outcome.Version, Changed: changed, TraceParent: asText(s.outcome.TraceParent), Link: asText(s.head.Headers[outbox.HeaderTraceParent]),
	})
	if err != nil {
		return []byte("{}") // texts can always be encoded
	}
	return encoded
}

func (w *settleWrite) add(s *settlement) {
	switch {
	case s.head == nil:
		w.passed = append(w.passed, s.claim.lane)
	case s.outcome.Err == nil:
		changed := s.outcome.Unchanged == ""
		w.passed, w.done = append(w.passed, s.claim.lane), append(w.done, s.head.ID)
		w.why, w.details = append(w.why, asText(s.outcome.Unchanged)), append(w.details, s.detail(&changed))
	case s.outcome.Final:
		failed := *s.head
		failed.note(s.outcome)
		w.passed = append(w.passed, s.claim.lane)
		w.failed, w.stories = append(w.failed, &failed), append(w.stories, s.detail(nil))
	default:
		w.later, w.laterAt = append(w.later, s.claim.lane), append(w.laterAt, s.outcome.RetryIn.Milliseconds())
		if waits := s.head.Status == Parked || s.head.Status == Retrying; waits && s.outcome.inVain() {
			tried := *s.head
			tried.note(s.outcome)
			tried.RetryAt = tried.LastFailed.Add(s.outcome.RetryIn)
			w.tried = append(w.tried, &tried)
		}
	}
}

// note writes down a failure.
func (l *Letter) note(o Outcome) {
	l.LastFailed = time.Now()
	if l.Status == Parked { // it becomes a letter
		l.FirstFailed = l.LastFailed
	}
	l.Attempts += o.Attempts
	l.Version = o.Version
	l.Describe(o.Err)
}

// A message that was dropped while it was tried stays dropped; one that was restored stays new.
const (
	markResolved = `WITH d AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::json[]) AS d(id, why, detail)), done AS (
	UPDATE deadletter.letters l SET status = 'resolved', retry_at = NULL, closed_at = now() FROM d WHERE l.id = d.id AND l.status = 'redriving' RETURNING d.*)
INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $4, 'resolved', why, detail FROM done`
	removeParked = `DELETE FROM deadletter.letters WHERE id = ANY($1::uuid[]) AND status IN ('parked', 'retrying')`
	markFailed   = `WITH d AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::json[])
	AS d(id, attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, detail)), failed AS (
	UPDATE deadletter.letters l SET status = 'new', retry_at = NULL, attempts = d.attempts, error_type = d.error_type, error = d.error, fingerprint = d.fingerprint,
	  first_failed_at = d.first_failed_at, last_failed_at = d.last_failed_at, version = d.version
	FROM d WHERE l.id = d.id AND l.status IN ('parked', 'retrying', 'redriving') RETURNING l.id, l.error, d.detail)
INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $10, 'failed again', error, detail FROM failed`
	// markRetrying shows whoever looks what holds an order up, though it may pass.
	markRetrying = `UPDATE deadletter.letters l SET status = 'retrying', retry_at = d.retry_at, attempts = d.attempts, error_type = d.error_type, error = d.error, fingerprint = d.fingerprint,
	  first_failed_at = d.first_failed_at, last_failed_at = d.last_failed_at, version = d.version
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::timestamptz[])
	AS d(id, attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, retry_at) WHERE l.id = d.id AND l.status IN ('parked', 'retrying')`
	putLaneOff = `UPDATE deadletter.lanes t SET due_at = clock_timestamp() + d.ms * interval '1 millisecond', holder = NULL, lease_until = NULL
FROM unnest($2::uuid[], $3::bigint[]) AS d(lane, ms) WHERE t.service = $1 AND t.lane = d.lane`
)

// redriverName is who did it where nobody did.
const redriverName = "router"

func (w *settleWrite) run(ctx context.Context, tx *sql.Tx, service string) error {
	if len(w.done) > 0 {
		if _, err := tx.ExecContext(ctx, markResolved, w.done, w.why, w.details, redriverName); err != nil {
			return fmt.Errorf("resolve %d letters of %s: %w", len(w.done), service, err)
		}
		if _, err := tx.ExecContext(ctx, removeParked, w.done); err != nil {
			return fmt.Errorf("remove %d parked messages of %s: %w", len(w.done), service, err)
		}
	}
	if len(w.later) > 0 {
		if _, err := tx.ExecContext(ctx, putLaneOff, service, w.later, w.laterAt); err != nil {
			return fmt.Errorf("put off %d lanes of %s: %w", len(w.later), service, err)
		}
	}
	if len(w.tried) > 0 {
		retry := times(len(w.tried))
		for i, l := range w.tried {
			retry[i] = l.RetryAt
		}
		if _, err := tx.ExecContext(ctx, markRetrying, append(failureArgs(w.tried), retry)...); err != nil {
			return fmt.Errorf("note that %d messages of %s are tried again: %w", len(w.tried), service, err)
		}
	}
	if len(w.failed) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, markFailed, append(failureArgs(w.failed), w.stories, redriverName)...); err != nil {
		return fmt.Errorf("note that %d letters of %s failed again: %w", len(w.failed), service, err)
	}
	return publishCopies(ctx, tx, service, w.failed) // whoever reads the topic takes the last one
}

// failureArgs are the parameters of markFailed and markRetrying that both have.
func failureArgs(letters []*Letter) []any {
	n := len(letters)
	ids, attempts := make(outbox.UUIDArray, n), make(outbox.BigintArray, n)
	types, errs, prints, versions := texts(n), texts(n), texts(n), texts(n)
	first, last := times(n), times(n)
	for i, l := range letters {
		ids[i], attempts[i], types[i], errs[i], prints[i] = l.ID, int64(l.Attempts), l.ErrorType, l.Error, l.Fingerprint()
		first[i], last[i], versions[i] = l.FirstFailed, l.LastFailed, l.Version
	}
	return []any{ids, attempts, types, errs, prints, first, last, versions}
}

const letterColumns = `position, lane, id, service, consumer_group, handler, coalesce(order_id::text, ''), message_id, correlation_id, topic, partition, kafka_offset, key, headers, payload, original,
 coalesce(published_at, first_failed_at), attempts, error_type, error, first_failed_at, last_failed_at, version, status, coalesce(retry_at, last_failed_at)`

func scanLetter(rows scanner) (*Letter, error) {
	var l Letter
	var headers []byte
	if err := rows.Scan(&l.Position, &l.Lane, &l.ID, &l.Service, &l.Group, &l.Handler, &l.OrderID, &l.MessageID, &l.CorrelationID, &l.Topic, &l.Partition, &l.Offset, &l.Key, &headers, &l.Payload, &l.Before,
		&l.PublishedAt, &l.Attempts, &l.ErrorType, &l.Error, &l.FirstFailed, &l.LastFailed, &l.Version, &l.Status, &l.RetryAt); err != nil {
		return nil, fmt.Errorf("read a letter: %w", err)
	}
	if err := json.Unmarshal(headers, &l.Headers); err != nil {
		return nil, fmt.Errorf("read the headers of letter %s: %w", l.ID, err)
	}
	return &l, nil
}
