package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// Backlog is what lies in the outbox and is not yet in the log.
type Backlog struct {
	// Rows are counted up to the relay's Cap.
	Rows int
	// OldestAge is how long the oldest of them has been waiting; 0 if there is none.
	OldestAge time.Duration
}

// Backlog is what the last look found, at most a few seconds ago. Any process
// knows it, whether or not it holds the lease.
func (r *Relay) Backlog() Backlog {
	r.backlog.mu.Lock()
	defer r.backlog.mu.Unlock()
	return r.backlog.last
}

// Saturated tells that so much is unsent that no more work should be taken in.
func (r *Relay) Saturated() bool { return r.Backlog().Rows >= r.backlog.limit }

// OldestUnsent is when the oldest row was written that is on its way to the broker; the zero
// time if there is none. Rows the broker refuses for what they are do not count: they hold
// up their own order alone. It asks the database each time.
func (r *Relay) OldestUnsent(ctx context.Context) (time.Time, error) {
	var oldest sql.NullTime
	if err := r.backlog.scan(ctx, oldestUnsent, []any{r.backlog.after()}, &oldest); err != nil {
		return time.Time{}, fmt.Errorf("look for the oldest row of the outbox: %w", err)
	}
	return oldest.Time, nil // zero when NULL
}

const (
	// Ids and times ascend together, but for the length of a transaction: the first rows are enough.
	oldestUnsent = `SELECT min(created_at) FROM (
	SELECT created_at FROM millrace.outbox WHERE id > $1 AND NOT unsendable ORDER BY id LIMIT 1000) first`

	measureBacklog = `SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0),
	coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM (SELECT id, created_at FROM millrace.outbox WHERE id > $1 ORDER BY id LIMIT $2) waiting`
)

const (
	// measureEvery is how often the backlog is measured, and measureShare the share of
	// time it may take if the measuring is slow: one part in that many.
	measureEvery = time.Second
	measureShare = 20
	// measureTimeout ends a look at a database that does not answer.
	measureTimeout = 10 * time.Second
)

// backlog measures the outbox without counting rows that are long gone: it keeps
// a lower bound of its own, which trails by the longest a transaction may last. It
// starts from zero once a minute.
type backlog struct {
	db    *sql.DB
	limit int

	mu     sync.Mutex
	last   Backlog
	floor  int64     // no row has an id up to this one, nor will
	drawn  int64     // ids up to this one were drawn by then: at
	newest int64     // the highest id anybody saw
	at     time.Time // when drawn was taken
	zeroAt time.Time // when floor was last 0
}

// scan runs a query with a plan made for the table as it is now; see replanned.
func (b *backlog) scan(ctx context.Context, query string, args []any, targets ...any) error {
	stmt, err := b.db.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer stmt.Close()
	return stmt.QueryRowContext(ctx, args...).Scan(targets...)
}

// raise tells of an id that was seen in the table.
func (b *backlog) raise(id int64) {
	b.mu.Lock()
	b.newest = max(b.newest, id)
	b.mu.Unlock()
}

func (b *backlog) after() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.floor
}

func (b *backlog) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	b.mu.Lock()
	if time.Since(b.zeroAt) > wholeLook {
		b.floor, b.zeroAt = 0, time.Now()
	}
	floor := b.floor
	b.mu.Unlock()
	var (
		rows           int
		oldest, newest int64
		age            float64 // seconds
	)
	if err := b.scan(ctx, measureBacklog, []any{floor, b.limit}, &rows, &oldest, &newest, &age); err != nil {
		return err
	}
	b.found(rows, oldest, newest, time.Duration(age*float64(time.Second)), time.Now())
	return nil
}

// found takes what a look from floor found: ids drawn long enough ago are rows by now, or never.
func (b *backlog) found(rows int, oldest, newest int64, age time.Duration, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = Backlog{Rows: rows, OldestAge: max(age, 0)}
	b.newest = max(b.newest, newest)
	if now.Sub(b.at) < gapLifetime {
		return
	}
	gone := b.drawn
	if rows > 0 {
		gone = min(gone, oldest-1)
	}
	b.floor = max(b.floor, gone)
	b.drawn, b.at = b.newest, now
}

// watch measures the backlog until ctx ends.
func (r *Relay) watch(ctx context.Context) {
	look := trouble{log: r.log, what: "the relay measures the outbox"}
	for ctx.Err() == nil {
		began := time.Now()
		look.note(ctx, r.backlog.measure(ctx))
		pause(ctx, max(measureEvery, measureShare*time.Since(began)), nil)
	}
}
