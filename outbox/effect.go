package outbox

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

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
	load    func(context.Context, []event.OrderID) (map[event.OrderID]Loaded[S], error)
	update  func(context.Context, event.OrderID, func(*S) ([]event.Event, error)) error
	perform Perform[S]
	opts    ExecutorOptions[S]
	waits   waitTable
	log     *slog.Logger
	metrics effectMetrics

	// What tests shorten.
	lease, firstRetry, lastRetry, drain, lagEvery time.Duration

	presence presence
	slots    slots
	ahead    ahead[S]
	wake     chan struct{}
	calls    context.Context // of the calls in flight; ends after those had time to finish
	horizon  horizon
	lags     lagTable
	clock    clock
}

// ExecutorOptions are what an Executor needs beside its functions.
type ExecutorOptions[S any] struct {
	// Waits is what a row waits for, as in Table. Required.
	Waits func(*S) []event.Wait
	// Lag is the time of the oldest message that could still keep a deadline from firing:
	// unsent in the outbox, which must be looked at first, or in the backlog of the groups concerned.
	// Zero: there is none. An error counts as lag, with what is known of its age. It is called once a second, and deadlines fire a
	// second or a few late because of it. Nil: they fire when they are due.
	Lag func(context.Context) (time.Time, error)
	// Grace is how long there must have been no lag before a deadline fires; at least,
	// and by default, lagGrace. A start counts as lag.
	Grace time.Duration
	// Longest is how long a deadline may be. For so long after a lag, deadlines fire later by the lag's length, so
	// that what was under way gets the time that it lost. The service's row of millrace.lags tells of lags before the start;
	// until it has been read, no deadline fires. 0: it gets none back.
	Longest time.Duration
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

// NewExecutor returns an executor for one service's waits. load reads rows'
// committed state (Store.LoadAll) and update brings an answer back (Store.UpdateExisting).
// To start effects right after the commit that made them due, give the executor to
// Store.StartEffects; otherwise it finds them within pollWaits.
func NewExecutor[S any](db *sql.DB, service string,
	load func(context.Context, []event.OrderID) (map[event.OrderID]Loaded[S], error),
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
	stmts := &statements{db: db}
	presence := newPresence(service, stmts)
	return &Executor[S]{
		service: service, load: load, update: update, perform: perform, opts: opts,
		waits:    waitTable{service: service, holder: presence.holder, stmts: stmts, polls: &replanned{db: db}},
		presence: presence,
		log:      opts.Logger.With("service", service),
		metrics:  newEffectMetrics(service),
		lease:    claimLease, firstRetry: firstAsk, lastRetry: lastAsk, drain: drainTime, lagEvery: lagEvery,
		horizon: horizon{grace: max(opts.Grace, lagGrace), longest: opts.Longest},
		lags:    lagTable{service: service, longest: opts.Longest, stmts: stmts},
		slots:   newSlots(opts.Concurrency),
		wake:    make(chan struct{}, 1),
	}
}

// Holder is the UUID of this executor's claims.
func (e *Executor[S]) Holder() string { return e.presence.holder }

// Reserve grants up to n places for effects that are about to become due. It grants
// nothing while the executor does not run. It never blocks.
func (e *Executor[S]) Reserve(n int) int { return e.slots.reserve(n) }

// Unreserve gives back places whose transaction failed.
func (e *Executor[S]) Unreserve(n int) { e.give(n) }

// Ahead is how many more waits may be claimed before they are due. It grants nothing while the
// executor does not run. It never blocks.
func (e *Executor[S]) Ahead() int {
	if !e.slots.isOpen() {
		return 0
	}
	return e.ahead.room()
}

// Start makes the calls of claims that have a place each, and keeps the others until they are due.
func (e *Executor[S]) Start(atOnce, ahead []Claim[S]) {
	for _, c := range atOnce {
		e.inPlace(func() { e.run(c) })
	}
	e.ahead.add(ahead)
}

// StartInDoubt looks for the claims in the table before it makes their calls, because the
// transaction is run again meanwhile and may have committed others in their place.
func (e *Executor[S]) StartInDoubt(atOnce, ahead []Claim[S]) {
	e.give(len(atOnce))
	e.ahead.add(atOnce)
	e.ahead.add(ahead)
	signal(e.wake)
}

// inPlace runs what has a place and gives it back at its end.
func (e *Executor[S]) inPlace(call func()) {
	if !e.slots.begin(call) {
		e.give(1) // Run has returned: the claim's lease ends by itself
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
	if _, err := e.presence.beat(ctx); err != nil {
		e.log.WarnContext(ctx, "nobody knows yet that effects are performed here", "error", err)
	}
	e.slots.open()
	present, leave := context.WithCancel(context.WithoutCancel(ctx)) // as long as calls are in flight
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		e.stayPresent(present)
	}()
	lag := make(chan struct{})
	if err := e.clock.compare(ctx, e.waits.stmts); err != nil {
		e.log.WarnContext(ctx, "deadlines go by this machine's clock until the database answers", "error", err)
	}
	e.horizon.lagged = e.clock.now()
	go func() {
		defer close(lag)
		if e.opts.Lag != nil {
			e.watchLag(ctx)
		}
	}()
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
	leave()
	<-gone
	if err := e.presence.end(ctx); err != nil {
		e.log.WarnContext(ctx, "the executor's presence ends by itself", "error", err)
	}
	e.waits.polls.close()
	<-lag
	return nil
}
