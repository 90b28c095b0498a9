package outbox

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/event"
)

// Perform makes the call that a row waits for. It runs outside any transaction,
// with the row as it was committed. attempt counts from 1. The change it returns
// is the answer; it runs in the store, and only if the row still waits for step.
// An error means that no answer is known: the step becomes due again, after the
// error's RetryAfter() time.Duration if it has one.
type Perform[S any] func(ctx context.Context, row S, step string, attempt int) (func(*S) ([]event.Event, error), error)

// Executor makes the calls that a service's rows wait for, and fires their
// deadlines. It claims a due wait by moving its due time forward, so that the claim of a
// crashed process becomes due again by itself.
//
// A step is asked for until the row no longer waits for it: at least once, with
// the idempotency key order/step for the other side to make it once. No two executors make the
// same attempt; an attempt that outlives its claim may overlap with the next one.
type Executor[S any] struct {
	service string
	load    func(context.Context, event.OrderID) (S, bool, error)
	update  func(context.Context, event.OrderID, func(*S) ([]event.Event, error)) error
	perform Perform[S]
	opts    ExecutorOptions[S]
	waits   waitTable
	log     *slog.Logger
	metrics effectMetrics

	// What tests shorten.
	lease, firstRetry, lastRetry, drain time.Duration

	slots slots
	wake  chan struct{}
	calls context.Context // of the calls in flight; ends after those had time to finish
	guard deadlineGuard
	clock clock
}

// ExecutorOptions are what an Executor needs beside its functions.
type ExecutorOptions[S any] struct {
	// Waits is what a row waits for, as in Table. Required.
	Waits func(*S) []event.Wait
	// Lag is the time of the oldest message that could still keep a deadline from firing:
	// in the backlog of the groups concerned, or unsent in the outbox. Zero: there is none. An
	// error counts as lag. Nil: deadlines fire when they are due.
	Lag func(context.Context) (time.Time, error)
	// Concurrency bounds the calls in flight. 256 when 0.
	Concurrency int
	// CallTimeout bounds one call. 10 s when 0; at most half of a claim's lease of 30 s.
	CallTimeout time.Duration
	// Logger is slog.Default when nil.
	Logger *slog.Logger
}

const (
	// defaultConcurrency keeps a provider that takes 100 ms busy at 2,500 calls a
	// second, for some 10 kB a call.
	defaultConcurrency = 256
	defaultCallTimeout = 10 * time.Second
	// leaseShare is how often a call's longest duration fits into its claim: it leaves time to
	// store the answer.
	leaseShare = 2
)

// NewExecutor returns an executor for one service's waits. load reads a row's
// committed state (Store.Load) and update brings an answer back (Store.UpdateExisting).
// To start effects right after the commit that made them due, give the executor to
// Store.StartEffects; otherwise it finds them within pollWaits.
func NewExecutor[S any](db *sql.DB, service string,
	load func(context.Context, event.OrderID) (S, bool, error),
	update func(context.Context, event.OrderID, func(*S) ([]event.Event, error)) error,
	perform Perform[S], opts ExecutorOptions[S],
) *Executor[S] {
	if opts.Concurrency <= 0 {
		opts.Concurrency = defaultConcurrency
	}
	if opts.CallTimeout <= 0 {
		opts.CallTimeout = defaultCallTimeout
	}
	opts.CallTimeout = min(opts.CallTimeout, claimLease/leaseShare)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Executor[S]{
		service: service, load: load, update: update, perform: perform, opts: opts,
		waits:   waitTable{service: service, stmts: &statements{db: db}, polls: &replanned{db: db}},
		log:     opts.Logger.With("service", service),
		metrics: newEffectMetrics(service),
		lease:   claimLease, firstRetry: firstAsk, lastRetry: lastAsk, drain: drainTime,
		slots: newSlots(opts.Concurrency),
		wake:  make(chan struct{}, 1),
	}
}

// Reserve grants up to n places for effects that are about to become due. It grants
// nothing while the executor does not run. It never blocks.
func (e *Executor[S]) Reserve(n int) int { return e.slots.reserve(n) }

// Unreserve gives back places whose transaction failed.
func (e *Executor[S]) Unreserve(n int) { e.give(n) }

// Start makes the calls of claims that have a place each.
func (e *Executor[S]) Start(claims []Claim[S]) {
	for _, c := range claims {
		if !e.slots.begin(func() { e.run(c, true) }) {
			e.give(1) // Run has returned: the claim's lease ends by itself
		}
	}
}

func (e *Executor[S]) give(n int) {
	if e.slots.give(n) {
		signal(e.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	// pollWaits is how often an executor looks for waits that have become due by the
	// clock: the most that a deadline or a retry is late.
	pollWaits = 100 * time.Millisecond
	// drainTime is what calls in flight get to finish in when the executor stops. What is
	// not finished by then is asked again by another one.
	drainTime = 5 * time.Second
)

// Run claims and performs due waits until ctx ends; then it gives the calls in flight
// some seconds to finish, and returns nil. Call it once.
func (e *Executor[S]) Run(ctx context.Context) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	e.calls = calls
	e.slots.open()
	look := trouble{log: e.log, what: "the executor claims effects"}
	for ctx.Err() == nil {
		full, err := e.poll(ctx)
		look.note(ctx, err)
		if err == nil && full && e.slots.free() > 0 {
			continue
		}
		pause(ctx, pollWaits, e.wake)
	}
	e.slots.close(e.drain, cancel)
	e.waits.polls.close()
	return nil
}

// slots bounds the calls in flight, those that are promised included.
type slots struct {
	mu      sync.Mutex
	unused  int
	most    int
	refused bool // somebody wanted more: tell when there is a place again
	running bool
	closed  bool
	idle    chan struct{} // closed when the executor was told to stop and no place is used any more
	quiet   sync.Once
	calls   sync.WaitGroup
}

func newSlots(n int) slots { return slots{unused: n, most: n, idle: make(chan struct{})} }

// keepFree is the share of places, one in that many, that new effects leave to waits
// found in the table: however many new orders come, old ones go on.
const keepFree = 4

func (s *slots) reserve(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return 0
	}
	granted := max(0, min(n, s.unused-s.most/keepFree))
	s.unused -= granted
	s.refused = s.refused || granted < n
	return granted
}

// take takes places for waits from the table: no more than new effects leave free.
func (s *slots) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(max(1, s.most/keepFree), s.unused)
	s.unused -= n
	s.refused = s.refused || n == 0
	return n
}

// putBack returns what take took in vain. more means that it was not enough.
func (s *slots) putBack(n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unused += n
	s.refused = s.refused || more
}

// give returns places; true if somebody had been refused one.
func (s *slots) give(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unused += n
	if !s.running && s.unused == s.most {
		s.quiet.Do(func() { close(s.idle) })
	}
	refused := s.refused
	s.refused = false
	return refused
}

func (s *slots) free() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unused
}

// begin runs call, which has a place, in the background; false after close.
func (s *slots) begin(call func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.calls.Go(call)
	return true
}

func (s *slots) open() {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
}

// close waits until no place is used, for patience at most; then it cancels what is left.
func (s *slots) close(patience time.Duration, cancel func()) {
	s.mu.Lock()
	s.running = false
	quiet := s.unused == s.most
	s.mu.Unlock()
	if !quiet {
		timer := time.NewTimer(patience)
		select {
		case <-s.idle:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	cancel()
	s.calls.Wait()
}

type effectMetrics struct {
	answers  *prometheus.CounterVec
	inFlight prometheus.Gauge
}

func newEffectMetrics(service string) effectMetrics {
	labels := prometheus.Labels{"service": service}
	return effectMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_effects_total", ConstLabels: labels,
			Help: "Calls by what became of them: answered, unknown (asked again), waiting (answered, and still waited for), put_off (a deadline that did not fire because of lag).",
		}, []string{"outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrace_effects_in_flight", ConstLabels: labels, Help: "Calls being made now."}),
	}
}

// Describe and Collect make the executor a prometheus.Collector.
func (e *Executor[S]) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(e, ch) }

// Collect reports what became of the calls.
func (e *Executor[S]) Collect(ch chan<- prometheus.Metric) {
	e.metrics.answers.Collect(ch)
	ch <- e.metrics.inFlight
}
