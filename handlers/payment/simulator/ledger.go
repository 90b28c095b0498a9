package simulator

import (
	"context"
	"maps"
	"sync"

	"millrace/event"
)

// Ledger keeps the accounts. A real provider's memory is its own, outlives ours,
// and is one however many replicas call: so must this be. paymentpg has it in Postgres.
type Ledger interface {
	// Update lets change act on an order's account, empty where there is none yet, and
	// returns when what it did is durable. An account that is empty afterwards need not be
	// kept. change may run more than once, each time on a fresh copy; the last run counts.
	// After an error it is not known whether the change took effect.
	Update(ctx context.Context, id event.OrderID, change func(*Account)) error
}

// Memory is a Ledger that forgets everything with the process: for tests.
type Memory struct {
	mu       sync.Mutex
	accounts map[event.OrderID]Account
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory { return &Memory{accounts: map[event.OrderID]Account{}} }

// Update is Ledger's.
func (m *Memory) Update(_ context.Context, id event.OrderID, change func(*Account)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.accounts[id]
	change(&a)
	m.accounts[id] = a
	return nil
}

// Account returns an order's account; the empty one where there is none.
func (m *Memory) Account(id event.OrderID) Account {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.accounts[id]
	a.Charges, a.Refunds = maps.Clone(a.Charges), maps.Clone(a.Refunds)
	return a
}
