package stock

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"millrace/event"
	"millrace/testserver"
)

// parcel is a row that waits for one call.
type parcel struct{ Asked, Answered bool }

func parcels(t *testing.T, perform func() error) *rows[parcel] {
	t.Helper()
	s := Tuned()
	db, err := openDatabase(t.Context(), testserver.PostgresDSN(t), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &rows[parcel]{
		db: db, outbox: newOutbox(s, watermillLogger(slog.New(slog.DiscardHandler))), service: "shipping", table: "shipping.shipments",
		empty: func(event.OrderID) parcel { return parcel{} },
		due: func(p *parcel) []event.Wait {
			if p.Asked && !p.Answered {
				return []event.Wait{{Step: "book"}}
			}
			return nil
		},
		perform: func(context.Context, parcel, string, int) (func(*parcel) ([]event.Event, error), error) {
			if err := perform(); err != nil {
				return nil, err
			}
			return func(p *parcel) ([]event.Event, error) { p.Answered = true; return nil, nil }, nil
		},
	}
	if err := r.init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

const anOrder event.OrderID = "0199c0de-0000-7000-8000-000000000001"

func (r *rows[S]) mustLoad(t *testing.T) S {
	t.Helper()
	row, _, err := r.Load(t.Context(), anOrder)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func ask(p *parcel) ([]event.Event, error) { p.Asked = true; return nil, nil }

func TestAMessageThatComesAgainMakesTheCallThatWasCutOff(t *testing.T) {
	gone, die := context.WithCancel(event.WithCause(t.Context(), event.Cause{ID: newID()}))
	calls := 0
	r := parcels(t, func() error {
		if calls++; calls == 1 {
			die() // between the transaction and the answer
		}
		return nil
	})
	if err := r.Update(gone, anOrder, ask); err == nil {
		t.Fatal("the process died, and yet the message was acknowledged")
	}
	if row := r.mustLoad(t); !row.Asked || row.Answered {
		t.Fatalf("after its death the row is %+v, want it asked and not answered", row)
	}
	again := event.WithCause(t.Context(), event.CauseFrom(gone))
	if err := r.Update(again, anOrder, func(*parcel) ([]event.Event, error) { t.Error("decided twice"); return nil, nil }); err != nil {
		t.Fatal(err)
	}
	if row := r.mustLoad(t); !row.Answered || calls != 2 {
		t.Errorf("after %d calls the row is %+v, want it answered by the second", calls, row)
	}
}

func TestACallThatFailsIsMadeAgainByThePoller(t *testing.T) {
	calls := 0
	r := parcels(t, func() error {
		if calls++; calls == 1 {
			return soon{errors.New("nobody answers")}
		}
		return nil
	})
	if err := r.Update(event.WithCause(t.Context(), event.Cause{ID: newID()}), anOrder, ask); err != nil {
		t.Fatalf("a call that fails must not hold up the partition: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := &poller{db: r.db, settings: Tuned(), services: map[string]firing{"shipping": r}, log: slog.Default()}
	go func() { done <- p.run(ctx) }()
	var left int
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && !r.mustLoad(t).Answered; <-time.After(10 * time.Millisecond) {
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := r.db.QueryRow("SELECT count(*) FROM waits").Scan(&left); err != nil || left != 0 || !r.mustLoad(t).Answered {
		t.Errorf("the row is %+v, and %d waits are left (%v); want it answered, and none", r.mustLoad(t), left, err)
	}
}

// soon has its call made again at once.
type soon struct{ error }

func (soon) RetryAfter() time.Duration { return time.Millisecond }

func TestTwoWhoCreateARowBothChangeIt(t *testing.T) {
	type count struct{ N int }
	s := Documented()
	db, err := openDatabase(t.Context(), testserver.PostgresDSN(t), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &rows[count]{db: db, service: "analytics", table: "analytics.orders", empty: func(event.OrderID) count { return count{} }}
	if err := r.init(t.Context()); err != nil {
		t.Fatal(err)
	}
	const writers = 20
	errs := make(chan error, writers)
	for range writers {
		go func() {
			errs <- r.Update(event.WithCause(t.Context(), event.Cause{ID: newID()}), anOrder, func(c *count) ([]event.Event, error) {
				c.N++
				return nil, nil
			})
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := r.mustLoad(t).N; got != writers {
		t.Errorf("%d of %d changes are there", got, writers)
	}
}
