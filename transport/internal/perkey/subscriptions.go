package perkey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

// ErrClosed is returned by Subscribe after Close.
var ErrClosed = errors.New("the subscriber is closed")

// Subscriptions are the channels of one group member: one per topic.
type Subscriptions struct {
	// Drain is how long an ending subscription waits for its running handlers.
	Drain time.Duration
	// Backoff is the wait before the second attempt.
	Backoff Backoff

	mu     sync.Mutex
	topics map[string]*topic
	closed chan struct{}
	ended  sync.WaitGroup
}

// NewSubscriptions returns none.
func NewSubscriptions(drain time.Duration, backoff Backoff) *Subscriptions {
	return &Subscriptions{Drain: drain, Backoff: backoff, topics: map[string]*topic{}, closed: make(chan struct{})}
}

// Partition starts to work on a partition of a topic. At most limit of its
// records, from the oldest unfinished one on, are at work; when as many wait beyond those,
// Full asks to pause, and room is called when fetching may go on. Records wait
// while nobody listens to the topic.
func (s *Subscriptions) Partition(topic string, limit int, room func()) *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Partition{
		topic: s.topic(topic), backoff: s.Backoff, limit: limit, room: room,
		stopping: make(chan struct{}), abandon: make(chan struct{}),
		lastOfKey: map[string]*item{}, done: NothingDone,
	}
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
			sub := newSubscription(ctx)
			t.set(sub)
			s.ended.Add(1)
			s.mu.Unlock()
			go s.end(ctx, t, sub)
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
		t = &topic{changed: make(chan struct{})}
		s.topics[name] = t
	}
	return t
}

// end waits for the subscription's end and closes it.
func (s *Subscriptions) end(ctx context.Context, t *topic, sub *subscription) {
	defer s.ended.Done()
	select {
	case <-ctx.Done():
	case <-s.closed:
	}
	sub.refuse()
	drain, cancel := context.WithTimeout(context.Background(), s.Drain)
	defer cancel()
	if !wait(drain, &sub.running) {
		close(sub.abandon)
		sub.running.Wait()
	}
	t.set(nil)
	close(sub.out)
	close(sub.gone)
}

// topic is where partitions find who listens.
type topic struct {
	mu      sync.Mutex
	sub     *subscription
	changed chan struct{}
}

func (t *topic) current() *subscription {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sub
}

func (t *topic) set(sub *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sub = sub
	close(t.changed)
	t.changed = make(chan struct{})
}

// listener waits until somebody listens; nil when stop comes first.
func (t *topic) listener(stop <-chan struct{}) *subscription {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		t.mu.Lock()
		sub, changed := t.sub, t.changed
		t.mu.Unlock()
		if sub != nil {
			select {
			case <-sub.closing: // still listed, no longer listening
			default:
				return sub
			}
		}
		select {
		case <-stop:
			return nil
		case <-changed:
		}
	}
}

// outcome is what became of handing out a message.
type outcome int

const (
	refused outcome = iota // nobody took it
	acked
	nacked // or given up on
)

// subscription is one channel.
type subscription struct {
	ctx     context.Context // Subscribe's own, to see whether it has ended
	values  context.Context // the same without its end
	out     chan *message.Message
	closing chan struct{} // closed: nothing new
	abandon chan struct{} // closed: running handlers have had their time
	gone    chan struct{} // closed: out is closed

	mu      sync.Mutex
	refuses bool
	running sync.WaitGroup
}

func newSubscription(ctx context.Context) *subscription {
	return &subscription{
		ctx: ctx, values: context.WithoutCancel(ctx), out: make(chan *message.Message),
		closing: make(chan struct{}), abandon: make(chan struct{}), gone: make(chan struct{}),
	}
}

func (s *subscription) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = true
	close(s.closing)
}

// enter says that a sender is at work, so that the channel is not closed under it.
func (s *subscription) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		return false
	}
	s.running.Add(1)
	return true
}

// hand gives one message to the handler and waits for its answer. The message's
// context ends with the answer, or when nobody waits for it any more.
func (s *subscription) hand(p *Partition, it *item) outcome {
	if !s.enter() {
		return refused
	}
	defer s.running.Done()
	msg := it.record.Message()
	ctx, cancel := context.WithCancel(transport.WithDelivery(s.values, it.delivery))
	defer cancel()
	msg.SetContext(ctx)
	select {
	case s.out <- msg:
	case <-s.closing:
		return refused
	case <-p.stopping:
		return refused
	}
	select {
	case <-msg.Acked():
		return acked
	case <-msg.Nacked():
	case <-s.abandon:
	case <-p.abandon:
	}
	return nacked
}
