package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/event"
	"millrace/outbox"
)

const (
	// redriveLease is how long a lane is one process's. It is renewed for as long as the process is at it.
	redriveLease = 30 * time.Second
	// renewShare is the part of a lease after which it is renewed: some renewals may fail.
	renewShare = 6
	// A message is told to stop when two thirds of its lane's lease are over and nobody could renew it. The store takes
	// nothing from it any more, and no transaction that it is part of lasts longer than the rest: that is its fence.
	leaseNumerator, leaseDenominator = 2, 3
)

// errLeaseOver ends the context of a message whose lane may soon be somebody else's.
var errLeaseOver = errors.New("the lane's lease could not be renewed")

// claim is a lane in a process's hands.
type claim struct {
	// id is this claim's own: even the process that had the lane before has another one.
	id   string
	lane string
	// order is whose row bears the lane's mark; empty for a message without an order.
	order event.OrderID

	mu sync.Mutex
	// since is when the lease began, or a little earlier.
	since time.Time
}

// renewed notes a lease that began at the given time or later.
func (c *claim) renewed(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since.After(c.since) {
		c.since = since
	}
}

// age is how long the lease has lasted, at most.
func (c *claim) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.since)
}

// guarded is a context that ends when the claim's lease is about to end without having been renewed. stop is to be called.
func (c *claim) guarded(ctx context.Context, lease time.Duration) (guarded context.Context, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	limit := lease * leaseNumerator / leaseDenominator
	if c.age() >= limit {
		cancel(errLeaseOver)
	}
	var mu sync.Mutex
	var timer *time.Timer
	mu.Lock() // until there is a timer
	defer mu.Unlock()
	timer = time.AfterFunc(max(limit-c.age(), 0), func() {
		left := limit - c.age()
		if left <= 0 {
			cancel(errLeaseOver)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if guarded.Err() == nil {
			timer.Reset(left)
		}
	})
	return guarded, func() {
		cancel(nil)
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
	}
}

// mine locks lanes that are under given claims, in the order in which everybody locks lanes.
const (
	mine = `WITH mine AS MATERIALIZED (
	SELECT t.lane FROM deadletter.lanes t JOIN unnest($2::uuid[], $3::uuid[]) AS d(lane, holder) ON t.service = $1 AND t.lane = d.lane AND t.holder = d.holder
	ORDER BY t.lane FOR UPDATE OF t`
	// renewClaims goes round lanes that somebody has locked, for a moment: whoever notes an outcome, or asks for a letter.
	renewClaims = mine + ` SKIP LOCKED)
UPDATE deadletter.lanes t SET lease_until = clock_timestamp() + $4::bigint * interval '1 millisecond' FROM mine WHERE t.service = $1 AND t.lane = mine.lane RETURNING t.lane`
	releaseClaims = mine + `)
UPDATE deadletter.lanes t SET holder = NULL, lease_until = NULL, overruled = false FROM mine WHERE t.service = $1 AND t.lane = mine.lane`
	// putClaimsOff is releaseClaims for lanes that are not to be claimed again at once.
	putClaimsOff = mine + `)
UPDATE deadletter.lanes t SET due_at = clock_timestamp() + $4::bigint * interval '1 millisecond', holder = NULL, lease_until = NULL, overruled = false
FROM mine WHERE t.service = $1 AND t.lane = mine.lane`
)

// refusedPause is how soon a lane is looked at again of which nothing could be noted: the database may refuse to take its row's mark
// away for long, and each look may be a try of its head.
const refusedPause = 5 * time.Second

// lanesOf are the lanes of claims, and the claims' own ids.
func lanesOf(claims []*claim) (lanes, holders outbox.UUIDArray) {
	lanes, holders = make(outbox.UUIDArray, len(claims)), make(outbox.UUIDArray, len(claims))
	for i, c := range claims {
		lanes[i], holders[i] = c.lane, c.id
	}
	return lanes, holders
}

// take notes that this process is at a lane, leave that it is not any more.
func (r *Redriver) take(c *claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inHand[c] = struct{}{}
}

func (r *Redriver) leave(c *claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inHand, c)
}

// letGo gives a lane back of which nothing could be noted. Otherwise everybody would wait for the end of its lease.
func (r *Redriver) letGo(ctx context.Context, c *claim) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	lanes, holders := lanesOf([]*claim{c})
	if _, err := r.parking.db.ExecContext(ctx, putClaimsOff, r.parking.service, lanes, holders, refusedPause.Milliseconds()); err != nil {
		r.log.Warn("a lane cannot be left; its lease ends", "service", r.parking.service, "lane", c.lane, "error", err)
	}
}

// renew renews leases until ctx ends: a handler may take as long as it likes. Lanes that come to their end sooner cost
// nothing here.
func (r *Redriver) renew(ctx context.Context) {
	every := r.parking.lease / renewShare
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.renewOlder(ctx, every); err != nil && ctx.Err() == nil {
			r.log.Warn("leases could not be renewed; what is being handled goes on for as long as they last", "service", r.parking.service, "error", err)
		}
	}
}

// renewOlder renews the leases that have lasted so long.
func (r *Redriver) renewOlder(ctx context.Context, age time.Duration) error {
	var old []*claim
	r.mu.Lock()
	for c := range r.inHand {
		if c.age() >= age {
			old = append(old, c)
		}
	}
	r.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(writeLimit, r.parking.lease))
	defer cancel()
	began := time.Now()
	lanes, holders := lanesOf(old)
	renewed, err := texted(ctx, r.parking.db, renewClaims, r.parking.service, lanes, holders, r.parking.lease.Milliseconds())
	if err != nil {
		return fmt.Errorf("renew %d leases: %w", len(old), err)
	}
	for _, c := range old {
		if renewed[c.lane] {
			c.renewed(began)
		}
	}
	return nil
}
