package outbox

import (
	"context"
	"database/sql"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

// newTestLease is a lease short enough to watch it end.
func newTestLease(db *sql.DB, ttl time.Duration) *Lease {
	l := NewLease(db, "work", slog.New(slog.DiscardHandler))
	l.ttl = ttl
	return l
}

// worker counts how often it was begun, and knows whether it is at work.
type worker struct{ begun, atWork atomic.Int64 }

func (w *worker) work(ctx context.Context) {
	w.begun.Add(1)
	w.atWork.Add(1)
	<-ctx.Done()
	w.atWork.Add(-1)
}

func TestOneOfTwoWorksAndTheOtherTakesOverAtOnce(t *testing.T) {
	db := migrated(t)
	const long = time.Minute // nobody waits for it to end
	first, second := newTestLease(db, long), newTestLease(db, 300*time.Millisecond)
	var a, b worker
	stop := background(t, func(ctx context.Context) { first.Run(ctx, a.work) })
	eventually(t, func() bool { return a.atWork.Load() == 1 })
	background(t, func(ctx context.Context) { second.Run(ctx, b.work) })
	got, err := second.take(t.Context())
	need(t, err)
	if got || b.begun.Load() != 0 {
		t.Fatal("two hold the lease")
	}
	stop()
	if a.atWork.Load() != 0 {
		t.Error("work goes on after Run has returned")
	}
	eventually(t, func() bool { return b.atWork.Load() == 1 })
}

func TestACrashedHoldersLeaseEnds(t *testing.T) {
	db := migrated(t)
	crashed := newTestLease(db, 200*time.Millisecond)
	got, err := crashed.take(t.Context()) // and is never heard of again
	need(t, err)
	if !got {
		t.Fatal("a free lease could not be taken")
	}
	var w worker
	background(t, func(ctx context.Context) { newTestLease(db, 200*time.Millisecond).Run(ctx, w.work) })
	eventually(t, func() bool { return w.atWork.Load() == 1 })
}

func TestWorkEndsWhenTheLeaseIsTaken(t *testing.T) {
	db := migrated(t)
	var w worker
	background(t, func(ctx context.Context) { newTestLease(db, 200*time.Millisecond).Run(ctx, w.work) })
	eventually(t, func() bool { return w.atWork.Load() == 1 })
	_, err := db.Exec(`UPDATE millrace.leases SET holder = gen_random_uuid(), until = now() + interval '1 hour'`)
	need(t, err)
	eventually(t, func() bool { return w.atWork.Load() == 0 })
	_, err = db.Exec(`UPDATE millrace.leases SET until = now()`)
	need(t, err)
	eventually(t, func() bool { return w.atWork.Load() == 1 && w.begun.Load() >= 2 })
}

func TestWorkEndsWhenTheLeaseCannotBeRenewed(t *testing.T) {
	db := migrated(t)
	var w worker
	background(t, func(ctx context.Context) { newTestLease(db, 200*time.Millisecond).Run(ctx, w.work) })
	eventually(t, func() bool { return w.atWork.Load() == 1 })
	_, err := db.Exec(`ALTER TABLE millrace.leases RENAME TO away`)
	need(t, err)
	eventually(t, func() bool { return w.atWork.Load() == 0 })
	_, err = db.Exec(`ALTER TABLE millrace.away RENAME TO leases`)
	need(t, err)
	eventually(t, func() bool { return w.atWork.Load() == 1 })
}
