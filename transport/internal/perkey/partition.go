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
// partition, in offset order, and that of its key.
type item struct {
	record   Record
	delivery transport.Delivery
	keyed    bool
	done     bool
	later    *item // next in the partition
	sameKey  *item // next of this key
}

// Partition is one partition while one member owns it.
type Partition struct {
	topic   *topic
	backoff Backoff
	room    func() // called when there is room after Full

	stopping chan struct{} // closed: no new deliveries, no more waiting
	abandon  chan struct{} // closed: whoever still runs is no longer waited for
	running  sync.WaitGroup

	mu        sync.Mutex
	stopped   bool
	abandoned bool
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
	p.append(&item{record: r, delivery: d, keyed: len(d.Key) > 0})
}

// Skip passes over an offset that holds no message.
func (p *Partition) Skip(offset int64) {
	p.append(&item{delivery: transport.Delivery{Offset: offset}, done: true})
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

// start has a record handled: by whoever works on its key, or by a goroutine of its own.
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
	p.running.Add(1)
	go p.work(it)
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
	if !p.stopped {
		p.stopped = true
		close(p.stopping)
	}
}

// Drain waits, after Stop, for the running handlers, until ctx ends: then their
// contexts are cancelled, and what they still answer counts for nothing.
func (p *Partition) Drain(ctx context.Context) {
	if !wait(ctx, &p.running) {
		p.mu.Lock()
		if !p.abandoned {
			p.abandoned = true
			close(p.abandon)
		}
		p.mu.Unlock()
		p.running.Wait()
	}
}

// work handles the records of one key, one after the other, until none is left.
func (p *Partition) work(it *item) {
	defer p.running.Done()
	for it != nil && p.deliver(it) {
		it = p.finish(it)
	}
}

// finish marks it as done and returns the next record of its key.
func (p *Partition) finish(it *item) *item {
	p.mu.Lock()
	it.done = true
	it.record = nil // the span may be long, and payloads are large
	p.advance()
	next := it.sameKey
	if next == nil && it.keyed {
		delete(p.lastOfKey, string(it.delivery.Key))
	}
	room := p.full && p.waiting <= p.limit/2
	if room {
		p.full = false
	}
	p.mu.Unlock()
	if room {
		p.room()
	}
	return next
}

// deliver hands out one record until it is acknowledged: true. It gives up when
// the partition is taken away: false.
func (p *Partition) deliver(it *item) bool {
	for attempt := 1; ; attempt++ {
		sub := p.topic.listener(p.stopping)
		if sub == nil {
			return false
		}
		it.delivery.Attempt = attempt
		switch sub.hand(p, it) {
		case acked:
			return true
		case refused:
			attempt-- // it reached no handler
		case nacked:
			p.mu.Lock()
			p.redone++
			p.mu.Unlock()
			if !p.pause(p.backoff.after(attempt), sub) {
				return false
			}
		}
	}
}

// pause waits d, or until sub ends, since its successor need not wait; false if
// the partition is taken away meanwhile.
func (p *Partition) pause(d time.Duration, sub *subscription) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-sub.closing:
		return true
	case <-p.stopping:
		return false
	}
}

// wait waits for g until ctx ends; false if it did.
func wait(ctx context.Context, g *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
