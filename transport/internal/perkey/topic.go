package perkey

import (
	"slices"
	"sync"
)

// topic is where records that are ready wait for whoever listens, those of all
// partitions in one line.
type topic struct {
	more chan struct{} // capacity 1: ready is not empty

	mu         sync.Mutex
	sub        *subscription
	partitions []*Partition
	ready      []*item
}

func newTopic() *topic { return &topic{more: make(chan struct{}, 1)} }

func (t *topic) current() *subscription {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sub
}

func (t *topic) set(sub *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sub = sub
}

// add puts a record at the end of the line.
func (t *topic) add(it *item) {
	t.mu.Lock()
	t.ready = append(t.ready, it)
	t.mu.Unlock()
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// take returns the whole line.
func (t *topic) take() []*item {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.ready
	t.ready = nil
	return line
}

// putBack returns the rest of a line to the front.
func (t *topic) putBack(rest []*item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ready = slices.Concat(rest, t.ready)
}

// join lists a partition.
func (t *topic) join(p *Partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partitions = append(t.partitions, p)
}

// forget takes a partition and its records off.
func (t *topic) forget(p *Partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partitions = slices.DeleteFunc(t.partitions, func(other *Partition) bool { return other == p })
	t.ready = slices.DeleteFunc(t.ready, func(it *item) bool { return it.partition == p })
}

// all lists the partitions.
func (t *topic) all() []*Partition {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.partitions)
}
