package outbox

import (
	"time"

	"millrace/event"
)

// claimLease is how long a claimed wait belongs to whoever claimed it. It is longer
// than any call to the outside may take; a crashed owner's claim is due again when it is over.
const claimLease = 30 * time.Second

// waitUnit is what a wait's time is written in.
const waitUnit = time.Millisecond

// Claim is one wait, taken by one executor.
type Claim[S any] struct {
	OrderID event.OrderID
	Step    string
	// Attempt counts from 1.
	Attempt int
	// Since is when the wait first became due, or will.
	Since time.Time
	// CorrelationID is the order's.
	CorrelationID string
	// Row is the state as it was committed when the wait was claimed. That of a wait which was
	// claimed ahead of its time is read again when it is due.
	Row S
}

// Starter performs effects without looking for them in the database: the store writes such
// waits already claimed.
type Starter[S any] interface {
	// Holder is the UUID under which the claims are written.
	Holder() string
	// Reserve grants up to n places; the store then inserts that many waits, due at once, as claimed.
	Reserve(n int) int
	// Unreserve gives back places that were not used, because the transaction failed.
	Unreserve(n int)
	// Ahead is how many waits that become due within claimLease may be claimed with their
	// transaction. Nothing is reserved: a few more do no harm.
	Ahead() int
	// Start hands over claims for places that were reserved, and claims of waits that have yet to
	// become due. It must not block.
	Start(atOnce, ahead []Claim[S])
	// StartInDoubt is Start when it is not known whether the claims were committed: the calls of
	// those the database has are made.
	StartInDoubt(atOnce, ahead []Claim[S])
}

// claims are the waits that a transaction writes claimed.
type claims[S any] struct{ atOnce, ahead []Claim[S] }

// reserve asks the executor for places for the effects that are due at once, and whether it takes
// those that soon will be; it marks as many as claimed in what is about to be written. Deadlines
// are left to the table: their horizon decides about them.
func (s *Store[S, V]) reserve(out *outcome, w *work[S, V]) claims[S] {
	var c claims[S]
	if s.effects == nil || len(out.waits) == 0 {
		return c
	}
	atOnce := 0
	for _, wait := range out.waits {
		if wait.after == 0 {
			atOnce++
		}
	}
	if atOnce > 0 {
		atOnce = s.effects.Reserve(atOnce)
	}
	ahead := s.effects.Ahead()
	out.holder = s.effects.Holder()
	for i := range out.waits {
		wait := &out.waits[i]
		claim := Claim[S]{OrderID: wait.id, Step: wait.step, Attempt: 1, Since: w.now.Add(wait.after.Truncate(waitUnit)), CorrelationID: w.rows[wait.id].correlationID}
		switch {
		case wait.after == 0 && len(c.atOnce) < atOnce:
			claim.Row = w.rows[wait.id].current
			c.atOnce = append(c.atOnce, claim)
		case wait.after > 0 && wait.after < claimLease && wait.step != event.DeadlineStep && len(c.ahead) < ahead:
			c.ahead = append(c.ahead, claim)
		default:
			continue
		}
		wait.claimed = true
	}
	return c
}

func (s *Store[S, V]) unreserve(c claims[S]) {
	if len(c.atOnce) > 0 {
		s.effects.Unreserve(len(c.atOnce))
	}
}

func (s *Store[S, V]) start(c claims[S]) {
	if len(c.atOnce)+len(c.ahead) > 0 {
		s.effects.Start(c.atOnce, c.ahead)
	}
}

func (s *Store[S, V]) startInDoubt(c claims[S]) {
	if len(c.atOnce)+len(c.ahead) > 0 {
		s.effects.StartInDoubt(c.atOnce, c.ahead)
	}
}
