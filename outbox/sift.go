package outbox

import (
	"context"
	"errors"

	"millrace/event"
)

// siftBatch is how many updates of a batch that the database refused are tried one by one in one transaction. A
// larger batch is halved first, which costs less where few of its updates are guilty. Each update leaves a subtransaction
// behind; beyond 64 of those in a transaction, others find out on disk what became of them (PostgreSQL's manual, 74.3).
const siftBatch = 50

// floodShare is which share of a batch's updates, one of so many, must be refused for the next batches to be sifted
// at once: halving them finds guilty ones everywhere, and each look costs a transaction.
const floodShare = 8

// savepoints is a session that can undo a part of its transaction. The one in memory has none: it refuses no data.
type savepoints interface {
	session
	// try runs do. If the database refuses its data, all that do wrote is undone, and the transaction can go
	// on; after any other error it cannot.
	try(do func() error) error
}

// errNoSavepoints means: this backend's sessions cannot try.
var errNoSavepoints = errors.New("the session has no savepoints")

// sifted is what a transaction holds of the updates that were tried and not refused.
type sifted[S any] struct {
	rows     map[event.OrderID]bool // whose row is no longer as it was read
	claims   claims[S]
	messages []outboxRow
	wrote    bool
}

// sift is attempt for a batch of which the database refuses something. Each update is written by itself, within
// one transaction: whose data is refused is told so, and the others are committed together. An
// error that is somebody's fault is returned only where all of them met it, at the locks or the commit.
func (s *Store[S, V]) sift(ctx context.Context, batch []*member[S, V], opts lockOptions) (held []*member[S, V], answers []answer[S, V], err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionLimit)
	defer cancel()
	begun, now, err := s.backend.begin(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	defer begun.rollback()
	tx, ok := begun.(savepoints)
	if !ok {
		return nil, nil, errNoSavepoints
	}
	// Everything is locked at once, in the order that all processes keep to. One by one, two of them
	// could wait for each other.
	all := newWork(s, now)
	if err := all.prepare(ctx, tx, batch, false); err != nil {
		return nil, nil, err
	}
	good := sifted[S]{rows: map[event.OrderID]bool{}}
	refused := 0
	waiting := map[event.OrderID]bool{}
	for _, m := range batch {
		if waiting[m.id] {
			held = append(held, m)
			continue
		}
		var outcome error
		err := tx.try(func() (err error) {
			outcome, err = s.try(ctx, tx, all, m, &good)
			return err
		})
		switch {
		case err != nil && kindOf(err) == guilty:
			refused++
			m.changed = false
			answers = append(answers, answer[S, V]{m, &RefusedError{err}})
		case err != nil:
			s.unreserve(good.claims)
			return nil, nil, err
		case errors.Is(outcome, errHeld):
			held, waiting[m.id] = append(held, m), m.id != ""
		default:
			answers = append(answers, answer[S, V]{m, outcome})
		}
	}
	s.flooded.Store(refused*floodShare >= len(batch))
	if !good.wrote {
		return held, answers, nil
	}
	if err := tx.commit(ctx); err != nil {
		s.inDoubt(good.claims, answers)
		return nil, nil, err
	}
	s.committed(good.claims, good.messages)
	// The rows are not kept in memory: written in a subtransaction, they have a revision that nobody was told.
	return held, answers, nil
}

// try runs one update and writes what it came to. Its outcome is errHeld or the answer for the caller; what the
// database says is err.
func (s *Store[S, V]) try(ctx context.Context, tx session, all *work[S, V], m *member[S, V], good *sifted[S]) (outcome, err error) {
	w := newWork(s, all.now)
	if !w.addFrom(all, m) || good.rows[m.id] {
		if err := w.prepare(ctx, tx, []*member[S, V]{m}, false); err != nil {
			return nil, err
		}
	}
	if outcome := w.run(m); outcome != nil {
		return outcome, nil
	}
	out, err := w.outcome()
	if err != nil || out.empty() {
		return nil, err
	}
	claims := s.reserve(out, w)
	if _, err := tx.write(ctx, out); err != nil {
		s.unreserve(claims)
		return nil, err
	}
	good.wrote, good.rows[m.id] = true, true
	good.messages = append(good.messages, out.messages...)
	good.claims.atOnce = append(good.claims.atOnce, claims.atOnce...)
	good.claims.ahead = append(good.claims.ahead, claims.ahead...)
	return nil, nil
}

// addFrom takes a member's row as it was read for the whole batch; false if that is not all it needs.
func (w *work[S, V]) addFrom(all *work[S, V], m *member[S, V]) bool {
	r := all.rows[m.id]
	if r == nil {
		return false
	}
	w.add(&r.record)
	return len(w.keys([]*member[S, V]{m})) == 0
}
