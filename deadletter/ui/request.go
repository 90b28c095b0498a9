package ui

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Command is what a Model wants done: it runs beside it, may take its time, and what it returns is a message for
// Update. It ends early when ctx does.
type Command func(ctx context.Context) any

const (
	// queryLimit is how long the screen waits for an answer. People wait for less.
	queryLimit = 10 * time.Second
	// decisionLimit is how long a decision may take: it waits for the order's row.
	decisionLimit = 30 * time.Second
	// refreshEvery is how old what is shown may be, before it is asked for again.
	refreshEvery = 3 * time.Second
	// restFactor is how many times as long as a query took the screen rests before the next one: it takes a
	// sixth of one connection's time at most, however large the tables are.
	restFactor = 5
)

// request is a question on its way. There is one at a time for each purpose: a new one ends the one before it,
// whose answer counts no more.
type request struct {
	n     int
	since time.Time // zero: there is none on its way
	last  time.Time // when the last answer came, be it an error; zero: none has
	good  time.Time // when the last one came that was none
	rest  time.Duration
	end   context.CancelFunc
}

// answer is what came of a request.
type answer struct {
	to    *request
	n     int
	took  time.Duration
	value any
	err   error
}

var errSlow = errors.New("the database has not answered in time")

// send returns the command that asks.
func (r *request) send(now time.Time, limit time.Duration, ask func(ctx context.Context) (any, error)) Command {
	r.stop()
	r.n++
	n := r.n
	wanted, end := context.WithCancel(context.Background())
	r.since, r.end = now, end
	return func(ctx context.Context) any {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		defer context.AfterFunc(wanted, cancel)()
		began := time.Now()
		value, err := ask(ctx)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w (%s)", errSlow, limit)
		}
		return answer{r, n, time.Since(began), value, err}
	}
}

// stop forgets the request on its way, if there is one.
func (r *request) stop() {
	if r.end != nil {
		r.end()
	}
	r.n++
	r.since, r.end = time.Time{}, nil
}

// idle tells that nothing is on its way.
func (r *request) idle() bool { return r.since.IsZero() }

// take tells whether an answer still counts, and notes that it came.
func (r *request) take(a answer, now time.Time) bool {
	if a.n != r.n {
		return false
	}
	r.stop()
	r.last, r.rest = now, refreshEvery
	if a.err == nil {
		r.good = now
		r.rest = max(refreshEvery, restFactor*a.took)
	}
	return true
}

// due tells that it is time to ask again.
func (r *request) due(now time.Time) bool {
	return r.idle() && now.Sub(r.last) >= r.rest
}
