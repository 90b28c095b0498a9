package analyticshttp

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// reads holds what a database would answer.
type reads struct {
	mu       sync.Mutex
	summary  analytics.Summary
	minutes  []analytics.Minute
	err      error
	asked    int
	grow     func() // changes the summary before each read
	from, to time.Time
}

func (r *reads) Summary(context.Context) (analytics.Summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.grow != nil {
		r.grow()
	}
	s := r.summary
	s.AsOf = noon.Add(time.Duration(r.asked) * time.Second) // no two reads at one time
	return s, r.err
}

func (r *reads) Minutes(_ context.Context, from, to time.Time) ([]analytics.Minute, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from, r.to = from, to
	return r.minutes, r.err
}

func (r *reads) place(orders int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Orders.Placed = orders
}

func (r *reads) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func newAPI(r *reads, p pace) *httpapi.API {
	api := httpapi.New(httpapi.Config{})
	register(api.Huma, r, p)
	return api
}

func get(r *reads, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	newAPI(r, streamPace).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func checkJSON(t *testing.T, body, want string) {
	t.Helper()
	decode := func(s string) (v any) {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber() // amounts may exceed what a float64 tells apart
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %s", err, s)
		}
		return v
	}
	if diff := cmp.Diff(decode(want), decode(body)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSummary(t *testing.T) {
	amount, _ := new(big.Int).SetString("18446744073709551614", 10) // twice what an int64 holds
	w := get(&reads{summary: analytics.Summary{
		Orders:      analytics.Counts{Placed: 5, Paid: 4, Shipped: 3, Delivered: 2, Cancelled: 1},
		CancelledBy: map[event.CancelReason]int64{event.ReasonOutOfStock: 1},
		Revenue:     []analytics.Revenue{{Currency: "EUR", Amount: amount}, {Currency: "USD", Amount: big.NewInt(-5)}},
		Conversion:  0.8,
		TimeToPaid:  &analytics.Quantiles{P50: 12_345_678, P95: time.Second, P99: 2 * time.Minute},
	}}, "/analytics/summary")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	checkJSON(t, w.Body.String(), `{
		"orders": {"placed": 5, "paid": 4, "shipped": 3, "delivered": 2, "cancelled": 1},
		"cancelledBy": {"OUT_OF_STOCK": 1},
		"revenue": [{"currency": "EUR", "amount": 18446744073709551614}, {"currency": "USD", "amount": -5}],
		"conversion": 0.8,
		"timeToPaid": {"p50": 0.012, "p95": 1, "p99": 120},
		"asOf": "2026-03-01T12:00:01Z"}`)
}

func TestSummaryOfNothing(t *testing.T) {
	w := get(&reads{}, "/analytics/summary")
	checkJSON(t, w.Body.String(), `{
		"orders": {"placed": 0, "paid": 0, "shipped": 0, "delivered": 0, "cancelled": 0},
		"cancelledBy": {}, "revenue": [], "conversion": 0,
		"timeToPaid": {"p50": null, "p95": null, "p99": null},
		"asOf": "2026-03-01T12:00:01Z"}`)
}

func TestOrdersByMinute(t *testing.T) {
	r := &reads{minutes: []analytics.Minute{{
		Start: noon, Orders: analytics.Counts{Placed: 2, Paid: 1},
		Revenue: []analytics.Revenue{{Currency: "EUR", Amount: big.NewInt(2500)}},
	}}}
	w := get(r, "/analytics/orders?by=minute&from=2026-03-01T13:00:59%2B01:00&to=2026-03-01T12:01:01Z")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	checkJSON(t, w.Body.String(), `{"by": "minute", "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:02:00Z", "minutes": [
		{"minute": "2026-03-01T12:00:00Z", "placed": 2, "paid": 1, "shipped": 0, "delivered": 0, "cancelled": 0,
		 "revenue": [{"currency": "EUR", "amount": 2500}]}]}`)
	if !r.from.Equal(noon) || !r.to.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("asked for %v to %v; a minute is whole or not there", r.from, r.to)
	}
}

func TestOrdersByMinuteOfTheLastHourByDefault(t *testing.T) {
	r := &reads{}
	w := get(r, "/analytics/orders")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	if r.to.Sub(r.from) != time.Hour || time.Until(r.to) > time.Minute || time.Until(r.to) < -time.Minute {
		t.Errorf("asked for %v to %v", r.from, r.to)
	}
}

func TestBadSpansAreRefused(t *testing.T) {
	for query, location := range map[string]string{
		"from=2026-03-01T12:00:00Z&to=2026-03-01T12:00:00Z": "query.from",
		"from=2026-03-02T12:00:00Z&to=2026-03-01T12:00:00Z": "query.from",
		"from=2026-03-01T12:00:00Z&to=2026-03-08T12:01:00Z": "query.from",
		"from=yesterday": "query.from",
		"by=hour":        "query.by",
		"form=x":         "query.form",
	} {
		t.Run(query, func(t *testing.T) {
			w := get(&reads{}, "/analytics/orders?"+query)
			var p httpapi.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusUnprocessableEntity || len(p.Errors) == 0 || p.Errors[0].Location != location {
				t.Errorf("%d: %+v, want 422 at %s", w.Code, p, location)
			}
		})
	}
}

func TestAFailingDatabaseIsNotTold(t *testing.T) {
	for _, target := range []string{"/analytics/summary", "/analytics/orders"} {
		w := get(&reads{err: errors.New("password=secret")}, target)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d: %s", target, w.Code, w.Body)
		}
	}
}
