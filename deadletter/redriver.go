package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

const (
	// redrivePoll is the pause between looks for lanes that are due, busyPoll the shortest one: after lanes were found,
	// more are likely.
	redrivePoll = 500 * time.Millisecond
	busyPoll    = 20 * time.Millisecond
	// unfinishedPause is how soon a message is tried again that was not finished.
	unfinishedPause = time.Second
	// strangerPause is how soon a message is looked at again whose topic nobody here has subscribed to: another
	// release may know it.
	strangerPause = 30 * time.Second
	// subscribing is how long after the first topic the others may follow: a router asks for them one after the other, and may
	// have little of a busy machine. Until then a message of another one waits only for a moment.
	subscribing = 10 * time.Second
	// maxLanes is how many lanes go on at once, with one message of each in memory: as many as make the batches of the store
	// and of the outcomes large. What a batch costs is mostly its commit.
	maxLanes = 512
)

// Redriver is the subscriber of one service's parked messages: those of each order in the order they
// came in, several orders at once. It is for the handlers that failed, and nobody else. Several
// processes may have one each: no two are at the same order.
//
// A message is settled by what Settle says of it while it is handled; one that is only acknowledged is
// tried again later.
//
// A lane's lease is renewed while its message is handled, however long that takes. What is not promised: that no two
// processes ever handle the same message at once. One that stood still for longer than its lease may come back in the
// middle of it. Its context has ended then: the store takes nothing from it, and what it says of the lane does not count.
type Redriver struct {
	parking *Parking
	log     *slog.Logger

	mu      sync.Mutex
	topics  map[string]*subscription
	began   time.Time // at the first Subscribe
	inHand  map[*claim]struct{}
	stop    context.CancelFunc
	stopped context.Context
	running sync.WaitGroup
	places  chan struct{}
	freed   chan struct{} // capacity 1: a place was given back
	inDoubt []*claim      // of run alone: they may have been committed, and nobody is at their lanes

	renewing  sync.WaitGroup
	renewals  context.Context // until the last message is handled
	endRenews context.CancelFunc
}

type subscription struct {
	messages chan *message.Message
	ctx      context.Context
}

var _ message.Subscriber = (*Redriver)(nil)

// NewRedriver returns the subscriber of what p has put aside. Close ends it.
func NewRedriver(p *Parking, log *slog.Logger) *Redriver {
	r := &Redriver{parking: p, log: log, topics: map[string]*subscription{}, inHand: map[*claim]struct{}{}, places: make(chan struct{}, maxLanes), freed: make(chan struct{}, 1)}
	r.stopped, r.stop = context.WithCancel(context.Background())
	r.renewals, r.endRenews = context.WithCancel(context.Background())
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
	if r.began.IsZero() {
		r.began = time.Now()
		r.running.Go(r.run)
		r.renewing.Go(func() { r.renew(r.renewals) })
	}
	return s.messages, nil
}

// Close waits for the messages that are being handled, and ends the subscriptions.
func (r *Redriver) Close() error {
	r.stop()
	r.running.Wait()
	r.endRenews()
	r.renewing.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.topics {
		close(s.messages)
	}
	r.topics = nil
	return nil
}

// goOn works through a lane until it ends, waits, or belongs to somebody else.
func (r *Redriver) goOn(ctx context.Context, c *claim, head *Letter) {
	for head != nil {
		o := r.one(ctx, c, head)
		if o.Final && o.Err != nil {
			r.log.Error("a redriven message failed again", "service", head.Service, "topic", head.Topic, "order_id", head.OrderID, "letter", head.ID, "error", o.Err)
		}
		next, err := r.parking.settleHead(ctx, c, head, o)
		if err != nil {
			r.log.Warn("what became of a redriven message could not be noted; it is tried again, and found processed if it was",
				"service", r.parking.service, "letter", head.ID, "error", err)
			r.letGo(ctx, c)
		}
		head = next
	}
}

var (
	errUnfinished = errors.New("it was not finished")
	errStranger   = errors.New("nobody here has subscribed to its topic")
)

// one hands over a lane's head, and waits for what becomes of it. A stop lets a message finish that is being handled, and
// no other one begin.
func (r *Redriver) one(ctx context.Context, c *claim, head *Letter) Outcome {
	if ctx.Err() != nil {
		return Outcome{Err: errUnfinished}
	}
	r.mu.Lock()
	s, began := r.topics[head.Topic], r.began
	r.mu.Unlock()
	switch {
	case s == nil && time.Since(began) < subscribing:
		return Outcome{Err: errUnfinished, RetryIn: unfinishedPause}
	case s == nil:
		return Outcome{Err: errStranger, RetryIn: strangerPause}
	}
	handled, stop := c.guarded(context.WithoutCancel(s.ctx), r.parking.lease)
	defer stop()
	a := &attempt{letter: *head}
	msg := message.NewMessage(head.MessageID, head.Payload)
	msg.Metadata = message.Metadata(head.Original())
	msg.SetContext(withAttempt(transport.WithDelivery(handled, transport.Delivery{
		Topic: head.Topic, Partition: head.Partition, Offset: head.Offset, Key: head.Key, Group: head.Group, Attempt: 1, Time: head.PublishedAt,
	}), a))
	select {
	case <-handled.Done(): // the process stood still
		return Outcome{Err: errUnfinished, RetryIn: unfinishedPause}
	default:
	}
	select {
	case s.messages <- msg:
	case <-handled.Done():
		return Outcome{Err: errUnfinished, RetryIn: unfinishedPause}
	case <-ctx.Done():
		return Outcome{Err: errUnfinished}
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	}
	if outcome, ok := a.settled(); ok {
		return outcome
	}
	if ctx.Err() != nil { // stopped in the middle
		return Outcome{Err: errUnfinished}
	}
	return Outcome{Err: errUnfinished, Attempts: 1, RetryIn: unfinishedPause}
}

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
