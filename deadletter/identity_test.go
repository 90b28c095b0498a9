package deadletter

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/event"
)

// A producer that repeats an id gets each of its messages kept: of two orders, and of two that cannot be read.
func TestMessagesWithOneIDAreKept(t *testing.T) {
	t.Parallel()
	db := database(t)
	mend, fails := broken()
	r := startReplica(t, db, fails)
	first, second := letterFor(newOrder(), 0), letterFor(newOrder(), 1)
	second.MessageID, second.ID, second.Offset = first.MessageID, first.ID, 1
	r.must(t, New, first, second)
	r.must(t, Known, first, second)
	third, fourth := letterFor("", 2), letterFor("", 3)
	fourth.MessageID, fourth.ID, fourth.Offset = third.MessageID, third.ID, 1
	for _, want := range []Status{New, Known} {
		for _, l := range []Letter{third, fourth} {
			l.Describe(errors.New("boom"))
			if status, err := r.parking.Put(t.Context(), l); err != nil || status != want {
				t.Errorf("%q, %v; want %q", status, err, want)
			}
		}
	}
	list, err := letters(t.Context(), db, "true")
	if err != nil || len(list) != 4 || slices.ContainsFunc(list, func(l *Letter) bool { return !l.HasOwnID() }) {
		t.Fatalf("%d letters, %v; want four, with ids of their own", len(list), err)
	}
	mend()
	var ids []string
	for _, l := range list {
		if l.OrderID != "" {
			ids = append(ids, l.ID)
		}
	}
	if asked, err := r.desk().Redrive(t.Context(), ids, "mended"); err != nil || len(asked) != 2 {
		t.Fatalf("asked for %v, %v", asked, err)
	}
	eventually(t, "both orders go on", func() bool { return number(t, db, markedRows) == 0 })
	for _, l := range []Letter{first, second} {
		if got := r.seen(t, event.OrderID(l.OrderID)); !slices.Equal(got, []string{string(l.Payload)}) {
			t.Errorf("seen %v, want %s", got, l.Payload)
		}
	}
}

// A flood is one of letters: what comes again, or cannot be written, is none, however often.
func TestWhatIsNoNewLetterIsNoFlood(t *testing.T) {
	t.Parallel()
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(never), Options{FloodLimit: 3})
	known := letterFor("", 0)
	known.Describe(errors.New("boom"))
	for range 10 {
		if status, err := r.parking.Put(t.Context(), known); err != nil {
			t.Fatalf("%q, %v", status, err)
		}
	}
	held := letterFor(newOrder(), 1)
	r.must(t, "", held)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() // nothing was written
	if _, err := tx.Exec("SELECT FROM seen.rows FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	again := letterFor(event.OrderID(held.OrderID), 2)
	again.Describe(errors.New("boom"))
	for range 4 {
		if status, err := r.parking.Put(t.Context(), again); !errors.Is(err, errHeld) {
			t.Fatalf("%q, %v; want that the row is held", status, err)
		}
	}
}

// A record's time is its producer's, who may count in other units.
func TestATimeThatIsNone(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(func(string) error { return errors.New("boom") }), Options{})
	for _, ms := range []int64{time.Now().UnixMicro(), time.Now().UnixNano(), -1, 1<<63 - 1, -1 << 63} {
		l := letterFor(newOrder(), 0)
		l.PublishedAt = time.UnixMilli(ms)
		r.must(t, New, l)
		found, err := r.desk().Find(t.Context(), l.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(found); err != nil {
			t.Errorf("%d: %v", ms, err)
		}
	}
}

// An attempt finds a dropped message done; before that is noted, the message is restored and asked for again. It is not lost.
func TestRestoredUnderAnAttempt(t *testing.T) {
	t.Parallel()
	db := database(t)
	m := messages(newOrder(), 2)
	var mended, once atomic.Bool
	entered, dropped, found, restored := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	r := newReplica(t, db, "replica", nil, Options{})
	r.parking.lease = time.Hour // nobody waits for the end of it
	r.react = reactTo(m[0].ID, &mended, func(update func() error) error {
		if !once.CompareAndSwap(false, true) {
			return update()
		}
		close(entered)
		<-dropped
		err := update()
		close(found)
		<-restored
		return err
	})
	r.start(t)
	r.must(t, New, m[0])
	r.must(t, Parked, m[1])
	mended.Store(true)
	desk := r.desk()
	if _, err := desk.Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := desk.Drop(t.Context(), m[0].ID, "dropped"); err != nil {
		t.Fatal(err)
	}
	close(dropped)
	<-found
	if err := desk.Restore(t.Context(), m[0].ID, "restored"); err != nil {
		t.Fatal(err)
	}
	if asked, err := desk.Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil || len(asked) != 1 {
		t.Fatalf("asked for %v, %v", asked, err)
	}
	close(restored)
	settled(t, db)
	if got := r.seen(t, event.OrderID(m[0].OrderID)); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("seen %v", got)
	}
}

// Two processes that put different messages of one id aside at the same moment lose none of them.
func TestMessagesOfOneIDAtOnce(t *testing.T) {
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	var replicas []*replica
	for _, name := range []string{"one", "two", "three"} {
		replicas = append(replicas, newReplica(t, pool(t, dsn, name), name, ifNot(never), Options{}))
	}
	const ids, orders = 20, 9
	for range ids {
		first := letterFor(newOrder(), 0)
		var putting sync.WaitGroup
		for n := range orders {
			l := letterFor(newOrder(), n)
			l.MessageID, l.ID, l.Offset = first.MessageID, first.ID, int64(n)
			if n%3 == 0 {
				l.OrderID = ""
			}
			l.Describe(errors.New("boom"))
			putting.Go(func() {
				for r := replicas[n%len(replicas)]; t.Context().Err() == nil; {
					if status, err := r.parking.Put(t.Context(), l); err == nil {
						if status != New {
							t.Errorf("it became %q", status)
						}
						return
					}
				}
			})
		}
		putting.Wait()
	}
	if n := number(t, db, openLetters); n != ids*orders {
		t.Errorf("%d letters, want %d", n, ids*orders)
	}
	if n := number(t, db, "SELECT count(*) FROM deadletter.lanes t WHERE NOT EXISTS (SELECT FROM deadletter.letters l WHERE l.service = t.service AND l.lane = t.lane)"); n != 0 {
		t.Errorf("%d lanes have no letter", n)
	}
}
