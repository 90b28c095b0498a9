package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"millrace/event"
	"millrace/transport"
)

// Memory is a store's rows, and its outbox, in memory. It is the same Store in front
// of it: same batches, same isolation, same refusals. It is for tests of whole sagas; nothing
// in it survives the process.
type Memory struct {
	turn    chan struct{} // held by the transaction under way: there is one at a time
	mu      sync.Mutex
	shape   shape
	now     func() time.Time
	rows    map[event.OrderID]*record
	sides   map[string][]any
	zero    func(key string) ([]any, error)
	ledger  map[string]bool
	history map[event.OrderID][]Entry
	waits   map[waitKey]MemoryWait
	sums    map[sumKey]int64
	outbox  []transport.Record
	fail    func() error
	lose    func() error
	held    map[event.OrderID]bool
	// revision numbers the transactions.
	revision uint32
}

// MemoryWait is a wait as the memory store keeps it.
type MemoryWait struct {
	OrderID event.OrderID
	Step    string
	Due     time.Time
	// Claimed is set for a wait that was handed to the executor with the commit.
	Claimed bool
}

// NewMemory returns a store and the memory it works on. now is its database clock; nil is time.Now.
func NewMemory[S, V any](table Table[S, V], opts Options, now func() time.Time) (*Store[S, V], *Memory) {
	if now == nil {
		now = time.Now
	}
	m := &Memory{
		turn: make(chan struct{}, 1), shape: shapeOf(table), now: now,
		rows: map[event.OrderID]*record{}, sides: map[string][]any{}, ledger: map[string]bool{},
		history: map[event.OrderID][]Entry{}, waits: map[waitKey]MemoryWait{}, sums: map[sumKey]int64{},
		held: map[event.OrderID]bool{},
	}
	if table.Side != nil {
		m.zero = func(key string) ([]any, error) {
			v := table.Side.New(key)
			fields := table.Side.Fields(&v)
			values := make([]any, len(fields))
			for i, f := range fields {
				var err error
				if values[i], err = valueOf(f); err != nil {
					return nil, fmt.Errorf("%s %s: %w", table.Side.Name, key, err)
				}
			}
			return values, nil
		}
	}
	return newStore(table, m, opts), m
}

// TakeOutbox returns what was published since the last call, in order, and forgets it.
func (m *Memory) TakeOutbox() []transport.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.outbox
	m.outbox = nil
	return out
}

// Waits lists what rows wait for, by order and step.
func (m *Memory) Waits() []MemoryWait {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Collect(maps.Values(m.waits))
	slices.SortFunc(list, func(a, b MemoryWait) int {
		if c := compare(string(a.OrderID), string(b.OrderID)); c != 0 {
			return c
		}
		return compare(a.Step, b.Step)
	})
	return list
}

// History lists an order's history.
func (m *Memory) History(id event.OrderID) []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.history[id])
}

// Sums lists the sums that are not zero.
func (m *Memory) Sums() []Sum {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Sum
	for k, n := range m.sums {
		if n != 0 {
			list = append(list, k.sum(n))
		}
	}
	return list
}

// FailWith makes every transaction call f at its commit; an error from f fails the
// transaction, as a database would. Nil: none fails.
func (m *Memory) FailWith(f func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

// LoseAnswers makes every transaction call f after its commit; an error from f is what the store gets to see of
// it, as when the answer to a COMMIT is lost. Nil: none is.
func (m *Memory) LoseAnswers(f func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lose = f
}

// Hold makes an order's row look locked by somebody else, until Release.
func (m *Memory) Hold(id event.OrderID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[id] = true
}

// Release ends Hold.
func (m *Memory) Release(id event.OrderID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, id)
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

func (m *Memory) begin(ctx context.Context, opts lockOptions) (session, time.Time, error) {
	select {
	case m.turn <- struct{}{}:
		return &memorySession{Memory: m, opts: opts, newSides: map[string][]any{}}, m.now(), nil
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
}

func (m *Memory) load(_ context.Context, ids []event.OrderID) ([]record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]record, 0, len(ids))
	for _, id := range ids {
		if r, ok := m.rows[id]; ok {
			list = append(list, *r)
		}
	}
	return list, nil
}

// memorySession is one transaction. It has the memory to itself until its rollback, which
// always comes last.
type memorySession struct {
	*Memory
	opts     lockOptions
	newSides map[string][]any
	out      *outcome
}

func (t *memorySession) read(_ context.Context, ids []event.OrderID) (map[event.OrderID]*record, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[event.OrderID]*record{}
	for _, id := range ids {
		if r, ok := t.rows[id]; ok {
			found[id] = r.clone()
		}
	}
	return found, nil
}

func (r *record) clone() *record {
	c := *r
	c.processed, c.commands, c.waiting = slices.Clone(r.processed), slices.Clone(r.commands), slices.Clone(r.waiting)
	return &c
}

func (t *memorySession) insertSides(_ context.Context, keys []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		if _, ok := t.sides[key]; ok {
			continue
		}
		values, err := t.zero(key)
		if err != nil {
			return err
		}
		t.newSides[key] = values
	}
	return nil
}

var errMemoryHeld = errors.New("memory: the row is held")

func (t *memorySession) lock(_ context.Context, ids, create []event.OrderID) (locked, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := locked{rows: map[event.OrderID]*record{}, unknown: map[event.OrderID]bool{}}
	for _, id := range ids {
		if t.held[id] {
			if t.opts.wait {
				return l, errMemoryHeld
			}
			continue
		}
		r, ok := t.rows[id]
		switch {
		case ok:
			l.rows[id] = r.clone()
		case slices.Contains(create, id):
			l.rows[id] = newRecord(id)
		default:
			l.unknown[id] = true
		}
	}
	return l, nil
}

func (t *memorySession) lockSides(_ context.Context, keys []string) (map[string][]any, map[string]bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string][]any{}
	for _, key := range keys {
		if fields, ok := t.sides[key]; ok {
			found[key] = fields
		} else if fields, ok := t.newSides[key]; ok {
			found[key] = fields
		}
	}
	return found, nil, nil
}

func (t *memorySession) inLedger(_ context.Context, ids []string) (map[string]bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string]bool{}
	for _, id := range ids {
		if t.ledger[id] {
			found[id] = true
		}
	}
	return found, nil
}

// refusals: it refuses no data.
func (t *memorySession) refusals(_ context.Context, outs []*outcome) ([]error, error) {
	return make([]error, len(outs)), nil
}

func (t *memorySession) write(_ context.Context, out *outcome) (revision uint32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range out.rows {
		if t.held[r.id] {
			return 0, errMemoryHeld
		}
		var now uint32 = notStored
		if stored, ok := t.rows[r.id]; ok {
			now = stored.revision
		}
		if r.revision != now {
			return 0, errStale
		}
	}
	t.out = out
	t.revision++
	return t.revision, nil
}

func (t *memorySession) commit(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		if err := t.fail(); err != nil {
			return err
		}
	}
	for _, r := range t.out.rows {
		r.revision = t.revision
		t.rows[r.id] = &r.record
	}
	for _, e := range t.out.entries {
		t.history[e.orderID] = append(t.history[e.orderID], e.entry)
	}
	for _, k := range t.out.waitsEnd {
		delete(t.waits, k)
	}
	for _, w := range t.out.waits {
		t.waits[w.waitKey] = MemoryWait{OrderID: w.id, Step: w.step, Due: t.now().Add(w.after), Claimed: w.claimed}
	}
	maps.Copy(t.sides, t.newSides)
	for _, s := range t.out.sides {
		t.sides[s.key] = s.fields
	}
	for _, l := range t.out.ledger {
		t.ledger[l.id] = true
	}
	for _, s := range t.out.sums {
		t.sums[sumKey{s.Minute.Unix(), s.Name, s.Key}] += s.N
	}
	for _, row := range t.out.messages {
		rec, err := row.record()
		if err != nil {
			return err
		}
		t.outbox = append(t.outbox, rec)
	}
	if t.lose != nil {
		return t.lose()
	}
	return nil
}

func (t *memorySession) rollback() { <-t.turn }
