package deadletter

import (
	"fmt"
	"testing"
	"time"

	"millrace/deadletter/deadlettertest"
)

// putOff are lanes that nobody is at, and that are looked at again within seconds.
const putOff = "SELECT count(*) FROM deadletter.lanes WHERE holder IS NULL AND due_at BETWEEN clock_timestamp() AND clock_timestamp() + interval '10 seconds'"

// failed puts a letter aside and has it redriven, as soon as somebody looks.
func (r *replica) failed(t *testing.T, mend func()) Letter {
	t.Helper()
	l := letterFor(newOrder(), 0)
	r.must(t, New, l)
	mend()
	if asked, err := r.desk().Redrive(t.Context(), []string{l.ID}, "mended"); err != nil || len(asked) != 1 {
		t.Fatalf("asked for %v, %v", asked, err)
	}
	return l
}

// A lane whose outcome the database refuses to take is looked at again soon: nobody waits for the end of the lease.
func TestALaneIsLeftWhoseOutcomeIsRefused(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(fails), Options{})
	r.parking.lease = time.Hour
	l := r.failed(t, mend)
	if _, err := db.Exec(fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT broken CHECK (order_id <> '%s' OR parked_at IS NOT NULL)", deadlettertest.Rows, l.OrderID)); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	eventually(t, "the lane is left", func() bool { return number(t, db, putOff) == 1 })
	if _, err := db.Exec("ALTER TABLE " + deadlettertest.Rows + " DROP CONSTRAINT broken"); err != nil {
		t.Fatal(err)
	}
	settled(t, db)
}

// A router that starts asks for its topics one after the other. A message of one that it has yet to ask for is not taken for one that
// it does not know.
func TestATopicThatIsSubscribedLater(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(fails), Options{})
	r.failed(t, mend)
	if _, err := r.redriver.Subscribe(t.Context(), "another topic"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lane is put off", func() bool {
		return number(t, db, "SELECT count(*) FROM deadletter.lanes WHERE holder IS NULL AND due_at > clock_timestamp()") == 1
	})
	if number(t, db, putOff) != 1 {
		t.Error("it is put off for long")
	}
	r.start(t)
	settled(t, db)
}

// A lane that a process was at when it died has waited for another one only since the end of its lease.
func TestALaneIsIdleSinceItsLeaseEnded(t *testing.T) {
	t.Parallel()
	mend, fails := broken()
	db := database(t)
	r := newReplica(t, db, "replica", ifNot(fails), Options{})
	r.failed(t, mend)
	for set, want := range map[string]time.Duration{
		"due_at = now() - interval '1 hour', lease_until = now() - interval '1 minute'": time.Minute,
		"due_at = now() - interval '1 hour', lease_until = NULL":                        time.Hour,
	} {
		if _, err := db.Exec("UPDATE deadletter.lanes SET " + set); err != nil {
			t.Fatal(err)
		}
		if due, err := r.desk().Due(t.Context(), deadlettertest.Service); err != nil || due.Lanes != 1 || due.Idle < want || due.Idle > want+patience {
			t.Errorf("%s: %+v, %v; want idle for %v", set, due, err, want)
		}
	}
}
