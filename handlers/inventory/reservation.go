package inventory

import (
	"fmt"

	"millrace/event"
)

// Status is where a reservation stands.
type Status string

// The states of a reservation. The empty status is an order whose lines are not
// known yet: a row that only remembers, or a tombstone.
const (
	Reserved Status = "RESERVED" // set aside
	Rejected Status = "REJECTED" // at least one line was short; nothing is held
	Sold     Status = "SOLD"     // paid for
	Released Status = "RELEASED" // back on the shelf: not paid, or the parcel never left
	Returned Status = "RETURNED" // back on the shelf: the parcel came back
)

// Reservation is what inventory knows of one order.
type Reservation struct {
	ID     event.OrderID `json:"id"`
	Status Status        `json:"status"`
	Items  []event.Item  `json:"items,omitempty"`
	// PaymentFailed: heard. InventoryReleased has been said, unless the order was
	// rejected before.
	PaymentFailed bool `json:"paymentFailed,omitempty"`
	// Paid: InventoryUpdate was heard. Payment says one of the two, ever; should
	// a stranger say the other one as well, the first one stays.
	Paid bool `json:"paid,omitempty"`
	// Back is why the pieces come back once they are sold; empty if they do not.
	Back event.ReleaseCause `json:"back,omitempty"`
}

// settled tells that an OrderCreated will move no stock any more.
func (r *Reservation) settled() bool { return r.Status != "" || r.PaymentFailed }

// skus names the levels the order holds pieces of. Sold pieces count: they may come back.
func (r *Reservation) skus() []string {
	if r.Status != Reserved && r.Status != Sold {
		return nil
	}
	held, err := bySKU(r.Items)
	if err != nil {
		return nil // reserve let no such items in
	}
	return held.skus()
}

func (r *Reservation) reserve(items []event.Item, wanted lines, stock map[string]*Level) ([]event.Event, error) {
	if r.Status != "" {
		return nil, nil
	}
	r.Items = items
	if r.PaymentFailed {
		// Released was said when the money fell through; there is nothing to give back.
		r.Status = Released
		return nil, nil
	}
	if short := wanted.short(stock); len(short) > 0 {
		r.Status = Rejected
		return []event.Event{event.InventoryRejected{OrderID: r.ID, Items: items, Short: short}}, nil
	}
	if err := wanted.each(stock, (*Level).reserve); err != nil {
		return nil, err
	}
	r.Status = Reserved
	said := []event.Event{event.InventoryReserved{OrderID: r.ID, Items: items}}
	later, err := r.catchUp(stock)
	return append(said, later...), err
}

func (r *Reservation) release(stock map[string]*Level) ([]event.Event, error) {
	if r.PaymentFailed || r.Paid {
		return nil, nil
	}
	r.PaymentFailed = true
	switch r.Status {
	case "":
		return r.released(nil, event.ReleasedPaymentFailed), nil
	case Reserved:
		if err := r.move(stock, (*Level).release); err != nil {
			return nil, err
		}
		r.Status = Released
		return r.released(r.Items, event.ReleasedPaymentFailed), nil
	default: // Rejected: that was the answer already
		return nil, nil
	}
}

func (r *Reservation) commit(stock map[string]*Level) ([]event.Event, error) {
	if r.Paid || r.PaymentFailed {
		return nil, nil
	}
	r.Paid = true
	return r.catchUp(stock)
}

func (r *Reservation) takeBack(cause event.ReleaseCause, stock map[string]*Level) ([]event.Event, error) {
	if r.Back != "" {
		return nil, nil
	}
	r.Back = cause
	return r.catchUp(stock)
}

// catchUp takes the steps that what was heard allows by now: sell, then take back.
// A parcel that stopped gives nothing back before the pieces are sold: until then
// payment may still say that the money fell through, and they go back for that.
func (r *Reservation) catchUp(stock map[string]*Level) ([]event.Event, error) {
	if r.Status == Reserved && r.Paid {
		if err := r.move(stock, (*Level).sell); err != nil {
			return nil, err
		}
		r.Status = Sold
	}
	if r.Status == Sold && r.Back != "" {
		if err := r.move(stock, (*Level).takeBack); err != nil {
			return nil, err
		}
		r.Status = Released
		if r.Back == event.ReleasedReturned {
			r.Status = Returned
		}
		return r.released(r.Items, r.Back), nil
	}
	return nil, nil
}

func (r *Reservation) released(items []event.Item, cause event.ReleaseCause) []event.Event {
	if items == nil {
		items = []event.Item{} // [] on the wire, not null
	}
	return []event.Event{event.InventoryReleased{OrderID: r.ID, Items: items, Cause: cause}}
}

func (r *Reservation) move(stock map[string]*Level, step func(*Level, int64) error) error {
	held, err := bySKU(r.Items)
	if err != nil {
		return fmt.Errorf("order %s: %w", r.ID, err)
	}
	if err := held.each(stock, step); err != nil {
		return fmt.Errorf("order %s: %w", r.ID, err)
	}
	return nil
}
