package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// standsStill keeps a process from renewing its leases, as if it did not run.
func standsStill(t *testing.T, db *sql.DB, name string) {
	t.Helper()
	for _, statement := range []string{
		`CREATE FUNCTION stands_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF current_setting('application_name') = '` + name + `' AND NEW.holder = OLD.holder AND NEW.lease_until <> OLD.lease_until THEN RETURN NULL; END IF;
	RETURN NEW;
END $$`,
		"CREATE TRIGGER stands_still BEFORE UPDATE ON deadletter.lanes FOR EACH ROW EXECUTE FUNCTION stands_still()",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

// A handler that needs longer than a lease is left alone until it is done, and nobody else begins with its order.
func TestAHandlerMayTakeLongerThanALease(t *testing.T) {
	const lease = 4 * time.Second
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	var tries atomic.Int64
	slow := func(ctx context.Context, _ Letter, redriven bool, update func() error) error {
		if !redriven {
			return errors.New("boom")
		}
		tries.Add(1)
		began := time.Now()
		eventually(t, "its lease would have been over, twice", func() bool { return ctx.Err() != nil || time.Since(began) > 2*lease })
		return update()
	}
	var replicas []*replica
	for _, name := range []string{"first", "second"} {
		r := newReplica(t, pool(t, dsn, name), name, slow, Options{})
		r.parking.lease = lease
		replicas = append(replicas, r)
	}
	order := newOrder()
	l := letterFor(order, 0)
	replicas[0].must(t, New, l)
	for _, r := range replicas {
		r.start(t)
	}
	if got, want := drive(t, replicas[0].desk(), freeze(t, replicas[0].desk(), ""), Pace{}), (Tally{Letters: 1, Resolved: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := tries.Load(); n != 1 {
		t.Errorf("it was tried %d times, want once", n)
	}
	settled(t, db)
}

// A process that stood still for longer than its lease, and that another one has followed, has no effect any more.
func TestWhoStoodStillHasNoEffect(t *testing.T) {
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	goOn, refused := make(chan struct{}), make(chan error, 1)
	var once atomic.Bool
	zombie := newReplica(t, pool(t, dsn, "zombie"), "zombie", func(_ context.Context, _ Letter, redriven bool, update func() error) error {
		if !redriven || !once.CompareAndSwap(false, true) {
			return errors.New("boom")
		}
		<-goOn
		err := update()
		refused <- err
		return err
	}, Options{})
	zombie.parking.lease = 3 * time.Second
	order := newOrder()
	l := letterFor(order, 0)
	zombie.must(t, New, l)
	if asked, err := zombie.desk().Redrive(t.Context(), []string{l.ID}, "again"); err != nil || len(asked) != 1 {
		t.Fatalf("asked for %v, %v", asked, err)
	}
	standsStill(t, db, "zombie")
	zombie.start(t)
	eventually(t, "the zombie is at it", once.Load)
	zombie.redriver.stop() // it must not be its own successor here
	other := newReplica(t, pool(t, dsn, "other"), "other", ifNot(func(string) error { return errors.New("boom again") }), Options{}).start(t)
	eventually(t, "its successor is done", func() bool { return number(t, db, "SELECT count(*) FROM deadletter.letters WHERE status = 'new'") == 1 })
	close(goOn)
	if err := <-refused; err == nil {
		t.Error("the store took something of it")
	}
	if got := other.seen(t, order); len(got) != 0 {
		t.Errorf("seen %v, want nothing: its letter waits", got)
	}
}
