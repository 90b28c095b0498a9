package payment_test

import (
	"context"
	"encoding/json"
	"fmt"

	"millrace/event"
	"millrace/handlers/payment"
)

const orderID event.OrderID = "0199c0de-0000-7000-8000-000000000001"

// rows is the store's contract in memory, for one order: copies, processed
// causes, all or nothing. Rows go through JSON, as they do in a database.
type rows struct {
	row       *payment.Payment
	processed map[string]bool
	said      []event.Event
	causes    int
}

func (r *rows) Update(ctx context.Context, id event.OrderID, change func(*payment.Payment) ([]event.Event, error)) error {
	cause := event.CauseFrom(ctx).ID
	if r.processed[cause] {
		return nil
	}
	row := r.load()
	row.ID = id
	events, err := change(&row)
	if err != nil {
		return err
	}
	if r.processed == nil {
		r.processed = map[string]bool{}
	}
	r.processed[cause] = true
	r.row, r.said = &row, append(r.said, events...)
	return nil
}

func (r *rows) UpdateExisting(ctx context.Context, id event.OrderID, change func(*payment.Payment) ([]event.Event, error)) error {
	if r.row == nil {
		return event.ErrUnknownOrder
	}
	return r.Update(ctx, id, change)
}

// load returns a copy of the row; of a missing one, the zero row with its id.
func (r *rows) load() payment.Payment {
	row := payment.Payment{ID: orderID}
	if r.row != nil {
		data, err := json.Marshal(r.row)
		if err != nil {
			panic(err)
		}
		if err := json.Unmarshal(data, &row); err != nil {
			panic(err)
		}
	}
	return row
}

// cause returns a context with a new cause.
func (r *rows) cause() context.Context {
	r.causes++
	return event.WithCause(context.Background(), event.Cause{ID: fmt.Sprintf("cause-%d", r.causes)})
}

// waits tells whether the row waits for step.
func (r *rows) waits(step string) bool {
	row := r.load()
	for _, w := range (payment.Policy{}).Due(&row) {
		if w.Step == step {
			return true
		}
	}
	return false
}

// answer brings a change back as the executor does: it is dropped where the row
// no longer waits for the step.
func (r *rows) answer(ctx context.Context, step string, change func(*payment.Payment) ([]event.Event, error)) error {
	if !r.waits(step) {
		return nil
	}
	return r.UpdateExisting(ctx, orderID, change)
}
