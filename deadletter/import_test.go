package deadletter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter/filter"
	"millrace/event"
	"millrace/outbox"
)

// Whatever a letter's message is, a line of an export has it to the last byte.
func TestALineLosesNothing(t *testing.T) {
	same := func(body, key, before []byte, name, value string, nokey, edited bool) bool {
		l := letterFor("", 1)
		l.Payload, l.Key, l.Headers = body, key, map[string]string{strings.ReplaceAll(strings.ToValidUTF8(name, "?"), "\x00", "?"): value} // no name of the index is anything else
		if body == nil {
			l.Payload = []byte{}
		}
		if nokey {
			l.Key = nil
		} else if key == nil {
			l.Key = []byte{}
		}
		if edited {
			l.Before = append([]byte{}, before...)
		}
		var data bytes.Buffer
		encoder := json.NewEncoder(&data)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(NewLine(&l)); err != nil {
			t.Log(err)
			return false
		}
		var line Line
		if err := json.Unmarshal(data.Bytes(), &line); err != nil {
			t.Log(err)
			return false
		}
		got, err := line.Letter()
		if err != nil {
			t.Log(err)
			return false
		}
		return bytes.Equal(got.Payload, l.Payload) && bytes.Equal(got.Key, l.Key) && (got.Key == nil) == (l.Key == nil) &&
			bytes.Equal(got.Before, l.Before) && (got.Before == nil) == (l.Before == nil) && maps.Equal(got.Original(), l.Headers) && got.FirstFailed.Equal(l.FirstFailed)
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 3000}); err != nil {
		t.Error(err)
	}
	for _, body := range []string{"", "null", `{"a":1}`, `{ "a":1}`, `{"a":1e400}`, `{"a":1,"a":2}`, "\"\u202e\"", "\"\u2028\"", "<&>", `"<&>"`, "\xff", `"\ud800"`, "\xef\xbb\xbf{}"} {
		if !same([]byte(body), []byte(body), []byte(body), "h", body, false, true) {
			t.Errorf("%q is not the same", body)
		}
	}
}

func TestLinesThatAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Line){
		"id ":              func(l *Line) { l.ID = uuid.NewString() },
		"service is":       func(l *Line) { l.Service = "" },
		"topic has a":      func(l *Line) { l.Topic += "\x00" },
		"orderId is":       func(l *Line) { l.OrderID = uuid.NewString() },
		"given twice":      func(l *Line) { l.Base64 = []byte("x") },
		"original: ":       func(l *Line) { text := "x"; l.Original = &Body{Text: &text, JSON: []byte("1")} },
		"firstFailed":      func(l *Line) { l.FirstFailed = time.Time{} },
		"partition":        func(l *Line) { l.Partition = -1 },
		"status is":        func(l *Line) { l.Status = "" },
		"is not that of m": func(l *Line) { l.MessageID = "x"; l.ID = NewID(l.Group, "x") },
	} {
		l := letterFor(event.OrderID(uuid.NewString()), 1)
		line := NewLine(&l)
		change(&line)
		if _, err := line.Letter(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// open letters of an order, as the lane has them.
func laneOf(t *testing.T, d *Desk, order event.OrderID) (list []string) {
	t.Helper()
	found, err := letters(t.Context(), d.db, "order_id = $1 AND "+open+" ORDER BY position", string(order))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range found {
		list = append(list, fmt.Sprintf("%s %s", l.Status, l.Payload))
	}
	return list
}

// An imported letter stands at the end of its order's lane, however that lane waits; where there is none it makes one.
func TestImportsStandAtTheEndOfTheirLanes(t *testing.T) {
	db := database(t)
	r := startReplica(t, db, func(string) error { return nil })
	d := NewDesk(db, map[string]*outbox.Marks{"seen": r.marks}, "tester")
	waiting, free := event.OrderID(uuid.NewString()), event.OrderID(uuid.NewString())
	first := letterFor(waiting, 0)
	first.Describe(errors.New("boom"))
	first.Status, first.RetryAt = Retrying, time.Now().Add(time.Hour)
	if _, err := r.parking.Put(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	behind, failed := letterFor(waiting, 1), letterFor(waiting, 2)
	behind.Status = Parked
	failed.Before = []byte("before")
	alone, later := letterFor(free, 1), letterFor(free, 2)
	alone.Status, later.Status = Parked, Parked
	list := []*Letter{&behind, &failed, &alone, &later, &failed}
	for _, l := range list {
		l.Describe(errors.New("elsewhere"))
	}
	added, err := d.Import(t.Context(), "seen", list, "moved")
	if err != nil || len(added) != 4 {
		t.Fatalf("%d were added, %v; want 4", len(added), err)
	}
	if added, err := d.Import(t.Context(), "seen", list, "moved"); err != nil || len(added) != 0 {
		t.Errorf("the second time %d are added, %v", len(added), err)
	}
	if got, want := laneOf(t, d, waiting), []string{"retrying 0", "parked 1", "new 2"}; !slices.Equal(got, want) {
		t.Errorf("the order that waited: %v, want %v", got, want)
	}
	if got, want := laneOf(t, d, free), []string{"new 1", "parked 2"}; !slices.Equal(got, want) {
		t.Errorf("the order that did not: %v, want %v", got, want)
	}
	var due, marked, steps, copies int
	var original []byte
	if err := db.QueryRow(`SELECT (SELECT count(*) FROM deadletter.lanes WHERE due_at > now()), (SELECT count(*) FROM seen.rows WHERE parked_at IS NOT NULL),
(SELECT count(*) FROM deadletter.steps WHERE action = 'imported' AND who = 'tester' AND reason = 'moved'), (SELECT count(*) FROM millrace.outbox WHERE topic = 'dlq.seen-service'),
(SELECT original FROM deadletter.letters WHERE id = $1)`, failed.ID).Scan(&due, &marked, &steps, &copies, &original); err != nil {
		t.Fatal(err)
	}
	if due != 1 || marked != 2 || steps != 4 || copies != 2 || string(original) != "before" {
		t.Errorf("%d lanes are due later, %d orders are marked, %d steps, %d copies, original %q", due, marked, steps, copies, original)
	}
	if _, err := d.Import(t.Context(), "other", list, "x"); err == nil {
		t.Error("letters of a service whose rows are elsewhere are imported")
	}
}

// The same messages come from the log and from an import, at once, while all is redriven: each has its effect once.
func TestImportsBesideTheLog(t *testing.T) {
	db := database(t)
	fails := func(string) error { return nil }
	r := startReplica(t, db, fails)
	d := NewDesk(db, map[string]*outbox.Marks{"seen": r.marks}, "tester")
	const orders, messages = 30, 8
	var all sync.WaitGroup
	for range orders {
		id := event.OrderID(uuid.NewString())
		list := make([]Letter, messages)
		pointers := make([]*Letter, messages)
		for n := range list {
			list[n] = letterFor(id, n)
			pointers[n] = &list[n]
		}
		for _, l := range pointers {
			l.Describe(errors.New("elsewhere"))
		}
		all.Go(func() {
			if _, err := d.Import(t.Context(), "seen", pointers, "moved"); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			for _, l := range list {
				if _, err := r.deliver(t.Context(), l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	eventually(t, "every lane comes to its end", func() bool {
		list, err := letters(t.Context(), db, "status = 'new'")
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range list {
			if _, err := d.Redrive(t.Context(), []string{l.ID}, "again"); err != nil {
				t.Fatal(err)
			}
		}
		var open int
		if err := db.QueryRow("SELECT count(*) FROM deadletter.lanes").Scan(&open); err != nil {
			t.Fatal(err)
		}
		return open == 0
	})
	var rows, wrong int
	if err := db.QueryRow("SELECT count(*), count(*) FILTER (WHERE json_array_length(state -> 'seen') <> $1 OR parked_at IS NOT NULL) FROM seen.rows", messages).Scan(&rows, &wrong); err != nil {
		t.Fatal(err)
	}
	if rows != orders || wrong != 0 {
		t.Errorf("of %d orders, want %d, %d have another number of messages than %d or are marked", rows, orders, wrong, messages)
	}
}

// A row that is committed after one with a higher number is told as well, and nothing twice.
func TestFollowersMissNothing(t *testing.T) {
	db := database(t)
	r := startReplica(t, db, func(string) error { return nil })
	d := NewDesk(db, map[string]*outbox.Marks{"seen": r.marks}, "tester")
	f, err := d.Follow(t.Context(), filter.Condition{SQL: "service = $1::text", Args: []any{"seen"}})
	if err != nil {
		t.Fatal(err)
	}
	told := func() (list []string) {
		t.Helper()
		if err := f.Next(t.Context(), func(h Happening) { list = append(list, h.What+" "+h.Reason) }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	l := letterFor(event.OrderID(uuid.NewString()), 0)
	l.Describe(errors.New("boom"))
	if _, err := r.parking.Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if got := told(); !slices.Equal(got, []string{"failed "}) {
		t.Errorf("it tells %v", got)
	}
	const step = "INSERT INTO deadletter.steps (letter_id, who, action, reason) VALUES ($1, 'x', 'noted', $2)"
	slow, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Rollback() }()
	if _, err := slow.ExecContext(t.Context(), step, l.ID, "slow"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), step, l.ID, "quick"); err != nil {
		t.Fatal(err)
	}
	if got := told(); !slices.Equal(got, []string{"noted quick"}) {
		t.Errorf("it tells %v", got)
	}
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := told(); !slices.Equal(got, []string{"noted slow"}) {
		t.Errorf("it tells %v", got)
	}
	if got := told(); len(got) != 0 {
		t.Errorf("it tells %v again", got)
	}
}

func TestTailForgets(t *testing.T) {
	tail := tail{seen: map[int64]time.Time{}}
	now := time.Now()
	for n := range int64(100) {
		tail.fresh(n, now)
	}
	tail.fresh(200, now.Add(followLate))
	tail.forget(now.Add(followLate + 1))
	if tail.from != 99 || len(tail.seen) != 1 || tail.fresh(200, now) {
		t.Errorf("it goes on from %d, and remembers %v", tail.from, tail.seen)
	}
}
