package deadletter

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/event"
	"millrace/outbox"
)

// A process that stood still for longer than its lease may go on with what it had in hand. What it says of a lane that
// another has taken over does not count: neither that it is done with a message nor that it failed.
func TestWhoStoodStillDoesNotSettle(t *testing.T) {
	t.Parallel()
	for what, verdict := range map[string]error{"done": nil, "failed": errors.New("boom")} {
		t.Run(what, func(t *testing.T) {
			dsn := migratedDSN(t)
			db := pool(t, dsn, "test")
			first, second := make(chan struct{}), make(chan struct{})
			frozen, goOn, stoodStill := make(chan struct{}), make(chan struct{}), atomic.Bool{}
			zombie := newReplica(t, pool(t, dsn, "zombie"), "zombie", func(_ context.Context, _ Letter, redriven bool, update func() error) error {
				if !redriven {
					return errors.New("boom")
				}
				if stoodStill.CompareAndSwap(false, true) {
					close(frozen)
					<-goOn
					return verdict
				}
				return update()
			}, Options{})
			zombie.parking.lease = 3 * time.Second
			order := newOrder()
			m := messages(order, 2)
			zombie.must(t, New, m[0])
			zombie.must(t, Parked, m[1])
			if asked, err := zombie.desk().Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil || len(asked) != 1 {
				t.Fatalf("asked for %v, %v", asked, err)
			}
			standsStill(t, db, "zombie")
			zombie.start(t)
			<-frozen
			zombie.redriver.stop() // it must not be its own successor here
			// Its successor is at the second message when the first process comes back.
			other := newReplica(t, pool(t, dsn, "other"), "other", func(_ context.Context, l Letter, _ bool, update func() error) error {
				if l.MessageID == m[1].MessageID {
					close(first)
					<-second
				}
				return update()
			}, Options{}).start(t)
			<-first
			if got := other.seen(t, order); len(got) != 1 {
				t.Errorf("seen %v", got)
			}
			close(goOn)
			eventually(t, "the zombie lets go", func() bool { return len(zombie.redriver.places) == 0 })
			if n := number(t, db, openLetters); n != 1 {
				t.Errorf("%d messages are put aside; want the second, which is in hand", n)
			}
			if n := number(t, db, "SELECT count(*) FROM deadletter.letters WHERE status = 'resolved'"); n != 1 {
				t.Errorf("%d letters are resolved, want the first", n)
			}
			close(second)
			settled(t, db)
			if got := other.seen(t, order); len(got) != 2 || got[0] != "0" || got[1] != "1" {
				t.Errorf("seen %v", got)
			}
		})
	}
}

// Several processes redrive side by side, and no two messages of one order are in hand at once.
func TestRedriversShareTheLanes(t *testing.T) {
	t.Parallel()
	const orders, perOrder = 60, 10
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	var broken atomic.Bool
	broken.Store(true)
	var inHand sync.Map // order -> *atomic.Int64
	var by [3]atomic.Int64
	var replicas []*replica
	for i := range by {
		r := newReplica(t, pool(t, dsn, "replica"), "replica", func(_ context.Context, l Letter, redriven bool, update func() error) error {
			if broken.Load() {
				return errors.New("boom")
			}
			n, _ := inHand.LoadOrStore(l.OrderID, new(atomic.Int64))
			if n.(*atomic.Int64).Add(1) > 1 {
				t.Errorf("two messages of order %s are in hand at once", l.OrderID)
			}
			defer n.(*atomic.Int64).Add(-1)
			if redriven {
				by[i].Add(1)
			}
			return update()
		}, Options{})
		replicas = append(replicas, r)
	}
	var ids []string
	ordered := make([]event.OrderID, orders)
	for i := range ordered {
		ordered[i] = newOrder()
		m := messages(ordered[i], perOrder)
		replicas[0].must(t, New, m[0])
		replicas[0].must(t, Parked, m[1:]...)
		ids = append(ids, m[0].ID)
	}
	broken.Store(false)
	for _, r := range replicas {
		r.start(t)
	}
	if asked, err := replicas[0].desk().Redrive(t.Context(), ids, "mended"); err != nil || len(asked) != orders {
		t.Fatalf("asked for %d, %v", len(asked), err)
	}
	settled(t, db)
	want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	for _, id := range ordered {
		if got := replicas[1].seen(t, id); !slices.Equal(got, want) {
			t.Errorf("order %s saw %v", id, got)
		}
	}
	t.Logf("the replicas redrove %d, %d and %d messages", by[0].Load(), by[1].Load(), by[2].Load())
}

// Somebody asks for a letter at the very moment at which its lane is left because nobody had asked: it is not forgotten.
func TestWhoeverAsksWhileALaneIsLeftIsHeard(t *testing.T) {
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	r := newReplica(t, pool(t, dsn, "replica"), "replica", ifNot(never), Options{})
	order := newOrder()
	first, second := letterFor(order, 0), letterFor(order, 1)
	for _, l := range []Letter{first, second} {
		l.Describe(errors.New("boom"))
		if _, err := r.parking.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	desk := NewDesk(db, nil, "tester")
	if _, err := desk.Redrive(t.Context(), []string{first.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	claims, _, err := r.redriver.claimed(t.Context(), 1)
	if err != nil || len(claims) != 1 {
		t.Fatalf("claimed %v, %v", claims, err)
	}
	heads, err := heads(t.Context(), db, "seen", outbox.UUIDArray{claims[0].lane})
	if err != nil {
		t.Fatal(err)
	}
	// The second has failed as well, and waits for somebody of its own. The replica has seen that when it comes to the gate.
	for _, statement := range []string{
		"UPDATE deadletter.letters SET status = 'new' WHERE status = 'parked'",
		`CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF current_setting('application_name') = 'replica' THEN PERFORM pg_advisory_xact_lock(1); END IF;
	RETURN NULL;
END $$`,
		"CREATE TRIGGER gate BEFORE UPDATE ON deadletter.lanes FOR EACH STATEMENT EXECUTE FUNCTION gate()",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	gate, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Rollback() // after the first time it does nothing
	if _, err := gate.Exec("SELECT pg_advisory_xact_lock(1)"); err != nil {
		t.Fatal(err)
	}
	waiting := func(n int) bool {
		return number(t, db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") >= n
	}
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := r.parking.settleHead(t.Context(), claims[0], heads[claims[0].lane], Outcome{Attempts: 1}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the lane is about to be left", func() bool { return waiting(1) })
	var asked atomic.Bool
	both.Go(func() {
		defer asked.Store(true)
		if list, err := desk.Redrive(t.Context(), []string{second.ID}, "again"); err != nil || len(list) != 1 {
			t.Errorf("asked for %v, %v", list, err)
		}
	})
	eventually(t, "somebody asks", func() bool { return asked.Load() || waiting(2) })
	if err := gate.Rollback(); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	if n := number(t, db, "SELECT count(*) FROM deadletter.lanes WHERE due_at IS NOT NULL"); n != 1 {
		t.Error("nobody is going to look at the lane, though somebody asked")
	}
	r.start(t)
	settled(t, db)
}

// A lane whose topic nobody here knows is left for another release, and what was asked for is not forgotten.
func TestAMessageOfATopicNobodyHearsWaits(t *testing.T) {
	t.Parallel()
	db := database(t)
	r := startReplica(t, db, func(string) error { return errors.New("boom") })
	l := letterFor(newOrder(), 0)
	l.Topic = "unheard"
	r.must(t, New, l)
	if _, err := r.desk().Redrive(t.Context(), []string{l.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is put off", func() bool {
		return number(t, db, "SELECT count(*) FROM deadletter.lanes WHERE due_at > now() + interval '10 seconds' AND holder IS NULL") == 1
	})
	if n := number(t, db, "SELECT count(*) FROM deadletter.letters WHERE status = 'redriving'"); n != 1 {
		t.Errorf("%d letters are redriving, want 1", n)
	}
}

// A process that stops in good order gives its lanes back at once: nobody waits for its leases.
func TestWhoStopsGivesItsLanesBack(t *testing.T) {
	t.Parallel()
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	begun, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var broken atomic.Bool
	broken.Store(true)
	r := newReplica(t, pool(t, dsn, "first"), "first", func(_ context.Context, _ Letter, _ bool, update func() error) error {
		if broken.Load() {
			return errors.New("boom")
		}
		once.Do(func() { close(begun); <-finish })
		return update()
	}, Options{})
	m := messages(newOrder(), 3)
	r.must(t, New, m[0])
	r.must(t, Parked, m[1:]...)
	broken.Store(false)
	r.start(t)
	if _, err := r.desk().Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil {
		t.Fatal(err)
	}
	<-begun
	closed := make(chan struct{})
	go func() { defer close(closed); _ = r.redriver.Close() }()
	<-r.redriver.stopped.Done()
	close(finish)
	<-closed
	if n := number(t, db, "SELECT count(*) FROM deadletter.lanes WHERE due_at <= now() AND holder IS NULL AND lease_until IS NULL"); n != 1 {
		t.Error("the lane is still leased, or not due")
	}
	if n := number(t, db, openLetters); n != 2 {
		t.Errorf("%d messages are put aside, want the two that had not begun", n)
	}
}
