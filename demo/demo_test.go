package demo

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/event"
)

// play runs a demo against a shop, on time that passes only while everybody waits.
func play(t *testing.T, s *shop, change func(*Options)) (report *Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := Options{URL: "http://shop.test", Orders: 100, Rate: 100, Mix: DefaultMix(), Wait: DefaultWait, Transport: s}
		if change != nil {
			change(&o)
		}
		var err error
		if report, err = Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, row := range report.Outcomes {
			sum += row.Orders
		}
		if sum != report.Arrived {
			t.Errorf("%d orders arrived, the outcomes have %d", report.Arrived, sum)
		}
	})
	return report
}

func mix(t *testing.T, text string) Mix {
	t.Helper()
	m, err := ParseMix(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantProblem wants exactly so many problems, each with the text in it.
func wantProblem(t *testing.T, r *Report, count int, text string) {
	t.Helper()
	if len(r.Problems) != count || !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, text) }) {
		t.Errorf("want %d problems with %q, got %q", count, text, r.Problems)
	}
}

func TestDefaultMixPlaysEveryScenarioAndEverythingAddsUp(t *testing.T) {
	s := newShop()
	r := play(t, s, nil)
	if len(r.Problems)+len(r.Notes) > 0 {
		t.Errorf("problems %q, notes %q", r.Problems, r.Notes)
	}
	if r.Placed != 100 || len(s.orders) != 100 {
		t.Errorf("placed %d, the shop has %d", r.Placed, len(s.orders))
	}
	for _, scenario := range scenarios {
		i := slices.IndexFunc(r.Outcomes, func(o Outcome) bool { return o.Scenario == scenario.Name })
		if i < 0 || r.Outcomes[i].Orders != scenario.weight || r.Outcomes[i].Status != scenario.status {
			t.Errorf("%s: want %d times %s, got %+v", scenario.Name, scenario.weight, scenario.status, r.Outcomes)
		}
	}
	if r.Money == nil || r.Money.Refunded == 0 || r.Money.Captured-r.Money.Refunded != r.Money.Revenue {
		t.Errorf("money %+v", r.Money)
	}
	if len(r.Accepted) != len(s.orders) {
		t.Errorf("%d ids of %d orders", len(r.Accepted), len(s.orders))
	}
	if s := r.Story; s == nil || s.Scenario != "cancel-paid" || len(s.Events) != 6 || !strings.HasPrefix(s.Payment, "REFUNDED") ||
		!slices.IsSortedFunc(s.Events, func(a, b Event) int { return a.At.Compare(b.At) }) {
		t.Errorf("story %+v", s)
	}
	for _, l := range r.Latencies {
		if strings.HasPrefix(l.What, "accepted to PAID, provider at once") && (l.P50 != 50 || l.P99 != 50) {
			t.Errorf("every such order was PAID after 50 ms: %+v", l)
		}
	}
}

// A router that is slow must look slow: the demo does not wait with the next order, and
// those it has to hold back have been waiting since they were due.
func TestSlowRouterCannotHideBehindTheDemo(t *testing.T) {
	const took = 5 * time.Second
	s := newShop()
	s.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			<-time.After(took)
		}
		return true
	}
	r := play(t, s, func(o *Options) { o.Orders, o.Rate, o.Mix = 2*maxPlacing, 1000, mix(t, "accepted") })
	// The first 256 POSTs end after five seconds, the others after ten; due all within half a second.
	post := r.Latencies[0]
	if post.P50 < 4990 || post.P99 < 9400 || post.Max > 10_000 {
		t.Errorf("the POST's latency is %+v", post)
	}
	if r.QueuedMs < 4500 || r.QueuedMs > 5000 {
		t.Errorf("queued for %g ms", r.QueuedMs)
	}
	if len(r.Problems) > 0 {
		t.Errorf("slow is no problem: %q", r.Problems)
	}
}

func TestRefusedAndLostPostsGoAgainUnderTheSameKey(t *testing.T) {
	s := newShop()
	var mu sync.Mutex
	tries := map[string]int{}
	var waited []time.Duration
	first := map[string]time.Time{}
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.URL.Path != "/orders" {
			return true
		}
		mu.Lock()
		defer mu.Unlock()
		key := r.Header.Get("Idempotency-Key")
		switch tries[key]++; tries[key] {
		case 1:
			first[key] = time.Now()
			w.Header().Set("Retry-After", "3")
			refuse(w, http.StatusServiceUnavailable, "full")
			return false
		case 2:
			waited = append(waited, time.Since(first[key]))
		}
		return true
	}
	s.lose = func(r *http.Request) bool { // every first answer that says the order was taken
		mu.Lock()
		defer mu.Unlock()
		return r.URL.Path == "/orders" && r.Method == http.MethodPost && tries[r.Header.Get("Idempotency-Key")] == 2
	}
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 20, mix(t, "declined") })
	if len(r.Problems) > 0 || r.Placed != 20 || len(s.orders) != 20 {
		t.Errorf("problems %q, placed %d, the shop has %d", r.Problems, r.Placed, len(s.orders))
	}
	if r.SentAgain["503 Service Unavailable"] != 20 || r.SentAgain["no answer"] != 20 {
		t.Errorf("sent again: %v", r.SentAgain)
	}
	for _, w := range waited {
		if w < 3*time.Second || w > 3*time.Second+firstPause {
			t.Errorf("sent again after %s, the router asked for 3 s", w)
		}
	}
}

func TestBadPostIsNotRepeated(t *testing.T) {
	s := newShop()
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			refuse(w, http.StatusUnprocessableEntity, "The order is not valid.")
			return false
		}
		return true
	}
	r := play(t, s, func(o *Options) { o.Orders = 3 })
	wantProblem(t, r, 3, "422 Unprocessable Entity: The order is not valid.")
	if s.served["POST orders"] != 3 || r.Placed != 0 || r.Outcomes[0].Note != noteNotPlaced {
		t.Errorf("%d POSTs, %+v", s.served["POST orders"], r.Outcomes)
	}
}

func TestRouterThatGoesAwayIsGivenUpOn(t *testing.T) {
	s := newShop()
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			refuse(w, http.StatusInternalServerError, "")
			return false
		}
		return true
	}
	r := play(t, s, func(o *Options) { o.Orders = 2 })
	wantProblem(t, r, 2, "not taken within 1m30s: POST /orders: 500 Internal Server Error")
}

func TestOrderThatNeverEndsIsListed(t *testing.T) {
	s := newShop()
	s.life = func(o *shopOrder) []moment {
		life := ordinaryLife(o)
		if o.id == "00000000-0000-0000-0000-000000000007" {
			life = life[:len(life)-1]
		}
		return life
	}
	var progress strings.Builder
	r := play(t, s, func(o *Options) { o.Progress, o.Mix = &progress, mix(t, "accepted") })
	wantProblem(t, r, 1, "order 00000000-0000-0000-0000-000000000007 (accepted): has not ended in time: it is SHIPPED")
	if !strings.Contains(progress.String(), " 99 have ended, ") || !strings.HasSuffix(progress.String(), ", 1 given up\n") {
		t.Errorf("progress: %s", progress.String())
	}
	if took := duration(r.TookMs); took < DefaultWait || took > DefaultWait+2*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestOrderThatEndsOtherwiseIsListed(t *testing.T) {
	for name, test := range map[string]struct {
		scenario string
		life     []moment
		want     string
	}{
		"delivered for nothing": {"declined", []moment{{0, event.OrderDelivered, ""}}, "is DELIVERED, and should be CANCELLED (PAYMENT_FAILED)"},
		"another reason": {"out-of-stock", []moment{{0, event.OrderIsCancelled, event.ReasonDeadline}},
			"is CANCELLED (DEADLINE), and should be CANCELLED (OUT_OF_STOCK)"},
		"needs attention": {"accepted", []moment{{0, event.OrderNeedsAttention, event.ReasonCustomer}}, "is NEEDS_ATTENTION (CUSTOMER), and should be DELIVERED"},
		"cancelled too late": {"cancel-shipped", []moment{{0, event.OrderDelivered, ""}},
			"was cancelled although its parcel had left"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			s.life = func(*shopOrder) []moment { return test.life }
			r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, test.scenario) })
			if len(r.Problems) == 0 || !strings.Contains(r.Problems[0], test.want) {
				t.Errorf("want %q, got %q", test.want, r.Problems)
			}
			if r.Outcomes[0].Expected {
				t.Errorf("expected: %+v", r.Outcomes[0])
			}
		})
	}
}

// A customer who sees PAID too late is refused, and the order is delivered: nobody's fault.
func TestCancelThatComesTooLate(t *testing.T) {
	s := newShop()
	s.life = func(*shopOrder) []moment {
		return []moment{{0, event.OrderPending, ""}, {1, event.OrderPaid, ""}, {2, event.OrderShipped, ""}, {time.Second, event.OrderDelivered, ""}}
	}
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "cancel-paid") })
	if len(r.Problems) > 0 || r.Outcomes[0].Note != noteTooLate {
		t.Errorf("problems %q, outcomes %+v", r.Problems, r.Outcomes)
	}
}

func TestCallerWhoIsNoOperatorLeavesOrdersToOne(t *testing.T) {
	s := newShop()
	s.noOperator = true
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 2, mix(t, "no-recall,refund-refused") })
	if len(r.Problems) > 0 || r.Money == nil || r.Money.Held == 0 {
		t.Errorf("problems %q, money %+v", r.Problems, r.Money)
	}
	for _, o := range r.Outcomes {
		if o.Note != noteUnresolved || o.Status != event.OrderNeedsAttention {
			t.Errorf("%+v", o)
		}
	}
}

// Where messages lag, a parcel may be at the door before it hears that it was cancelled.
func TestOperatorResolvesWhateverACancellationLeft(t *testing.T) {
	s := newShop()
	s.fast = true
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 4, mix(t, "cancel-paid,refund-refused") })
	if len(r.Problems) > 0 {
		t.Errorf("problems %q", r.Problems)
	}
	for _, o := range r.Outcomes {
		if o.Status != event.OrderIsCancelled || o.Note != noteResolved {
			t.Errorf("%+v", o)
		}
	}
	if s.served["POST payments"] != 2 || s.served["POST shipments"] != 4 {
		t.Errorf("requests: %v", s.served)
	}
}

func TestDeadlineThatComesBeforeTheCustomer(t *testing.T) {
	s := newShop()
	s.life = func(*shopOrder) []moment {
		return []moment{{0, event.OrderPending, ""}, {1, event.OrderPaid, ""}, {2, event.OrderCancelling, event.ReasonDeadline},
			{time.Second, event.OrderIsCancelled, event.ReasonDeadline}}
	}
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 1, mix(t, "cancel-paid") })
	if len(r.Problems) > 0 || r.Outcomes[0].Reason != event.ReasonDeadline {
		t.Errorf("problems %q, outcomes %+v", r.Problems, r.Outcomes)
	}
}

func TestInterruptedRunReportsWhatItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		const after = 3495 * time.Millisecond // between two arrivals
		time.AfterFunc(after, interrupt)
		began := time.Now()
		// Those on their way to an operator are not ended either, though they stand where others end.
		s := newShop()
		s.life = func(o *shopOrder) []moment {
			if o.body.PaymentMethod == pmRefundRefused {
				return []moment{{0, event.OrderPaid, ""}, {0, event.OrderNeedsAttention, event.ReasonCustomer}}
			}
			return ordinaryLife(o)
		}
		r, err := Run(ctx, Options{URL: "http://shop.test", Orders: 1000, Rate: 100, Mix: DefaultMix(), Wait: DefaultWait, Transport: s})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != after {
			t.Errorf("it went on for %s", took)
		}
		open := 0
		for _, o := range r.Outcomes {
			if o.Note == noteUnknown {
				open += o.Orders
			}
		}
		if !r.Interrupted || r.Arrived != 350 || r.Placed != 350 || open == 0 || open == r.Arrived || len(r.Problems) > 0 {
			t.Errorf("interrupted %v, arrived %d, placed %d, open %d, problems %q", r.Interrupted, r.Arrived, r.Placed, open, r.Problems)
		}
	})
}

func TestShopWithoutStockGetsTheDemosOwn(t *testing.T) {
	s := newShop()
	s.stock = nil
	r := play(t, s, func(o *Options) { o.Orders, o.Mix = 5, mix(t, "accepted") })
	if len(r.Problems) > 0 || len(s.stock) != 1 || s.stock[0].SKU != ownSKU {
		t.Errorf("problems %q, stock %+v", r.Problems, s.stock)
	}
}

// Watching must stay a small part of what the router does: some GETs per order, not one
// for each tick of its life.
func TestWatchingAsksLittle(t *testing.T) {
	s := newShop()
	r := play(t, s, func(o *Options) { o.Orders, o.Rate = 600, 100 })
	const audited = 2 // history and payment are read once for each order
	perOrder := float64(s.served["GET orders"]+s.served["GET payments"])/600 - audited
	if len(r.Problems) > 0 || perOrder > 1.5 {
		t.Errorf("%.2f GETs an order, problems %q", perOrder, r.Problems)
	}
	t.Logf("%.2f GETs an order", perOrder)
}

func TestWhereThereIsNoTerminalProgressIsLines(t *testing.T) {
	var text strings.Builder
	play(t, newShop(), func(o *Options) { o.Rate, o.Progress, o.Mix = 9, &text, mix(t, "accepted") })
	want := []string{
		"placed 46 of 100 orders, 18 have ended, 5s",
		"placed 91 of 100 orders, 63 have ended, 10s",
		"placed 100 of 100 orders, 100 have ended, 14s",
		"",
	}
	got := strings.Split(text.String(), "\n")
	if len(got) != len(want) || got[0][:23] != want[0][:23] || got[1][:23] != want[1][:23] || got[2] != want[2] {
		t.Errorf("got %q", got)
	}
}
