package deadletter

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// watching has a replica's Parking look, as serve does.
func watching(t *testing.T, r *replica) *replica {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r.Go(func() { _ = r.parking.Run(ctx) })
	t.Cleanup(stop)
	return r
}

// A flood of failures of one kind pauses the service at every replica, until somebody resumes it.
func TestAFloodPausesTheServiceEverywhere(t *testing.T) {
	t.Parallel()
	const limit = 5
	mend, fails := broken()
	dsn := migratedDSN(t)
	db := pool(t, dsn, "test")
	one := watching(t, newReplica(t, pool(t, dsn, "one"), "one", ifNot(fails), Options{FloodLimit: limit}).start(t))
	other := watching(t, newReplica(t, pool(t, dsn, "other"), "other", ifNot(fails), Options{FloodLimit: limit}).start(t))
	for i := range limit {
		one.must(t, New, letterFor(newOrder(), i))
	}
	waiting := letterFor(newOrder(), limit)
	if _, err := one.deliver(t.Context(), waiting); !errors.Is(err, ErrPaused) {
		t.Fatalf("%v, want ErrPaused", err)
	}
	eventually(t, "both are paused", func() bool {
		_, first := one.parking.Paused()
		_, second := other.parking.Paused()
		return first && second
	})
	goesOn := make(chan error, 1)
	go func() { goesOn <- other.parking.Await(t.Context()) }()
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := other.parking.Await(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that whoever leaves is not held", err)
	}
	if pauses := number(t, db, "SELECT count(*) FROM deadletter.pauses"); pauses != 1 {
		t.Errorf("%d pauses, want 1", pauses)
	}
	mend()
	// What was put aside can be redriven meanwhile.
	if got := drive(t, one.desk(), freeze(t, one.desk(), ""), Pace{}); got.Resolved != limit {
		t.Errorf("%+v", got)
	}
	if list, err := one.desk().Resume(t.Context(), "seen", "mended"); err != nil || len(list) != 1 || list[0].Error != "boom" {
		t.Errorf("resumed %+v, %v", list, err)
	}
	// What was under way at the first replica does not pause the service again before it knows.
	straggler := letterFor(newOrder(), limit+1)
	straggler.Describe(errors.New("boom"))
	if _, err := one.parking.Put(t.Context(), straggler); err != nil && !errors.Is(err, ErrPaused) {
		t.Error(err)
	}
	if err := <-goesOn; err != nil {
		t.Error(err)
	}
	if err := one.parking.Await(t.Context()); err != nil {
		t.Error(err)
	}
	one.must(t, "", waiting)
	if n := number(t, db, "SELECT count(*) FROM deadletter.pauses WHERE resumed_at IS NULL"); n != 0 {
		t.Errorf("%d services are paused", n)
	}
	if list, err := one.desk().Resume(t.Context(), "seen", "again"); err != nil || len(list) != 0 {
		t.Errorf("resumed %+v, %v; want nothing", list, err)
	}
}

// Where as much is put aside as may be, the service is paused, for failures and for what waits behind them.
func TestTooMuchPutAsidePausesTheService(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"a failure", "a message that waits"} {
		t.Run(what, func(t *testing.T) {
			mend, fails := broken()
			db := database(t)
			r := newReplica(t, db, "replica", ifNot(fails), Options{})
			r.parking.most = 3
			watching(t, r.start(t))
			order := newOrder()
			m := messages(order, 3)
			r.must(t, New, m[0])
			r.must(t, Parked, m[1], m[2])
			eventually(t, "they are counted", func() bool { d := r.parking.Depth(); return d.Letters == 1 && d.Parked == 2 })
			next := letterFor(order, 3)
			if what == "a failure" {
				next = letterFor(newOrder(), 3)
			}
			if _, err := r.deliver(t.Context(), next); !errors.Is(err, ErrPaused) {
				t.Errorf("%v, want ErrPaused", err)
			}
			mend()
			if _, err := r.desk().Redrive(t.Context(), []string{m[0].ID}, "mended"); err != nil {
				t.Fatal(err)
			}
			settled(t, db)
			eventually(t, "that is counted", func() bool { return r.parking.Depth() == Depth{} })
			if _, err := r.desk().Resume(t.Context(), "seen", "there is room"); err != nil {
				t.Fatal(err)
			}
			if err := r.parking.Await(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.must(t, "", next)
		})
	}
}

// A count that takes long is not repeated at once.
func TestCountingIsRareWhereItIsDear(t *testing.T) {
	r := newReplica(t, database(t), "replica", ifNot(never), Options{})
	if err := r.parking.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.parking.watch.count = time.Now().Add(time.Hour) // as after one that took more than a minute
	l := letterFor(newOrder(), 0)
	l.Describe(errors.New("boom"))
	if _, err := r.parking.Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := r.parking.look(t.Context()); err != nil || r.parking.Depth().Letters != 0 {
		t.Errorf("counted again: %+v, %v", r.parking.Depth(), err)
	}
	r.parking.watch.count = time.Time{}
	if err := r.parking.look(t.Context()); err != nil || r.parking.Depth().Letters != 1 {
		t.Errorf("not counted: %+v, %v", r.parking.Depth(), err)
	}
}

// What was settled long ago is removed, with all that belongs to it; what is open is kept, however old.
func TestWhatWasSettledLongAgoIsRemoved(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	const settledLetters = 3
	var ids []string
	for i := range settledLetters + 1 {
		l := letterFor(newOrder(), i)
		r.must(t, New, l)
		ids = append(ids, l.ID)
	}
	mend()
	frozen := freeze(t, r.desk(), "not id:"+ids[settledLetters])
	drive(t, r.desk(), frozen, Pace{})
	for _, age := range []string{
		"INSERT INTO deadletter.pauses (service, fingerprint, error, letters, resumed_at) VALUES ('seen', '', '', 1, now())",
		"INSERT INTO deadletter.pauses (service, fingerprint, error, letters) VALUES ('seen', '', '', 1)",
	} {
		if _, err := db.Exec(age); err != nil {
			t.Fatal(err)
		}
	}
	count := func() [5]int {
		var n [5]int
		for i, table := range []string{"letters", "steps", "redrives", "redrive_letters", "pauses"} {
			n[i] = number(t, db, "SELECT count(*) FROM deadletter."+table)
		}
		return n
	}
	tidy := func() {
		t.Helper()
		if more, err := r.parking.tidy(t.Context()); err != nil || more {
			t.Errorf("more %v, %v", more, err)
		}
	}
	tidy()
	if got, want := count(), [5]int{settledLetters + 1, 2 * settledLetters, 1, settledLetters, 2}; got != want {
		t.Errorf("%v, want %v: nothing is old yet", got, want)
	}
	for _, age := range []string{
		"UPDATE deadletter.letters SET closed_at = closed_at - interval '31 days', first_failed_at = first_failed_at - interval '1 year'",
		"UPDATE deadletter.redrives SET created_at = created_at - interval '31 days'",
		"UPDATE deadletter.pauses SET resumed_at = resumed_at - interval '31 days', since = since - interval '1 year'",
	} {
		if _, err := db.Exec(age); err != nil {
			t.Fatal(err)
		}
	}
	tidy()
	if got, want := count(), [5]int{1, 0, 0, 0, 1}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// When a letter has been kept for long enough, it is still known that somebody decided about its order; what the system did by itself,
// or was only asked to do, is nobody's decision.
func TestThatSomebodyDecidedIsKept(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	redriven, dropped, edited := letterFor(newOrder(), 0), letterFor(newOrder(), 1), letterFor(newOrder(), 2)
	for _, l := range []Letter{redriven, dropped, edited} {
		r.must(t, New, l)
	}
	if err := r.desk().Drop(t.Context(), dropped.ID, "nobody needs it"); err != nil {
		t.Fatal(err)
	}
	if err := r.desk().Edit(t.Context(), edited.ID, []byte("7"), "a typing error", func(*Letter) error { return nil }); err != nil {
		t.Fatal(err)
	}
	mend()
	if _, err := r.desk().Redrive(t.Context(), []string{redriven.ID, edited.ID}, "mended"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
	if _, err := db.Exec("UPDATE deadletter.letters SET closed_at = closed_at - interval '31 days'"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.parking.tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := number(t, db, "SELECT count(*) FROM deadletter.letters"); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	rows, err := db.Query("SELECT service || ' ' || order_id FROM deadletter.decided")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		got = append(got, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{"seen " + dropped.OrderID, "seen " + edited.OrderID}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("decided about %q, want %q", got, want)
	}
}

// However the planner joins, no more is removed at a time than a batch.
func TestNoMoreIsRemovedThanABatch(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(func(string) error { return errors.New("boom") }), Options{})
	const old, batch = 10, 2
	for i := range old {
		r.must(t, New, letterFor(newOrder(), i))
		freeze(t, r.desk(), "")
	}
	for _, age := range []string{
		"UPDATE deadletter.letters SET closed_at = now() - interval '31 days'",
		"UPDATE deadletter.redrives SET created_at = now() - interval '31 days'",
		"INSERT INTO deadletter.pauses (service, fingerprint, error, letters, resumed_at) SELECT 'seen', '', '', 1, now() - interval '31 days' FROM deadletter.redrives",
	} {
		if _, err := db.Exec(age); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(rescans); err != nil {
		t.Fatal(err)
	}
	for _, removal := range removals {
		result, err := tx.Exec(removal.query, int64(retention.Seconds()), batch)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); err != nil || n != batch {
			t.Errorf("%d rows are removed, want %d; %v; by %s", n, batch, err, removal.query)
		}
	}
}
