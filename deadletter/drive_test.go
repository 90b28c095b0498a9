package deadletter

import (
	"context"
	"errors"
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
