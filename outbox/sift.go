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

// floodShare is which share of a batch's updates, one of so many, must be refused for it to be a flood: then the next
// batches are sifted at once, since halving them would find guilty ones everywhere, and each look costs a transaction.
const floodShare = 8

// savepoints is a session that can undo a part of its transaction. The one in memory has none: it refuses no data.
type savepoints interface {
	session
	// try runs do. If the database refuses its data, all that do wrote is undone, the refusal returned, and
	// the transaction can go on; after any other error it cannot.
	try(do func() error) (refusal, err error)
}

// errNoSavepoints means: this backend's sessions cannot try.
var errNoSavepoints = errors.New("the session has no savepoints")

// sifting is a transaction in which updates are tried, and what it holds of those that were not refused.
type sifting[S, V any] struct {
	*Store[S, V]
	tx       savepoints
	read     *work[S, V]            // the rows as they were when they were locked
	written  map[event.OrderID]bool // those that no longer are
	waiting  map[event.OrderID]bool // orders of which something was held
	held     []*member[S, V]
	answers  []answer[S, V]
	claims   claims[S]
	messages []outboxRow
	wrote    bool
	refused  int
	suspects map[string]bool // the kinds of updates that were refused
}

// sift is attempt for a batch of which the database refuses something. Within one transaction the updates are
// written by themselves: whose data is refused is told so, and the others are committed together. In
// a flood, those of other kinds than were refused last time are tried together first: each statement is a round trip, for
// which everybody waits. An error that is somebody's fault is returned only where all of
// them met it, at the locks or the commit.
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
	read := newWork(s, now)
	if err := read.prepare(ctx, tx, batch, false); err != nil {
		return nil, nil, err
	}
	t := &sifting[S, V]{Store: s, tx: tx, read: read, written: map[event.OrderID]bool{}, waiting: map[event.OrderID]bool{}, suspects: map[string]bool{}}
	if err := t.tryAll(ctx, batch); err != nil {
		s.unreserve(t.claims)
		return nil, nil, err
	}
	if t.refused*floodShare >= len(batch) {
		s.suspects.Store(&t.suspects)
	} else {
		s.suspects.Store(nil)
	}
	if !t.wrote {
		return t.held, t.answers, nil
	}
	if err := tx.commit(ctx); err != nil {
		s.inDoubt(t.claims, t.answers)
		return nil, nil, err
	}
	s.committed(t.claims, t.messages)
	// The rows are not kept in memory: written in a subtransaction, they have a revision that nobody was told.
	return t.held, t.answers, nil
}

func (t *sifting[S, V]) tryAll(ctx context.Context, batch []*member[S, V]) error {
	innocent, others := t.part(batch)
	if len(innocent) > 0 {
		w := newWork(t.Store, t.read.now)
		if err := w.prepare(ctx, t.tx, innocent, false); err != nil {
			return err
		}
		refusal, err := t.try(ctx, w, innocent)
		switch {
		case err != nil:
			return err
		case refusal != nil:
			others = batch
		}
	}
	for _, m := range others {
		if err := t.tryAlone(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// part returns the updates of which nothing tells that they will be refused: in a flood, those of other
// kinds than were, as far as nothing comes before them for the same order.
func (t *sifting[S, V]) part(batch []*member[S, V]) (innocent, others []*member[S, V]) {
	suspects := t.Store.suspects.Load()
	if suspects == nil {
		return nil, batch
	}
	behind := map[event.OrderID]bool{}
	for _, m := range batch {
		if (*suspects)[m.cause.Type] || behind[m.id] {
			others, behind[m.id] = append(others, m), m.id != ""
		} else {
			innocent = append(innocent, m)
		}
	}
	return innocent, others
}

func (t *sifting[S, V]) tryAlone(ctx context.Context, m *member[S, V]) error {
	if t.waiting[m.id] {
		t.held = append(t.held, m)
		return nil
	}
	w, alone := newWork(t.Store, t.read.now), []*member[S, V]{m}
	if t.written[m.id] || !w.addFrom(t.read, m) {
		if err := w.prepare(ctx, t.tx, alone, false); err != nil {
			return err
		}
	}
	refusal, err := t.try(ctx, w, alone)
	if refusal != nil {
		t.refused++
		t.suspects[m.cause.Type] = true
		m.changed = false
		t.answers = append(t.answers, answer[S, V]{m, &RefusedError{refusal}})
	}
	return err
}

// addFrom takes a member's row as it was read for the whole batch; false if that is not all it needs.
func (w *work[S, V]) addFrom(read *work[S, V], m *member[S, V]) bool {
	r := read.rows[m.id]
	if r == nil {
		return false
	}
	w.add(&r.record)
	return len(w.keys([]*member[S, V]{m})) == 0
}

// try runs updates and writes what they come to. After a refusal it is as if they had not been run.
func (t *sifting[S, V]) try(ctx context.Context, w *work[S, V], part []*member[S, V]) (refusal, err error) {
	var (
		held    []*member[S, V]
		answers []answer[S, V]
	)
	for _, m := range part {
		if outcome := w.run(m); errors.Is(outcome, errHeld) {
			held = append(held, m)
		} else {
			answers = append(answers, answer[S, V]{m, outcome})
		}
	}
	out, err := w.outcome()
	if err != nil {
		return nil, err
	}
	if !out.empty() {
		claims := t.reserve(out, w)
		refusal, err = t.tx.try(func() error { _, err := t.tx.write(ctx, out); return err })
		if refusal != nil || err != nil {
			t.unreserve(claims)
			return refusal, err
		}
		t.claims.atOnce, t.claims.ahead = append(t.claims.atOnce, claims.atOnce...), append(t.claims.ahead, claims.ahead...)
		t.messages = append(t.messages, out.messages...)
		t.wrote = true
		for _, r := range out.rows {
			t.written[r.id] = true
		}
	}
	t.held, t.answers = append(t.held, held...), append(t.answers, answers...)
	for _, m := range held {
		t.waiting[m.id] = m.id != ""
	}
	return nil, nil
}
