package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/deadletter/filter"
)

func freeze(t *testing.T, d *Desk, text string) Redrive {
	t.Helper()
	c, err := filter.Parse(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Freeze(t.Context(), c, text, "mended")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func drive(t *testing.T, d *Desk, r Redrive, pace Pace) Tally {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tally, err := d.Drive(ctx, r, pace, func(Tally) {})
	if err != nil {
		t.Fatalf("%+v: %v", tally, err)
	}
	return tally
}

// A redrive of what was done already changes nothing, and says so; the rest is processed.
func TestARedriveSaysWhatItChanged(t *testing.T) {
	var tookEffect sync.Map
	db := database(t)
	r := newReplica(t, db, "replica", func(_ context.Context, l Letter, redriven bool, update func() error) error {
		if _, first := tookEffect.Load(l.MessageID); redriven || first {
			if err := update(); redriven || err != nil {
				return err
			}
		}
		return errors.New("boom")
	}, Options{}).start(t)
	const letters, effects = 20, 7
	for i := range letters {
		l := letterFor(newOrder(), i)
		if i < effects {
			tookEffect.Store(l.MessageID, true)
		}
		r.must(t, New, l)
	}
	frozen := freeze(t, r.desk(), "service:seen")
	r.must(t, New, letterFor(newOrder(), letters)) // it fails later: it does not join
	got := drive(t, r.desk(), frozen, Pace{})
	if want := (Tally{Letters: letters, Resolved: letters, Unchanged: effects}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := number(t, db, "SELECT count(*) FROM deadletter.steps WHERE action = 'resolved' AND detail ->> 'changed' = 'false' AND reason = 'nothing changed'"); n != effects {
		t.Errorf("%d steps say that nothing changed, want %d", n, effects)
	}
	if n := number(t, db, "SELECT count(*) FROM deadletter.letters WHERE status = 'new'"); n != 1 {
		t.Errorf("%d letters wait, want the one that failed later", n)
	}
}

// A letter that waits behind another one nobody asked for has an outcome too: the redrive does not wait for it.
func TestARedriveDoesNotWaitForWhatIsHeld(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	order := newOrder()
	first, second := letterFor(order, 0), letterFor(order, 1)
	r.must(t, New, first)
	r.must(t, Parked, second)
	if err := r.desk().Drop(t.Context(), first.ID, "dropped"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second fails", func() bool {
		return number(t, db, "SELECT count(*) FROM deadletter.letters WHERE status = 'new'") == 1
	})
	if err := r.desk().Restore(t.Context(), first.ID, "restored"); err != nil {
		t.Fatal(err)
	}
	mend()
	frozen := freeze(t, r.desk(), "id:"+second.ID)
	if got, want := drive(t, r.desk(), frozen, Pace{}), (Tally{Letters: 1, Held: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := r.desk().Redrive(t.Context(), []string{first.ID}, "that one too"); err != nil {
		t.Fatal(err)
	}
	settled(t, db) // the held one needs nobody to ask again
	if got := r.seen(t, order); len(got) != 2 || got[0] != "0" {
		t.Errorf("seen %v", got)
	}
	if again, err := r.desk().FindRedrive(t.Context(), frozen.ID); err != nil || again.Tally.Resolved != 1 || again.Tally.Held != 0 {
		t.Errorf("%+v, %v; want that it got through in the end", again.Tally, err)
	}
}

// The first failure ends a redrive, after one letter; taken up again it goes on with the others.
func TestARedriveStopsAtTheFirstFailure(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	const letters = 30
	for i := range letters {
		r.must(t, New, letterFor(newOrder(), i))
	}
	frozen := freeze(t, r.desk(), "")
	if got, want := drive(t, r.desk(), frozen, Pace{}), (Tally{Letters: letters, Waiting: letters - 1, Failed: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	mend()
	if got, want := drive(t, r.desk(), frozen, Pace{Rate: 1000}), (Tally{Letters: letters, Failed: 1, Resolved: letters - 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// rescans has the planner run what stands in a subselect once for each row, as it may do by itself where tables are small.
const rescans = `SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_material = off;
SET LOCAL enable_hashagg = off; SET LOCAL enable_sort = off`

// However the planner joins, so many letters are taken and not one more: the first goes alone, and a rate is kept.
func TestNoMoreLettersAreTakenThanAskedFor(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(func(string) error { return errors.New("boom") }), Options{})
	const letters, wanted = 30, 2
	for i := range letters {
		r.must(t, New, letterFor(newOrder(), i))
	}
	frozen := freeze(t, r.desk(), "")
	for _, setting := range []string{"", rescans} {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(setting); err != nil {
			t.Fatal(err)
		}
		if taken, err := column(t.Context(), tx, nextLetters, frozen.ID, wanted); err != nil || len(taken) != wanted {
			t.Errorf("with %q %d letters are taken, want %d; %v", setting, len(taken), wanted, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// Several letters of one order, all asked for: the first that fails again holds the others.
func TestWhatFailsAgainHoldsTheRestOfItsOrder(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(func(string) error { return errors.New("boom") }), Options{})
	order := newOrder()
	m := messages(order, 3)
	r.must(t, New, m[0])
	r.must(t, Parked, m[1], m[2])
	if _, err := db.Exec("UPDATE deadletter.letters SET status = 'new'"); err != nil { // they have failed before
		t.Fatal(err)
	}
	r.start(t)
	got := drive(t, r.desk(), freeze(t, r.desk(), ""), Pace{MaxFailures: 5})
	if want := (Tally{Letters: 3, Failed: 1, Held: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// One letter goes first; then more, but never more at once than got through before, and never more than mostAsked.
func TestARedriveGoesOnAsLettersGetThrough(t *testing.T) {
	db := database(t)
	r := startReplica(t, db, never)
	const letters = 3 * mostAsked / 2
	seedLetters(t, db, letters)
	var before Tally
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := r.desk().Drive(ctx, freeze(t, r.desk(), ""), Pace{}, func(now Tally) {
		if asked := letters - now.Waiting; asked > 1 && now.Resolved == 0 || now.Asked > mostAsked || now.Asked > 2*now.Resolved+1 {
			t.Errorf("%+v after %+v", now, before)
		}
		before = now
	})
	if want := (Tally{Letters: letters, Resolved: letters}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	settled(t, db)
}

// seedLetters writes that many letters of as many orders.
func seedLetters(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO seen.rows (order_id, state, parked_at) SELECT gen_random_uuid(), '{}', now() FROM generate_series(1, $1)`,
		`INSERT INTO deadletter.letters (id, service, consumer_group, handler, lane, order_id, message_id, topic, partition, kafka_offset, key, headers, payload, attempts, error_type, error, fingerprint,
	first_failed_at, last_failed_at, version)
SELECT gen_random_uuid(), 'seen', 'seen-service', 'seen/t', order_id, order_id, gen_random_uuid(), 't', 0, $1, convert_to(order_id::text, 'UTF8'), '{}', '0', 1, '', 'boom', 'f', now(), now(), 'b' FROM seen.rows`,
		`INSERT INTO deadletter.lanes (service, lane, order_id) SELECT service, lane, lane FROM deadletter.letters WHERE $1 > 0`,
	} {
		if _, err := db.Exec(statement, n); err != nil {
			t.Fatal(err)
		}
	}
}

// What another redrive, or a drop, has settled since is neither left of the first one nor failed in it.
func TestARedriveKnowsWhatOthersSettled(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	const letters = 10
	var last Letter
	for i := range letters {
		last = letterFor(newOrder(), i)
		r.must(t, New, last)
	}
	first := freeze(t, r.desk(), "")
	if got, want := drive(t, r.desk(), first, Pace{}), (Tally{Letters: letters, Waiting: letters - 1, Failed: 1}); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	mend()
	if err := r.desk().Drop(t.Context(), last.ID, "a test order"); err != nil {
		t.Fatal(err)
	}
	drive(t, r.desk(), freeze(t, r.desk(), "status:new"), Pace{})
	want := Tally{Letters: letters, Gone: letters}
	if found, err := r.desk().FindRedrive(t.Context(), first.ID); err != nil || found.Tally != want {
		t.Errorf("%+v, %v; want %+v", found.Tally, err, want)
	}
	if got := drive(t, r.desk(), first, Pace{}); got != want {
		t.Errorf("taken up again: %+v, want %+v", got, want)
	}
}

// A selection that nobody agreed to is in no list, and can be forgotten; one that has begun cannot.
func TestOnlyWhatHasBegunIsARedrive(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(func(string) error { return errors.New("boom") }), Options{})
	r.must(t, New, letterFor(newOrder(), 0))
	d := r.desk()
	listed := func(want ...string) {
		t.Helper()
		list, err := d.Redrives(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %v, want %v", got, want)
		}
	}
	nothing, left, begun := freeze(t, d, "service:other"), freeze(t, d, ""), freeze(t, d, "")
	listed()
	if err := d.Begin(t.Context(), begun.ID); err != nil {
		t.Fatal(err)
	}
	listed(begun.ID)
	for _, r := range []Redrive{left, begun} {
		if err := d.Discard(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
	listed(begun.ID)
	for _, r := range []Redrive{nothing, left} {
		if found, err := d.FindRedrive(t.Context(), r.ID); err != nil || found.Tally.Letters != 0 {
			t.Errorf("%+v, %v; want that it is forgotten", found, err)
		}
	}
}
