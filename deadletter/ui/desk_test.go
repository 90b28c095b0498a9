package ui

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/deadletter/deadlettertest"
	"millrace/event"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// realDesk is a deadletter.Desk, and a verdict.
type realDesk struct{ *deadletter.Desk }

func (realDesk) Verdict(context.Context, *deadletter.Letter) string { return "applied" }

// service is one that hears messages, redrives those that failed, and fails for as long as it is broken.
type service struct {
	store   *deadlettertest.Store
	parking *deadletter.Parking
	desk    realDesk
	broken  atomic.Bool
}

func startService(t *testing.T, db *sql.DB) *service {
	t.Helper()
	deadlettertest.Migrate(t, db, deadletter.Schema, deadletter.Migrations())
	s := &service{store: deadlettertest.NewStore(t, db)}
	log, marks := deadlettertest.Log(t), outbox.NewMarks(db, s.store)
	s.parking = deadletter.NewParking(db, deadlettertest.Service, marks, nil, deadletter.Options{Logger: log})
	s.desk = realDesk{deadletter.NewDesk(db, map[string]*outbox.Marks{deadlettertest.Service: marks}, "tester")}
	s.broken.Store(true)
	deadlettertest.Start(t, s.store).Redrive(deadletter.NewRedriver(s.parking, log), func(msg *message.Message) {
		l, _ := deadletter.Redriven(msg.Context())
		deadletter.Settle(msg.Context(), deadletter.Outcome{Err: s.hear(msg.Context(), l), Final: true, Attempts: 1})
	}, "t")
	return s
}

func (s *service) hear(ctx context.Context, l deadletter.Letter) error {
	if s.broken.Load() {
		return errors.New("the carrier's table is broken")
	}
	return deadlettertest.See(ctx, s.store, event.Cause{ID: l.MessageID, CorrelationID: "c"}, event.OrderID(l.OrderID), string(l.Payload))
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
					ID: deadletter.NewID(deadlettertest.Group, message), Service: deadlettertest.Service, Group: deadlettertest.Group, Handler: "seen/t", OrderID: string(ids[i]), MessageID: message, Topic: "t",
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
	s.shows("verdict     applied", "0 before it, 1 behind")
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
	s.until("everything was seen", func() bool {
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
		if seen := deadlettertest.Seen(t, service.store, id); !slices.Equal(seen, want) {
			t.Errorf("of order %s %v was seen", id, seen)
		}
	}
	s.press("esc", "esc")
	s.wait(refreshEvery)
	s.shows("No letter waits for anybody.")
	if text := s.text(); strings.Contains(text, "!") {
		t.Errorf("there was trouble:\n%s", text)
	}
}
