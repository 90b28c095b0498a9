package reindex_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/deadletter/deadlettertest"
	"millrace/event"
)

// index is all of it that a rebuild gives back: of each lane the open messages, in order; the settled letters; and
// the marks.
func (s *system) index() (dump []string) {
	s.t.Helper()
	for _, query := range []string{
		`SELECT format('lane %s: %s/%s@%s %s, id %s, message %s, key %s, headers %s, body %s, original %s, handler %s, group %s, published %s', lane, topic, partition, kafka_offset,
		  CASE status WHEN 'parked' THEN 'parked' ELSE format('letter %s times, %s: %s, group %s, first %s, last %s, build %s', attempts, error_type, error, fingerprint, first_failed_at, last_failed_at, version) END,
		  id, message_id, key, headers::jsonb, payload, original, handler, consumer_group, published_at)
		 FROM deadletter.letters WHERE status IN ('parked', 'new', 'redriving', 'retrying') ORDER BY service, lane, position`,
		`SELECT format('settled %s: body %s', id, payload) FROM deadletter.letters WHERE status IN ('resolved', 'dropped') ORDER BY id`,
		`SELECT format('held up: %s, order %s', lane, order_id) FROM deadletter.lanes ORDER BY lane`,
		`SELECT format('marked: %s', order_id) FROM seen.rows WHERE parked_at IS NOT NULL ORDER BY order_id`,
	} {
		rows, err := s.db.Query(query)
		if err != nil {
			s.t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				s.t.Fatal(err)
			}
			dump = append(dump, line)
		}
		if err := rows.Err(); err != nil {
			s.t.Fatal(err)
		}
		rows.Close()
	}
	return dump
}

// What becomes of an index that is lost, and of the marks.
const (
	lostTables = "TRUNCATE deadletter.letters, deadletter.lanes, deadletter.steps"
	lostMarks  = "UPDATE seen.rows SET parked_at = NULL"
)

// The index that is made anew from the logs is the one that was lost: each letter, what waits behind it, in its
// order. Then everything is redriven, and every order has seen its messages in the order they came.
func TestARebuiltIndexIsTheOneThatWasLost(t *testing.T) {
	var mended atomic.Bool
	var broken sync.Map // ids of messages that fail until it is mended
	s := newSystem(t, func(id string) error {
		if _, is := broken.Load(id); is && !mended.Load() {
			return fmt.Errorf("cannot process %s", id)
		}
		return nil
	})
	const orders, messages = 40, 14
	came := map[event.OrderID][]string{}
	var order []event.OrderID
	for range orders {
		order = append(order, event.OrderID(uuid.NewString()))
	}
	for n := range messages {
		for i, id := range order {
			topic := topics[rand.N(len(topics))]
			r := s.write(topic, id, fmt.Sprint(n))
			came[id] = append(came[id], fmt.Sprint(topic, " ", n))
			if i%4 != 0 && rand.N(6) == 0 {
				broken.Store(string(r.Headers[0].Value), true)
			}
			s.deliver(t.Context(), r)
		}
	}
	for range 3 {
		s.deliver(t.Context(), s.write(topics[0], order[0], unreadable))
	}
	dropped := s.decide(t, &broken)
	want := s.index()

	for name, loss := range map[string][]string{"with its marks": {lostTables, lostMarks}, "without its marks": {lostTables}} {
		for _, statement := range loss {
			s.exec(statement)
		}
		before := s.index()
		counted := s.reindex(true)
		if diff := cmp.Diff(before, s.index()); diff != "" {
			t.Errorf("%s: a dry run wrote something:\n%s", name, diff)
		}
		report := s.reindex(false)
		if diff := cmp.Diff(counted, report); diff != "" {
			t.Errorf("%s: a dry run counts otherwise:\n%s", name, diff)
		}
		if diff := cmp.Diff(want, s.index()); diff != "" {
			t.Fatalf("%s: the rebuilt index is another one (%+v):\n%s", name, report, diff)
		}
		again := s.reindex(false)
		if again.New+again.Resolved+again.Parked+again.Lanes+again.Freed != 0 || again.Known != report.Copies {
			t.Errorf("%s: the same again: %+v", name, again)
		}
		if diff := cmp.Diff(want, s.index()); diff != "" {
			t.Errorf("%s: the same again changed the index:\n%s", name, diff)
		}
		t.Logf("%s: %+v", name, report)
	}
	if got := one[int](s, "SELECT count(*) FROM deadletter.steps WHERE action = 'reindexed' AND who = 'tester'"); got == 0 {
		t.Error("no letter tells that it was put back")
	}

	mended.Store(true)
	s.redrive(s.letters(deadletter.New)...)
	deadlettertest.Eventually(s.t, "every order goes on", func() bool {
		return one[int](s, "SELECT count(*) FROM deadletter.lanes WHERE order_id IS NOT NULL") == 0
	})
	for _, id := range order {
		row, _, err := s.store.Load(t.Context(), id)
		kept := slices.DeleteFunc(slices.Clone(came[id]), func(m string) bool { return slices.Contains(dropped[id], m) })
		if diff := cmp.Diff(kept, row.Seen); err != nil || diff != "" {
			t.Errorf("order %s saw its messages otherwise: %v\n%s", id, err, diff)
		}
	}
	if n := one[int](s, "SELECT count(*) FROM seen.rows WHERE parked_at IS NOT NULL"); n != 0 {
		t.Errorf("%d rows are marked still", n)
	}
}

// decide does what operators do: it redrives letters, some of which fail again and some of which go on to one that
// fails; it drops some, and edits one twice. It returns what was dropped.
func (s *system) decide(t *testing.T, broken *sync.Map) map[event.OrderID][]string {
	t.Helper()
	dropped := map[event.OrderID][]string{}
	list := s.letters(deadletter.New)
	for i, id := range list {
		l, err := s.desk.Find(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i%5 == 0 && l.OrderID != "":
			broken.Delete(l.MessageID)
			s.redrive(id)
		case i%5 == 1:
			s.redrive(id)
		case i%5 == 2 && l.OrderID != "":
			dropped[event.OrderID(l.OrderID)] = append(dropped[event.OrderID(l.OrderID)], l.Topic+" "+string(l.Payload))
			if err := s.desk.Drop(t.Context(), id, "given up"); err != nil {
				t.Error(err)
			}
		case i%5 == 3 && l.OrderID != "":
			for _, body := range []string{"edited", string(l.Payload) + " "} {
				if err := s.desk.Edit(t.Context(), id, []byte(body), "mended", func(*deadletter.Letter) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		}
	}
	deadlettertest.Eventually(s.t, "what was redriven has an outcome", func() bool {
		return one[int](s, "SELECT count(*) FROM deadletter.letters WHERE status IN ('redriving', 'retrying')")+
			one[int](s, "SELECT count(*) FROM deadletter.lanes WHERE due_at IS NOT NULL") == 0
	})
	return dropped
}

// The tables are lost while messages come; the orders' rows remember that they wait. The index is made anew beside
// that, again and again. Nothing is lost, nothing comes twice, and nothing overtakes in its topic.
func TestAnIndexIsRebuiltWhileMessagesCome(t *testing.T) {
	const orders, messages, workers = 30, 30, 3
	var mended atomic.Bool
	var broken sync.Map
	s := newSystem(t, func(id string) error {
		if _, is := broken.Load(id); is && !mended.Load() {
			return errors.New("cannot process it")
		}
		return nil
	})
	came := make([]map[string][]string, orders) // by order and topic
	ids := make([]event.OrderID, orders)
	for i := range ids {
		ids[i], came[i] = event.OrderID(uuid.NewString()), map[string][]string{}
	}
	var delivered sync.WaitGroup
	var count atomic.Int64
	for w := range workers {
		delivered.Go(func() {
			for n := range messages {
				for i := w; i < orders; i += workers {
					topic := topics[rand.N(len(topics))]
					r := s.write(topic, ids[i], fmt.Sprint(n))
					came[i][topic] = append(came[i][topic], fmt.Sprint(topic, " ", n))
					if rand.N(15) == 0 {
						broken.Store(string(r.Headers[0].Value), true)
					}
					s.deliver(t.Context(), r)
					count.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { delivered.Wait(); close(done) }()
	rebuilt, losses := int64(0), 0
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		lost := count.Load()
		if _, err := s.db.Exec(lostTables); err == nil { // it may be the victim of a deadlock, which nobody promised to avoid
			losses++
		}
		report := s.reindex(false)
		rebuilt += report.New + report.Parked
		deadlettertest.Eventually(s.t, "messages come", func() bool { return count.Load() >= min(lost+orders, orders*messages) })
	}
	report := s.reindex(false)
	t.Logf("%d messages, the index lost %d times, %d put back; at last %+v", count.Load(), losses, rebuilt, report)
	mended.Store(true)
	deadlettertest.Eventually(s.t, "every order goes on", func() bool {
		s.redrive(s.letters(deadletter.New)...)
		return one[int](s, "SELECT count(*) FROM deadletter.lanes") == 0
	})
	for i, id := range ids {
		row, _, err := s.store.Load(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for _, m := range row.Seen {
			topic, _, _ := strings.Cut(m, " ")
			got[topic] = append(got[topic], m)
		}
		if diff := cmp.Diff(came[i], got); diff != "" {
			t.Errorf("order %s:\n%s", id, diff)
		}
	}
	if n := one[int](s, "SELECT count(*) FROM seen.rows WHERE parked_at IS NOT NULL"); n != 0 || losses == 0 || rebuilt == 0 {
		t.Errorf("%d rows are marked still; the index was lost %d times, and %d put back", n, losses, rebuilt)
	}
}

// What waits is found by the order's mark, where no letter tells of it: a message that was only to be tried again has no
// copy. It is tried, since nobody would ask for it.
func TestAMarkedOrderWithoutALetterGoesOn(t *testing.T) {
	s := newSystem(t, func(string) error { return nil })
	id := event.OrderID(uuid.NewString())
	first := s.write(topics[0], id, "first")
	l, _ := parkable(first)
	l.Status, l.RetryAt = deadletter.Retrying, time.Now().Add(time.Hour)
	l.Describe(errors.New("not finished"))
	if _, err := s.parking.Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	s.deliver(t.Context(), s.write(topics[1], id, "second"))
	s.exec(lostTables)
	if report := s.reindex(false); report.Parked != 2 || report.Lanes != 1 || report.New != 0 {
		t.Errorf("%+v", report)
	}
	deadlettertest.Eventually(s.t, "it goes on", func() bool { return one[int](s, "SELECT count(*) FROM deadletter.lanes") == 0 })
	row, _, err := s.store.Load(t.Context(), id)
	if err != nil || !slices.Equal(row.Seen, []string{"t0 first", "t1 second"}) {
		t.Errorf("%v, %v", row.Seen, err)
	}

	// And an order that nothing waits of is free.
	s.exec("UPDATE seen.rows SET parked_at = now()")
	if report := s.reindex(false); report.Freed != 1 {
		t.Errorf("%+v", report)
	}
	if n := one[int](s, "SELECT count(*) FROM seen.rows WHERE parked_at IS NOT NULL"); n != 0 {
		t.Error("it is marked still")
	}
}

// What somebody else wrote to the topic of the letters becomes no letter, and stops nothing.
func TestRecordsThatAreNoLettersAreLeftAlone(t *testing.T) {
	s := newSystem(t, func(string) error { return errors.New("no") })
	id := event.OrderID(uuid.NewString())
	s.deliver(t.Context(), s.write(topics[0], id, "x"))
	other := uuid.NewString()
	for name, headers := range map[string]string{
		"no letter": `{"a": "b"}`, "of another group": `{"dlq_letter_id": "` + other + `", "subscriber_poisoned": "other"}`,
		"ids that do not fit": `{"dlq_letter_id": "` + other + `", "subscriber_poisoned": "` + group + `", "dlq_message_id": "` + other + `"}`,
		"no id":               `{"dlq_letter_id": "'; DROP TABLE", "subscriber_poisoned": "` + group + `", "dlq_message_id": "x"}`,
	} {
		if _, err := s.db.Exec("INSERT INTO millrace.outbox (service, topic, key, payload, headers) VALUES ($1, $2, 'k', '{}', $3)",
			service, deadletter.Topic(group), []byte(headers)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	s.exec(lostTables)
	if report := s.reindex(false); report.Foreign != 4 || report.Copies != 1 || report.New != 1 {
		t.Errorf("%+v", report)
	}
}

func TestAnInterruptedRebuildEnds(t *testing.T) {
	s := newSystem(t, func(string) error { return errors.New("no") })
	s.deliver(t.Context(), s.write(topics[0], event.OrderID(uuid.NewString()), "x"))
	s.exec(lostTables)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.run(ctx, false); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := one[int](s, "SELECT count(*) FROM deadletter.letters"); n != 0 {
		t.Errorf("%d letters", n)
	}
}

// A copy that Kafka would not take whole is completed from the topic its message came from.
func TestALetterThatWasCutIsCompleted(t *testing.T) {
	s := newSystem(t, func(string) error { return nil })
	id := event.OrderID(uuid.NewString())
	body := strings.Repeat("x", 5<<20)
	s.deliver(t.Context(), s.write(topics[0], id, body))
	want := s.index()
	s.exec(lostTables)
	if report := s.reindex(false); report.New != 1 {
		t.Errorf("%+v", report)
	}
	if diff := cmp.Diff(want, s.index()); diff != "" {
		t.Errorf("the letter is another one: %.1000s", diff)
	}
	s.exec(lostTables)
	s.log = nil // the topic no longer keeps it
	s.reindex(false)
	if n := one[int](s, "SELECT length(payload) FROM deadletter.letters"); n == 0 || n >= len(body) {
		t.Errorf("%d bytes are left of %d", n, len(body))
	}
}

// Letters that are too large to be in memory together go through the log in rounds; all of them come back, and each is counted once.
func TestLargeLettersComeBackInRounds(t *testing.T) {
	s := newSystem(t, func(string) error { return nil })
	const letters, size = 14, 5 << 20 // 70 MiB; a round takes 64
	body := strings.Repeat("x", size)
	for range letters {
		s.deliver(t.Context(), s.write(topics[0], event.OrderID(uuid.NewString()), body))
	}
	s.exec(lostTables)
	if report := s.reindex(false); report.New != letters || report.Copies != letters || report.Known != 0 {
		t.Errorf("%+v", report)
	}
	if n := s.scans[deadletter.Topic(group)]; n != 2 {
		t.Errorf("the log was read %d times, want 2", n)
	}
	if n := one[int](s, "SELECT sum(length(payload)) FROM deadletter.letters"); n != letters*size {
		t.Errorf("%d bytes came back, want %d", n, letters*size)
	}
	if n := one[int](s, "SELECT max(n) FROM (SELECT sum(length(payload)) AS n FROM deadletter.letters GROUP BY xmin::text) AS t"); n > size {
		t.Errorf("one transaction wrote %d bytes, want one letter of %d: it has five seconds, whatever the machine", n, size)
	}
	steps := one[int](s, "SELECT count(*) FROM deadletter.steps")
	if report := s.reindex(false); report.New != 0 || report.Known != letters {
		t.Errorf("the same again: %+v", report)
	}
	if n := one[int](s, "SELECT count(*) FROM deadletter.steps"); n != steps {
		t.Errorf("the same again wrote %d steps: it changes nothing", n-steps)
	}
}

// A row whose mark the database does not take keeps no other from being put back.
func TestARefusedLaneIsLeftOut(t *testing.T) {
	s := newSystem(t, func(string) error { return errors.New("no") })
	var refused event.OrderID
	for range 8 {
		refused = event.OrderID(uuid.NewString())
		s.deliver(t.Context(), s.write(topics[0], refused, "x"))
	}
	s.exec(lostTables)
	s.exec(lostMarks)
	s.exec(fmt.Sprintf("ALTER TABLE seen.rows ADD CONSTRAINT refused CHECK (order_id <> '%s' OR parked_at IS NULL)", refused))
	report, err := s.run(t.Context(), false)
	if err == nil || report.New != 7 || report.Refused != 1 || !strings.Contains(err.Error(), "1 lanes are refused") {
		t.Errorf("%+v, %v", report, err)
	}
	s.exec("ALTER TABLE seen.rows DROP CONSTRAINT refused")
	if report := s.reindex(false); report.New != 1 || report.Known != 7 {
		t.Errorf("%+v", report)
	}
}
