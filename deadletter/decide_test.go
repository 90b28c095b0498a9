package deadletter

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// broken is a service that fails until somebody mends it.
func broken() (mend func(), fails func(string) error) {
	var mended atomic.Bool
	return func() { mended.Store(true) }, func(string) error {
		if mended.Load() {
			return nil
		}
		return errors.New("boom")
	}
}

// What is dropped has no effect, what waits behind it goes on; what is restored has its effect after all, once.
func TestDroppedAndRestored(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	desk, order := r.desk(), newOrder()
	m := messages(order, 3)
	r.must(t, New, m[0])
	r.must(t, Parked, m[1], m[2])
	mend()
	if err := desk.Drop(t.Context(), m[0].ID, "nobody needs it"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
	if got := r.seen(t, order); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("seen %v", got)
	}
	r.must(t, "", m...) // the log is read again
	var status *StatusError
	if err := desk.Drop(t.Context(), m[0].ID, "again"); !errors.As(err, &status) || status.Status != Dropped {
		t.Errorf("dropped twice: %v", err)
	}
	// Its process has the row in memory, with the dropped message among those that were processed.
	if err := desk.Restore(t.Context(), m[0].ID, "it was needed"); err != nil {
		t.Fatal(err)
	}
	later := letterFor(order, 3)
	r.must(t, Parked, later)
	if asked, err := desk.Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil || len(asked) != 1 {
		t.Fatalf("asked for %v, %v", asked, err)
	}
	settled(t, db)
	if got := r.seen(t, order); !slices.Equal(got, []string{"1", "2", "0", "3"}) {
		t.Errorf("seen %v", got)
	}
	steps, err := desk.Steps(t.Context(), m[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, s := range steps {
		actions = append(actions, s.Who+" "+s.Action+" "+s.Reason)
	}
	if want := []string{"tester dropped nobody needs it", "tester restored it was needed", "tester redriven again", "router resolved "}; !slices.Equal(actions, want) {
		t.Errorf("steps %q, want %q", actions, want)
	}
}

// What is restored behind a message that is tried again by itself does not keep it from that.
func TestRestoredBehindWhatIsTriedAgain(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(fails), Options{})
	order := newOrder()
	first, second := letterFor(order, 0), letterFor(order, 1)
	first.Describe(errors.New("boom"))
	first.Status, first.RetryAt = Retrying, time.Now().Add(time.Second)
	if status, err := r.parking.Put(t.Context(), first); err != nil || status != Retrying {
		t.Fatalf("%q, %v", status, err)
	}
	r.must(t, Parked, second)
	mend()
	if err := r.desk().Drop(t.Context(), second.ID, "dropped"); err != nil {
		t.Fatal(err)
	}
	if err := r.desk().Restore(t.Context(), second.ID, "restored"); err != nil {
		t.Fatal(err)
	}
	if copies := number(t, db, "SELECT count(*) FROM millrace.outbox"); copies != 1 {
		t.Errorf("%d copies, want that of the restored one, which is a letter now", copies)
	}
	r.start(t)
	eventually(t, "the first is tried by itself", func() bool { return len(r.seen(t, order)) == 1 })
	found, err := r.desk().Find(t.Context(), second.ID)
	if err != nil || found.Status != New || found.Error == "" {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := r.desk().Redrive(t.Context(), []string{second.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
	if got := r.seen(t, order); !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("seen %v", got)
	}
}

// A message that is tried again by itself, and was edited meanwhile, has a copy in Kafka and a story: both stay when it gets through.
func TestEditedWhileItIsTriedAgain(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(never), Options{})
	l := letterFor(newOrder(), 0)
	l.Describe(errors.New("boom"))
	l.Status, l.RetryAt = Retrying, time.Now().Add(time.Second)
	if status, err := r.parking.Put(t.Context(), l); err != nil || status != Retrying {
		t.Fatalf("%q, %v", status, err)
	}
	if err := r.desk().Edit(t.Context(), l.ID, []byte("7"), "a typing error", func(*Letter) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	settled(t, db)
	found, err := r.desk().Find(t.Context(), l.ID)
	if err != nil || found.Status != Resolved {
		t.Fatalf("%+v, %v; want it resolved, and kept", found, err)
	}
	steps, err := r.desk().Steps(t.Context(), l.ID)
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, s := range steps {
		actions = append(actions, s.Who+" "+s.Action)
	}
	if want := []string{"tester edited", "router resolved"}; !slices.Equal(actions, want) {
		t.Errorf("steps %q, want %q", actions, want)
	}
}

// A restored message is processed although a process remembers the row as it was when the message counted as done.
func TestRestoredBehindTheBackOfAProcess(t *testing.T) {
	mend, fails := broken()
	dsn := migratedDSN(t)
	r := newReplica(t, pool(t, dsn, "router"), "router", ifNot(fails), Options{}).start(t)
	tool := newReplica(t, pool(t, dsn, "tool"), "tool", ifNot(never), Options{}) // another process, as dlq is
	order := newOrder()
	l := letterFor(order, 0)
	r.must(t, New, l)
	if err := tool.desk().Drop(t.Context(), l.ID, "dropped"); err != nil {
		t.Fatal(err)
	}
	mend()
	r.must(t, "", letterFor(order, 1)) // the router reads the row, and keeps it
	if err := tool.desk().Restore(t.Context(), l.ID, "restored"); err != nil {
		t.Fatal(err)
	}
	if _, err := tool.desk().Redrive(t.Context(), []string{l.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	settled(t, r.db)
	if got := r.seen(t, order); !slices.Equal(got, []string{"1", "0"}) {
		t.Errorf("seen %v; the restored message is lost", got)
	}
}

// A letter whose message took effect cannot be dropped, and so not be restored: it would take effect twice.
func TestWhatTookEffectIsNotDropped(t *testing.T) {
	db := database(t)
	r := newReplica(t, db, "replica", func(_ context.Context, _ Letter, _ bool, update func() error) error {
		if err := update(); err != nil {
			return err
		}
		return errors.New("the answer got lost")
	}, Options{})
	order := newOrder()
	l := letterFor(order, 0)
	r.must(t, New, l)
	if err := r.desk().Drop(t.Context(), l.ID, "nobody needs it"); !errors.Is(err, ErrProcessed) {
		t.Errorf("%v, want ErrProcessed", err)
	}
	settled(t, db)
	var status *StatusError
	if err := r.desk().Restore(t.Context(), l.ID, "after all"); !errors.As(err, &status) || status.Status != Resolved {
		t.Errorf("%v, want that it is resolved", err)
	}
	if got := r.seen(t, order); !slices.Equal(got, []string{"0"}) {
		t.Errorf("seen %v", got)
	}
}

// Whatever is decided about a message while it is in hand, it takes effect at most once, and the decision stands.
func TestDecidedWhileInHand(t *testing.T) {
	for what, decide := range map[string]func(context.Context, *Desk, string) error{
		"dropped": func(ctx context.Context, d *Desk, id string) error { return d.Drop(ctx, id, "dropped") },
		"dropped and restored": func(ctx context.Context, d *Desk, id string) error {
			if err := d.Drop(ctx, id, "dropped"); err != nil {
				return err
			}
			return d.Restore(ctx, id, "restored")
		},
	} {
		for _, first := range []string{"the decision", "the effect"} {
			t.Run(what+", first "+first, func(t *testing.T) {
				db := database(t)
				inHand, goOn := make(chan struct{}), make(chan struct{})
				var tries atomic.Int64
				r := newReplica(t, db, "replica", func(_ context.Context, l Letter, redriven bool, update func() error) error {
					if !redriven {
						return errors.New("boom")
					}
					if string(l.Payload) != "0" || tries.Add(1) > 1 {
						return update()
					}
					if first == "the effect" {
						if err := update(); err != nil {
							return err
						}
					}
					close(inHand)
					<-goOn
					return update()
				}, Options{})
				r.parking.lease = time.Hour // nobody waits for the end of it
				order := newOrder()
				m := messages(order, 2)
				r.must(t, New, m[0])
				r.must(t, Parked, m[1])
				r.start(t)
				if _, err := r.desk().Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil {
					t.Fatal(err)
				}
				<-inHand
				err := decide(t.Context(), r.desk(), m[0].ID)
				if tookEffect := first == "the effect"; errors.Is(err, ErrProcessed) != tookEffect || err != nil && !tookEffect {
					t.Errorf("%v", err)
				}
				close(goOn)
				want := []string{"1"}
				switch {
				case first == "the effect":
					want = []string{"0", "1"}
				case what == "dropped and restored":
					// It was restored before it took effect: it waits, having had its effect or not, and is asked for again.
					eventually(t, "it is nobody's", func() bool {
						return number(t, db, "SELECT count(*) FROM deadletter.lanes WHERE holder IS NULL AND due_at IS NULL") == 1
					})
					if asked, err := r.desk().Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil || len(asked) != 1 {
						t.Fatalf("asked for %v, %v", asked, err)
					}
					want = []string{"0", "1"}
				}
				settled(t, db)
				if got := r.seen(t, order); !slices.Equal(got, want) {
					t.Errorf("seen %v, want %v", got, want)
				}
			})
		}
	}
}

// A message that is dropped while it fails again stays dropped: the topic of the letters is not told that it failed.
func TestWhatWasDroppedHasNotFailedAgain(t *testing.T) {
	db := database(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	r := newReplica(t, db, "replica", func(_ context.Context, l Letter, redriven bool, update func() error) error {
		switch {
		case !redriven:
			return errors.New("boom")
		case string(l.Payload) == "0":
			close(inHand)
			<-goOn
			return errors.New("boom")
		}
		return update()
	}, Options{})
	m := messages(newOrder(), 2)
	r.must(t, New, m[0])
	r.must(t, Parked, m[1])
	r.start(t)
	if _, err := r.desk().Redrive(t.Context(), []string{m[0].ID}, "again"); err != nil {
		t.Fatal(err)
	}
	<-inHand
	if err := r.desk().Drop(t.Context(), m[0].ID, "dropped"); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	settled(t, db)
	if n := number(t, db, "SELECT count(*) FROM millrace.outbox"); n != 1 {
		t.Errorf("%d copies, want the one of its first failure", n)
	}
}

// What is being tried cannot be edited, nor dropped if no row would remember it.
func TestInHandIsInHand(t *testing.T) {
	db := database(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	r := newReplica(t, db, "replica", func(_ context.Context, _ Letter, redriven bool, _ func() error) error {
		if redriven {
			close(inHand)
			<-goOn
			return nil
		}
		return errors.New("boom")
	}, Options{})
	l := letterFor("", 0)
	r.must(t, New, l)
	r.start(t)
	if _, err := r.desk().Redrive(t.Context(), []string{l.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	<-inHand
	if err := r.desk().Drop(t.Context(), l.ID, "dropped"); !errors.Is(err, ErrInHand) {
		t.Errorf("%v, want ErrInHand", err)
	}
	var status *StatusError
	if err := r.desk().Edit(t.Context(), l.ID, []byte("{}"), "edited", func(*Letter) error { return nil }); !errors.As(err, &status) {
		t.Errorf("%v, want that it is redriving", err)
	}
	if _, err := db.Exec("UPDATE deadletter.letters SET status = 'retrying'"); err != nil {
		t.Fatal(err)
	}
	if err := r.desk().Edit(t.Context(), l.ID, []byte("{}"), "edited", func(*Letter) error { return nil }); !errors.Is(err, ErrInHand) {
		t.Errorf("%v, want ErrInHand", err)
	}
	close(goOn)
	settled(t, db)
}

// An edited message is processed as it was edited; what it was is kept.
func TestEdited(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	order := newOrder()
	l := letterFor(order, 0)
	r.must(t, New, l)
	if err := r.desk().Edit(t.Context(), l.ID, []byte("7"), "a typing error", func(*Letter) error { return errors.New("no") }); err == nil {
		t.Error("a body that was refused was written")
	}
	if err := r.desk().Edit(t.Context(), l.ID, []byte("7"), "a typing error", func(*Letter) error { return nil }); err != nil {
		t.Fatal(err)
	}
	mend()
	if _, err := r.desk().Redrive(t.Context(), []string{l.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
	found, err := r.desk().Find(t.Context(), l.ID)
	if err != nil || string(found.Before) != "0" || string(found.Payload) != "7" {
		t.Errorf("%s was %s, %v", found.Payload, found.Before, err)
	}
	if got := r.seen(t, order); !slices.Equal(got, []string{"7"}) {
		t.Errorf("seen %v", got)
	}
}

// A letter from before there were lanes of orders is a lane of its own: its end does not end what its order waits for.
func TestAnOldLetterDoesNotEndItsOrdersMark(t *testing.T) {
	mend, fails := broken()
	db := database(t)
	r := startReplica(t, db, fails)
	order := newOrder()
	old, l := letterFor(order, 0), letterFor(order, 1)
	r.must(t, New, old)
	if _, err := db.Exec("WITH o AS (UPDATE deadletter.letters SET lane = id) UPDATE deadletter.lanes SET lane = $1, order_id = NULL", old.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE seen.rows SET parked_at = NULL"); err != nil {
		t.Fatal(err)
	}
	r.must(t, New, l)
	mend()
	if _, err := r.desk().Redrive(t.Context(), []string{old.ID}, "again"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old one is resolved", func() bool { return number(t, db, openLanes) == 1 })
	if n := number(t, db, markedRows); n != 1 {
		t.Error("the order's mark is gone, though a letter holds it up")
	}
	if err := r.desk().Drop(t.Context(), l.ID, "dropped"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
}
