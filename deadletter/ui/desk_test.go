package ui

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/event"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// heard is the row of a service that writes down what it hears.
type heard struct {
	ID    event.OrderID `json:"id"`
	Heard []string      `json:"heard"`
}

const heardSchema = `-- +goose Up
CREATE TABLE heard.rows (
    order_id uuid PRIMARY KEY, state json NOT NULL, version bigint NOT NULL DEFAULT 0, said bigint NOT NULL DEFAULT 0,
    processed uuid[] NOT NULL DEFAULT '{}', commands uuid[] NOT NULL DEFAULT '{}', waiting text[] NOT NULL DEFAULT '{}',
    correlation_id text NOT NULL DEFAULT '', parked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
`

// realDesk is a deadletter.Desk, and a verdict.
type realDesk struct{ *deadletter.Desk }

func (realDesk) Verdict(context.Context, *deadletter.Letter) string { return "applied" }

// service is one that hears messages, redrives those that failed, and fails for as long as it is broken.
type service struct {
	store   *outbox.Store[heard, outbox.None]
	parking *deadletter.Parking
	desk    realDesk
	broken  atomic.Bool
}

func startService(t *testing.T, db *sql.DB) *service {
	t.Helper()
	for _, step := range []func() error{
		func() error { return outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()) },
		func() error {
			return outbox.Migrate(t.Context(), db, deadletter.Schema, deadletter.Migrations())
		},
		func() error {
			return outbox.Migrate(t.Context(), db, "heard", fstest.MapFS{"00001_heard.sql": {Data: []byte(heardSchema)}})
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	s := &service{store: outbox.NewPostgres(db, outbox.Table[heard, outbox.None]{Service: "heard", Name: "heard.rows", New: func(id event.OrderID) heard { return heard{ID: id} }}, outbox.Options{})}
	marks := outbox.NewMarks(db, s.store)
	s.parking = deadletter.NewParking(db, "heard", marks, nil, deadletter.Options{})
	s.desk = realDesk{deadletter.NewDesk(db, map[string]*outbox.Marks{"heard": marks}, "tester")}
	s.broken.Store(true)
	redriver := deadletter.NewRedriver(s.parking, slog.Default())
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.store.Run(ctx) })
	messages, err := redriver.Subscribe(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		for msg := range messages {
			running.Go(func() {
				l, _ := deadletter.Redriven(msg.Context())
				err := s.hear(msg.Context(), l)
				deadletter.Settle(msg.Context(), deadletter.Outcome{Err: err, Final: true, Attempts: 1})
				msg.Ack()
			})
		}
	})
	t.Cleanup(func() {
		_ = redriver.Close()
		stop()
		running.Wait()
	})
	return s
}

func (s *service) hear(ctx context.Context, l deadletter.Letter) error {
	if s.broken.Load() {
		return errors.New("the carrier's table is broken")
	}
	ctx = event.WithCause(ctx, event.Cause{ID: l.MessageID, CorrelationID: "c"})
	return s.store.Update(ctx, event.OrderID(l.OrderID), func(row *heard) ([]event.Event, error) {
		row.Heard = append(row.Heard, string(l.Payload))
		return nil, nil
	})
}

// On the real database: hundreds of letters are looked through, one is dropped, the others are redriven, in order.
func TestOnTheRealDatabase(t *testing.T) {
	db := testserver.Postgres(t)
	service := startService(t, db)
	const orders = 300
	ids := make([]event.OrderID, orders)
	var delivering sync.WaitGroup
	for i := range ids {
		ids[i] = event.OrderID(uuid.NewString())
		delivering.Go(func() {
			for n := range 2 {
				message := uuid.NewString()
				l := deadletter.Letter{
					ID: deadletter.NewID("heard-service", message), Service: "heard", Group: "heard-service", Handler: "heard/t", OrderID: string(ids[i]), MessageID: message, Topic: "t",
					Key: []byte(ids[i]), Payload: fmt.Appendf(nil, "%d", n), Status: deadletter.New, Attempts: 1, PublishedAt: time.Now(), FirstFailed: time.Now(), LastFailed: time.Now(),
				}
				l.Describe(errors.New("the carrier's table is broken"))
				put := service.parking.Put
				if n > 0 {
					put = service.parking.Behind
				}
				if _, err := put(t.Context(), l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	delivering.Wait()

	s := open(t, service.desk)
	s.send(Tick(time.Now()))
	s.settle()
	s.shows("    300     300     300", "the carrier's table is broken")
	s.press("enter")
	for s.m.letters.more {
		s.press("end")
	}
	if n := len(s.m.letters.rows); n != orders {
		t.Errorf("%d letters are listed", n)
	}
	s.press("enter")
	s.shows("verdict     applied", "Behind it: 1   Before it: 0")
	id, dropped := s.m.letter.id, s.m.letter.detail.letter.OrderID
	s.press("d")
	s.write("test order")
	s.press("enter")
	s.shows("is dropped", "status      dropped")
	s.press("end")
	s.shows("dropped by tester: test order")
	s.press("esc", "g")
	s.hides("> " + short(id))
	// What waited behind it is tried, and fails: it is a letter of its own now.
	s.until("the next message of the order is a letter", func() bool {
		s.wait(refreshEvery)
		return slices.ContainsFunc(s.m.letters.rows, func(r row) bool { return r.order == dropped && r.id != id })
	})

	service.broken.Store(false)
	s.press("R")
	s.write("mended")
	s.press("enter")
	s.shows("300 letters:")
	s.send(Key("enter"))
	s.until("the redrive has ended", func() bool { return s.m.redrive.stage == stopped })
	s.shows("300 of 300", "All have an outcome")
	s.until("everything was heard", func() bool {
		var open int
		if err := db.QueryRow("SELECT count(*) FROM deadletter.lanes").Scan(&open); err != nil {
			t.Fatal(err)
		}
		if open > 0 {
			s.wait(refreshEvery)
		}
		return open == 0
	})
	for _, id := range ids {
		want := []string{"0", "1"}
		if string(id) == dropped {
			want = want[1:]
		}
		row, _, err := service.store.Load(t.Context(), id)
		if err != nil || !slices.Equal(row.Heard, want) {
			t.Errorf("order %s was heard as %v, %v", id, row.Heard, err)
		}
	}
	s.press("esc", "esc")
	s.wait(refreshEvery)
	s.shows("No letter waits for anybody.")
	if text := s.text(); strings.Contains(text, "!") {
		t.Errorf("there was trouble:\n%s", text)
	}
}
