package outbox

import (
	"context"
	"maps"

	"millrace/event"
)

// floodShare is of which share of the updates that were asked about, one of so many, more must be refused for it to be a
// flood: then those of their kinds are asked about at once, instead of after a transaction that came to nothing.
const floodShare = 8

// sift finds the updates of a batch whose data the database refuses. Each is judged by itself, on the rows as they were
// locked: it is refused as if it had come first, so that no order may have two of them in the batch (see rounds).
// What gets through by itself and not together with others is found by halving.
func (s *Store[S, V]) sift(ctx context.Context, tx session, w *work[S, V], batch []*member[S, V], which sifting) (map[*member[S, V]]error, error) {
	var (
		asked []*member[S, V]
		outs  []*outcome
	)
	for _, m := range batch {
		if which == noSifting || which == siftSuspects && !s.isSuspect(m) {
			continue
		}
		asked = append(asked, m)
		out, err := w.alone(m)
		if err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	if len(asked) == 0 {
		return nil, nil
	}
	said, err := tx.refusals(ctx, outs)
	if err != nil {
		return nil, err
	}
	refused, kinds := map[*member[S, V]]error{}, map[string]bool{}
	for i, m := range asked {
		switch {
		case said[i] == nil:
		case kindOf(said[i]) != guilty:
			return nil, said[i]
		default:
			refused[m], kinds[m.cause.Type] = said[i], true
		}
	}
	s.suspect(len(asked), len(refused), kinds)
	return refused, nil
}

// suspicion is what was learnt of the updates that were asked about lately.
type suspicion struct {
	kinds          map[string]bool // that were refused, in a flood
	asked, refused int             // since it was last judged
}

// suspect judges whether there is a flood, once enough were asked about.
func (s *Store[S, V]) suspect(asked, refused int, kinds map[string]bool) {
	next := suspicion{kinds, asked, refused}
	if before := s.suspicion.Load(); before != nil {
		maps.Copy(next.kinds, before.kinds)
		next.asked, next.refused = asked+before.asked, refused+before.refused
	}
	if next.asked >= floodShare {
		if next.refused*floodShare <= next.asked {
			next.kinds = nil
		}
		next.asked, next.refused = 0, 0
	}
	s.suspicion.Store(&next)
}

// isSuspect: it is of a kind of which many were refused lately.
func (s *Store[S, V]) isSuspect(m *member[S, V]) bool {
	current := s.suspicion.Load()
	return current != nil && current.kinds[m.cause.Type]
}

// maxRounds bounds the parts that a batch is divided into before it is sifted: where one order has more updates in it, it
// is halved first, which costs less than a transaction for each of them.
const maxRounds = 8

// alone is what an update comes to by itself, on the rows as they were read.
func (w *work[S, V]) alone(m *member[S, V]) (*outcome, error) {
	one := newWork(w.store, w.now)
	one.unknown, one.sides, one.sideHeld, one.sideAsked = w.unknown, w.sides, w.sideHeld, w.sideAsked
	if r := w.rows[m.id]; r != nil {
		one.add(&r.record)
	}
	if m.id == "" {
		one.current, one.inLedger = maps.Clone(w.current), maps.Clone(w.inLedger)
	}
	for _, key := range one.keys([]*member[S, V]{m}) {
		if v, ok := w.current[key]; ok {
			one.current[key] = v
		}
	}
	if one.run(m) != nil { // its own error: it is met again, and answered
		return &outcome{}, nil
	}
	return one.outcome()
}

// rounds divides a batch into parts in which each order comes once, in the order of its updates. Those of side rows alone
// come first: orders may need what they bring.
func rounds[S, V any](batch []*member[S, V]) [][]*member[S, V] {
	parts := make([][]*member[S, V], 1)
	nth := map[event.OrderID]int{}
	for _, m := range batch {
		n := 0
		if m.id != "" {
			nth[m.id]++
			n = nth[m.id]
		}
		if n == len(parts) {
			parts = append(parts, nil)
		}
		parts[n] = append(parts[n], m)
	}
	return parts
}
