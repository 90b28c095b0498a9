package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"

	"millrace/event"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// seen is the row of a service that writes down what it hears.
type seen struct {
	ID   event.OrderID `json:"id"`
	Seen []string      `json:"seen"`
}

const seenSchema = `-- +goose Up
CREATE TABLE seen.rows (
    order_id uuid PRIMARY KEY, state json NOT NULL, version bigint NOT NULL DEFAULT 0, said bigint NOT NULL DEFAULT 0,
    processed uuid[] NOT NULL DEFAULT '{}', commands uuid[] NOT NULL DEFAULT '{}', waiting text[] NOT NULL DEFAULT '{}',
    correlation_id text NOT NULL DEFAULT '', parked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
`

var seenTable = outbox.Table[seen, outbox.None]{
	Service: "seen", Name: "seen.rows", New: func(id event.OrderID) seen { return seen{ID: id} },
}

func database(t *testing.T) *sql.DB {
	t.Helper()
	db := testserver.Postgres(t)
	for _, step := range []func() error{
		func() error { return outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()) },
		func() error { return outbox.Migrate(t.Context(), db, Schema, Migrations()) },
		func() error {
			return outbox.Migrate(t.Context(), db, "seen", fstest.MapFS{"00001_seen.sql": {Data: []byte(seenSchema)}})
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// replica is one process of the service.
type replica struct {
	store    *outbox.Store[seen, outbox.None]
	marks    *outbox.Marks
	parking  *Parking
	redriver *Redriver
}

const testTopic = "t"

// startReplica starts a store and a redriver; fails decides about each try.
func startReplica(t *testing.T, db *sql.DB, fails func(messageID string) error) *replica {
	t.Helper()
	r := &replica{store: outbox.NewPostgres(db, seenTable, outbox.Options{})}
	r.marks = outbox.NewMarks(db, r.store)
	r.parking = NewParking(db, "seen", r.marks, nil, Options{})
	r.redriver = NewRedriver(r.parking, slog.Default())
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.store.Run(ctx) })
	messages, err := r.redriver.Subscribe(ctx, testTopic)
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		for msg := range messages {
			running.Go(func() {
				letter, _ := Redriven(msg.Context())
				err := r.handle(msg.Context(), letter, false, fails)
				Settle(msg.Context(), Outcome{Err: err, Final: true, Attempts: 1})
				msg.Ack()
			})
		}
	})
	t.Cleanup(func() {
		_ = r.redriver.Close()
		stop()
		running.Wait()
	})
	return r
}

// handle is the service's reaction.
func (r *replica) handle(ctx context.Context, l Letter, parkable bool, fails func(messageID string) error) error {
	if err := fails(l.MessageID); err != nil {
		return err
	}
	ctx = event.WithCause(ctx, event.Cause{ID: l.MessageID, CorrelationID: "c", Parkable: parkable})
	return r.store.Update(ctx, event.OrderID(l.OrderID), func(s *seen) ([]event.Event, error) {
		s.Seen = append(s.Seen, string(l.Payload))
		return nil, nil
	})
}

// deliver is what the middleware does with a message from the log.
func (r *replica) deliver(ctx context.Context, l Letter, fails func(messageID string) error) error {
	for {
		err := r.handle(ctx, l, true, fails)
		if err == nil {
			return nil
		}
		put := r.parking.Put
		if errors.Is(err, outbox.ErrParked) {
			put = r.parking.Behind
		} else {
			l.Describe(err)
		}
		status, err := put(ctx, l)
		if err != nil || status != "" {
			return err
		}
	}
}

func letterFor(order event.OrderID, n int) Letter {
	id := uuid.NewString()
	return Letter{
		ID: NewID("seen-service", id), Service: "seen", Group: "seen-service", Handler: "seen/t", OrderID: string(order), MessageID: id, Topic: testTopic,
		Key: []byte(order), Payload: fmt.Appendf(nil, "%d", n), Status: New, Attempts: 1, PublishedAt: time.Now(), FirstFailed: time.Now(), LastFailed: time.Now(),
	}
}

const patience = 60 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// Whatever fails, however often, and whoever redrives it meanwhile: each order is processed in order, whole,
// and nothing of it twice. Two replicas get the messages, those of an order now at the one, now at the other.
func TestEachOrderIsProcessedInOrder(t *testing.T) {
	db := database(t)
	const orders, messages, chance = 100, 12, 0.2
	var tries sync.Map // message id -> *atomic.Int64
	failures := atomic.Int64{}
	fails := func(id string) error {
		n, _ := tries.LoadOrStore(id, new(atomic.Int64))
		if n.(*atomic.Int64).Add(1) <= 3 && rand.Float64() < chance {
			failures.Add(1)
			return fmt.Errorf("boom %s", id)
		}
		return nil
	}
	replicas := []*replica{startReplica(t, db, fails), startReplica(t, db, fails)}
	ctx, stop := context.WithCancel(t.Context())
	var operator sync.WaitGroup
	operator.Go(func() {
		desk := NewDesk(db, map[string]*outbox.Marks{"seen": replicas[0].marks}, "tester")
		for ctx.Err() == nil {
			list, err := letters(ctx, db, "status = 'new'")
			for _, l := range list {
				if _, err := desk.Redrive(ctx, []string{l.ID}, "again"); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	var deliveries sync.WaitGroup
	ids := make([]event.OrderID, orders)
	for i := range ids {
		ids[i] = event.OrderID(uuid.NewString())
		deliveries.Go(func() {
			for n := range messages {
				l := letterFor(ids[i], n)
				for range 1 + rand.N(2) { // some come twice
					if err := replicas[rand.N(2)].deliver(t.Context(), l, fails); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	deliveries.Wait()
	open := func() (n int) {
		if err := db.QueryRow("SELECT count(*) FROM deadletter.lanes").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "every lane comes to its end", func() bool { return open() == 0 })
	stop()
	operator.Wait()
	want := make([]string, messages)
	for n := range want {
		want[n] = fmt.Sprint(n)
	}
	for _, id := range ids {
		row, _, err := replicas[0].store.Load(t.Context(), id)
		if err != nil || !slices.Equal(row.Seen, want) {
			t.Errorf("order %s was processed as %v, %v", id, row.Seen, err)
		}
	}
	var marked, parked int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM seen.rows WHERE parked_at IS NOT NULL), (SELECT count(*) FROM deadletter.letters WHERE "+"status IN ('parked', 'retrying', 'new', 'redriving'))").Scan(&marked, &parked); err != nil {
		t.Fatal(err)
	}
	if marked != 0 || parked != 0 || failures.Load() == 0 {
		t.Errorf("%d rows are marked, %d messages are put aside, %d failures", marked, parked, failures.Load())
	}
}
