package outbox

import (
	"context"
	"slices"

	"millrace/event"
)

// maxHeld is how often a batch goes round a row that somebody else holds before its updates
// are set aside: by then it is no longer a neighbour's ordinary transaction.
const maxHeld = 3

// maxAside bounds the transactions, and so the connections, that wait for held rows. Each holds up
// its own order only; with more held rows than this they wait for each other.
const maxAside = 4

// setAside is the queue of one order whose row is held by somebody else for long:
// an operator's forgotten transaction, for instance. Everything of that order waits in it, in
// order, while the others go on.
type setAside[S, V any] struct{ members []*member[S, V] }

// later decides about updates that found their row held: they go in front of all that came
// after them, in the queue or in that of their order.
func (s *Store[S, V]) later(ctx context.Context, held []*member[S, V]) {
	if len(held) == 0 {
		return
	}
	s.mu.Lock()
	s.queue = slices.Concat(held, s.queue) // of its own: held is looped over
	for _, m := range held {
		m.held++
		if _, ok := s.set[m.id]; ok || m.held >= maxHeld {
			s.setAsideLocked(ctx, m)
		}
	}
	s.mu.Unlock()
	s.signal()
}

// setAsideLocked moves m, and what is queued for m's order, into a queue of that order's own,
// and starts its transaction. An update of side rows alone has no order to keep.
func (s *Store[S, V]) setAsideLocked(ctx context.Context, m *member[S, V]) {
	var members []*member[S, V]
	rest := s.queue[:0]
	for _, queued := range s.queue {
		if queued == m || m.id != "" && queued.id == m.id {
			members = append(members, queued)
		} else {
			rest = append(rest, queued)
		}
	}
	clear(s.queue[len(rest):])
	s.queue = rest
	if aside, ok := s.set[m.id]; ok {
		aside.members = append(members, aside.members...)
		return
	}
	aside := &setAside[S, V]{members: members}
	if m.id != "" {
		s.set[m.id] = aside
		s.log.WarnContext(ctx, "a row is held by somebody else; its order waits, the others go on", "order_id", m.id)
	}
	s.running.Go(func() { s.runAside(ctx, m.id, aside) })
}

func (s *Store[S, V]) runAside(ctx context.Context, id event.OrderID, aside *setAside[S, V]) {
	select {
	case s.aside <- struct{}{}:
		defer func() { <-s.aside }()
	case <-ctx.Done():
	}
	for {
		s.mu.Lock()
		n := min(len(aside.members), maxBatch)
		batch := aside.members[:n:n]
		aside.members = aside.members[n:]
		if n == 0 {
			if id != "" {
				delete(s.set, id)
			}
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if batch = s.stillWanted(ctx, batch); len(batch) > 0 {
			s.commit(ctx, batch, lockOptions{wait: true})
		}
	}
}

// add queues an update behind the others of its order. Those whose callers have left do not
// gather here, however long the row is held.
func (a *setAside[S, V]) add(m *member[S, V]) {
	a.members = append(slices.DeleteFunc(a.members, func(m *member[S, V]) bool { return m.ctx.Err() != nil }), m)
}
