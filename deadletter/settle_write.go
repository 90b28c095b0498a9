package deadletter

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"millrace/outbox"
)

// settleWrite is what one transaction writes of the heads themselves.
type settleWrite struct {
	passed  outbox.UUIDArray // lanes whose head was settled, whatever the outcome
	done    outbox.UUIDArray // letters whose message was processed
	why     outbox.TextArray // nothing changed, if it did not
	details outbox.JSONArray
	removed outbox.UUIDArray // messages that were processed; those that somebody asked for are resolved by then, and stay
	failed  []*Letter
	stories outbox.JSONArray // of the failed ones
	later   outbox.UUIDArray // lanes that are tried again
	laterIn outbox.BigintArray
	tried   []*Letter // heads of such lanes that were tried in vain; until now, some of them only waited
	triedIn outbox.BigintArray
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
	case !s.tried():
		w.passed = append(w.passed, s.claim.lane)
	case s.outcome.Err == nil:
		w.passed, w.removed = append(w.passed, s.claim.lane), append(w.removed, s.head.ID)
		if s.head.Status != Parked { // what is only parked nobody can have asked for
			changed := s.outcome.Unchanged == ""
			w.done, w.why, w.details = append(w.done, s.head.ID), append(w.why, asText(s.outcome.Unchanged)), append(w.details, s.detail(&changed))
		}
	case s.outcome.Final:
		failed := *s.head
		failed.note(s.outcome)
		w.passed = append(w.passed, s.claim.lane)
		w.failed, w.stories = append(w.failed, &failed), append(w.stories, s.detail(nil))
	default:
		w.later, w.laterIn = append(w.later, s.claim.lane), append(w.laterIn, s.outcome.RetryIn.Milliseconds())
		if waits := s.head.Status == Parked || s.head.Status == Retrying; waits && s.outcome.inVain() {
			tried := *s.head
			tried.note(s.outcome)
			w.tried, w.triedIn = append(w.tried, &tried), append(w.triedIn, s.outcome.RetryIn.Milliseconds())
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

// A message that was dropped while it was tried stays dropped; one that was restored stays new. Of one that passed by itself nothing is
// kept, unless somebody had edited it: then it has a copy in Kafka, and a story.
const (
	markResolved = `WITH d AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::json[]) AS d(id, why, detail)), done AS (
	UPDATE deadletter.letters l SET status = 'resolved', retry_at = NULL, closed_at = now() FROM d
	WHERE l.id = d.id AND (l.status = 'redriving' OR l.status = 'retrying' AND l.original IS NOT NULL) RETURNING d.*)
INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $4, 'resolved', why, detail FROM done`
	removeParked = `DELETE FROM deadletter.letters WHERE id = ANY($1::uuid[]) AND (status = 'parked' OR status = 'retrying' AND original IS NULL)`
	markFailed   = `WITH d AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::json[])
	AS d(id, attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, detail)), failed AS (
	UPDATE deadletter.letters l SET status = 'new', retry_at = NULL, attempts = d.attempts, error_type = d.error_type, error = d.error, fingerprint = d.fingerprint,
	  first_failed_at = d.first_failed_at, last_failed_at = d.last_failed_at, version = d.version
	FROM d WHERE l.id = d.id AND l.status IN ('parked', 'retrying', 'redriving') RETURNING l.id, l.error, d.detail)
INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $10, 'failed again', error, detail FROM failed RETURNING letter_id`
	// markRetrying shows whoever looks what holds an order up, though it may pass.
	markRetrying = `UPDATE deadletter.letters l SET status = 'retrying', retry_at = clock_timestamp() + d.ms * interval '1 millisecond', attempts = d.attempts, error_type = d.error_type, error = d.error, fingerprint = d.fingerprint,
	  first_failed_at = d.first_failed_at, last_failed_at = d.last_failed_at, version = d.version
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[], $9::bigint[])
	AS d(id, attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version, ms) WHERE l.id = d.id AND l.status IN ('parked', 'retrying')`
	putLaneOff = `UPDATE deadletter.lanes t SET due_at = clock_timestamp() + d.ms * interval '1 millisecond', holder = NULL, lease_until = NULL, overruled = false
FROM unnest($2::uuid[], $3::bigint[]) AS d(lane, ms) WHERE t.service = $1 AND t.lane = d.lane`
)

// redriverName is who did it where nobody did.
const redriverName = "router"

// run writes it. copies tells whether there is something for the relay.
func (w *settleWrite) run(ctx context.Context, tx *sql.Tx, service string) (copies bool, err error) {
	if len(w.done) > 0 {
		if _, err := tx.ExecContext(ctx, markResolved, w.done, w.why, w.details, redriverName); err != nil {
			return false, fmt.Errorf("resolve %d letters of %s: %w", len(w.done), service, err)
		}
	}
	if len(w.removed) > 0 {
		if _, err := tx.ExecContext(ctx, removeParked, w.removed); err != nil {
			return false, fmt.Errorf("remove %d parked messages of %s: %w", len(w.removed), service, err)
		}
	}
	if len(w.later) > 0 {
		if _, err := tx.ExecContext(ctx, putLaneOff, service, w.later, w.laterIn); err != nil {
			return false, fmt.Errorf("put off %d lanes of %s: %w", len(w.later), service, err)
		}
	}
	if len(w.tried) > 0 {
		if _, err := tx.ExecContext(ctx, markRetrying, append(failureArgs(w.tried), w.triedIn)...); err != nil {
			return false, fmt.Errorf("note that %d messages of %s are tried again: %w", len(w.tried), service, err)
		}
	}
	if len(w.failed) == 0 {
		return false, nil
	}
	failed, err := texted(ctx, tx, markFailed, append(failureArgs(w.failed), w.stories, redriverName)...)
	if err != nil {
		return false, fmt.Errorf("note that %d letters of %s failed again: %w", len(w.failed), service, err)
	}
	// What was dropped meanwhile has not failed: a copy would have it come back. Whoever reads the topic takes the last one.
	told := slices.DeleteFunc(w.failed, func(l *Letter) bool { return !failed[l.ID] })
	return len(told) > 0, publishCopies(ctx, tx, service, told)
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
