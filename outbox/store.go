// Package outbox keeps a service's rows in Postgres, and carries what they say to Kafka.
//
// A Store commits together, or not at all, a row, the events that its change returned, what it waits for, and the id of the
// message that caused it. A Relay publishes the events in the order of their ids, each key in order, each at least once. An Executor
// performs what rows wait for (calls to the outside, deadlines), each at least once under one idempotency key, and hands the answers
// to the Store. Whatever is done again changes nothing again: the row knows what it has processed.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"millrace/event"
)

// maxBatch bounds the updates of one transaction. Above some hundreds the cost per
// update hardly falls any more, while the latency of each goes on growing.
const maxBatch = 500

// Store is the one door to a service's rows. Update commits, together or not at
// all: the row, the events the change returned, what the row now waits for, and the id
// of the cause.
//
// A caller sees one row; the store sees hundreds. It takes whatever updates are
// waiting (one when idle, maxBatch under load, and never waits for more) and
// runs them as one transaction. One batch is in flight at a time; updates of one order run in
// the order they came in.
//
// Between two processes the row lock decides. What the store does not promise:
// that a caller who gave up (its context ended) had no effect; the update may still commit.
type Store[S, V any] struct {
	table   Table[S, V]
	backend backend
	says    func(topic string) bool
	wake    func()
	relay   *Relay
	effects Starter[S]
	log     *slog.Logger
	recent  recent
	// suspicion is what the database refused lately; nil: nothing ever.
	suspicion atomic.Pointer[suspicion]

	mu      sync.Mutex
	queue   []*member[S, V]
	set     map[event.OrderID]*setAside[S, V] // orders whose row somebody else holds
	stopped bool
	more    chan struct{} // capacity 1: the queue is not empty
	aside   chan struct{} // bounds the transactions that wait for held rows
	running sync.WaitGroup
}

// Options are what a Store needs from the rest of the system.
type Options struct {
	// Says tells whether the service declared that it publishes on a topic; an
	// event on another one is refused to the caller. Nil: everything is allowed.
	Says func(topic string) bool
	// Wake is called after each commit that left something for the relay. It must
	// not block. Nil: the relay finds out by itself.
	Wake func()
	// Relay, if it runs in this process, is woken as well, and gets the rows so that it need not
	// read them from the table. Nil: it reads them.
	Relay *Relay
	// Logger is slog.Default when nil.
	Logger *slog.Logger
}

func newStore[S, V any](table Table[S, V], b backend, opts Options) *Store[S, V] {
	s := &Store[S, V]{
		table: table, backend: b, says: opts.Says, wake: opts.Wake, relay: opts.Relay, log: opts.Logger,
		set:  map[event.OrderID]*setAside[S, V]{},
		more: make(chan struct{}, 1), aside: make(chan struct{}, maxAside),
	}
	if s.says == nil {
		s.says = func(string) bool { return true }
	}
	if s.wake == nil {
		s.wake = func() {}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.log = s.log.With("service", table.Service)
	return s
}

// StartEffects makes the store hand effects that are due at once, or soon, to st. Call it before Run.
func (s *Store[S, V]) StartEffects(st Starter[S]) { s.effects = st }

// Update lets change decide about the row of an order, which is created if it is
// missing, and commits what it decided. The cause in ctx names the change; the same
// cause a second time changes nothing, does not run change, and returns nil.
//
// change works on a copy that is kept only if it returns nil; its error comes
// back as it is. It may run more than once: it must not read a clock, draw random numbers,
// do I/O, or depend on an earlier run.
func (s *Store[S, V]) Update(ctx context.Context, id event.OrderID, change func(*S) ([]event.Event, error)) error {
	return s.do(ctx, &member[S, V]{id: id, create: true, change: withoutSide[S, V](change)})
}

// UpdateExisting is Update for commands and answers: on an order without a row it
// creates nothing and returns an error that is event.ErrUnknownOrder.
func (s *Store[S, V]) UpdateExisting(ctx context.Context, id event.OrderID, change func(*S) ([]event.Event, error)) error {
	return s.do(ctx, &member[S, V]{id: id, change: withoutSide[S, V](change)})
}

// UpdateWith is Update with side rows: keys names them, from the locked row; change sees the
// running state of those that exist. What it changes there is kept only if it returns nil.
func (s *Store[S, V]) UpdateWith(ctx context.Context, id event.OrderID, keys func(*S) []string, change func(*S, map[string]*V) ([]event.Event, error)) error {
	return s.do(ctx, &member[S, V]{id: id, create: true, keys: keys, change: change})
}

// UpdateSide changes side rows alone, creating those that are missing. The ledger
// remembers the cause in ctx: a second time, change does not run.
func (s *Store[S, V]) UpdateSide(ctx context.Context, keys []string, change func(map[string]*V) error) error {
	return s.do(ctx, &member[S, V]{
		create: true,
		keys:   func(*S) []string { return keys },
		change: func(_ *S, side map[string]*V) ([]event.Event, error) { return nil, change(side) },
	})
}

func withoutSide[S, V any](change func(*S) ([]event.Event, error)) func(*S, map[string]*V) ([]event.Event, error) {
	return func(row *S, _ map[string]*V) ([]event.Event, error) { return change(row) }
}

// Load reads the committed state of an order, without a lock; false if there is no row.
func (s *Store[S, V]) Load(ctx context.Context, id event.OrderID) (S, bool, error) {
	loaded, err := s.LoadAll(ctx, []event.OrderID{id})
	row, ok := loaded[id]
	return row.Row, ok, errors.Join(err, row.Err)
}

// Loaded is a row as it was committed, and its order's correlation id.
type Loaded[S any] struct {
	Row           S
	CorrelationID string
	// Err says that the row is not readable: that is this order's trouble alone.
	Err error
}

// LoadAll reads the committed state of some orders, without a lock. Those without a row are not
// in the result.
func (s *Store[S, V]) LoadAll(ctx context.Context, ids []event.OrderID) (map[event.OrderID]Loaded[S], error) {
	records, err := s.backend.load(ctx, ids)
	if err != nil {
		return nil, err
	}
	loaded := make(map[event.OrderID]Loaded[S], len(records))
	for _, r := range records {
		row, err := s.decode(r.id, r.state)
		loaded[r.id] = Loaded[S]{row, r.correlationID, err}
	}
	return loaded, nil
}

// ErrStopped is returned to callers whose update had not begun when the store stopped.
var ErrStopped = errors.New("the store has stopped")

var errNoCause = errors.New("outbox: the context names no cause (event.WithCause): a repeated update could not be recognised")

func (s *Store[S, V]) do(ctx context.Context, m *member[S, V]) error {
	m.ctx, m.cause, m.done = ctx, event.CauseFrom(ctx), make(chan error, 1)
	if m.cause.ID == "" {
		return errNoCause
	}
	if r, ok := ctx.Value(rehearsalKey{}).(*Rehearsal); ok {
		return s.rehearse(ctx, m, r)
	}
	m.observation, _ = ctx.Value(observationKey{}).(*Observation)
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrStopped
	}
	if held, ok := s.set[m.id]; ok && m.id != "" {
		held.add(m)
	} else {
		s.queue = append(s.queue, m)
	}
	s.mu.Unlock()
	s.signal()
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for the store: %w", s.table.Service, ctx.Err())
	}
}

func (s *Store[S, V]) signal() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Run commits updates until ctx ends, finishes the batch at hand, and then refuses
// what still waits with ErrStopped.
func (s *Store[S, V]) Run(ctx context.Context) error {
	defer s.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.more:
		}
		for ctx.Err() == nil {
			batch := s.take()
			if len(batch) == 0 {
				break
			}
			s.commit(ctx, batch, lockOptions{optimistic: s.optimistic(batch)})
		}
	}
}

func (s *Store[S, V]) stop() {
	s.mu.Lock()
	s.stopped = true
	left := s.queue
	s.queue = nil
	s.mu.Unlock()
	s.running.Wait()
	for _, m := range left {
		m.done <- ErrStopped
	}
}

// take removes the next batch from the queue. Updates whose caller has left are
// dropped here: nobody waits for them, and a message comes again.
func (s *Store[S, V]) take() []*member[S, V] {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := make([]*member[S, V], 0, min(len(s.queue), maxBatch))
	n := 0
	for _, m := range s.queue {
		if len(batch) == maxBatch {
			break
		}
		n++
		if m.ctx.Err() != nil {
			m.done <- m.ctx.Err()
			continue
		}
		batch = append(batch, m)
	}
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return batch
}

// member is one caller's update.
type member[S, V any] struct {
	ctx    context.Context
	id     event.OrderID // empty: side rows only
	cause  event.Cause
	create bool
	keys   func(*S) []string // nil: no side rows
	change func(*S, map[string]*V) ([]event.Event, error)
	held   int // how many batches found its row locked elsewhere
	done   chan error
	// What the last run found: the cause was processed already; something was changed. Whether it
	// was is only known where somebody observes it.
	known, changed bool
	inDoubt        bool // a run that changed something may have been committed
	observation    *Observation
}

// PanicError is what a caller gets whose change panicked. It is permanent: the
// same input would panic again.
type PanicError struct{ Value any }

// Error names the value; the stack is in the log.
func (e *PanicError) Error() string { return fmt.Sprintf("the change panicked: %v", e.Value) }

// Permanent is true.
func (e *PanicError) Permanent() bool { return true }

// retryAfterFailure is the first pause after a transaction failed for a reason that lies
// with the database, and maxRetryPause the longest: long enough not to hammer a server that is
// starting up, short enough not to be noticed once it is there.
const (
	retryAfterFailure = 5 * time.Millisecond
	maxRetryPause     = time.Second
)
