package paymentpg

import (
	"context"
	"database/sql"
	"time"

	"millrace/event"
	"millrace/groupcommit"
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
// many replicas write it. Concurrent calls share a commit.
//
// It uses one connection, while there is something to write.
type Ledger struct {
	db    *sql.DB
	group *groupcommit.Group[*entry]
}

var _ simulator.Ledger = (*Ledger)(nil)

// entry is one caller.
type entry struct {
	id     event.OrderID
	change func(*simulator.Account)
}

// NewLedger returns the ledger in db, which has ProviderSchema.
func NewLedger(db *sql.DB) *Ledger {
	l := &Ledger{db: db}
	l.group = groupcommit.New(maxBatch, batchTimeout, func(ctx context.Context, batch []*entry) error { return l.write(ctx, byOrder(batch)) })
	return l
}

// Update is simulator.Ledger's.
func (l *Ledger) Update(ctx context.Context, id event.OrderID, change func(*simulator.Account)) error {
	// One id that is none would fail the batch of all the others.
	if _, err := event.ParseOrderID(string(id)); err != nil {
		return err
	}
	return l.group.Do(ctx, &entry{id: id, change: change})
}

// byOrder puts calls for one order together, in the order they came.
func byOrder(batch []*entry) map[event.OrderID][]*entry {
	orders := make(map[event.OrderID][]*entry, len(batch))
	for _, e := range batch {
		orders[e.id] = append(orders[e.id], e)
	}
	return orders
}
