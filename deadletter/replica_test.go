package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/deadletter/deadlettertest"
	"millrace/event"
	"millrace/outbox"
	"millrace/testserver"
)

// atOnce is more than there are cores: most of these tests wait for a lease to end, or for the next look.
const atOnce = "4"

func TestMain(m *testing.M) {
	// A default, read before the command line, so that -parallel still says otherwise.
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err) // there is no such flag any more
	}
	testserver.Main(m)
}

func database(t *testing.T) *sql.DB {
	t.Helper()
	return pool(t, migratedDSN(t), "test")
}

// migratedDSN is the address of a database with the tables of the service and of the letters.
func migratedDSN(t *testing.T) string {
	t.Helper()
	dsn := testserver.PostgresDSN(t)
	db := pool(t, dsn, "migrations")
	defer db.Close()
	deadlettertest.Migrate(t, db, Schema, Migrations())
	return dsn
}

// connections is more than a replica needs: its store, the lanes that go on share their batches.
const connections = 12

// pool is a process's connections; name tells them from another's.
func pool(t *testing.T, dsn, name string) *sql.DB {
	t.Helper()
	db := sql.OpenDB(connector(t, dsn, name))
	db.SetMaxOpenConns(connections)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// replica is one process of the service.
type replica struct {
	*deadlettertest.Process
	name     string
	db       *sql.DB
	store    *deadlettertest.Store
	marks    *outbox.Marks
	parking  *Parking
	redriver *Redriver
	react    react
}

// react is what a service does with a message: update changes its row. redriven is false for one that comes from the log.
type react func(ctx context.Context, l Letter, redriven bool, update func() error) error

// ifNot reacts by the book, unless fails has something against the message.
func ifNot(fails func(messageID string) error) react {
	return func(_ context.Context, l Letter, _ bool, update func() error) error {
		if err := fails(l.MessageID); err != nil {
			return err
		}
		return update()
	}
}

func never(string) error { return nil }

const (
	testTopic = "t"
	patience  = deadlettertest.Patience
)

var eventually = deadlettertest.Eventually

// newReplica puts a process together; start has it redrive.
func newReplica(t *testing.T, db *sql.DB, name string, react react, opts Options) *replica {
	t.Helper()
	opts.Logger = deadlettertest.Log(t)
	r := &replica{name: name, db: db, react: react, store: deadlettertest.NewStore(t, db)}
	r.Process = deadlettertest.Start(t, r.store)
	r.marks = outbox.NewMarks(db, r.store)
	r.parking = NewParking(db, deadlettertest.Service, r.marks, nil, opts)
	r.redriver = NewRedriver(r.parking, opts.Logger)
	t.Cleanup(func() {
		r.Stop()
		_ = r.redriver.Close()
	})
	return r
}

func (r *replica) start(t *testing.T) *replica {
	t.Helper()
	r.Redrive(r.redriver, func(msg *message.Message) {
		letter, _ := Redriven(msg.Context())
		ctx, saw := outbox.Observe(msg.Context())
		o := Outcome{Err: r.handle(ctx, letter, true), Final: true, Attempts: 1, Version: "test"}
		// As in the router's middleware: what the process, or its lease, broke off has not failed.
		if r.Alive.Err() != nil || msg.Context().Err() != nil || outbox.IsTransient(o.Err) || errors.Is(o.Err, outbox.ErrStopped) {
			o.Final, o.RetryIn = false, 10*time.Millisecond
		}
		if !saw.Changed() {
			o.Unchanged = "nothing changed"
		}
		Settle(msg.Context(), o)
	}, testTopic)
	return r
}

// startReplica starts a process with which nothing is the matter but what fails says.
func startReplica(t *testing.T, db *sql.DB, fails func(messageID string) error) *replica {
	t.Helper()
	return newReplica(t, db, "replica", ifNot(fails), Options{}).start(t)
}

// kill ends a process as kill -9 does, as far as anybody else can tell: it writes nothing from now on, not even a farewell.
func (r *replica) kill(t *testing.T, admin *sql.DB) {
	t.Helper()
	_ = r.db.Close()
	if _, err := admin.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()", r.name); err != nil {
		t.Error(err)
	}
	r.Stop()
	r.redriver.stop()
}

// handle is the service's reaction.
func (r *replica) handle(ctx context.Context, l Letter, redriven bool) error {
	return r.react(ctx, l, redriven, func() error {
		return deadlettertest.See(ctx, r.store, event.Cause{ID: l.MessageID, CorrelationID: "c", Parkable: !redriven}, event.OrderID(l.OrderID), string(l.Payload))
	})
}

// deliver is what the middleware does with a message from the log.
func (r *replica) deliver(ctx context.Context, l Letter) (Status, error) {
	for {
		err := r.handle(ctx, l, false)
		if err == nil || r.Alive.Err() != nil || outbox.IsTransient(err) || errors.Is(err, outbox.ErrStopped) {
			return "", errors.Join(err, r.Alive.Err())
		}
		put := r.parking.Put
		if errors.Is(err, outbox.ErrParked) {
			put = r.parking.Behind
		} else {
			l.Describe(err)
		}
		status, err := put(ctx, l)
		if err != nil || status != "" {
			return status, err
		}
	}
}

// must delivers messages that nothing prevents from being processed or put aside.
func (r *replica) must(t *testing.T, want Status, messages ...Letter) {
	t.Helper()
	for _, l := range messages {
		if status, err := r.deliver(t.Context(), l); err != nil || status != want {
			t.Fatalf("message %s became %q, %v; want %q", l.Payload, status, err, want)
		}
	}
}

func (r *replica) seen(t *testing.T, id event.OrderID) []string {
	t.Helper()
	return deadlettertest.Seen(t, r.store, id)
}

func (r *replica) desk() *Desk {
	return NewDesk(r.db, map[string]*outbox.Marks{deadlettertest.Service: r.marks}, "tester")
}

func newOrder() event.OrderID { return event.OrderID(uuid.NewString()) }

func letterFor(order event.OrderID, n int) Letter {
	id := uuid.NewString()
	return Letter{
		ID: NewID(deadlettertest.Group, id), Service: deadlettertest.Service, Group: deadlettertest.Group, Handler: deadlettertest.Service + "/" + testTopic, OrderID: string(order), MessageID: id, Topic: testTopic,
		Key: []byte(order), Payload: fmt.Appendf(nil, "%d", n), Status: New, Attempts: 1, PublishedAt: time.Now(), FirstFailed: time.Now(), LastFailed: time.Now(),
	}
}

// messages are n messages of one order.
func messages(order event.OrderID, n int) []Letter {
	list := make([]Letter, n)
	for i := range list {
		list[i] = letterFor(order, i)
	}
	return list
}

// number is the answer of a query for one.
func number(t *testing.T, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	openLanes   = "SELECT count(*) FROM deadletter.lanes"
	markedRows  = "SELECT count(*) FROM " + deadlettertest.Rows + " WHERE parked_at IS NOT NULL"
	openLetters = "SELECT count(*) FROM deadletter.letters WHERE " + open
)

// settled waits until nothing is put aside any more, and no mark is left.
func settled(t *testing.T, db *sql.DB) {
	t.Helper()
	eventually(t, "every lane comes to its end", func() bool { return number(t, db, openLanes) == 0 })
	if marked, left := number(t, db, markedRows), number(t, db, openLetters); marked != 0 || left != 0 {
		t.Errorf("%d rows are marked, %d messages are put aside, and there is no lane", marked, left)
	}
}

// reactTo fails on one message until it is mended, and then reacts to it with try; all others are processed.
func reactTo(id string, mended *atomic.Bool, try func(update func() error) error) react {
	return func(_ context.Context, l Letter, redriven bool, update func() error) error {
		switch {
		case l.ID != id:
			return update()
		case !mended.Load():
			return errors.New("boom")
		case redriven:
			return try(update)
		default:
			return update()
		}
	}
}
