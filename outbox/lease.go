package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
)

// Lease lets one process at a time do a piece of work, by a row on the
// database's clock. It saves double work; it does not exclude it: a process that
// was paused may go on for a moment beside its successor. Work done under a
// Lease must be right with two at it.
type Lease struct {
	stmts  *statements
	name   string
	holder string
	ttl    time.Duration
	lost   trouble
	log    *slog.Logger
}

// leaseTTL is how long the work of a crashed process stands still. Shorter would
// hand the work over whenever the database hiccups.
const leaseTTL = 3 * time.Second

// leaseRenewals is how often a lease is renewed within its lifetime: the second
// try still comes well before the end.
const leaseRenewals = 3

// NewLease names a piece of work, such as "relay". log may be nil.
func NewLease(db *sql.DB, name string, log *slog.Logger) *Lease {
	if log == nil {
		log = slog.Default()
	}
	return &Lease{
		stmts: &statements{db: db}, name: name, holder: uuid.NewString(), ttl: leaseTTL, log: log,
		lost: trouble{log: log, what: "the lease " + name},
	}
}

// Run calls work whenever it holds the lease, until ctx ends. The context that work
// gets ends when the lease is lost. When work has returned, the lease is
// released, so that another process can take over at once.
func (l *Lease) Run(ctx context.Context, work func(context.Context)) {
	for ctx.Err() == nil {
		asked := time.Now()
		got, err := l.take(ctx)
		l.lost.note(ctx, err)
		if got {
			l.hold(ctx, asked.Add(l.ttl), work)
			continue
		}
		pause(ctx, l.ttl/leaseRenewals, nil)
	}
}

func (l *Lease) hold(ctx context.Context, expires time.Time, work func(context.Context)) {
	l.log.InfoContext(ctx, "took the lease", "lease", l.name, "holder", l.holder)
	workCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(workCtx)
	}()
	renew := time.NewTicker(l.ttl / leaseRenewals)
	defer renew.Stop()
	for {
		select {
		case <-done:
			l.release(ctx)
			return
		case <-renew.C:
		}
		// Counted from before the question: the database may have counted from then.
		// A stop does not end the lease: until the work has returned, it is ours.
		asked := time.Now()
		got, err := l.take(context.WithoutCancel(ctx))
		l.lost.note(ctx, err)
		switch {
		case got:
			expires = asked.Add(l.ttl)
			continue
		case err != nil && time.Now().Before(expires):
			continue
		}
		l.log.WarnContext(ctx, "lost the lease", "lease", l.name, "holder", l.holder)
		cancel()
		<-done
		return
	}
}

const takeLease = `INSERT INTO millrace.leases AS l (name, holder, until)
VALUES ($1, $2::uuid, now() + $3::bigint * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE l.holder = excluded.holder OR l.until <= now()`

// take gets the lease or renews it; false if somebody else holds it.
func (l *Lease) take(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, l.ttl/leaseRenewals)
	defer cancel()
	n, err := l.stmts.exec(ctx, takeLease, l.name, l.holder, l.ttl.Milliseconds())
	if err != nil {
		return false, fmt.Errorf("take lease %s: %w", l.name, err)
	}
	return n == 1, nil
}

const releaseLease = `UPDATE millrace.leases SET until = '-infinity' WHERE name = $1 AND holder = $2::uuid`

func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl/leaseRenewals)
	defer cancel()
	if _, err := l.stmts.exec(ctx, releaseLease, l.name, l.holder); err != nil {
		l.log.WarnContext(ctx, "could not release the lease; it ends by itself", "lease", l.name, "in", l.ttl, "error", err)
	}
}

// exec runs a prepared statement and returns how many rows it changed.
func (s *statements) exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := s.get(ctx, query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
