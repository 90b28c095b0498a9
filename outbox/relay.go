package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
)

// Relay carries the outbox to the broker: it reads by id whatever is visible,
// publishes it as one batch, and deletes exactly what was acknowledged.
//
// Within a key nobody skips: a row that fails holds back the later ones of its key, until it
// gets through; other keys go on. (Of one batch, later rows of its key in other topics may get
// through: topics have no order among each other.) So several relays at once, or one that was paused, produce
// duplicates but never a new order of first occurrences. What it does not promise: that
// an event is published once. Consumers know what they have processed.
//
// One Relay serves one database. Run it in every process; a lease has one of them work.
type Relay struct {
	publisher message.Publisher
	table     outboxTable
	lease     *Lease
	backlog   backlog
	handed    handed
	metrics   relayMetrics
	log       *slog.Logger
	wake      chan struct{}
}

// RelayOptions are what may differ between relays. The zero value is fit for use.
type RelayOptions struct {
	// Cap is how many unsent rows are too many: Saturated is true from there on.
	// 100,000 when 0.
	Cap int
	// Logger is slog.Default when nil.
	Logger *slog.Logger
}

// defaultCap is some ten seconds of the highest rate that was measured, or an hour of
// an ordinary shop: beyond it, more orders would only wait longer.
const defaultCap = 100_000

// NewRelay returns a relay from db to publisher, which is used as a
// transport.BatchPublisher if it is one, and one message at a time otherwise. The caller
// closes publisher, after Run has returned.
func NewRelay(db *sql.DB, publisher message.Publisher, opts RelayOptions) *Relay {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Cap <= 0 {
		opts.Cap = defaultCap
	}
	return &Relay{
		publisher: publisher,
		table:     outboxTable{stmts: &replanned{db: db}, deletes: &replanned{db: db}, limit: relayBatch, maximum: relayBatch},
		lease:     NewLease(db, "relay", opts.Logger),
		backlog:   backlog{db: db, limit: opts.Cap},
		metrics:   newRelayMetrics(),
		log:       opts.Logger,
		wake:      make(chan struct{}, 1),
	}
}

// Wake says that a transaction has committed rows. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// committed hands over rows that a transaction of this process has committed. It never blocks.
func (r *Relay) committed(rows []outboxRow) {
	r.handed.add(rows)
	r.Wake()
}

// Run relays until ctx ends: then it sends what has been committed by then, for lastPass at the
// most, releases the lease and returns nil.
func (r *Relay) Run(ctx context.Context) error {
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(ctx)
	}()
	r.lease.Run(ctx, r.work)
	<-watched
	return nil
}

const (
	// minPoll and maxPoll are the pauses between looks at an empty outbox, the
	// safety net for what nobody woke the relay for: rows of other processes. One look costs
	// some 0.1 ms.
	minPoll    = 20 * time.Millisecond
	maxPoll    = 100 * time.Millisecond
	pollGrowth = 1.5
	// wholeLook is how often the relay looks from zero, for rows of a transaction that lasted
	// longer than it may.
	wholeLook = time.Minute
	// pauseBetweenWholeLooks bounds how often held rows that got through cause one.
	pauseBetweenWholeLooks = time.Second
	// firstRetry and lastRetry are the pauses while the database or the broker is down.
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// errRefused means that nothing of a batch could be published.
var errRefused = errors.New("nothing could be published")

// shift is what a relay knows while it holds the lease.
type shift struct {
	seen      gaps
	held      heldBack
	done      removal
	next      int64     // the next page begins after this id: the highest one seen, or lower in a look from zero
	wholeAt   time.Time // when to look from zero
	wholeTo   int64     // a look from zero is under way up to this id
	lastWhole time.Time
	broker    trouble
}

func (r *Relay) work(ctx context.Context) {
	r.metrics.leader.Set(1)
	defer r.metrics.leader.Set(0)
	defer r.metrics.held.Set(0)
	defer r.table.stmts.close()
	defer r.table.deletes.close()
	r.handed.setOpen(true)
	defer r.handed.setOpen(false)
	s := &shift{broker: trouble{log: r.log, what: "the relay publishes"}}
	database := trouble{log: r.log, what: "the relay reads the outbox"}
	// Without jitter: whoever has the lease tries alone.
	retry := &backoff.ExponentialBackOff{InitialInterval: firstRetry, Multiplier: 2, MaxInterval: lastRetry}
	poll := minPoll
	for ctx.Err() == nil {
		more, err := r.step(ctx, s)
		switch {
		case errors.Is(err, errRefused):
			s.broker.note(ctx, err)
			r.metrics.failures.WithLabelValues("publish").Inc()
			pause(ctx, retry.NextBackOff(), nil)
		case err != nil:
			s.wholeAt = time.Time{} // acknowledged rows whose deletion failed lie below where the relay reads
			if ctx.Err() == nil {
				s.distrust()
				r.handed.setOpen(true)
			}
			database.note(ctx, err)
			r.metrics.failures.WithLabelValues("database").Inc()
			pause(ctx, retry.NextBackOff(), nil)
		case more:
			database.note(ctx, nil)
			retry.Reset()
			poll = minPoll
		default:
			database.note(ctx, nil)
			retry.Reset()
			if pause(ctx, poll, r.wake) {
				poll = minPoll
			} else {
				poll = min(time.Duration(float64(poll)*pollGrowth), maxPoll)
			}
		}
	}
	r.finish(ctx, s)
}

// lastPass bounds what a relay that is told to stop still sends.
const lastPass = 2 * time.Second

// finish sends what has been committed before the end: other processes should not have to
// wait for this one's return to hear of it.
func (r *Relay) finish(ctx context.Context, s *shift) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPass)
	defer cancel()
	r.handed.setOpen(false) // the table has the rows of other processes, too
	for more, err := true, error(nil); more && err == nil; {
		more, err = r.step(ctx, s) // an error leaves the rows to the next relay
	}
	if err := s.done.finish(ctx, &r.table); err != nil {
		r.log.WarnContext(ctx, "events that were published stay in the outbox and are published once more", "error", err)
	}
}

// step does one batch. more means that rows were published, so that a pause would be wrong.
func (r *Relay) step(ctx context.Context, s *shift) (more bool, err error) {
	if len(s.held.lanes) > 0 && time.Now().After(s.held.probeAt) {
		if err := r.probe(ctx, s); err != nil {
			return false, err
		}
	}
	began := time.Now()
	if s.wholeDue(began) { // it must not find what has been published
		if err := s.done.finish(ctx, &r.table); err != nil {
			return false, err
		}
	}
	s.begin(began)
	rows, full := r.known(s)
	read := len(rows) == 0
	if read {
		if rows, full, err = r.table.page(ctx, s.next, &s.seen); err != nil {
			return false, err
		}
	}
	free, behind := s.held.without(rows)
	result := publish(ctx, r.publisher, free)
	if result.tried < len(free) { // the rest of the page is as if it had not been read
		stop := free[result.tried].id
		for i := range rows {
			if rows[i].id == stop {
				rows, full = rows[:i], true
				break
			}
		}
	}
	if err := r.settle(ctx, s, result, behind); err != nil {
		return false, err
	}
	now := time.Now()
	for i := range rows {
		s.seen.saw(rows[i].id, now)
	}
	if read {
		s.seen.looked(lookedUpTo(rows, full), began)
		s.end(rows, full)
	} else {
		s.next = s.seen.highest
	}
	r.backlog.raise(s.seen.highest)
	if len(result.failed) > 0 && len(result.acked) == 0 {
		return false, fmt.Errorf("%w, of %d rows tried: %w", errRefused, result.tried, result.failed[0].err)
	}
	return full || read && len(result.acked) > 0, s.done.goOn(ctx, &r.table)
}

// known returns the rows that come next if they were handed over: then the table need not be read.
func (r *Relay) known(s *shift) (rows []outboxRow, more bool) {
	if s.wholeTo > 0 { // a look from zero is under way
		return nil, false
	}
	return r.handed.next(&s.seen, relayBatch)
}

// lookedUpTo is the id up to which a page shows all that is visible.
func lookedUpTo(rows []outboxRow, full bool) int64 {
	switch {
	case !full:
		return math.MaxInt64
	case len(rows) == 0:
		return 0
	default:
		return rows[len(rows)-1].id
	}
}

// settle has deleted what was acknowledged and notes what was not.
func (r *Relay) settle(ctx context.Context, s *shift, result sent, behind []int64) error {
	if len(result.acked) > 0 {
		s.broker.note(ctx, nil)
		r.metrics.published.Add(float64(len(result.acked)))
	}
	s.done.add(result.acked)
	if ctx.Err() != nil {
		return ctx.Err() // failures of a relay that is being stopped say nothing: nothing was read
	}
	first, unsendable := s.held.hold(result.failed, time.Now())
	for _, f := range first {
		r.alarm(ctx, s, f)
	}
	r.metrics.held.Set(float64(len(s.held.lanes)))
	return r.table.change(ctx, markRows, append(behind, unsendable...))
}

// maxAlarms is how many held keys are named in the log. More than that is an outage, which
// is logged as one; the metric counts them all.
const maxAlarms = 10

func (r *Relay) alarm(ctx context.Context, s *shift, f failure) {
	if len(s.held.lanes) > maxAlarms {
		return
	}
	r.log.ErrorContext(ctx, "an event could not be published; it and the later ones of its key wait, the others go on",
		"outbox_id", f.row.id, "topic", f.row.topic, "key", string(f.row.key), "error", f.err)
}

// probe tries held rows again, apart from the others, whose batches would be refused with
// them. The others wait for its answer, publishTimeout at the most.
func (r *Relay) probe(ctx context.Context, s *shift) error {
	asked := s.held.probe(relayBatch)
	if len(asked) == 0 {
		return nil
	}
	rows, err := r.table.byID(ctx, asked)
	if err != nil {
		return err
	}
	result := publish(ctx, r.publisher, rows)
	if err := r.settle(ctx, s, result, nil); err != nil {
		return err
	}
	got := setOf(result.acked)
	var left []int64
	for _, row := range rows {
		if !got[row.id] {
			left = append(left, row.id)
		}
	}
	if through := s.held.probed(asked, left, time.Now()); through > 0 {
		s.wholeAt = s.lastWhole.Add(pauseBetweenWholeLooks)
		r.log.InfoContext(ctx, "events that were held back got through", "keys", through)
	}
	return nil
}

// distrust forgets what is known of the table. After an error it may be another server's: one that was
// promoted without the last rows gives their ids to others, which must not pass for seen, nor be
// deleted for published.
func (s *shift) distrust() {
	*s = shift{broker: s.broker, done: removal{running: s.done.running}}
}

// begin decides where the next page begins, if a look from zero is due.
func (s *shift) begin(now time.Time) {
	if s.wholeDue(now) {
		s.next, s.wholeTo = 0, s.seen.highest
		s.held.release()
		s.lastWhole, s.wholeAt = now, now.Add(wholeLook)
	}
}

func (s *shift) wholeDue(now time.Time) bool { return s.wholeTo == 0 && !now.Before(s.wholeAt) }

// end decides where the next page begins after a page.
func (s *shift) end(rows []outboxRow, full bool) {
	if len(rows) > 0 {
		s.next = max(s.next, rows[len(rows)-1].id)
	}
	if !full || s.next >= s.wholeTo {
		s.wholeTo, s.next = 0, s.seen.highest
	}
}
