package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/lib/pq"

	"millrace/transport"
)

// outboxRow is one row of millrace.outbox.
type outboxRow struct {
	id         int64
	topic      string
	key        []byte
	payload    []byte
	headers    headerBlock
	unsendable bool
}

// lane is what rows must stay in order within: the key. Rows without a key have
// no order to keep, so each is a lane of its own.
func (r *outboxRow) lane() string {
	if len(r.key) == 0 {
		return "#" + strconv.FormatInt(r.id, 10)
	}
	return string(r.key)
}

// size is what the row takes in memory, without its name and number.
func (r *outboxRow) size() int { return len(r.payload) + len(r.headers) + len(r.key) }

// record is the row as it goes to Kafka.
func (r *outboxRow) record() (transport.Record, error) {
	headers, err := r.headers.headers()
	if err != nil {
		return transport.Record{}, fmt.Errorf("outbox row %d: its headers are not readable: %w", r.id, err)
	}
	return transport.Record{Topic: r.topic, Key: r.key, Value: r.payload, Headers: headers}, nil
}

const (
	// relayBatch is how many rows are read, published and deleted at once. Larger
	// batches gain little and make the first of them wait for the last.
	relayBatch = 1000
	// relayBatchBytes bounds the memory of a batch: dead letters may be megabytes each.
	relayBatchBytes = 8 << 20
)

const (
	readRows = `SELECT id, topic, key, payload, headers, unsendable FROM millrace.outbox `
	nextRows = readRows + `WHERE id > $1 ORDER BY id LIMIT $2`
	gapRows  = `SELECT * FROM (
	(` + nextRows + `)
	UNION ALL
	(SELECT below.* FROM unnest($3::bigint[], $4::bigint[]) AS gap(lo, hi)
		CROSS JOIN LATERAL (` + readRows + `WHERE id BETWEEN gap.lo AND gap.hi ORDER BY id LIMIT $2) below)
) visible ORDER BY id LIMIT $2`
	rowsByID = readRows + `WHERE id = ANY($1) ORDER BY id`
	// A deletion need not be on disk when it commits: what it has deleted comes back after a
	// crash of the server at worst, and is published once more, as after a crash of the relay.
	deleteRows = `DELETE FROM millrace.outbox WHERE id = ANY($1) AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'`
	markRows   = `UPDATE millrace.outbox SET unsendable = true WHERE id = ANY($1)`
)

// outboxTable reads and changes rows. It is for one goroutine, and a second one that deletes.
type outboxTable struct {
	stmts   *replanned
	deletes *replanned
	limit   int // rows of the next page: fewer than relayBatch while rows are large
	maximum int
}

// page reads the rows after an id and those in the gaps below it, whatever is
// visible, in the order of their ids; full means that there may be more.
func (t *outboxTable) page(ctx context.Context, after int64, seen *gaps) (rows []outboxRow, full bool, err error) {
	var cut bool
	if lo, hi := seen.ranges(after); len(lo) == 0 {
		rows, cut, err = t.query(ctx, nextRows, after, t.limit)
	} else {
		rows, cut, err = t.query(ctx, gapRows, after, t.limit, pq.Array(lo), pq.Array(hi))
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the outbox: %w", err)
	}
	full = cut || len(rows) == t.limit
	if cut {
		t.limit = len(rows)
	} else {
		t.limit = min(2*t.limit, t.maximum)
	}
	return rows, full, nil
}

// byID reads those rows that are still there.
func (t *outboxTable) byID(ctx context.Context, ids []int64) ([]outboxRow, error) {
	rows, _, err := t.query(ctx, rowsByID, pq.Array(ids))
	if err != nil {
		return nil, fmt.Errorf("read rows of the outbox: %w", err)
	}
	return rows, nil
}

func (t *outboxTable) query(ctx context.Context, query string, args ...any) (list []outboxRow, cut bool, err error) {
	stmt, err := t.stmts.get(ctx, query)
	if err != nil {
		return nil, false, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	bytes := 0
	for rows.Next() {
		if bytes > relayBatchBytes {
			return list, true, nil
		}
		var r outboxRow
		if err := rows.Scan(&r.id, &r.topic, &r.key, &r.payload, (*[]byte)(&r.headers), &r.unsendable); err != nil {
			return nil, false, err
		}
		bytes += r.size()
		list = append(list, r)
	}
	return list, false, rows.Err()
}

// change runs deleteRows or markRows. It is finished even if ctx ends meanwhile: what was
// acknowledged should be gone, or the next relay sends it again.
func (t *outboxTable) change(ctx context.Context, query string, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionLimit)
	defer cancel()
	stmts := t.stmts
	if query == deleteRows {
		stmts = t.deletes
	}
	stmt, err := stmts.get(ctx, query)
	if err == nil {
		_, err = stmt.ExecContext(ctx, pq.Array(ids))
	}
	if err != nil {
		return fmt.Errorf("change %d rows of the outbox: %w", len(ids), err)
	}
	return nil
}

// planLifetime is how long a prepared statement keeps its plan. Postgres plans a
// prepared statement for good after a few runs; a plan made while the table was nearly empty is to
// scan and sort all of it, and would be kept while the table fills.
const planLifetime = time.Second

// replanned keeps statements on tables that are nearly empty at one moment and
// full at the next prepared, but never for longer than planLifetime. It is for one goroutine.
type replanned struct {
	db    *sql.DB
	stmts *statements
	since time.Time
}

func (r *replanned) get(ctx context.Context, query string) (*sql.Stmt, error) {
	if r.stmts == nil || time.Since(r.since) > planLifetime {
		r.close()
		r.stmts, r.since = &statements{db: r.db}, time.Now()
	}
	return r.stmts.get(ctx, query)
}

func (r *replanned) close() {
	if r.stmts == nil {
		return
	}
	for _, stmt := range r.stmts.byText {
		_ = stmt.Close() // a connection that does not answer any more has forgotten it anyway
	}
	r.stmts = nil
}
