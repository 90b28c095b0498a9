package shipping_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/shipping"
)

// post is a carrier with one parcel: it keeps the promises of shipping.Carrier and moves
// the parcel on by itself. It draws how it behaves.
type post struct {
	t       *rapid.T
	state   shipping.State // empty: not booked
	booked  int            // parcels taken
	refuses bool           // to take the parcel
	keeps   bool           // what it is asked to bring back
	loses   bool
}

func (p *post) report() (shipping.Report, error) {
	r := shipping.Report{State: p.state, Carrier: "Mill Post", TrackingNumber: "MP1"}
	// The call was made; whether its answer arrives is another matter.
	if rapid.Bool().Draw(p.t, "answer lost") {
		return shipping.Report{}, errors.New("connection reset")
	}
	return r, nil
}

func (p *post) Book(context.Context, shipping.Parcel) (shipping.Report, error) {
	if p.state == "" {
		if p.refuses {
			p.state = shipping.Refused
		} else {
			p.state = shipping.Booked
			p.booked++
		}
	}
	return p.report()
}

func (p *post) Track(context.Context, shipping.Parcel) (shipping.Report, error) { return p.report() }

func (p *post) Stop(context.Context, shipping.Parcel) (shipping.Report, error) {
	if p.state == "" || p.state == shipping.Booked {
		p.state = shipping.Stopped
	}
	return p.report()
}

func (p *post) Recall(context.Context, shipping.Parcel) (shipping.Report, error) {
	if p.state == shipping.InTransit {
		if p.keeps {
			r, err := p.report()
			r.State = shipping.NotRecalled
			return r, err
		}
		p.state = shipping.Returned
	}
	return p.report()
}

// move is the parcel's own way, one stretch of it.
func (p *post) move() {
	switch {
	case p.state == shipping.Booked:
		p.state = shipping.InTransit
	case p.state == shipping.InTransit && p.loses:
		p.state = shipping.Lost
	case p.state == shipping.InTransit:
		p.state = shipping.Delivered
	}
}

// TestAnyInterleavingEnds plays an order, perhaps cancelled at any moment, against a
// carrier that moves, calls back, and loses answers, with every message and callback
// possibly doubled.
func TestAnyInterleavingEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		carrier := &post{
			t: t, refuses: rapid.Bool().Draw(t, "refuses"),
			keeps: rapid.Bool().Draw(t, "keeps"), loses: rapid.Bool().Draw(t, "loses"),
		}
		d := newDesk()
		s := shipping.New(d, carrier, policy)
		cause := func(id string) context.Context {
			return event.WithCause(context.Background(), event.Cause{ID: id, Time: noon})
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		attempts := 0
		call := func() {
			row := d.rows[order1]
			due := policy.Due(&row)
			if len(due) == 0 {
				return
			}
			attempts++
			id := cause(fmt.Sprintf("%s/%d", due[0].Step, attempts))
			change, err := s.Perform(id, row, due[0].Step, attempts)
			if err == nil {
				must(d.UpdateExisting(id, order1, change))
			}
		}
		acts := map[string]func(){
			"initiate": func() {
				must(s.Initiate(cause("initiate"), event.ShippingInitiate{OrderID: order1, ShippingAddress: address}))
			},
			"cancel": func() { must(s.Cancel(cause("cancel"), event.OrderCancelled{OrderID: order1})) },
			"move":   carrier.move,
			"call":   call,
			"callback": func() {
				if carrier.state == "" || carrier.state == shipping.Stopped {
					return // nothing a carrier calls about
				}
				err := s.Callback(cause("callback "+string(carrier.state)), order1, shipping.Report{State: carrier.state})
				var stale *shipping.StaleReport
				if err != nil && !errors.As(err, &stale) {
					t.Fatal(err)
				}
			},
		}
		names := []string{"call", "callback", "cancel", "initiate", "move"}
		cancelled := rapid.Bool().Draw(t, "cancelled")
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 5, 40).Draw(t, "acts") {
			if name == "cancel" && !cancelled {
				continue
			}
			acts[name]()
			said(t, d)
		}
		acts["initiate"]()
		// From here on answers arrive in the end, and time passes.
		for range 100 {
			call()
			carrier.move()
		}
		said(t, d)
		ended(t, d.rows[order1], carrier)
	})
}

// said checks that what was said is a way a parcel can go, each status at most once,
// and ends with where the row is.
func said(t *rapid.T, d *desk) {
	statuses := d.statuses()
	for i, s := range statuses {
		if slices.Contains(statuses[:i], s) {
			t.Fatalf("said twice: %v", statuses)
		}
	}
	way := words(statuses)
	for _, never := range []string{
		"STOPPED ", "DELIVERED RETURNED", "DELIVERED LOST", "LOST ", "RETURNED ", "SHIPPED STOPPED", "SHIPPED REFUSED",
	} {
		if strings.Contains(way, never) {
			t.Fatalf("no parcel goes this way: %s", way)
		}
	}
	row := d.rows[order1]
	if len(statuses) > 0 && row.Status != "" && statuses[len(statuses)-1] != row.Status {
		t.Fatalf("said %s, but the row is %s", way, row.Status)
	}
}

// ended checks that nothing is left to wait for, and that row and carrier agree.
func ended(t *rapid.T, row shipping.Shipment, carrier *post) {
	if due := policy.Due(&row); len(due) > 0 {
		t.Fatalf("%s still waits for %v", rowName(row), due)
	}
	if carrier.booked > 1 {
		t.Fatalf("%d parcels for one order", carrier.booked)
	}
	agree := map[event.ParcelStatus][]shipping.State{
		event.ParcelDelivered:    {shipping.Delivered},
		event.ParcelStopped:      {"", shipping.Stopped, shipping.Refused},
		event.ParcelReturned:     {shipping.Returned},
		event.ParcelRefused:      {shipping.Refused},
		event.ParcelLost:         {shipping.Lost},
		event.ParcelRecallFailed: {shipping.InTransit, shipping.Delivered, shipping.Lost},
	}
	if !slices.Contains(agree[row.Status], carrier.state) {
		t.Fatalf("the row is %s, the carrier says %q", row.Status, carrier.state)
	}
	uncancelled := []event.ParcelStatus{event.ParcelDelivered, event.ParcelRefused}
	if row.Cancelled && slices.Contains(uncancelled, row.Status) {
		t.Fatalf("cancelled, and yet %s", row.Status)
	}
	if !row.Cancelled && (row.Status == event.ParcelStopped || row.Status == event.ParcelRecallFailed) {
		t.Fatalf("nobody cancelled, and yet %s", row.Status)
	}
}
