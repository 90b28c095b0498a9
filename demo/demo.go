// Package demo places orders against a running router and accounts for every one of
// them. It speaks REST only and knows nothing a shop could not know.
//
// Orders come at a fixed rate, however slowly the router answers (an open loop), and each
// follows a scenario, which says what the customer does and how the order must end. Run is
// one customer per order (customer.go), one poller per fifty orders (watch.go), and at the
// end what the numbers say together (audit.go, latency.go, story.go).
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// DefaultOrders is, with DefaultMix, a few of every scenario.
	DefaultOrders = 500
	// DefaultRate is in orders a second, far from what a laptop can do and still brisk to watch.
	DefaultRate = 50
	// DefaultWait is the simulated provider's ORDER_DEADLINE and 30 s for what follows from it.
	DefaultWait = 90 * time.Second

	// MaxOrders bounds memory: about a kilobyte is kept for each order.
	MaxOrders = 1_000_000
	// MaxRate is beyond what one process can ask over HTTP, and keeps the interval above the
	// clock's grain.
	MaxRate = 10_000

	// maxPlacing is how many POSTs may be under way. Arrivals beyond that queue up here, and their
	// latency says so; more would only queue in the router.
	maxPlacing = 256
	// maxReading is how many GETs may be under way, so that watching does not disturb what is watched.
	maxReading = 16
)

// Options say what to do, and where.
type Options struct {
	// URL is the base of all services' routes, such as http://127.0.0.1:8080.
	URL string
	// Orders is how many to place, Rate how many of them a second.
	Orders int
	Rate   float64
	Mix    Mix
	// Wait is how long an order may take to end, from the answer to its POST.
	Wait time.Duration
	// APIKey is sent as X-API-Key, Token as a bearer token; where both are empty, neither is sent.
	APIKey, Token string
	// Progress gets a live bar if Live, otherwise a line now and then. nil: nothing.
	Progress io.Writer
	Live     bool
	// Transport makes the requests; nil: HTTP over TCP.
	Transport http.RoundTripper
}

// check refuses what cannot be done. The names are the flags'.
func (o Options) check() error {
	switch {
	case o.Orders < 1 || o.Orders > MaxOrders:
		return fmt.Errorf("--orders %d: it must be 1 to %d", o.Orders, MaxOrders)
	case !(o.Rate > 0 && o.Rate <= MaxRate): // so that NaN is refused too
		return fmt.Errorf("--rate %g: it must be more than 0 and at most %d orders a second", o.Rate, MaxRate)
	case o.Wait < time.Second:
		return fmt.Errorf("--wait %s: it must be at least 1s", o.Wait)
	case o.Mix.total() == 0:
		return errors.New("--mix: it needs a scenario with a weight above 0")
	}
	return checkURL(o.URL)
}

// UsageError is a mistake in Options.
type UsageError struct{ error }

// Unwrap returns what is wrong.
func (e UsageError) Unwrap() error { return e.error }

// run is one demo under way.
type run struct {
	Options
	// id is in every customer id and Idempotency-Key, so that runs do not meet.
	id        string
	client    *client
	catalogue catalogue
	routes    map[string]struct{} // what the router serves; nil: it did not say
	orders    []*order
	began     time.Time
	reading   chan struct{} // a token for each GET under way
}

// Run places the orders, waits until each has ended, and reports. The error is a UsageError,
// or says why there was nothing to do at all, such as a router that does not answer. When ctx
// ends, no more orders are placed, and the report says what is known: Report.Interrupted.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, UsageError{err}
	}
	o.URL = strings.TrimRight(o.URL, "/")
	id := uuid.NewString()
	r := &run{Options: o, id: id[:8], client: newClient(o), reading: make(chan struct{}, maxReading)}
	defer r.client.close()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}

	r.began = time.Now()
	r.plan()
	stop := r.showProgress()
	r.placeAll(ctx)
	stop()
	took := time.Since(r.began)
	report := r.report(took)
	if ctx.Err() != nil {
		report.Interrupted = true
		return report, nil
	}
	report.audit(ctx, r)
	if ctx.Err() != nil {
		report.Interrupted = true
	}
	return report, nil
}

// plan makes the orders: what each is to be, and when it is to arrive.
func (r *run) plan() {
	turn := r.Mix.turns()
	interval := time.Duration(float64(time.Second) / r.Rate)
	for i := range r.Orders {
		r.orders = append(r.orders, newOrder(r, i, turn(), r.began.Add(time.Duration(i)*interval)))
	}
}

// placeAll lets the orders arrive when they are due, and returns when all have ended or
// were given up. Once ctx has ended it lets no more arrive and waits for none.
func (r *run) placeAll(ctx context.Context) {
	var all sync.WaitGroup
	placing := make(chan struct{}, maxPlacing)
	for i, o := range r.orders {
		if !sleepUntil(ctx, o.due) || !acquire(ctx, placing) {
			break
		}
		if i%groupSize == 0 {
			group := r.orders[i:min(i+groupSize, len(r.orders))]
			all.Go(func() { r.watch(ctx, group) })
		}
		o.start()
		all.Go(func() { r.customer(ctx, o, func() { <-placing }) })
	}
	all.Wait()
}

// acquire takes a place in a queue; false if ctx ended first.
func acquire(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleepUntil is false if ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool { return sleep(ctx, time.Until(t)) }

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
