package perkey

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
)

// hand is one attempt: a message in a handler's hands. It is the message's
// context as well, which ends with the answer, or when nobody waits for it any more.
// It is made for each message, so it makes nothing that nobody asks for.
type hand struct {
	item    *item
	attempt int
	scope   *scope
	counted bool // among the member's messages in hand; its partition's mutex guards it

	mu   sync.Mutex
	done chan struct{} // made at the first look
	err  error
}

var _ transport.InFlight = (*hand)(nil)

// give takes a record that is ready into hand and makes its message; nil if the
// partition was taken away.
func (p *Partition) give(it *item, sub *subscription) (*hand, *message.Message) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return nil, nil
	}
	if p.scope == nil || p.scope.sub != sub {
		p.scope = newScope(sub)
	}
	it.attempts++
	h := &hand{item: it, attempt: it.attempts, scope: p.scope, counted: true}
	it.hand = h
	p.running.Add(1)
	sub.running.Add(1)
	record := it.record
	p.mu.Unlock()
	msg := record.Message()
	msg.SetContext(transport.WithInFlight(h, h))
	return h, msg
}

// release takes the message out of the handler's hands; false if it is not in
// these any more. The partition's mutex is held.
func (h *hand) release() bool {
	if h.item.hand != h {
		return false
	}
	h.item.hand = nil
	h.end()
	h.item.partition.running.Done()
	h.scope.sub.running.Done()
	h.makeRoom()
	return true
}

// makeRoom lets the member hand out another message; the partition's mutex is held.
func (h *hand) makeRoom() {
	if h.counted {
		h.counted = false
		<-h.scope.sub.hands
	}
}

// GiveWay implements transport.InFlight.
func (h *hand) GiveWay() {
	p := h.item.partition
	p.mu.Lock()
	defer p.mu.Unlock()
	h.makeRoom()
}

// withdraw takes back what reached no handler.
func (h *hand) withdraw() {
	p := h.item.partition
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.release() {
		h.item.attempts--
	}
}

// Settle implements transport.InFlight.
func (h *hand) Settle(done bool) {
	p := h.item.partition
	p.mu.Lock()
	room := false
	switch {
	case !h.release():
	case done:
		room = p.finish(h.item)
	default:
		p.again(h)
	}
	p.mu.Unlock()
	if room {
		p.room()
	}
}

// again lets a refused record come again after a back-off; p.mu is held.
func (p *Partition) again(h *hand) {
	it := h.item
	p.redone++
	switch {
	case p.stopped:
	case h.scope.sub.refuses(): // its successor need not wait
		p.topic.add(it)
	default:
		it.pause = time.AfterFunc(p.backoff.after(h.attempt), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			it.pause = nil
			if !p.stopped {
				p.topic.add(it)
			}
		})
	}
}

// watch settles a message as its Ack or Nack says.
func (h *hand) watch(msg *message.Message) {
	select {
	case <-msg.Acked():
		h.Settle(true)
	case <-msg.Nacked():
		h.Settle(false)
	case <-h.Done():
	}
}

// Delivery implements transport.InFlight.
func (h *hand) Delivery() transport.Delivery {
	d := h.item.delivery
	d.Attempt = h.attempt
	return d
}

// Within implements transport.InFlight.
func (h *hand) Within(limit time.Duration) context.Context { return h.scope.within(limit) }

// Deadline implements context.Context.
func (h *hand) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (h *hand) Done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = make(chan struct{})
		if h.err != nil {
			close(h.done)
		}
	}
	return h.done
}

// Err implements context.Context.
func (h *hand) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Value implements context.Context.
func (h *hand) Value(key any) any { return h.scope.Value(key) }

func (h *hand) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = context.Canceled
	if h.done != nil {
		close(h.done)
	}
}

// scope is what all messages have in common that a partition hands to one subscription. It
// ends when they are taken away.
type scope struct {
	context.Context // with the values of the subscription's
	cancel          context.CancelFunc
	sub             *subscription
	slot            atomic.Pointer[slot]
}

func newScope(sub *subscription) *scope {
	ctx, cancel := context.WithCancel(sub.values)
	return &scope{Context: ctx, cancel: cancel, sub: sub}
}

// slot is a deadline for all messages that ask for one within a short time.
type slot struct {
	ctx    context.Context
	cancel context.CancelFunc // for nobody: the slot ends by itself
	limit  time.Duration
	until  time.Time // whoever asks later gets the next slot
}

// slots is how many parts a limit has: one by which a deadline may be late.
const slots = 8

func (s *scope) within(limit time.Duration) context.Context {
	now := time.Now()
	if current := s.slot.Load(); current != nil && current.limit == limit && now.Before(current.until) {
		return current.ctx
	}
	late := limit / slots
	next := &slot{limit: limit, until: now.Add(late)}
	next.ctx, next.cancel = context.WithDeadline(s, now.Add(limit+late))
	s.slot.Store(next)
	return next.ctx
}
