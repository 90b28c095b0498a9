package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"millrace/event"
)

const (
	// glance is how soon a customer with a plan (to cancel) looks at the order again: a
	// payment takes some 50 ms, and the next step of a parcel a second.
	glance = 100 * time.Millisecond
	// longestGlance is for those whose time does not come soon.
	longestGlance = 500 * time.Millisecond
)

// order is one order of the run, and what is known of it.
type order struct {
	number   int
	scenario *Scenario
	customer string    // shared by the orders of one group
	key      string    // the Idempotency-Key: however often it is posted, it is one order
	due      time.Time // when it is to arrive, whatever the router does
	total    int64     // minor units

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when the status changes
	// What is known so far.
	began        time.Time // when it was let go: later than due if too many POSTs were under way
	accepted     time.Time // when the POST was answered; zero: it was not
	id           event.OrderID
	refused      string // why it was not placed
	status       event.OrderStatus
	reason       event.CancelReason
	version      int64
	cancel       int                // the answer to the cancellation, an HTTP status; 0: none was sent
	cancelReason event.CancelReason // why it is cancelled, says the answer: perhaps for another, earlier reason
	resolved     bool               // an operator had to, and did
	notOperator  bool               // an operator had to, and we are none
	done         bool               // nothing more is expected of it
	finished     bool               // its customer has done everything, and has seen it end
	late         bool               // it had not ended in time
	trouble      string             // what else went wrong
}

func newOrder(r *run, number int, s *Scenario, due time.Time) *order {
	o := &order{number: number, scenario: s, due: due, changed: make(chan struct{}),
		customer: fmt.Sprintf("demo-%s-%d", r.id, number/groupSize),
		key:      fmt.Sprintf("demo-%s-%d", r.id, number)}
	for _, line := range r.body(o).Items {
		o.total += line.Quantity * line.UnitPrice
	}
	return o
}

// set changes what is known.
func (o *order) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *order) start() { o.set(func() { o.began = time.Now() }) }

// learn takes what the router says of the order, and says whether it moved on. Answers may
// overtake each other: the version tells.
func (o *order) learn(s statusBody) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.Version < o.version || s.Status == o.status {
		return false
	}
	o.status, o.reason, o.version = s.Status, s.Reason, s.Version
	close(o.changed)
	o.changed = make(chan struct{})
	return true
}

func (o *order) now() (event.OrderStatus, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status, o.changed
}

// endings are where nobody but an operator, or a parcel that comes back, moves an order on.
var endings = []event.OrderStatus{event.OrderDelivered, event.OrderIsCancelled, event.OrderNeedsAttention}

// customer is one order's customer, from its arrival to its end. placed is called once
// its POST is over.
func (r *run) customer(ctx context.Context, o *order, placed func()) {
	defer o.set(func() { o.done = true })
	ok := r.place(ctx, o)
	placed()
	if !ok {
		return
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, r.Wait)
	defer cancel()
	err := r.play(ctx, o)
	o.set(func() {
		switch {
		case err == nil:
			o.finished = true
		case whole.Err() != nil: // interrupted
		case ctx.Err() != nil:
			o.late = true
		default:
			o.trouble = err.Error()
		}
	})
}

// place posts the order; false if it was not taken.
func (r *run) place(ctx context.Context, o *order) bool {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, r.Wait)
	defer cancel()
	var answer acceptedBody
	err := r.client.persist(ctx, http.MethodPost, "/orders", o.key, r.body(o), &answer)
	o.set(func() {
		switch {
		case err == nil:
			o.accepted, o.id = time.Now(), answer.OrderID
		case whole.Err() != nil: // interrupted: nothing is known
		case ctx.Err() != nil:
			o.refused = fmt.Sprintf("not taken within %s: %v", r.Wait, err)
		default:
			o.refused = err.Error()
		}
	})
	return err == nil
}

// play does what the scenario has the customer, and the operator, do.
func (r *run) play(ctx context.Context, o *order) error {
	s := o.scenario
	if len(s.cancelOn) > 0 {
		if err := r.await(ctx, o, s.cancelOn); err != nil {
			return err
		}
		if err := r.cancelOrder(ctx, o); err != nil {
			return err
		}
	}
	if err := r.await(ctx, o, endings); err != nil {
		return err
	}
	if o.cancel == http.StatusAccepted {
		return r.resolve(ctx, o)
	}
	return nil
}

// await returns when the order is in one of the statuses. The group's poller brings news;
// where the customer is about to act, that is too slow, and the order is looked at by itself.
func (r *run) await(ctx context.Context, o *order, statuses []event.OrderStatus) error {
	hasPlan := len(o.scenario.cancelOn) > 0 && o.cancel == 0
	for pause := glance; ; pause = min(2*pause, longestGlance) {
		status, changed := o.now()
		// Any status will do: even one that nobody has seen yet.
		if slices.Contains(statuses, status) || len(statuses) == len(anyStatus) {
			return nil
		}
		look := make(<-chan time.Time)
		if hasPlan {
			look = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %v: %w", statuses, context.Cause(ctx))
		case <-changed:
		case <-look:
			r.lookAt(ctx, o)
		}
	}
}

func (r *run) cancelOrder(ctx context.Context, o *order) error {
	var answer statusBody
	err := r.client.persist(ctx, http.MethodPost, "/orders/"+string(o.id)+"/cancel", "", nil, &answer)
	status := statusOf(err)
	if err != nil && status != http.StatusConflict {
		return fmt.Errorf("cancel: %w", err)
	}
	if err == nil {
		status = http.StatusAccepted
	}
	o.set(func() { o.cancel, o.cancelReason = status, answer.Reason })
	return nil
}
