// Package perkey hands out the records of a partition: many at a time, never
// two of one key at once. It knows when everything up to some offset is done,
// which is all that may be committed.
//
// Kafka and memory share it. It does no I/O and keeps no clock but the back-off.
package perkey

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/fault"
	"millrace/transport"
)

// Record makes the message of a record: a fresh one at each call, since a
// handler may change what it was given and the next attempt must not see that.
type Record interface {
	Message() *message.Message
}

// NothingDone is Partition.Done while no record has been finished.
const NothingDone = int64(-1)

// item is a record on its way. It is a link in two chains: that of its
// partition, in offset order, and that of its key. Its partition's mutex guards it.
type item struct {
	partition *Partition
	record    Record
	delivery  transport.Delivery
	attempts  int
	keyed     bool
	done      bool
	later     *item       // next in the partition
	sameKey   *item       // next of this key
	hand      *hand       // the attempt under way; nil: none
	pause     *time.Timer // runs until its next attempt; nil: none
}

// Partition is one partition while one member owns it.
type Partition struct {
	topic   *topic
	backoff Backoff
	room    func() // called when there is room after Full

	stopping chan struct{}  // closed: no new deliveries, no more waiting
	running  sync.WaitGroup // messages in handlers' hands

	mu        sync.Mutex
	stopped   bool
	scope     *scope // of the messages it hands out now
	oldest    *item
	newest    *item
	next      *item // the first one that has not been started; nil: all have
	lastOfKey map[string]*item
	span      int // started records from the oldest unfinished on
	waiting   int // records from next on
	limit     int // of either
	full      bool
	done      int64
	redone    int64
}

// Push takes the next record. It never blocks: whoever fetches looks at Full and
// stops fetching. Records must come in offset order. After Stop it does nothing.
//
// A record without a key waits for no other one.
func (p *Partition) Push(d transport.Delivery, r Record) {
	p.append(&item{partition: p, record: r, delivery: d, keyed: len(d.Key) > 0 && !fault.On(fault.Overtake)})
}

// Skip passes over an offset that holds no message.
func (p *Partition) Skip(offset int64) {
	p.append(&item{partition: p, delivery: transport.Delivery{Offset: offset}, done: true})
}

func (p *Partition) append(it *item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	if p.newest == nil {
		p.oldest = it
	} else {
		p.newest.later = it
	}
	p.newest = it
	if p.next == nil {
		p.next = it
	}
	p.waiting++
	p.advance()
}

// advance takes what is done off the front of the span, and starts what it has
// room for; p.mu is held.
func (p *Partition) advance() {
	for {
		switch {
		case p.oldest != p.next && p.oldest.done:
			p.done = p.oldest.delivery.Offset + 1
			p.oldest = p.oldest.later
			p.span--
		case p.next != nil && p.span < p.limit && !p.stopped:
			it := p.next
			p.next = it.later
			p.span++
			p.waiting--
			p.start(it)
		default:
			if p.oldest == nil {
				p.newest = nil
			}
			return
		}
	}
}

// start makes a record ready to be handed out, unless one of its key is at work:
// then it follows that one. p.mu is held.
func (p *Partition) start(it *item) {
	if it.done {
		return
	}
	if it.keyed {
		last := p.lastOfKey[string(it.delivery.Key)]
		p.lastOfKey[string(it.delivery.Key)] = it
		if last != nil {
			last.sameKey = it
			return
		}
	}
	p.topic.add(it)
}

// finish marks it as done and makes the next record of its key ready; it says whether
// fetching, which paused, may go on. p.mu is held.
func (p *Partition) finish(it *item) (room bool) {
	it.done = true
	it.record = nil // the span may be long, and payloads are large
	p.advance()
	switch {
	case it.sameKey != nil:
		p.topic.add(it.sameKey)
	case it.keyed:
		delete(p.lastOfKey, string(it.delivery.Key))
	}
	if p.full && p.waiting <= p.limit/2 {
		p.full = false
		return true
	}
	return false
}

// Full says whether fetching should pause: as many records wait to be started as
// may be at work. Once true, the function given as room is called when half of
// those that wait have been started; what is left of them bridges the time until
// more is fetched.
func (p *Partition) Full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting >= p.limit {
		p.full = true
	}
	return p.full
}

// Done is the offset after the last record of those that are finished without a
// gap, or NothingDone: the offset to commit.
func (p *Partition) Done() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Counts tells how many records are held, and how often one was handed out again.
func (p *Partition) Counts() (held int, redelivered int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.span + p.waiting, p.redone
}

// Stop ends deliveries and back-off waits at once. Handlers that run go on.
func (p *Partition) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.stopped = true
	close(p.stopping)
	for it := range p.started {
		if it.pause != nil {
			it.pause.Stop()
		}
	}
	p.topic.forget(p)
}

// Drain waits, after Stop, for the running handlers, until ctx ends: then their
// contexts are cancelled, and what they still answer counts for nothing.
func (p *Partition) Drain(ctx context.Context) {
	wait(ctx, &p.running)
	p.abandon(nil)
}

// started goes over the records that were started and not taken off yet; p.mu is held.
func (p *Partition) started(yield func(*item) bool) {
	for it := p.oldest; it != p.next; it = it.later {
		if !yield(it) {
			return
		}
	}
}

// abandon takes its messages out of the hands of those who listen through sub; nil: of
// everybody. They are for the next listener, if the partition stays.
func (p *Partition) abandon(sub *subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for it := range p.started {
		if h := it.hand; h != nil && (sub == nil || h.scope.sub == sub) && h.release() {
			p.again(h)
		}
	}
	if p.scope != nil && (sub == nil || p.scope.sub == sub) {
		p.scope.cancel()
		p.scope = nil
	}
}

// hurry ends the back-off waits, because there will be a new listener.
func (p *Partition) hurry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for it := range p.started {
		if it.pause != nil && it.pause.Stop() {
			it.pause = nil
			p.topic.add(it)
		}
	}
}

// wait waits for g until ctx ends.
func wait(ctx context.Context, g *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
