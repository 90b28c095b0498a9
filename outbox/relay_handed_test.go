package outbox

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

func nowhere(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", "host=/nowhere")
	need(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// kept is a publisher that keeps what it gets.
type kept struct{ records []transport.Record }

func (k *kept) Publish(string, ...*message.Message) error { return errors.New("not used") }
func (k *kept) Close() error                              { return nil }
func (k *kept) PublishBatch(_ context.Context, records []transport.Record) []error {
	k.records = append(k.records, records...)
	return make([]error, len(records))
}

// What is handed over is taken exactly as far as every id below is known.
func TestHandedRowsAreTakenInTheOrderOfTheirIDs(t *testing.T) {
	rows := func(ids ...int64) (list []outboxRow) {
		for _, id := range ids {
			list = append(list, outboxRow{id: id, payload: []byte("1")})
		}
		return list
	}
	now := time.Now()
	for name, c := range map[string]struct {
		seen, handed, want []int64
		limit              int
		more               bool
	}{
		"nothing":                        {},
		"what follows the highest":       {seen: []int64{1, 2}, handed: []int64{4, 3}, want: []int64{3, 4}},
		"not beyond an id nobody saw":    {seen: []int64{1}, handed: []int64{2, 4}, want: []int64{2}, more: true},
		"nothing above an open gap":      {seen: []int64{1, 4}, handed: []int64{5, 6}, more: true},
		"the gap itself":                 {seen: []int64{1, 4}, handed: []int64{2, 3, 5}, want: []int64{2, 3, 5}},
		"the gap as far as it is filled": {seen: []int64{1, 5}, handed: []int64{2, 4, 6}, want: []int64{2}, more: true},
		"not what was seen before":       {seen: []int64{1, 2, 3}, handed: []int64{2, 3, 4}, want: []int64{4}},
		"not more than a batch":          {seen: []int64{1}, handed: []int64{2, 3, 4}, want: []int64{2, 3}, limit: 2, more: true},
	} {
		var seen gaps
		for _, id := range c.seen {
			seen.saw(id, now)
		}
		if c.limit == 0 {
			c.limit = relayBatch
		}
		var h handed
		h.setOpen(true)
		h.add(rows(c.handed...))
		next, more := h.next(&seen, c.limit)
		var got []int64
		for _, r := range next {
			got = append(got, r.id)
			seen.saw(r.id, now)
		}
		if !slices.Equal(got, c.want) || more != c.more {
			t.Errorf("%s: %v, more: %v; want %v, %v", name, got, more, c.want, c.more)
		}
		if again, _ := h.next(&seen, c.limit); slices.ContainsFunc(again, func(r outboxRow) bool { return slices.Contains(got, r.id) }) {
			t.Errorf("%s: a row is taken twice", name)
		}
		if want := len(h.rows); h.bytes != want {
			t.Errorf("%s: counts %d bytes for %d rows of one", name, h.bytes, want)
		}
	}
}

func TestHandedRowsAreBounded(t *testing.T) {
	var h handed
	h.add([]outboxRow{{id: 1}})
	if len(h.rows) > 0 {
		t.Error("rows gather though nobody relays here")
	}
	h.setOpen(true)
	for n := range 100 {
		h.add([]outboxRow{{id: int64(n + 1), payload: make([]byte, maxHanded/10)}})
	}
	if len(h.rows) > 11 {
		t.Errorf("%d rows of a tenth of what may be kept", len(h.rows))
	}
}

// From the commit to the broker without a look at the table.
func TestRowsOfThisProcessAreNotRead(t *testing.T) {
	db := migrated(t)
	b := &kept{}
	r := NewRelay(db, b, quiet())
	s := &shift{}
	step(t, r, s) // the look from zero
	r.handed.setOpen(true)
	store := NewPostgres(db, basketTable, Options{Relay: r})
	start(t, store)
	id := newOrder()
	r.table.stmts.db, r.table.stmts.stmts = nowhere(t), nil
	for range 3 {
		need(t, store.Update(fresh(t.Context()), id, count))
		step(t, r, s)
	}
	var versions []string
	for _, record := range b.records {
		versions = append(versions, headerOf(record, HeaderOrderVersion))
	}
	if !slices.Equal(versions, []string{"1", "2", "3"}) {
		t.Errorf("published %v, want the versions 1 to 3", versions)
	}
	need(t, s.done.finish(t.Context(), &r.table))
	if n := unsent(t, db); n != 0 {
		t.Errorf("%d rows left in the table", n)
	}
}

// Some rows are handed over, late and in any order, others are not: as with several processes.
func TestHandedRowsKeepEachKeyInOrder(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	background(t, run(r))
	var late atomic.Pointer[outboxRow]
	want := writers(t, db, 20, 60, 16, func(row outboxRow) {
		switch rand.N(10) {
		case 0: // another process's
		case 1, 2:
			if before := late.Swap(&row); before != nil {
				r.committed([]outboxRow{*before})
			}
		default:
			r.committed([]outboxRow{row})
		}
	})
	eventually(t, func() bool { return unsent(t, db) == 0 })
	b.checkOrder(t, want)
}

func TestRowsWhoseDeletionFailedArePublishedOnceMore(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	r.table.deletes.db = nowhere(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &shift{}
	insertRow(t, db, "a", 1)
	step(t, r, s)
	if err := s.done.finish(ctx, &r.table); err == nil {
		t.Fatal("the deletion did not fail")
	}
	r.table.deletes = &replanned{db: db}
	s.wholeAt = time.Time{} // as after any error of the database
	step(t, r, s)
	need(t, s.done.finish(ctx, &r.table))
	if n := b.published("a"); n != 2 || unsent(t, db) != 0 {
		t.Errorf("published %d times, %d left; want twice, none", n, unsent(t, db))
	}
}
