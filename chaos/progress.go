package chaos

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	// progressPoll is how exactly a recovery is timed.
	progressPoll = 25 * time.Millisecond
	// progressPatience bounds one look, at a database that may be paused.
	progressPatience = time.Second
)

// progress notes when orders got on by what they heard: what it takes for that is all of the system, database, broker and
// routers. What customers do to an order, and what a deadline does, takes less.
type progress struct {
	db    *sql.DB
	began time.Time
	mu    sync.Mutex
	at    []time.Duration // since began
	last  int64
}

// watch looks until ctx ends.
func (p *progress) watch(ctx context.Context) {
	for sleep(ctx, progressPoll) {
		look, cancel := context.WithTimeout(ctx, progressPatience)
		var n int64
		err := p.db.QueryRowContext(look, "SELECT coalesce(sum(cardinality(processed)), 0) FROM orders.orders").Scan(&n)
		cancel()
		if err != nil || n == p.last {
			continue
		}
		p.mu.Lock()
		p.last = n
		p.at = append(p.at, time.Since(p.began))
		p.mu.Unlock()
	}
}

// after is how long after a moment orders got on; false: they did not any more.
func (p *progress) after(at time.Duration) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, moment := range p.at {
		if moment >= at {
			return moment - at, true
		}
	}
	return 0, false
}

// standstill is the longest time without progress until a moment.
func (p *progress) standstill(until time.Duration) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := time.Duration(0)
	for _, moment := range p.at {
		if moment > until {
			break
		}
		longest, last = max(longest, moment-last), moment
	}
	return max(longest, until-last)
}
