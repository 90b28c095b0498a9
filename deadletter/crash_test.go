package deadletter

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"millrace/deadletter/deadlettertest"
)

// crash is one way a process, or its connections, end at some point.
type crash struct {
	what string
	// dies: the process ends before its k-th statement. Otherwise the answer to that one gets lost, with its connection.
	dies bool
}

// At whatever statement a process dies, or loses an answer, between the failure of a message and the end of its redrive: its
// successor, or itself, finishes the work. Nothing is lost, nothing takes effect twice, and nothing overtakes.
func TestACrashAtAnyPoint(t *testing.T) {
	t.Parallel()
	for _, c := range []crash{{"the process dies", true}, {"an answer gets lost", false}} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			var points atomic.Int64
			t.Cleanup(func() { // when all parts are over
				t.Logf("%d points", points.Load())
				if points.Load() < 30 {
					t.Errorf("%d points are fewer than there are statements", points.Load())
				}
			})
			const parts = 4 // each on a database of its own, and mostly waiting
			for part := range parts {
				t.Run(fmt.Sprintf("part %d", part+1), func(t *testing.T) {
					t.Parallel()
					dsn := migratedDSN(t)
					for k := 1 + part; c.at(t, dsn, k); k += parts {
						points.Add(1)
					}
				})
			}
		})
	}
}

// at plays one order's trouble with a crash at the k-th statement, and tells whether there was one.
func (c crash) at(t *testing.T, dsn string, k int) (hit bool) {
	t.Helper()
	db := pool(t, dsn, "test")
	defer db.Close()
	var mended atomic.Bool
	fails := func(string) error {
		if mended.Load() {
			return nil
		}
		return errors.New("boom")
	}
	faulty := &faultyConnector{Connector: connector(t, dsn, "first"), dies: c.dies}
	first := newReplica(t, sql.OpenDB(faulty), "first", ifNot(fails), Options{})
	faulty.end = first.Stop
	faulty.left.Store(int64(k))
	defer first.db.Close()
	first.parking.lease = time.Hour // who is alive leaves no lane to the end of its lease
	if c.dies {
		first.parking.lease = 500 * time.Millisecond // its successor waits for the end of it
	}
	alive, redrives := first, false
	// If the process is dead, its successor goes on with what it did.
	current := func() *replica {
		if alive == first && faulty.dead.Load() {
			alive.kill(t, db)
			alive = newReplica(t, pool(t, dsn, "second"), "second", ifNot(fails), Options{})
			if redrives {
				alive.start(t)
			}
		}
		return alive
	}
	deliver := func(l Letter, want ...Status) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; {
			status, err := current().deliver(t.Context(), l)
			if err == nil {
				if !slices.Contains(want, status) {
					t.Fatalf("point %d: message %s became %q, want one of %q", k, l.Payload, status, want)
				}
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("point %d: %v", k, err)
			}
		}
	}
	order := newOrder()
	m := messages(order, 3)
	deliver(m[0], New, Known)
	deliver(m[1], Parked, Known)
	mended.Store(true)
	if alive != first {
		alive.start(t)
	}
	redrives = true
	if asked, err := NewDesk(db, nil, "tester").Redrive(t.Context(), []string{m[0].ID}, "mended"); err != nil || len(asked) != 1 {
		t.Fatalf("point %d: asked for %v, %v", k, asked, err)
	}
	if r := current(); r == first {
		r.start(t)
	}
	eventually(t, "the lane comes to its end", func() bool {
		current()
		return number(t, db, openLanes) == 0
	})
	deliver(m[2], "")
	settled(t, db)
	reader := deadlettertest.NewStore(t, db)
	row, _, err := reader.Load(t.Context(), order)
	if got := row.Seen; err != nil || !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("point %d: seen %v, %v", k, got, err)
	}
	resolved := number(t, db, "SELECT count(*) FROM deadletter.letters WHERE id = $1 AND status = 'resolved'", m[0].ID)
	copies := number(t, db, "SELECT count(*) FROM millrace.outbox WHERE key = convert_to($1::text, 'UTF8')", string(order))
	steps := number(t, db, "SELECT count(*) FROM deadletter.steps WHERE letter_id = $1", m[0].ID)
	if resolved != 1 || copies != 1 || steps != 2 {
		t.Errorf("point %d: %d letters resolved, %d copies, %d steps; want 1, 1 and 2", k, resolved, copies, steps)
	}
	alive.kill(t, db)
	return faulty.hit.Load()
}
