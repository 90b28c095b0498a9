package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"sync/atomic"

	"millrace/event"
)

// Observation is what the updates of one context came to. A store fills it when it has committed, before
// their callers get their answer.
type Observation struct{ changed, known, asked atomic.Bool }

// Asked tells that a store was asked at all.
func (o *Observation) Asked() bool { return o.asked.Load() }

// Changed tells that an update changed something, or said something. Where the answer to a COMMIT got lost, what
// is found processed afterwards counts as changed by the update it belongs to.
func (o *Observation) Changed() bool { return o.changed.Load() }

// Processed tells that an update's cause had been processed before.
func (o *Observation) Processed() bool { return o.known.Load() }

type observationKey struct{}

// Observe returns a context that tells what its updates come to.
func Observe(ctx context.Context) (context.Context, *Observation) {
	o := new(Observation)
	return context.WithValue(ctx, observationKey{}, o), o
}

// observe is called for an update that was answered in a transaction that has ended well.
func (m *member[S, V]) observe(answer error) {
	if m.observation == nil {
		return
	}
	m.observation.asked.Store(true)
	switch {
	case answer != nil:
	case m.changed, m.known && m.inDoubt:
		m.observation.changed.Store(true)
	case m.known:
		m.observation.known.Store(true)
	}
}

// same tells whether a row's state is what it was. A row that did not exist was what New makes.
func (s *Store[S, V]) same(id event.OrderID, before, after []byte) bool {
	if string(before) != emptyState {
		return bytes.Equal(before, after)
	}
	fresh := s.table.New(id)
	empty, err := json.Marshal(&fresh)
	return err == nil && bytes.Equal(empty, after)
}
