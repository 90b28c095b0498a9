// Package load places orders at a system that is measured, the same ones at every system, and looks
// in the system's database at what became of them.
//
// A closed loop places an order when another one is final, so that a system is never asked for more
// than it finishes; an open loop places them at a rate, whether the system keeps up or not.
package load

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// look is how often the database is asked how many orders are final: so rarely that it costs a
	// percent of a core, so often that the orders in flight are never far from their bound.
	look = 100 * time.Millisecond
	// endPatience is how long the last orders may take to become final.
	endPatience = 2 * time.Minute
)

// Shop is a system that takes orders.
type Shop struct {
	// URL is the base URL of its HTTP API.
	URL string
	// Others are those of its other replicas, among which clients are divided.
	Others []string
	// DB is its database, with the tables orders.orders and orders.history.
	DB *sql.DB
}

// Run is orders being placed. Its methods may be used from any goroutine.
type Run struct {
	shop   Shop
	cancel context.CancelFunc
	// placing are those who place orders and the one who looks after them.
	placing, looking sync.WaitGroup
	stop             chan struct{} // closed: place no more
	stopping         sync.Once

	slots    chan struct{} // one for each order that may be placed now; nil: any number
	next     atomic.Int64
	accepted atomic.Int64
	pieces   atomic.Int64 // in the accepted orders, and below what they cost, in minor units
	amount   atomic.Int64
	watch    *watch
	finished atomic.Int64

	mu     sync.Mutex
	failed error
	waits  []time.Duration // from when an order was to be placed to its answer
}

func newRun(ctx context.Context, s Shop) (*Run, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	r := &Run{shop: s, cancel: cancel, stop: make(chan struct{}), watch: &watch{db: s.DB}}
	now, err := s.Now(ctx) // what was placed before is another run's
	if err != nil {
		r.fail(err)
	}
	r.watch.since = now
	return r, ctx
}

// fail ends the run. The first error is the one that counts.
func (r *Run) fail(err error) {
	r.mu.Lock()
	if r.failed == nil {
		r.failed = err
	}
	r.mu.Unlock()
	r.cancel()
}

// Failed is what ended the run early; nil while it goes on.
func (r *Run) Failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// place places the next order on a connection; due is when it was to be placed.
func (r *Run) place(ctx context.Context, c *client, due time.Time) bool {
	o := orderNumber(int(r.next.Add(1)))
	if err := c.place(ctx, o.body); err != nil {
		if ctx.Err() == nil {
			r.fail(err)
		}
		return false
	}
	wait := time.Since(due)
	r.accepted.Add(1)
	r.pieces.Add(o.pieces)
	r.amount.Add(o.amount)
	r.mu.Lock()
	r.waits = append(r.waits, wait)
	r.mu.Unlock()
	return true
}

// keepLooking counts the final orders until ctx ends, and gives their slots free.
func (r *Run) keepLooking(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n, err := r.watch.finished(ctx)
		if err != nil {
			if ctx.Err() == nil {
				r.fail(err)
			}
			return
		}
		before := r.finished.Swap(n)
		for range n - before {
			select {
			case <-r.slots:
			default: // an open loop has none
			}
		}
	}
}

// Accepted is how many orders were answered with 202, Finished how many are final, as of the last look.
func (r *Run) Accepted() int { return int(r.accepted.Load()) }

// Finished see Accepted.
func (r *Run) Finished() int { return int(r.finished.Load()) }

// Await waits until so many orders are final.
func (r *Run) Await(ctx context.Context, finished int) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for r.Finished() < finished {
		if err := r.Failed(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d orders to be final, %d are: %w", finished, r.Finished(), ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// End stops placing, and waits until all accepted orders are final.
func (r *Run) End(ctx context.Context) error {
	r.stopping.Do(func() { close(r.stop) })
	r.placing.Wait()
	patient, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	err := r.Await(patient, r.Accepted())
	r.cancel()
	r.looking.Wait()
	return errors.Join(r.Failed(), err)
}

// Placed is what was ordered.
type Placed struct {
	Orders int
	Pieces int64 // of all articles together
	Amount int64 // in minor units
}

// And is what was ordered in both.
func (p Placed) And(q Placed) Placed {
	return Placed{Orders: p.Orders + q.Orders, Pieces: p.Pieces + q.Pieces, Amount: p.Amount + q.Amount}
}

// Placed tells what was ordered; after End.
func (r *Run) Placed() Placed {
	return Placed{Orders: r.Accepted(), Pieces: r.pieces.Load(), Amount: r.amount.Load()}
}

// Answers is how long the answers to POST /orders took, from when the order was to be placed; the
// given quantile of all so far.
func (r *Run) Answers(quantile float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return quantileOf(r.waits, quantile)
}
