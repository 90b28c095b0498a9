package paymentpg

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"millrace/event"
	"millrace/handlers/payment/simulator"
)

const (
	// maxBatch bounds the accounts one statement writes; above some hundreds the cost of
	// each hardly falls any more.
	maxBatch = 500
	// batchTimeout bounds one batch. Its callers have given up long before, and their
	// calls come again with the same keys.
	batchTimeout = 10 * time.Second
)

// Ledger is the simulated provider's book in Postgres: durable, and one however
// many replicas write it. Concurrent calls share a commit: whatever waits when a
// batch ends becomes the next one, and nobody waits for a batch to fill.
//
// It uses one connection, while there is something to write.
type Ledger struct {
	db *sql.DB

	mu      sync.Mutex
	queue   []*entry
	writing bool // a goroutine is emptying the queue
}

var _ simulator.Ledger = (*Ledger)(nil)

// entry is one caller.
type entry struct {
	id     event.OrderID
	change func(*simulator.Account)
	done   chan error // capacity 1: the writer never waits for a caller
}

// NewLedger returns the ledger in db, which has ProviderSchema.
func NewLedger(db *sql.DB) *Ledger { return &Ledger{db: db} }

// Update is simulator.Ledger's.
func (l *Ledger) Update(ctx context.Context, id event.OrderID, change func(*simulator.Account)) error {
	// One id that is none would fail the batch of all the others.
	if _, err := event.ParseOrderID(string(id)); err != nil {
		return err
	}
	e := &entry{id: id, change: change, done: make(chan error, 1)}
	l.mu.Lock()
	l.queue = append(l.queue, e)
	if !l.writing {
		l.writing = true
		go l.writeAll()
	}
	l.mu.Unlock()
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeAll writes batch after batch until nobody waits.
func (l *Ledger) writeAll() {
	for {
		batch := l.take()
		if batch == nil {
			return
		}
		// The batch belongs to all its callers: none of them may cancel it.
		ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
		err := l.write(ctx, byOrder(batch))
		cancel()
		for _, e := range batch {
			e.done <- err
		}
	}
}

// take takes what waits, up to maxBatch; with nothing left, writing is over.
func (l *Ledger) take() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.queue), maxBatch)
	if n == 0 {
		l.writing = false
		return nil
	}
	batch := l.queue[:n:n]
	l.queue = l.queue[n:]
	return batch
}

// byOrder puts calls for one order together, in the order they came.
func byOrder(batch []*entry) map[event.OrderID][]*entry {
	orders := make(map[event.OrderID][]*entry, len(batch))
	for _, e := range batch {
		orders[e.id] = append(orders[e.id], e)
	}
	return orders
}
