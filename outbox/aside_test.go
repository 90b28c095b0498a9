package outbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"millrace/event"
)

// queue is a store that does not run, and updates that note the order they ran in.
type queue struct {
	store  *Store[basket, level]
	memory *Memory
	ran    map[event.OrderID][]int
}

func newQueue() *queue {
	s, m := NewMemory(basketTable, Options{}, nil)
	return &queue{store: s, memory: m, ran: map[event.OrderID][]int{}}
}

func (q *queue) member(id event.OrderID, n int) *member[basket, level] {
	return &member[basket, level]{
		ctx: context.Background(), id: id, create: true, cause: event.Cause{ID: uuid.NewString()}, done: make(chan error, 1),
		change: func(*basket, map[string]*level) ([]event.Event, error) {
			q.ran[id] = append(q.ran[id], n)
			return nil, nil
		},
	}
}

// A batch is split to find the guilty one. An order whose row is held during the first half is
// free again by the second: what came later for it must wait all the same.
func TestASplitBatchKeepsTheUpdatesOfAnOrderInOrder(t *testing.T) {
	q := newQueue()
	held, other := newOrder(), newOrder()
	commits := 0
	q.memory.FailWith(func() error {
		switch commits++; commits {
		case 1:
			return &pq.Error{Code: codeUniqueViolation}
		case 2: // the first half
			q.ran = map[event.OrderID][]int{}
			delete(q.memory.held, held) // under the lock of the memory
		}
		return nil
	})
	q.memory.Hold(held)
	ctx := t.Context()
	q.store.commit(ctx, []*member[basket, level]{q.member(held, 1), q.member(other, 1), q.member(held, 2), q.member(other, 2)}, lockOptions{})
	for batch := q.store.take(); len(batch) > 0; batch = q.store.take() {
		q.store.commit(ctx, batch, lockOptions{})
	}
	if got := q.ran[held]; !slices.Equal(got, []int{1, 2}) {
		t.Errorf("ran in the order %v", got)
	}
}

func TestAnOrderSetAsideKeepsItsUpdatesInOrder(t *testing.T) {
	q := newQueue()
	id := newOrder()
	q.memory.Hold(id)
	for n := range 3 {
		q.store.queue = append(q.store.queue, q.member(id, n))
	}
	for range maxHeld - 1 {
		q.store.commit(t.Context(), q.store.take(), lockOptions{})
	}
	batch := q.store.take()
	q.store.queue = append(q.store.queue, q.member(id, 3)) // it came while the batch ran
	q.store.commit(t.Context(), batch, lockOptions{})
	if len(q.store.queue) != 0 {
		t.Fatalf("%d updates were not set aside", len(q.store.queue))
	}
	q.memory.Release(id)
	q.store.running.Wait()
	if got := q.ran[id]; !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("ran in the order %v", got)
	}
}

// An update may need a side row that an earlier one of its batch made it need; the batch has
// not locked that. Then it waits for the next, and nothing that came meanwhile overtakes it.
func TestAnUpdateSetAsideThatWaitsOnceMoreIsNotOvertaken(t *testing.T) {
	q := newQueue()
	id := newOrder()
	first, second := q.member(id, 1), q.member(id, 2)
	first.change = func(b *basket, _ map[string]*level) ([]event.Event, error) {
		b.Note = "now it needs a side row"
		return nil, nil
	}
	second.keys = func(b *basket) []string {
		if b.Note == "" {
			return nil
		}
		return []string{"MUG"}
	}
	aside := &setAside[basket, level]{members: []*member[basket, level]{first, second}}
	q.store.set[id] = aside
	q.memory.FailWith(func() error {
		q.memory.fail = nil
		aside.add(q.member(id, 3)) // it comes while the first two run
		return nil
	})
	q.store.runAside(t.Context(), id, aside)
	if got := q.ran[id]; !slices.Equal(got, []int{2, 3}) {
		t.Errorf("ran in the order %v", got)
	}
}

func TestUpdatesOfHeldRowsEndWithTheStore(t *testing.T) {
	s, m := NewMemory(basketTable, Options{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	var callers sync.WaitGroup
	for range 3 * maxAside { // more than can be asked for at once
		id := newOrder()
		m.Hold(id)
		callers.Go(func() {
			if err := s.Update(fresh(t.Context()), id, count); !errors.Is(err, ErrStopped) {
				t.Errorf("error %v, want ErrStopped", err)
			}
		})
	}
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.set) == 3*maxAside })
	cancel()
	<-done
	callers.Wait()
}

func TestCallersThatLeftDoNotGatherBehindAHeldRow(t *testing.T) {
	q := newQueue()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	aside := &setAside[basket, level]{}
	for range 100 {
		m := q.member(newOrder(), 1)
		m.ctx = left
		aside.add(m)
	}
	if n := len(aside.members); n > 1 {
		t.Errorf("%d updates wait that nobody waits for", n)
	}
}

// Updates that were set aside and those that were not may need the same side row.
func TestSideRowsAreSharedWithUpdatesSetAside(t *testing.T) {
	const orders, stock = 200, 1000
	s, m := NewMemory(basketTable, Options{}, nil)
	start(t, s)
	need(t, s.UpdateSide(fresh(t.Context()), []string{"MUG"}, func(side map[string]*level) error { side["MUG"].Available = stock; return nil }))
	take := func(id event.OrderID) {
		must(t, s.UpdateWith(fresh(t.Context()), id, func(*basket) []string { return []string{"MUG"} }, func(_ *basket, side map[string]*level) ([]event.Event, error) {
			side["MUG"].Available--
			return nil, nil
		}))
	}
	var callers sync.WaitGroup
	held := make([]event.OrderID, orders)
	for i := range held {
		held[i] = newOrder()
		m.Hold(held[i])
		callers.Go(func() { take(held[i]) })
	}
	eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.set) == orders })
	for _, id := range held {
		m.Release(id)
		callers.Go(func() { take(newOrder()) })
	}
	callers.Wait()
	if l := (&inMemory{m}).level(t, "MUG"); l.Available != stock-2*orders {
		t.Errorf("%d left of %d after %d were taken", l.Available, stock, 2*orders)
	}
}
