package notificationpg_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/handlers/notification/notificationpg"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

const orderID = event.OrderID("0199c0de-0000-7000-8000-000000000001")

func database(t *testing.T) *sql.DB {
	t.Helper()
	db := testserver.Postgres(t)
	if err := outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Migrate(t.Context(), db, notificationpg.Schema, notificationpg.Migrations()); err != nil {
		t.Fatal(err)
	}
	return db
}

// caused is a context for the next change; each has an id of its own.
func caused(t *testing.T) context.Context {
	return event.WithCause(t.Context(), event.Cause{ID: uuid.NewString(), Time: time.Now()})
}

func running(t *testing.T, db *sql.DB) *outbox.Store[notification.Order, outbox.None] {
	t.Helper()
	store := outbox.NewPostgres(db, notificationpg.Table(), outbox.Options{})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- store.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return store
}

func created(id event.OrderID, customer string) event.OrderCreated {
	return event.OrderCreated{OrderID: id, CustomerID: customer, Total: event.Money{Amount: 1, Currency: "EUR"},
		Contact: &event.Contact{Email: "ada@example.com"}}
}

// From an event in to a notice sent, on the real store and the real sender.
func TestANoticeGoesThroughTheDatabase(t *testing.T) {
	db := database(t)
	store := running(t, db)
	sender := notificationpg.NewSender(db, slog.New(slog.DiscardHandler))
	service, err := notification.New(store, notification.Senders{Email: sender, SMS: sender, Push: sender}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := service.PaymentSucceeded(caused(t), event.PaymentSucceeded{OrderID: orderID}); err != nil {
		t.Fatal(err)
	}
	if err := service.OrderCreated(caused(t), created(orderID, "c-42")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // placed, then paid: the second is due once the first went out
		row, ok, err := store.Load(t.Context(), orderID)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		for _, wait := range row.Due() {
			change, err := service.Perform(t.Context(), row, wait.Step, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.UpdateExisting(caused(t), orderID, change); err != nil {
				t.Fatal(err)
			}
		}
	}

	orders, err := notificationpg.NewReader(db).OfOrder(t.Context(), orderID)
	if err != nil || len(orders) != 1 {
		t.Fatalf("%d orders, %v", len(orders), err)
	}
	got := map[string]notification.NoticeStatus{}
	for _, n := range orders[0].Notices {
		got[n.Step()] = n.Status
		if (n.Status == notification.Sent) != (time.Since(n.SentAt) < time.Hour) {
			t.Errorf("%s: %s at %v", n.Step(), n.Status, n.SentAt)
		}
	}
	want := map[string]notification.NoticeStatus{
		"placed/email": "SENT", "placed/sms": "SKIPPED", "placed/push": "SKIPPED",
		"paid/email": "SENT", "paid/sms": "SKIPPED", "paid/push": "SKIPPED",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var said, waiting int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM millrace.outbox), (SELECT count(*) FROM millrace.waits)").Scan(&said, &waiting); err != nil {
		t.Fatal(err)
	}
	if said != 2 || waiting != 0 {
		t.Errorf("%d events in the outbox, %d waits; want 2 and 0", said, waiting)
	}
}

func TestOrdersOfACustomerNewestFirst(t *testing.T) {
	db := database(t)
	store := running(t, db)
	service, err := notification.New(store, notification.Senders{Email: notificationpg.NewSender(db, nil)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := func(n int) event.OrderID { return event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n)) }
	long := strings.Repeat("ä", 100_000) // no index could hold it whole
	for n, customer := range []string{"c-42", "other", "c-42", long, "c-42"} {
		if err := service.OrderCreated(caused(t), created(id(n), customer)); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(customer string, limit int) (list []event.OrderID) {
		orders, err := notificationpg.NewReader(db).OfCustomer(t.Context(), customer, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range orders {
			list = append(list, o.ID)
		}
		return list
	}
	for _, c := range []struct {
		customer string
		limit    int
		want     []event.OrderID
	}{
		{"c-42", 10, []event.OrderID{id(4), id(2), id(0)}},
		{"c-42", 2, []event.OrderID{id(4), id(2)}},
		{long, 10, []event.OrderID{id(3)}},
		{long[:256], 10, nil}, // the same 128 characters, another customer
		{"nobody", 10, nil},
	} {
		if diff := cmp.Diff(c.want, ids(c.customer, c.limit)); diff != "" {
			t.Errorf("%.10s, %d (-want +got):\n%s", c.customer, c.limit, diff)
		}
	}
}

func message(n int) notification.Message {
	return notification.Message{
		Key: fmt.Sprintf("%s/placed-%d/email", orderID, n), NotificationID: uuid.NewString(), OrderID: orderID,
		CustomerID: "c-42", Kind: event.NoticePlaced, Channel: event.ChannelEmail,
		To: "ada@example.com", Subject: "We have your order", Text: "Thank you.",
	}
}

func TestConcurrentSendersRecordEachKeyOnce(t *testing.T) {
	db := database(t)
	// Two senders are two processes; each message is sent by both, twice.
	senders := []*notificationpg.Sender{notificationpg.NewSender(db, slog.New(slog.DiscardHandler)), notificationpg.NewSender(db, slog.New(slog.DiscardHandler))}
	const messages = 300
	times := make([][]time.Time, messages)
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := range messages {
		m := message(n)
		for i := range 4 {
			all.Go(func() {
				// As the executor does: no answer, ask again.
				at, err := senders[i%len(senders)].Send(t.Context(), m)
				for tries := 1; err != nil && tries < 10; tries++ {
					at, err = senders[i%len(senders)].Send(t.Context(), m)
				}
				if err != nil {
					t.Errorf("message %d: %v", n, err)
					return
				}
				mu.Lock()
				times[n] = append(times[n], at)
				mu.Unlock()
			})
		}
	}
	all.Wait()
	for n, answers := range times {
		for _, at := range answers {
			if !at.Equal(answers[0]) || at.IsZero() {
				t.Fatalf("message %d was sent at %v and at %v", n, answers[0], at)
			}
		}
	}
	var recorded, flushes int
	if err := db.QueryRow("SELECT count(*), count(DISTINCT xmin::text) FROM notification.sent").Scan(&recorded, &flushes); err != nil {
		t.Fatal(err)
	}
	if recorded != messages {
		t.Errorf("%d rows, want %d", recorded, messages)
	}
	if flushes > messages/2 {
		t.Errorf("%d transactions for %d messages: they are not grouped", flushes, messages)
	}
}

func TestAMessageThatCannotBeKeptFailsAlone(t *testing.T) {
	db := database(t)
	sender := notificationpg.NewSender(db, nil)
	bad := message(1)
	bad.Text = "a\x00b"
	if _, err := sender.Send(t.Context(), bad); !errors.Is(err, notification.ErrRefused) {
		t.Errorf("got %v, want a refusal for good", err)
	}
	if _, err := sender.Send(t.Context(), message(2)); err != nil {
		t.Error(err)
	}
}

func TestSendReturnsWhenItsContextEndsOrTheDatabaseIsAway(t *testing.T) {
	db := database(t)
	sender := notificationpg.NewSender(db, slog.New(slog.DiscardHandler))
	lock, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec("LOCK TABLE notification.sent"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sender.Send(ctx, message(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), message(1)); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sender.Send(t.Context(), message(2)); err == nil || errors.Is(err, notification.ErrRefused) {
		t.Errorf("got %v, want an error that is asked again", err)
	}
}

func TestTheLogHoldsNothingPersonal(t *testing.T) {
	db := database(t)
	var log bytes.Buffer
	m := message(1)
	if _, err := notificationpg.NewSender(db, slog.New(slog.NewTextHandler(&log, nil))).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), m.NotificationID) {
		t.Errorf("the log does not name the notice: %s", log.String())
	}
	if strings.Contains(log.String(), m.To) || strings.Contains(log.String(), m.Text) {
		t.Errorf("the log names the recipient: %s", log.String())
	}
}
