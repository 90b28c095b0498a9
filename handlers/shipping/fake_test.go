package shipping_test

import (
	"context"
	"testing"
	"time"

	"millrace/event"
	"millrace/handlers/shipping"
)

const order1 = event.OrderID("0199c0de-0000-7000-8000-000000000001")

var (
	noon    = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	policy  = shipping.Policy{Step: time.Second}
	address = &event.Address{Name: "Ada Byron", Street: "1 Mill Lane", City: "Bath", PostalCode: "BA1 1AA", Country: "GB"}
)

// desk is the smallest store that keeps the promises of shipping.Shipments. It runs
// every closure twice, since a store may.
type desk struct {
	rows      map[event.OrderID]shipping.Shipment
	processed map[string]bool
	said      []event.Event
}

func newDesk(rows ...shipping.Shipment) *desk {
	d := &desk{rows: map[event.OrderID]shipping.Shipment{}, processed: map[string]bool{}}
	for _, row := range rows {
		d.rows[row.ID] = row
	}
	return d
}

func (d *desk) Update(ctx context.Context, id event.OrderID, change func(*shipping.Shipment) ([]event.Event, error)) error {
	cause := string(id) + event.CauseFrom(ctx).ID
	if d.processed[cause] {
		return nil
	}
	var row shipping.Shipment
	var said []event.Event
	for range 2 {
		var known bool
		if row, known = d.rows[id]; !known {
			row = shipping.Shipment{ID: id}
		}
		var err error
		if said, err = change(&row); err != nil {
			return err
		}
	}
	d.rows[id] = row
	d.said = append(d.said, said...)
	d.processed[cause] = true
	return nil
}

func (d *desk) UpdateExisting(ctx context.Context, id event.OrderID, change func(*shipping.Shipment) ([]event.Event, error)) error {
	if _, known := d.rows[id]; !known {
		return event.ErrUnknownOrder
	}
	return d.Update(ctx, id, change)
}

// statuses lists what was said, by status.
func (d *desk) statuses() []event.ParcelStatus {
	var out []event.ParcelStatus
	for _, e := range d.said {
		out = append(out, e.(event.ShippingStatus).Status)
	}
	return out
}

// carrier answers every call with the same report, and remembers the last call.
type carrier struct {
	report shipping.Report
	err    error
	call   string
	parcel shipping.Parcel
}

func (c *carrier) answer(call string, p shipping.Parcel) (shipping.Report, error) {
	c.call, c.parcel = call, p
	return c.report, c.err
}

func (c *carrier) Book(_ context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.answer("Book", p)
}

func (c *carrier) Track(_ context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.answer("Track", p)
}

func (c *carrier) Stop(_ context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.answer("Stop", p)
}

func (c *carrier) Recall(_ context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.answer("Recall", p)
}

// on returns a context caused by the event or request with that id, at noon.
func on(t testing.TB, id string) context.Context {
	return event.WithCause(t.Context(), event.Cause{ID: id, Time: noon})
}
