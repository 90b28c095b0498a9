package perkey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// maxInHand bounds the messages of one member in handlers' hands. Each has a goroutine with
// its stack, which the garbage collector reads in every cycle: a backlog must not start
// one for each message that waits. It is two of the store's largest batches: one being
// written, the next one gathering. Those that wait to be tried again do not count, else they
// could keep out all others; the partitions' limits bound them.
const maxInHand = 1000

// ErrClosed is returned by Subscribe after Close.
var ErrClosed = errors.New("the subscriber is closed")

// Subscriptions are the channels of one group member: one per topic.
type Subscriptions struct {
	// Drain is how long an ending subscription waits for its running handlers.
	Drain time.Duration
	// Backoff is the wait before the second attempt.
	Backoff Backoff

	settled atomic.Bool   // see ExpectSettle
	hands   chan struct{} // one for each message in hand
	mu      sync.Mutex
	topics  map[string]*topic
	closed  chan struct{}
	ended   sync.WaitGroup
}

// NewSubscriptions returns none.
func NewSubscriptions(drain time.Duration, backoff Backoff) *Subscriptions {
	return &Subscriptions{
		Drain: drain, Backoff: backoff, topics: map[string]*topic{},
		closed: make(chan struct{}), hands: make(chan struct{}, maxInHand),
	}
}

// ExpectSettle implements transport.Settler.
func (s *Subscriptions) ExpectSettle() { s.settled.Store(true) }

// Partition starts to work on a partition of a topic. At most limit of its
// records, from the oldest unfinished one on, are at work; when as many wait beyond those,
// Full asks to pause, and room is called when fetching may go on. Records wait
// while nobody listens to the topic.
func (s *Subscriptions) Partition(topic string, limit int, room func()) *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Partition{
		topic: s.topic(topic), backoff: s.Backoff, limit: limit, room: room,
		stopping: make(chan struct{}), lastOfKey: map[string]*item{}, done: NothingDone,
	}
	p.topic.join(p)
	return p
}

// Subscribe opens the channel of a topic. Messages carry the values of ctx, not
// its end: when ctx ends nothing new is delivered, running handlers get Drain to
// finish, and the channel is closed. A topic has one subscription at a time; two
// would share its messages, which nobody who asks for that means.
func (s *Subscriptions) Subscribe(ctx context.Context, name string) (<-chan *message.Message, error) {
	for {
		s.mu.Lock()
		select {
		case <-s.closed:
			s.mu.Unlock()
			return nil, fmt.Errorf("subscribe to %s: %w", name, ErrClosed)
		default:
		}
		t := s.topic(name)
		before := t.current()
		if before == nil {
			sub := newSubscription(ctx, s)
			t.set(sub)
			s.ended.Add(1)
			s.mu.Unlock()
			go s.run(ctx, t, sub)
			return sub.out, nil
		}
		s.mu.Unlock()
		if before.ctx.Err() == nil {
			return nil, fmt.Errorf("subscribe to %s: this group member listens to it already; give the second handler a group of its own", name)
		}
		select { // its context has ended; it is about to go
		case <-before.gone:
		case <-ctx.Done():
			return nil, fmt.Errorf("subscribe to %s: %w", name, ctx.Err())
		}
	}
}

// Close ends every subscription, and returns when their channels are closed.
func (s *Subscriptions) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.ended.Wait()
}

func (s *Subscriptions) topic(name string) *topic {
	t := s.topics[name]
	if t == nil {
		t = newTopic()
		s.topics[name] = t
	}
	return t
}

// run serves the subscription until its end, and closes it.
func (s *Subscriptions) run(ctx context.Context, t *topic, sub *subscription) {
	defer s.ended.Done()
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		sub.serve(t)
	}()
	select {
	case <-ctx.Done():
	case <-s.closed:
	}
	close(sub.closing)
	<-serving
	for _, p := range t.all() {
		p.hurry()
	}
	drain, cancel := context.WithTimeout(context.Background(), s.Drain)
	defer cancel()
	wait(drain, &sub.running)
	for _, p := range t.all() {
		p.abandon(sub)
	}
	sub.running.Wait()
	t.set(nil)
	close(sub.out)
	close(sub.gone)
}

// subscription is one channel.
type subscription struct {
	ctx     context.Context // Subscribe's own, to see whether it has ended
	values  context.Context // the same without its end
	out     chan *message.Message
	settled *atomic.Bool  // answers come as Settle, not as Ack and Nack
	hands   chan struct{} // all subscriptions' of the member
	closing chan struct{} // closed: nothing new
	gone    chan struct{} // closed: out is closed
	running sync.WaitGroup
}

func newSubscription(ctx context.Context, of *Subscriptions) *subscription {
	return &subscription{
		ctx: ctx, values: context.WithoutCancel(ctx), out: make(chan *message.Message),
		settled: &of.settled, hands: of.hands, closing: make(chan struct{}), gone: make(chan struct{}),
	}
}

func (s *subscription) refuses() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// serve hands out what is ready until the subscription ends.
func (s *subscription) serve(t *topic) {
	for {
		line := t.take()
		for i, it := range line {
			select {
			case s.hands <- struct{}{}:
			case <-s.closing:
				t.putBack(line[i:])
				return
			}
			h, msg := it.partition.give(it, s)
			if h == nil {
				<-s.hands
				continue
			}
			select {
			case s.out <- msg:
				if !s.settled.Load() {
					go h.watch(msg)
				}
			case <-it.partition.stopping:
				h.withdraw()
			case <-s.closing:
				h.withdraw()
				t.putBack(line[i:])
				return
			}
		}
		if len(line) > 0 {
			continue
		}
		select {
		case <-t.more:
		case <-s.closing:
			return
		}
	}
}
