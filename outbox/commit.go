package outbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"millrace/event"
	"millrace/fault"
)

// lockOptions say what to do about rows somebody else holds, or writes.
type lockOptions struct {
	optimistic bool // read without locks, and see at the write whether a row was changed meanwhile
	wait       bool // wait for the order's row (an update set aside) instead of skipping it
	skipSides  bool // leave out updates whose side rows are held instead of waiting for them
	sift       sifting
	blind      bool // the database cannot be asked which updates it refuses
}

// sifting is which updates of a batch the database is asked about before they are written.
type sifting int

const (
	noSifting    sifting = iota
	siftSuspects         // those of kinds that were refused lately
	siftAll              // the database refuses some of them
)

// commit runs a batch to its end: every member is answered, or back in the queue
// because its row is held elsewhere.
//
// Whatever fails for a reason that may pass is run again as a whole, with the same causes: what did
// commit (the answer to COMMIT can get lost) is then found processed. Only errors that
// the data itself causes are hunted down to the one guilty member, so that the others get through.
func (s *Store[S, V]) commit(ctx context.Context, batch []*member[S, V], opts lockOptions) {
	if slices.ContainsFunc(batch, s.isSuspect) {
		if parts := rounds(batch); len(parts) <= maxRounds {
			opts.sift, opts.optimistic = siftSuspects, false
			s.later(ctx, s.inParts(ctx, parts, opts))
			return
		}
	}
	s.later(ctx, s.settle(ctx, batch, opts))
}

// settle answers every member of a batch but those it returns: their row is held elsewhere.
func (s *Store[S, V]) settle(ctx context.Context, batch []*member[S, V], opts lockOptions) (held []*member[S, V]) {
	pause := retryAfterFailure
	for {
		held, answers, err := s.attempt(ctx, batch, opts)
		if err == nil {
			for _, a := range answers {
				a.member.observe(a.err)
				a.member.done <- a.err
			}
			return held
		}
		if errors.Is(err, errFromMemory) {
			continue // the rows in question have been forgotten
		}
		kind := kindOf(err)
		switch kind {
		case passing:
			s.recent.forget()
		case guilty: // what is in doubt is not what was committed, but whether these rows are the newest
			ids, _ := idsOf(batch)
			s.recent.drop(ids)
		case lockTimeout:
		}
		switch {
		case errors.Is(err, errStale):
			s.recent.lockForAWhile()
			opts.optimistic = false
			continue
		case errors.Is(err, errCannotAsk):
			opts.sift, opts.blind = noSifting, true
			continue
		case kind == guilty && opts.optimistic && opts.blind, kind == lockTimeout && opts.optimistic:
			opts.optimistic = false // with locks it goes round the row, or shows whose fault it is: a stale one may look guilty
			continue
		case kind == guilty && opts.sift != siftAll && !opts.blind:
			parts := rounds(batch)
			if len(parts) > maxRounds {
				return s.split(ctx, batch, opts)
			}
			opts.sift, opts.optimistic = siftAll, false
			return s.inParts(ctx, parts, opts)
		case kind == guilty: // nobody can tell whose fault it is, or it comes with the locks, the commit, or several together
			if len(batch) == 1 {
				batch[0].done <- &RefusedError{err}
				return nil
			}
			return s.split(ctx, batch, opts)
		case kind == passing && len(batch) > 1 && tookTooLong(err):
			s.log.WarnContext(ctx, "a transaction came to its limit; trying it in halves", "updates", len(batch), "limit", transactionLimit, "error", err)
			if batch = s.stillWanted(ctx, batch); len(batch) == 0 {
				return nil
			}
			return s.split(ctx, batch, opts)
		case kind == lockTimeout:
			switch {
			case opts.wait: // set aside already: the row is still held, ask again
			case !opts.skipSides:
				opts.skipSides = true
				continue
			case len(batch) == 1:
				batch[0].held = maxHeld
				return []*member[S, V]{batch[0]}
			default:
				return s.split(ctx, batch, opts)
			}
		default:
			s.log.WarnContext(ctx, "the database refused a transaction; trying again", "updates", len(batch), "in", pause, "error", err)
		}
		if batch = s.stillWanted(ctx, batch); len(batch) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRetryPause)
	}
}

// split settles the two halves.
func (s *Store[S, V]) split(ctx context.Context, batch []*member[S, V], opts lockOptions) (held []*member[S, V]) {
	middle := (len(batch) + 1) / 2
	return s.inParts(ctx, [][]*member[S, V]{batch[:middle], batch[middle:]}, opts)
}

// inParts settles parts of a batch one after the other. What finds its row held in one takes with it what
// comes later for the same order.
func (s *Store[S, V]) inParts(ctx context.Context, parts [][]*member[S, V], opts lockOptions) (held []*member[S, V]) {
	waiting := map[event.OrderID]bool{}
	for _, part := range parts {
		var free []*member[S, V]
		for _, m := range part {
			if waiting[m.id] {
				held = append(held, m)
			} else {
				free = append(free, m)
			}
		}
		if ctx.Err() != nil { // those before it are settled; of this one nothing has begun
			free = s.stillWanted(ctx, free)
		}
		if len(free) == 0 {
			continue
		}
		heldNow := s.settle(ctx, free, opts)
		for _, m := range heldNow {
			waiting[m.id] = m.id != ""
		}
		held = append(held, heldNow...)
	}
	return held
}

// stillWanted drops members whose caller has left; with the store's own end, all of them.
func (s *Store[S, V]) stillWanted(ctx context.Context, batch []*member[S, V]) []*member[S, V] {
	var wanted []*member[S, V]
	for _, m := range batch {
		switch {
		case ctx.Err() != nil:
			m.done <- ErrStopped
		case m.ctx.Err() != nil:
			m.done <- m.ctx.Err()
		default:
			wanted = append(wanted, m)
		}
	}
	return wanted
}

type answer[S, V any] struct {
	member *member[S, V]
	err    error
}

// transactionLimit bounds a store transaction. The relay relies on it: a row with
// a lower id than one it has sent cannot appear later than this.
const transactionLimit = 5 * time.Second

// optimistic tells whether a batch may do without locks on its orders' rows: nobody else is known to
// write them, or to hold one.
func (s *Store[S, V]) optimistic(batch []*member[S, V]) bool {
	return s.recent.alone() && !slices.ContainsFunc(batch, func(m *member[S, V]) bool { return m.held > 0 })
}

// attempt runs a batch as one transaction. It returns the members that found their row held, and
// an answer for each of the others; with an error nothing was committed, or it is
// not known whether it was.
func (s *Store[S, V]) attempt(ctx context.Context, batch []*member[S, V], opts lockOptions) (held []*member[S, V], answers []answer[S, V], err error) {
	// The transaction does not end with the store: half-done work is finished, within the limit.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionLimit)
	defer cancel()
	tx, now, err := s.backend.begin(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	defer tx.rollback()

	w := newWork(s, now)
	if err := w.prepare(ctx, tx, batch, opts.optimistic); err != nil {
		return nil, nil, err
	}
	refusals, err := s.sift(ctx, tx, w, batch, opts.sift)
	if err != nil {
		return nil, nil, err
	}
	var undone []event.OrderID
	for _, m := range batch {
		if refusal := refusals[m]; refusal != nil {
			m.changed = false
			answers = append(answers, answer[S, V]{m, &RefusedError{refusal}})
			continue
		}
		switch outcome := w.run(m); {
		case errors.Is(outcome, errHeld):
			held = append(held, m)
		case (outcome != nil || m.known) && w.isFromMemory(m.id):
			undone = append(undone, m.id)
		default:
			answers = append(answers, answer[S, V]{m, outcome})
		}
	}
	if len(undone) > 0 {
		s.recent.drop(undone)
		return nil, nil, errFromMemory
	}
	out, err := w.outcome()
	if err != nil {
		return nil, nil, err
	}
	if out.empty() {
		return held, answers, nil
	}
	if fault.On(fault.LoseOrder) && slices.ContainsFunc(batch, func(m *member[S, V]) bool { return m.create && m.cause.Command }) {
		return held, answers, nil
	}
	claims := s.reserve(out, w)
	revision, err := tx.write(ctx, out)
	if err != nil {
		s.unreserve(claims)
		return nil, nil, err
	}
	if fault.On(fault.PublishEarly) {
		s.relay.committed(out.messages)
	}
	if err := tx.commit(ctx); err != nil {
		s.inDoubt(claims, answers)
		return nil, nil, err
	}
	s.committed(claims, out.messages)
	s.recent.keep(out.rows, revision)
	return held, answers, nil
}

// inDoubt is called after a COMMIT that failed. If it did commit, the waits are claimed, and the run that
// follows finds nothing left to claim: without this the calls would not be made before the claims' lease is over.
func (s *Store[S, V]) inDoubt(c claims[S], answers []answer[S, V]) {
	s.startInDoubt(c)
	for _, a := range answers {
		a.member.inDoubt = a.member.inDoubt || a.member.changed
	}
}

// committed tells the executor and the relay what there is to do now.
func (s *Store[S, V]) committed(c claims[S], messages []outboxRow) {
	s.start(c)
	if len(messages) == 0 {
		return
	}
	s.wake()
	if s.relay != nil {
		s.relay.committed(messages)
	}
}
