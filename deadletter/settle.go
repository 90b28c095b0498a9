package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"millrace/event"
	"millrace/outbox"
)

// Outcome is what a redriven message came to.
type Outcome struct {
	// Err is nil for a message that was processed, or had been.
	Err error
	// Final tells that trying again would not help.
	Final bool
	// RetryIn is how soon one that is not final is tried again.
	RetryIn time.Duration
	// Unchanged says why nothing was changed by a message that was processed; empty if something was.
	Unchanged string
	// Attempts were made this time.
	Attempts int
	// Version is the build that tried.
	Version string
	// TraceParent is the trace of this try. It is another one than the message came with.
	TraceParent string
}

// ends tells whether the message is not to be tried again: it was processed, or failed for good.
func (o Outcome) ends() bool { return o.Err == nil || o.Final }

// inVain tells whether the message met trouble that may pass; not, whether nobody came to try it.
func (o Outcome) inVain() bool { return o.Attempts > 0 || errors.Is(o.Err, errStranger) }

// settlement is what became of a lane's head when it was tried.
type settlement struct {
	member
	claim   *claim
	head    *Letter // nil: nothing was tried, only what comes next is to be found out
	outcome Outcome
	next    *Letter // what comes next in the lane, if it may be tried now
	lost    bool    // the lane is somebody else's: the outcome does not count
	void    bool    // the outcome does not count, because somebody restored a message meanwhile; the lane is still this claim's
}

// tried tells whether there is an outcome that counts.
func (s *settlement) tried() bool { return s.head != nil && !s.void }

// settle notes a batch of outcomes. Those of lanes that are not under their claim any more are forgotten: what was
// done is found processed by whoever has the lane now.
func (p *Parking) settle(ctx context.Context, batch []*settlement) error {
	var ids []event.OrderID
	lanes := make(outbox.UUIDArray, len(batch))
	for i, s := range batch {
		lanes[i] = s.claim.lane
		if s.claim.order != "" {
			ids = append(ids, s.claim.order)
		}
	}
	var copies bool
	err := p.marks.TryHold(ctx, ids, func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error {
		locked, err := lockLanes(ctx, tx, p.service, lanes)
		if err != nil {
			return err
		}
		var w settleWrite
		var mine []*settlement
		for _, s := range batch {
			s.member, s.next, s.lost, s.void = member{}, nil, false, locked[s.claim.lane].overruled
			_, got := marked[s.claim.order]
			switch {
			case s.claim.order != "" && !got:
				s.held = true
			case locked[s.claim.lane].holder != s.claim.id:
				s.lost = true
			default:
				mine = append(mine, s)
				w.add(s)
			}
		}
		if copies, err = w.run(ctx, tx, p.service); err != nil {
			return err
		}
		return p.goOn(ctx, tx, mine, w.passed, marked)
	})
	if err == nil && copies {
		p.wake()
	}
	return err
}

// goOn finds out what comes next in lanes whose head was settled, and does with them what that asks for.
func (p *Parking) goOn(ctx context.Context, tx *sql.Tx, mine []*settlement, passed outbox.UUIDArray, marked map[event.OrderID]bool) error {
	next, err := heads(ctx, tx, p.service, passed)
	if err != nil {
		return err
	}
	var ended, waiting, overruled outbox.UUIDArray
	for _, s := range mine {
		if s.tried() && !s.outcome.ends() {
			continue
		}
		switch head := next[s.claim.lane]; {
		case head == nil:
			ended = append(ended, s.claim.lane)
			if s.claim.order != "" {
				marked[s.claim.order] = false
			}
		case head.Status == New:
			waiting = append(waiting, s.claim.lane)
		default:
			s.next = head
			if s.void {
				overruled = append(overruled, s.claim.lane)
			}
		}
	}
	if err := changeLanes(ctx, tx, endLane, p.service, ended); err != nil {
		return err
	}
	if err := changeLanes(ctx, tx, stopLane, p.service, waiting); err != nil {
		return err
	}
	return changeLanes(ctx, tx, heedLane, p.service, overruled)
}

// settlePause is the pause before an outcome is noted again that could not be, and longestSettlePause the longest.
const (
	settlePause        = 50 * time.Millisecond
	longestSettlePause = time.Second
)

// settleHead notes what became of a lane's head. It returns the next message of the lane if that one may be tried
// now; nil if the lane has come to its end, or waits, or is somebody else's. While the
// database cannot be reached it tries again, until keep ends or the lane's lease does.
func (p *Parking) settleHead(keep context.Context, c *claim, head *Letter, o Outcome) (*Letter, error) {
	s := &settlement{claim: c, head: head, outcome: o}
	told := false
	for pause := settlePause; ; pause = min(2*pause, longestSettlePause) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(keep), writeLimit)
		err := untilFree(ctx, &s.member, func() error { return p.settles.Do(ctx, s) })
		cancel()
		switch {
		case err == nil && s.lost:
			p.watch.log.Warn("a lane is not under this claim any more: whoever has it now decides", "service", p.service, "order_id", c.order, "lane", c.lane)
			return nil, nil
		case err == nil:
			return s.next, nil
		case outbox.IsRefused(err) || keep.Err() != nil || c.age() > p.lease:
			return nil, err
		}
		if pause == longestSettlePause && !told { // the order stands still until then, and nobody else would say so
			told = true
			p.watch.log.Warn("a lane cannot be settled yet; still trying", "service", p.service, "order_id", c.order, "lane", c.lane, "error", err)
		}
		s = &settlement{claim: c, head: head, outcome: o} // the batch may be at the other one still
		select {
		case <-keep.Done():
		case <-time.After(pause):
		}
	}
}
