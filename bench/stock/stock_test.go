package stock_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/bench/stock"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// patience bounds each wait of a test, on a machine busy with others.
const patience = 2 * time.Minute

// look is how often a test looks whether what it waits for is there.
const look = 10 * time.Millisecond

// shop is a running shop and its database.
type shop struct {
	t   *testing.T
	url string
	db  *sql.DB
}

// open runs a shop until the test is over.
func open(t *testing.T, settings stock.Settings, dsn string) *shop {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	broker := testserver.Kafka(t) // before the shop, and so gone after it
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- stock.Run(ctx, stock.Config{
			Database: dsn, Brokers: []string{broker}, Listen: "127.0.0.1:0", Partitions: 3, Settings: settings,
			OrderDeadline: time.Hour, PaymentDeadline: time.Hour, CarrierStep: 10 * time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
			Ready:  func(url string) { ready <- url },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the shop ended with %v", err)
		}
		_ = db.Close()
	})
	s := &shop{t: t, db: db}
	select {
	case s.url = <-ready:
	case err := <-done:
		t.Fatalf("the shop did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the shop is not ready")
	}
	return s
}

// place sends one order and returns its id.
func (s *shop) place(method, postalCode string) string {
	s.t.Helper()
	body := fmt.Sprintf(`{"customerId": "c-42", "currency": "EUR", "paymentMethod": %q, "items": [{"sku": "MUG-RED", "quantity": 2, "unitPrice": 1250}],
  "shippingAddress": {"name": "Ada Byron", "street": "1 Mill Lane", "city": "Bath", "postalCode": %q, "country": "GB"},
  "contact": {"email": "ada@example.com", "phone": "+441225000000", "deviceToken": "d-1"}}`, method, postalCode)
	response, err := http.Post(s.url+"/orders", "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	var accepted struct{ OrderID string }
	data, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(data, &accepted)
	}
	if err != nil || response.StatusCode != http.StatusAccepted || accepted.OrderID == "" {
		s.t.Fatalf("POST /orders: %s %s %v", response.Status, data, err)
	}
	return accepted.OrderID
}

// becomes waits until the order has the status.
func (s *shop) becomes(id, want string) {
	s.t.Helper()
	var status string
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(look) {
		if err := s.db.QueryRow("SELECT status FROM orders.orders WHERE order_id = $1", id).Scan(&status); err != nil {
			s.t.Fatal(err)
		}
		if status == want {
			return
		}
	}
	s.t.Fatalf("order %s is %s, want %s", id, status, want)
}

func TestTheWholeSaga(t *testing.T) {
	for name, settings := range map[string]stock.Settings{"documented": stock.Documented(), "tuned": stock.Tuned()} {
		t.Run(name, func(t *testing.T) {
			s := open(t, settings, testserver.PostgresDSN(t))
			ends := map[string]string{}
			for _, c := range []struct{ method, code, end string }{
				{"pm_accepted", "BA1 1AA", "DELIVERED"},
				{"pm_accepted", "BA1 1AA", "DELIVERED"},
				{"pm_declined", "BA1 1AA", "CANCELLED"},
				{"pm_pending_accepted", "BA1 1AA", "DELIVERED"},
				{"pm_unavailable", "BA1 1AA", "DELIVERED"},
				{"pm_timeout", "BA1 1AA", "DELIVERED"},
				{"pm_accepted", "SHIP-LOST", "CANCELLED"},
				{"pm_accepted", "SHIP-REFUSED", "CANCELLED"},
			} {
				ends[s.place(c.method, c.code)] = c.end
			}
			for id, end := range ends {
				s.becomes(id, end)
			}
			// The pieces of the lost parcel stay sold, its money went back.
			s.rests(stock.Totals{Orders: 8, Delivered: 5, Cancelled: 3, Pieces: 12, Kept: 12500})
		})
	}
}

// rests waits until everything is done, and compares what that is.
func (s *shop) rests(want stock.Totals) {
	s.t.Helper()
	var got stock.Totals
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(look) {
		if got, err = stock.Check(s.t.Context(), s.db); err == nil && got == want {
			return
		}
	}
	s.t.Fatalf("at rest the shop has done %+v, want %+v; %v", got, want, err)
}
