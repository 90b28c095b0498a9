package load

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Open places orders at a rate (orders per second), at random moments, as customers do who know
// nothing of each other. Each is placed when it is due, however long the ones before it take: a
// system that stands still for a second is met by all orders of that second. All go to s.URL.
func (s Shop) Open(ctx context.Context, rate float64) *Run {
	r, ctx := newRun(ctx, s)
	r.looking.Go(func() { r.keepLooking(ctx) })
	idle := &connections{url: s.URL}
	r.placing.Go(func() {
		var orders sync.WaitGroup
		defer idle.close()
		defer orders.Wait()
		timer := time.NewTimer(0)
		defer timer.Stop()
		for due := time.Now(); ; due = due.Add(time.Duration(rand.ExpFloat64() / rate * float64(time.Second))) {
			timer.Reset(time.Until(due))
			select {
			case <-ctx.Done():
				return
			case <-r.stop:
				return
			case <-timer.C:
			}
			orders.Go(func() {
				c := idle.take()
				if r.place(ctx, c, due) {
					idle.put(c)
				} else {
					c.close()
				}
			})
		}
	})
	return r
}

// connections are those nobody uses at the moment. There are as many as orders were ever being
// placed at once.
type connections struct {
	url  string
	mu   sync.Mutex
	free []*client
}

func (l *connections) take() *client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return newClient(l.url)
	}
	c := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	return c
}

func (l *connections) put(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, c)
}

func (l *connections) close() {
	for _, c := range l.free {
		c.close()
	}
}

func quantileOf(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
