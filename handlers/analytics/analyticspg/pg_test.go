package analyticspg_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/handlers/analytics/analyticspg"
	"millrace/outbox"
	"millrace/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Stopping(m)) }

var start = time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)

var bigNumbers = cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })

func id(n int) event.OrderID { return event.OrderID(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", n)) }

// world is the service on a real database.
type world struct {
	*analytics.Service
	db     *sql.DB
	folder *analyticspg.Folder
	reader *analyticspg.Reader
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := testserver.Postgres(t)
	if err := outbox.Migrate(t.Context(), db, outbox.Schema, outbox.Migrations()); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Migrate(t.Context(), db, analyticspg.Schema, analyticspg.Migrations()); err != nil {
		t.Fatal(err)
	}
	store := outbox.NewPostgres(db, analyticspg.Table(), outbox.Options{})
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- store.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	service, err := analytics.New(store)
	if err != nil {
		t.Fatal(err)
	}
	return &world{service, db, analyticspg.NewFolder(db, nil), analyticspg.NewReader(db)}
}

func (w *world) count(t *testing.T, after time.Duration, e event.Event) {
	t.Helper()
	w.countAs(t, uuid.NewString(), after, e)
}

func (w *world) countAs(t *testing.T, cause string, after time.Duration, e event.Event) {
	t.Helper()
	ctx := event.WithCause(t.Context(), event.Cause{ID: cause, Time: start.Add(after)})
	if err := w.Count(ctx, e); err != nil {
		t.Fatal(err)
	}
}

func (w *world) deltas(t *testing.T) (n int) {
	t.Helper()
	if err := w.db.QueryRow("SELECT count(*) FROM analytics.deltas").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *world) summary(t *testing.T) analytics.Summary {
	t.Helper()
	s, err := w.reader.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.AsOf.IsZero() || s.AsOf.Location() != time.UTC {
		t.Errorf("as of %v", s.AsOf)
	}
	return s
}

func (w *world) minutes(t *testing.T) []analytics.Minute {
	t.Helper()
	m, err := w.reader.Minutes(t.Context(), start.Truncate(time.Minute), start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var equal = cmp.Options{bigNumbers, cmpopts.IgnoreFields(analytics.Summary{}, "AsOf"), cmpopts.EquateEmpty()}

func TestNothingCountedYet(t *testing.T) {
	w := newWorld(t)
	if diff := cmp.Diff(analytics.Summary{}, w.summary(t), equal); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if m := w.minutes(t); len(m) != 0 {
		t.Errorf("minutes %+v", m)
	}
	if n, err := w.folder.Fold(t.Context()); n != 0 || err != nil {
		t.Errorf("folded %d, %v", n, err)
	}
}

func TestSumsAreTheSameBeforeDuringAndAfterFolding(t *testing.T) {
	w := newWorld(t)
	eur := event.Money{Amount: 2500, Currency: "EUR"}
	cause := uuid.NewString()
	w.countAs(t, cause, 0, event.OrderCreated{OrderID: id(1), Total: eur})
	w.countAs(t, cause, 0, event.OrderCreated{OrderID: id(1), Total: eur}) // delivered twice
	w.count(t, time.Second, event.PaymentSucceeded{OrderID: id(1), Total: eur})
	w.count(t, time.Second, event.OrderStatusUpdated{OrderID: id(1), Status: event.OrderPaid})
	w.count(t, 0, event.OrderCreated{OrderID: id(2), Total: eur})
	w.count(t, time.Minute, event.OrderStatusUpdated{OrderID: id(2), Status: event.OrderIsCancelled, Reason: event.ReasonOutOfStock})

	want := analytics.Summary{
		Orders:      analytics.Counts{Placed: 2, Paid: 1, Cancelled: 1},
		CancelledBy: map[event.CancelReason]int64{event.ReasonOutOfStock: 1},
		Revenue:     []analytics.Revenue{{Currency: "EUR", Amount: big.NewInt(2500)}},
		Conversion:  0.5,
	}
	wantMinutes := []analytics.Minute{
		{Start: start.Truncate(time.Minute), Orders: analytics.Counts{Placed: 2, Paid: 1}, Revenue: want.Revenue},
		{Start: start.Truncate(time.Minute).Add(time.Minute), Orders: analytics.Counts{Cancelled: 1}},
	}
	check := func(when string) {
		t.Helper()
		got := w.summary(t)
		if got.TimeToPaid == nil || math.Abs(got.TimeToPaid.P99.Seconds()-1) > 0.045 {
			t.Errorf("%s: time to PAID %+v, want about 1s", when, got.TimeToPaid)
		}
		got.TimeToPaid = nil
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(wantMinutes, w.minutes(t), equal); diff != "" {
			t.Errorf("%s, by minute (-want +got):\n%s", when, diff)
		}
	}
	check("nothing folded")
	if n, err := w.folder.Fold(t.Context()); err != nil || n == 0 {
		t.Fatalf("folded %d, %v", n, err)
	}
	if n := w.deltas(t); n != 0 {
		t.Errorf("%d deltas are left", n)
	}
	check("all folded")
	var series int
	if err := w.db.QueryRow("SELECT count(*) FROM analytics.minutes WHERE name = $1", analytics.SumTimeToPaid).Scan(&series); err != nil {
		t.Fatal(err)
	}
	if series != 0 {
		t.Errorf("times to PAID are kept by the minute: %d rows", series)
	}

	w.count(t, 2*time.Minute, event.PaymentRefunded{OrderID: id(1), Total: eur, AfterSuccess: true})
	if got := w.summary(t).Revenue; len(got) != 0 {
		t.Errorf("half folded: revenue %v, want none", got)
	}
	w.count(t, 2*time.Minute, event.OrderCreated{OrderID: id(3), Total: eur})
	if got := w.summary(t).Orders.Placed; got != 3 {
		t.Errorf("half folded: %d placed, want 3", got)
	}
}

func TestTheLargestRevenueIsFolded(t *testing.T) {
	w := newWorld(t)
	most := event.Money{Amount: math.MaxInt64, Currency: "EUR"}
	want := new(big.Int)
	for n := range 3 {
		w.count(t, 0, event.PaymentSucceeded{OrderID: id(n), Total: most})
		want.Add(want, big.NewInt(math.MaxInt64))
	}
	for range 2 {
		if got := w.summary(t).Revenue[0].Amount; got.Cmp(want) != 0 {
			t.Errorf("revenue %v, want %v", got, want)
		}
		if _, err := w.folder.Fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Readers, writers and several folders at once: every read sees whole numbers that
// only grow, and in the end each difference was added once.
func TestSeveralFoldersAtOnce(t *testing.T) {
	w := newWorld(t)
	const orders, folders = 400, 3
	ctx, stop := context.WithCancel(t.Context())
	var folding, counting sync.WaitGroup
	for range folders {
		folding.Go(func() {
			for ctx.Err() == nil {
				if _, err := w.folder.Fold(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("fold: %v", err)
					return
				}
			}
		})
	}
	folding.Go(func() {
		var last int64
		for ctx.Err() == nil {
			s, err := w.reader.Summary(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("read: %v", err)
				}
				return
			}
			if s.Orders.Placed < last {
				t.Errorf("%d orders placed, after %d", s.Orders.Placed, last)
			}
			last = s.Orders.Placed
		}
	})
	for n := range orders {
		counting.Go(func() { w.count(t, 0, event.OrderCreated{OrderID: id(n)}) })
	}
	counting.Wait()
	stop()
	folding.Wait()
	if got := w.summary(t).Orders.Placed; got != orders {
		t.Errorf("%d orders placed, want %d", got, orders)
	}
}

func TestAFolderSkipsItsTurnWhileAnotherIsAtIt(t *testing.T) {
	w := newWorld(t)
	w.count(t, 0, event.OrderCreated{OrderID: id(1)})
	other, err := w.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec("SELECT FROM analytics.folding FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	if n, err := w.folder.Fold(t.Context()); n != 0 || err != nil {
		t.Errorf("folded %d, %v", n, err)
	}
	if err := other.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.folder.Fold(t.Context()); n != 1 || err != nil {
		t.Errorf("folded %d, %v; want 1", n, err)
	}
}

func TestRunFoldsUntilItIsStopped(t *testing.T) {
	w := newWorld(t)
	w.count(t, 0, event.OrderCreated{OrderID: id(1)})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.folder.Run(ctx) }()
	deadline := time.After(30 * time.Second)
	for w.deltas(t) > 0 {
		select {
		case <-deadline:
			t.Fatal("nothing was folded")
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
