package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/outbox"
	"millrace/transport"
)

const (
	// redrivePoll is the pause between looks for lanes that are due.
	redrivePoll = 500 * time.Millisecond
	// redriveLease is how long a lane is one process's. Each message of it takes a new one.
	redriveLease = 30 * time.Second
	// redriveLimit is how long a message may take: well within the lease, so that no two processes are at a lane.
	redriveLimit = redriveLease / 2
	// unfinishedPause is how soon a message is tried again that was not finished in that time.
	unfinishedPause = time.Second
	// maxLanes is how many lanes go on at once: as many as make the store's batches large.
	maxLanes = 128
)

// Redriver is the subscriber of one service's parked messages: those of each order in the order they
// came in, several orders at once. It is for the handlers that failed, and nobody else. Several
// processes may have one each: no two are at the same order.
//
// A message is settled by what Settle says of it while it is handled; one that is only acknowledged is
// tried again later.
type Redriver struct {
	parking *Parking
	holder  string
	log     *slog.Logger

	mu      sync.Mutex
	topics  map[string]*subscription
	started bool
	stop    context.CancelFunc
	stopped context.Context
	running sync.WaitGroup
	places  chan struct{}
	freed   chan struct{} // capacity 1: a place was given back
}

type subscription struct {
	messages chan *message.Message
	ctx      context.Context
}

var _ message.Subscriber = (*Redriver)(nil)

// NewRedriver returns the subscriber of what p has put aside. Close ends it.
func NewRedriver(p *Parking, log *slog.Logger) *Redriver {
	r := &Redriver{parking: p, holder: uuid.NewString(), log: log, topics: map[string]*subscription{}, places: make(chan struct{}, maxLanes), freed: make(chan struct{}, 1)}
	r.stopped, r.stop = context.WithCancel(context.Background())
	return r
}

// Subscribe opens the channel of a topic: the one the message was first delivered from. A message of a topic
// that nobody has asked for stays where it is, and so does what waits behind it.
func (r *Redriver) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped.Err() != nil {
		return nil, errors.New("the redriver is closed")
	}
	if _, ok := r.topics[topic]; ok {
		return nil, fmt.Errorf("topic %s has its subscriber already", topic)
	}
	s := &subscription{messages: make(chan *message.Message), ctx: ctx}
	r.topics[topic] = s
	if !r.started {
		r.started = true
		r.running.Go(r.run)
	}
	return s.messages, nil
}

// Close waits for the messages that are being handled, and ends the subscriptions.
func (r *Redriver) Close() error {
	r.stop()
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.topics {
		close(s.messages)
	}
	r.topics = nil
	return nil
}

func (r *Redriver) run() {
	tick := time.NewTicker(redrivePoll)
	defer tick.Stop()
	trouble := false
	for {
		n, err := r.claim(r.stopped)
		if err != nil && r.stopped.Err() == nil && !trouble {
			r.log.Warn("parked messages cannot be read; still trying", "service", r.parking.service, "error", err)
		}
		trouble = err != nil
		if n > 0 {
			continue
		}
		select {
		case <-r.stopped.Done():
			return
		case <-tick.C:
		case <-r.freed:
		}
	}
}

func (r *Redriver) giveBack() {
	<-r.places
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

const claimLanes = `UPDATE deadletter.lanes t SET holder = $3, lease_until = now() + $4::bigint * interval '1 millisecond'
FROM (SELECT lane FROM deadletter.lanes WHERE service = $1 AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
	ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
WHERE t.service = $1 AND t.lane = due.lane RETURNING t.lane`

// claim takes lanes that are due, as many as there are places for, and has them go on.
func (r *Redriver) claim(ctx context.Context) (claimed int, err error) {
	free := cap(r.places) - len(r.places)
	if free == 0 {
		return 0, nil
	}
	limited, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	lanes, err := r.claimed(limited, free)
	if err != nil || len(lanes) == 0 {
		return 0, err
	}
	next, err := heads(limited, r.parking.db, r.parking.service, lanes)
	if err != nil {
		return 0, err // their lease ends
	}
	for _, lane := range lanes {
		head := next[lane]
		if head == nil || head.Status == New {
			if err := r.leave(limited, lane, head == nil); err != nil {
				return 0, err
			}
			continue
		}
		r.places <- struct{}{}
		r.running.Go(func() {
			defer r.giveBack()
			r.goOn(ctx, head)
		})
	}
	return len(lanes), nil
}

func (r *Redriver) claimed(ctx context.Context, limit int) (lanes outbox.UUIDArray, err error) {
	rows, err := r.parking.db.QueryContext(ctx, claimLanes, r.parking.service, limit, r.holder, redriveLease.Milliseconds())
	if err != nil {
		return nil, fmt.Errorf("claim lanes of %s: %w", r.parking.service, err)
	}
	defer rows.Close()
	for rows.Next() {
		var lane string
		if err := rows.Scan(&lane); err != nil {
			return nil, fmt.Errorf("claim lanes of %s: %w", r.parking.service, err)
		}
		lanes = append(lanes, lane)
	}
	return lanes, rows.Err()
}

// leave is for a lane with nothing to try.
func (r *Redriver) leave(ctx context.Context, lane string, empty bool) error {
	query := stopLane
	if empty {
		query = endLane
	}
	if _, err := r.parking.db.ExecContext(ctx, query, r.parking.service, outbox.UUIDArray{lane}); err != nil {
		return fmt.Errorf("leave lane %s of %s: %w", lane, r.parking.service, err)
	}
	return nil
}

const renewLane = `UPDATE deadletter.lanes SET lease_until = now() + $4::bigint * interval '1 millisecond'
WHERE service = $1 AND lane = $2 AND holder = $3`

// goOn works through a lane until it ends, waits, or belongs to somebody else.
func (r *Redriver) goOn(ctx context.Context, head *Letter) {
	for ; head != nil && ctx.Err() == nil; head = r.one(ctx, head) {
		renewed, err := r.parking.db.ExecContext(ctx, renewLane, r.parking.service, head.lane(), r.holder, redriveLease.Milliseconds())
		if err != nil {
			return // the lease ends
		}
		if n, err := renewed.RowsAffected(); err != nil || n == 0 {
			return // taken over
		}
	}
}

// one hands over a lane's head, waits for what becomes of it, and returns the next.
func (r *Redriver) one(ctx context.Context, head *Letter) *Letter {
	r.mu.Lock()
	s := r.topics[head.Topic]
	r.mu.Unlock()
	if s == nil {
		_ = r.leave(ctx, head.lane(), false)
		return nil
	}
	handled, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), redriveLimit) // a stop lets it finish
	defer cancel()
	a := &attempt{letter: *head}
	msg := message.NewMessage(head.MessageID, head.Payload)
	msg.Metadata = message.Metadata(head.Original())
	msg.SetContext(withAttempt(transport.WithDelivery(handled, transport.Delivery{
		Topic: head.Topic, Partition: head.Partition, Offset: head.Offset, Key: head.Key, Group: head.Group, Attempt: 1, Time: head.PublishedAt,
	}), a))
	select {
	case s.messages <- msg:
	case <-handled.Done():
		return nil
	case <-r.stopped.Done():
		return nil
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	}
	outcome, ok := a.settled()
	if !ok { // stopped in the middle
		outcome = Outcome{Err: errUnfinished, RetryIn: unfinishedPause}
	}
	if outcome.Final && outcome.Err != nil {
		r.log.ErrorContext(handled, "a redriven message failed again", "service", head.Service, "topic", head.Topic, "order_id", head.OrderID, "letter", head.ID, "error", outcome.Err)
	}
	next, err := r.parking.settleHead(context.WithoutCancel(ctx), *head, outcome)
	if err != nil {
		r.log.Warn("what became of a redriven message could not be noted; it is tried again, and found processed", "service", r.parking.service, "letter", head.ID, "error", err)
		return nil
	}
	return next
}

var errUnfinished = errors.New("it was not finished")

// attempt is one try of a parked message.
type attempt struct {
	letter Letter

	mu      sync.Mutex
	done    bool
	outcome Outcome
}

func (a *attempt) settled() (Outcome, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.outcome, a.done
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// Redriven returns the letter that the message with this context is about; false for a message that comes
// from the log.
func Redriven(ctx context.Context) (Letter, bool) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return Letter{}, false
	}
	return a.letter, true
}

// Settle says what became of the redriven message with this context. Only the first answer counts.
func Settle(ctx context.Context, o Outcome) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.done {
		a.done, a.outcome = true, o
	}
}
