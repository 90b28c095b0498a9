package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/event"
	"millrace/outbox"
)

// A row that the database does not let anybody mark, for whatever reason, holds up its own order alone.
func TestAMarkThatIsRefusedIsOneOrdersTrouble(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(func(string) error { return errors.New("boom") }), Options{})
	refused := newOrder()
	if _, err := db.Exec(fmt.Sprintf("ALTER TABLE seen.rows ADD CONSTRAINT broken CHECK (order_id <> '%s' OR parked_at IS NULL)", refused)); err != nil {
		t.Fatal(err)
	}
	const others = 50
	var deliveries sync.WaitGroup
	for i := range others {
		deliveries.Go(func() {
			order := newOrder()
			if i == others/2 {
				order = refused
			}
			status, err := r.deliver(t.Context(), letterFor(order, i))
			if (order == refused) != (err != nil) || err == nil && status != New {
				t.Errorf("order %d became %q, %v", i, status, err)
			}
			if order == refused && !strings.Contains(err.Error(), "broken") {
				t.Errorf("%v does not say what is the matter", err)
			}
		})
	}
	deliveries.Wait()
	if n := number(t, db, openLetters); n != others-1 {
		t.Errorf("%d letters, want those of the %d other orders", n, others-1)
	}
}

// An order's row that somebody holds for long holds up its own messages alone, when they are put aside and when what
// became of them is noted.
func TestAHeldRowIsOneOrdersTrouble(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	r := newReplica(t, pool(t, dsn, "replica"), "replica", ifNot(fails), Options{})
	r.parking.lease = testLease
	held, free := newOrder(), newOrder()
	h, f := messages(held, 2), messages(free, 1)
	r.must(t, New, h[0], f[0])
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() // after the commit it does nothing
	if _, err := tx.Exec("SELECT FROM seen.rows WHERE order_id = $1 FOR UPDATE", string(held)); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		l := h[1]
		l.Describe(errors.New("boom"))
		if _, err := r.parking.Put(t.Context(), l); !errors.Is(err, errHeld) {
			t.Errorf("%v, want that the row is held", err)
		}
	})
	both.Go(func() {
		for i := range 20 {
			r.must(t, New, letterFor(newOrder(), i))
		}
	})
	both.Wait()
	mend()
	r.start(t)
	if _, err := r.desk().Redrive(t.Context(), []string{h[0].ID, f[0].ID}, "mended"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other order goes on", func() bool {
		return number(t, db, "SELECT count(*) FROM deadletter.letters WHERE id = $1 AND status = 'resolved'", f[0].ID) == 1
	})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the held order goes on", func() bool {
		return number(t, db, "SELECT count(*) FROM deadletter.letters WHERE id = $1 AND status = 'resolved'", h[0].ID) == 1
	})
	if got := r.seen(t, held); !slices.Equal(got, []string{"0"}) {
		t.Errorf("seen %v", got)
	}
}

// What became of a message is noted although the connection breaks in the middle: the lane does not wait for its lease.
func TestAnOutcomeIsNotedAfterTrouble(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	r := newReplica(t, pool(t, dsn, "replica"), "replica", ifNot(fails), Options{})
	const orders = 20
	var ids []string
	var order event.OrderID
	for i := range orders {
		order = newOrder()
		l := letterFor(order, i)
		r.must(t, New, l)
		ids = append(ids, l.ID)
	}
	mend()
	// The settlements of these orders fail for a while, as if their server were away.
	if _, err := db.Exec(`CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P03'; END $$;
CREATE TRIGGER away BEFORE UPDATE OF closed_at ON deadletter.letters FOR EACH ROW EXECUTE FUNCTION away()`); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	if _, err := r.desk().Redrive(t.Context(), ids, "mended"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every message has its effect", func() bool {
		return number(t, db, "SELECT count(*) FROM seen.rows WHERE version > 0") == orders
	})
	claims := idsOf(t, db, "SELECT holder FROM deadletter.lanes")
	if _, err := db.Exec("DROP TRIGGER away ON deadletter.letters"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
	if len(claims) != orders {
		t.Errorf("%d claims for %d lanes", len(claims), orders)
	}
	if n := number(t, db, "SELECT count(*) FROM deadletter.steps WHERE action = 'resolved' AND detail ->> 'changed' = 'true'"); n != orders {
		t.Errorf("%d of %d letters were resolved by the try that had the effect", n, orders)
	}
}

// The log is read again: what was put aside is known, and nothing is written of it a second time.
func TestWhatComesAgainIsKnown(t *testing.T) {
	_, fails := broken()
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(fails), Options{})
	order := newOrder()
	failed, behind, orderless := letterFor(order, 0), letterFor(order, 1), letterFor("", 2)
	r.must(t, New, failed, orderless)
	r.must(t, Parked, behind)
	r.must(t, Known, failed, behind, orderless)
	if status, err := r.parking.Behind(t.Context(), failed); err != nil || status != Known {
		t.Errorf("%q, %v", status, err)
	}
	if letters, copies := number(t, db, openLetters), number(t, db, "SELECT count(*) FROM millrace.outbox"); letters != 3 || copies != 2 {
		t.Errorf("%d messages are put aside, with %d copies; want 3 and 2", letters, copies)
	}
}

// Two processes put the same message without an order aside at once: no row guards it.
func TestOneLetterOfTwoProcesses(t *testing.T) {
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	a, b := newReplica(t, pool(t, dsn, "a"), "a", nil, Options{}), newReplica(t, pool(t, dsn, "b"), "b", nil, Options{})
	const letters = 100
	for i := range letters {
		l := letterFor("", i)
		l.Describe(errors.New("boom"))
		var both sync.WaitGroup
		for _, r := range []*replica{a, b} {
			both.Go(func() {
				if _, err := r.parking.Put(t.Context(), l); err != nil && !outbox.IsTransient(err) {
					t.Error(err)
				}
			})
		}
		both.Wait()
	}
	if n, lanes := number(t, db, openLetters), number(t, db, openLanes); n != letters || lanes != letters {
		t.Errorf("%d letters and %d lanes, want %d", n, lanes, letters)
	}
}
