package deadletter

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"millrace/event"
	"millrace/outbox"
)

// settlement is what became of a lane's head when it was tried again.
type settlement struct {
	head    Letter
	outcome Outcome
	next    *Letter // what comes next in the lane, if it may be tried now
}

// Outcome is what a redriven message came to.
type Outcome struct {
	// Err is nil for a message that was processed, or had been.
	Err error
	// Final tells that trying again would not help.
	Final bool
	// RetryIn is how soon one that is not final is tried again.
	RetryIn time.Duration
	// Attempts were made this time.
	Attempts int
	// Version is the build that tried.
	Version string
}

// settleHead notes what became of a lane's head. It returns the next message of the lane if that one may
// be tried now; nil if the lane has come to its end, or waits.
func (p *Parking) settleHead(ctx context.Context, head Letter, o Outcome) (*Letter, error) {
	s := &settlement{head: head, outcome: o}
	if err := p.settles.Do(ctx, s); err != nil {
		return nil, err
	}
	return s.next, nil
}

func (p *Parking) settle(ctx context.Context, batch []*settlement) error {
	var ids []event.OrderID
	for _, s := range batch {
		if s.head.OrderID != "" {
			ids = append(ids, event.OrderID(s.head.OrderID))
		}
	}
	var failedForGood bool
	err := p.marks.Hold(ctx, ids, func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error {
		var w settleWrite
		for _, s := range batch {
			s.next = nil
			if err := w.add(s); err != nil {
				return err
			}
		}
		failedForGood = len(w.copies) > 0
		if err := w.run(ctx, tx, p.service); err != nil {
			return err
		}
		next, err := heads(ctx, tx, p.service, w.passed)
		if err != nil {
			return err
		}
		var ended, waiting outbox.UUIDArray
		for _, s := range batch {
			if !s.outcome.passed() {
				continue
			}
			lane := s.head.lane()
			n, ok := next[lane]
			switch {
			case !ok:
				ended = append(ended, lane)
				if s.head.OrderID != "" {
					marked[event.OrderID(s.head.OrderID)] = false
				}
			case n.Status == New:
				waiting = append(waiting, lane)
			default:
				s.next = n
			}
		}
		return endLanes(ctx, tx, p.service, ended, waiting)
	})
	if err == nil && failedForGood {
		p.wake()
	}
	return err
}

func (o Outcome) passed() bool { return o.Err == nil }

// settleWrite is what one transaction writes of the heads themselves.
type settleWrite struct {
	resolved, gone, passed outbox.UUIDArray // letters; messages that only waited; lanes of both
	failed                 []*settlement
	later                  outbox.UUIDArray // lanes that are tried again
	laterAt                outbox.BigintArray
	copies                 []*Letter
}

func (w *settleWrite) add(s *settlement) error {
	switch {
	case s.outcome.passed():
		if s.head.Status == Parked || s.head.Status == Retrying { // never was a letter
			w.gone = append(w.gone, s.head.ID)
		} else {
			w.resolved = append(w.resolved, s.head.ID)
		}
		w.passed = append(w.passed, s.head.lane())
	case s.outcome.Final:
		if s.head.Status == Parked || s.head.Status == Retrying { // it becomes a letter
			s.head.FirstFailed = time.Now()
			w.copies = append(w.copies, &s.head)
		}
		s.head.Attempts += s.outcome.Attempts
		s.head.LastFailed, s.head.Version = time.Now(), s.outcome.Version
		s.head.Describe(s.outcome.Err)
		w.failed = append(w.failed, s)
	default:
		w.later, w.laterAt = append(w.later, s.head.lane()), append(w.laterAt, s.outcome.RetryIn.Milliseconds())
	}
	return nil
}

const (
	markResolved = `WITH done AS (
	UPDATE deadletter.letters SET status = 'resolved', closed_at = now() WHERE id = ANY($1::uuid[]) AND status IN ('new', 'redriving') RETURNING id)
INSERT INTO deadletter.steps (letter_id, who, action) SELECT id, $2, 'resolved' FROM done`
	removeParked = `DELETE FROM deadletter.letters WHERE id = ANY($1::uuid[]) AND status IN ('parked', 'retrying')`
	markFailed   = `WITH d AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[])
	AS d(id, attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version)), failed AS (
	UPDATE deadletter.letters l SET status = 'new', retry_at = NULL, attempts = d.attempts, error_type = d.error_type, error = d.error, fingerprint = d.fingerprint,
	  first_failed_at = d.first_failed_at, last_failed_at = d.last_failed_at, version = d.version
	FROM d WHERE l.id = d.id AND l.status IN ('parked', 'retrying', 'new', 'redriving') RETURNING l.id, l.service, l.lane, l.error, l.version), stopped AS (
	UPDATE deadletter.lanes t SET due_at = NULL, holder = NULL, lease_until = NULL FROM failed f WHERE t.service = f.service AND t.lane = f.lane)
INSERT INTO deadletter.steps (letter_id, who, action, reason, detail) SELECT id, $9, 'failed again', error, json_build_object('version', version) FROM failed`
	putLaneOff = `UPDATE deadletter.lanes t SET due_at = now() + d.ms * interval '1 millisecond', holder = NULL, lease_until = NULL
FROM unnest($2::uuid[], $3::bigint[]) AS d(lane, ms) WHERE t.service = $1 AND t.lane = d.lane`
	endLane  = `DELETE FROM deadletter.lanes WHERE service = $1 AND lane = ANY($2::uuid[])`
	stopLane = `UPDATE deadletter.lanes SET due_at = NULL, holder = NULL, lease_until = NULL WHERE service = $1 AND lane = ANY($2::uuid[])`
)

// redriverName is who did it where nobody did.
const redriverName = "router"

func (w *settleWrite) run(ctx context.Context, tx *sql.Tx, service string) error {
	if len(w.resolved) > 0 {
		if _, err := tx.ExecContext(ctx, markResolved, w.resolved, redriverName); err != nil {
			return fmt.Errorf("resolve %d letters of %s: %w", len(w.resolved), service, err)
		}
	}
	if len(w.gone) > 0 {
		if _, err := tx.ExecContext(ctx, removeParked, w.gone); err != nil {
			return fmt.Errorf("remove %d parked messages of %s: %w", len(w.gone), service, err)
		}
	}
	if len(w.later) > 0 {
		if _, err := tx.ExecContext(ctx, putLaneOff, service, w.later, w.laterAt); err != nil {
			return fmt.Errorf("put off %d lanes of %s: %w", len(w.later), service, err)
		}
	}
	if len(w.failed) == 0 {
		return nil
	}
	n := len(w.failed)
	ids, attempts := make(outbox.UUIDArray, n), make(outbox.BigintArray, n)
	types, errs, prints, versions := texts(n), texts(n), texts(n), texts(n)
	first, last := times(n), times(n)
	for i, s := range w.failed {
		l := &s.head
		ids[i], attempts[i], types[i], errs[i], prints[i] = l.ID, int64(l.Attempts), l.ErrorType, l.Error, l.Fingerprint()
		first[i], last[i], versions[i] = l.FirstFailed, l.LastFailed, l.Version
	}
	if _, err := tx.ExecContext(ctx, markFailed, ids, attempts, types, errs, prints, first, last, versions, redriverName); err != nil {
		return fmt.Errorf("note that %d letters of %s failed again: %w", n, service, err)
	}
	return publishCopies(ctx, tx, service, w.copies)
}

func endLanes(ctx context.Context, tx *sql.Tx, service string, ended, waiting outbox.UUIDArray) error {
	for _, part := range []struct {
		query string
		lanes outbox.UUIDArray
	}{{endLane, ended}, {stopLane, waiting}} {
		if len(part.lanes) == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, part.query, service, part.lanes); err != nil {
			return fmt.Errorf("end %d lanes of %s: %w", len(part.lanes), service, err)
		}
	}
	return nil
}

const letterColumns = `position, lane, id, service, consumer_group, handler, coalesce(order_id::text, ''), message_id, correlation_id, topic, partition, kafka_offset, key, headers, payload, original,
 coalesce(published_at, first_failed_at), attempts, error_type, error, first_failed_at, last_failed_at, version, status, coalesce(retry_at, last_failed_at)`

// headQuery finds the first open message of each lane.
const headQuery = `SELECT l.* FROM unnest($2::uuid[]) AS d(lane) CROSS JOIN LATERAL (
	SELECT ` + letterColumns + ` FROM deadletter.letters WHERE service = $1 AND lane = d.lane AND ` + open + ` ORDER BY position LIMIT 1) AS l`

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// heads are the first open messages of those lanes that have one.
func heads(ctx context.Context, q querier, service string, lanes outbox.UUIDArray) (map[string]*Letter, error) {
	found := make(map[string]*Letter, len(lanes))
	if len(lanes) == 0 {
		return found, nil
	}
	rows, err := q.QueryContext(ctx, headQuery, service, lanes)
	if err != nil {
		return nil, fmt.Errorf("look for what comes next in %d lanes of %s: %w", len(lanes), service, err)
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scanLetter(rows)
		if err != nil {
			return nil, err
		}
		found[l.lane()] = l
	}
	return found, rows.Err()
}

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
