package outbox

import (
	"context"

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

// later decides about updates that found their row held.
func (s *Store[S, V]) later(ctx context.Context, held []*member[S, V]) {
	if len(held) == 0 {
		return
	}
	var again []*member[S, V]
	s.mu.Lock()
	for _, m := range held {
		m.held++
		switch aside, ok := s.set[m.id]; {
		case ok && m.id != "":
			aside.members = append(aside.members, m)
		case m.held < maxHeld:
			again = append(again, m)
		default:
			s.setAsideLocked(ctx, m)
		}
	}
	s.mu.Unlock()
	s.putBack(again)
}

// setAsideLocked opens a queue for m's order, moves what is queued behind m into
// it, and starts its transaction. An update of side rows alone has no order to keep.
func (s *Store[S, V]) setAsideLocked(ctx context.Context, m *member[S, V]) {
	aside := &setAside[S, V]{members: []*member[S, V]{m}}
	if m.id != "" {
		s.set[m.id] = aside
		rest := s.queue[:0]
		for _, queued := range s.queue {
			if queued.id == m.id {
				aside.members = append(aside.members, queued)
			} else {
				rest = append(rest, queued)
			}
		}
		clear(s.queue[len(rest):])
		s.queue = rest
		s.log.WarnContext(ctx, "a row is held by somebody else; its order waits, the others go on", "order_id", m.id)
	}
	s.running.Go(func() { s.runAside(ctx, m.id, aside) })
}

func (s *Store[S, V]) runAside(ctx context.Context, id event.OrderID, aside *setAside[S, V]) {
	s.aside <- struct{}{}
	defer func() { <-s.aside }()
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
		s.commit(ctx, batch, lockOptions{wait: true})
	}
}
