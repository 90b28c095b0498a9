// Package groupcommit lets calls that come at the same time share one transaction, and so one
// flush of the disk.
package groupcommit

import (
	"context"
	"sync"
	"time"
)

// Group gathers calls: what waits when a batch ends becomes the next one. A call that comes alone
// does not wait for others. There is one batch at a time, and no goroutine while nobody waits, so
// there is nothing to stop.
type Group[T any] struct {
	write func(ctx context.Context, batch []T) error
	most  int
	limit time.Duration

	mu      sync.Mutex
	queue   []call[T]
	writing bool
}

type call[T any] struct {
	item T
	done chan error
}

// New returns a group whose batches hold at most so many items and are given limit to be written.
// write's error is every caller's; what differs from caller to caller goes into the items.
func New[T any](most int, limit time.Duration, write func(ctx context.Context, batch []T) error) *Group[T] {
	return &Group[T]{write: write, most: most, limit: limit}
}

// Do returns when a batch with item was written, or failed. When ctx ends, item may be written
// nevertheless: the batch belongs to all its callers, and none of them can cancel it.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	c := call[T]{item, make(chan error, 1)}
	g.mu.Lock()
	g.queue = append(g.queue, c)
	if !g.writing {
		g.writing = true
		go g.writeAll()
	}
	g.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Waiting is how many calls are not in a batch yet.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

func (g *Group[T]) writeAll() {
	for {
		g.mu.Lock()
		n := min(len(g.queue), g.most)
		if n == 0 {
			g.queue, g.writing = nil, false
			g.mu.Unlock()
			return
		}
		batch := g.queue[:n:n]
		g.queue = g.queue[n:]
		g.mu.Unlock()
		items := make([]T, n)
		for i, c := range batch {
			items[i] = c.item
		}
		err := g.one(items)
		for _, c := range batch {
			c.done <- err
		}
	}
}

func (g *Group[T]) one(items []T) error {
	ctx, cancel := context.WithTimeout(context.Background(), g.limit)
	defer cancel()
	return g.write(ctx, items)
}
