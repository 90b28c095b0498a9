package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// progressPoll is how exactly a recovery is timed.
	progressPoll = 25 * time.Millisecond
	// progressShare bounds what the looks cost: they take at most one part in so many of the time.
	progressShare = 10
	// progressPatience bounds one look, at a database that may be paused.
	progressPatience = time.Second
)

// ordersOf are each service's rows of orders; the order service's come first.
var ordersOf = [...]string{"orders.orders", "payments.payments", "inventory.reservations", "shipping.shipments", "notification.orders", "analytics.orders"}

// progress notes when the services got on by what they heard: what it takes for that is all of the system, database, broker and
// routers. What customers do to an order, and what a deadline does, takes less.
type progress struct {
	db    *sql.DB
	began time.Time
	mu    sync.Mutex
	at    [len(ordersOf)][]time.Duration // since began, of each service
	last  [len(ordersOf)]int64
}

// watch looks until ctx ends.
func (p *progress) watch(ctx context.Context) {
	var sums []string
	for _, table := range ordersOf {
		sums = append(sums, fmt.Sprintf("(SELECT coalesce(sum(cardinality(processed)), 0) FROM %s)", table))
	}
	question := "SELECT " + strings.Join(sums, ", ")
	for pause := progressPoll; sleep(ctx, pause); {
		look, cancel := context.WithTimeout(ctx, progressPatience)
		var now [len(ordersOf)]int64
		into := make([]any, len(now))
		for i := range now {
			into[i] = &now[i]
		}
		began := time.Now()
		err := p.db.QueryRowContext(look, question).Scan(into...)
		cancel()
		if err != nil {
			continue
		}
		pause = max(progressPoll, (progressShare-1)*time.Since(began))
		p.note(time.Since(p.began), now)
	}
}

// note takes what each service has heard by a moment.
func (p *progress) note(at time.Duration, now [len(ordersOf)]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, n := range now {
		if n != p.last[i] {
			p.last[i] = n
			p.at[i] = append(p.at[i], at)
		}
	}
}

// after is how long after a moment all services had got on, of those that got on at all; false: none did any more. One that
// did not any more had nothing to do: that nobody stands still for ever is what verify sees.
func (p *progress) after(at time.Duration) (slowest time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, moments := range p.at {
		for _, moment := range moments {
			if moment >= at {
				slowest, ok = max(slowest, moment-at), true
				break
			}
		}
	}
	return slowest, ok
}

// standstill is the longest time without progress of the order service until a moment.
func (p *progress) standstill(until time.Duration) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := time.Duration(0)
	for _, moment := range p.at[0] {
		if moment > until {
			break
		}
		longest, last = max(longest, moment-last), moment
	}
	return max(longest, until-last)
}
