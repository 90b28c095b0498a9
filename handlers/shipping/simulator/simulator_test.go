package simulator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"millrace/event"
	"millrace/handlers/shipping"
	"millrace/handlers/shipping/simulator"
)

const step = time.Hour // far above what a test takes

func TestParcels(t *testing.T) {
	const none = -1 // not booked yet
	carrier := simulator.New(step)
	for _, c := range []struct {
		code                string
		steps               float64 // since the booking
		track, stop, recall shipping.State
	}{
		{"BA1 1AA", none, shipping.Booked, shipping.Stopped, shipping.Returned},
		{"BA1 1AA", 0, shipping.Booked, shipping.Stopped, shipping.Returned},
		{"BA1 1AA", 1, shipping.InTransit, shipping.InTransit, shipping.Returned},
		{"BA1 1AA", 0.9, shipping.InTransit, shipping.InTransit, shipping.Returned}, // clocks differ
		{"BA1 1AA", 2, shipping.Delivered, shipping.Delivered, shipping.Delivered},
		{simulator.Slow, 2, shipping.Booked, shipping.Stopped, shipping.Returned},
		{simulator.Slow, 5, shipping.InTransit, shipping.InTransit, shipping.Returned},
		{simulator.Slow, 9, shipping.InTransit, shipping.InTransit, shipping.Returned},
		{simulator.Slow, 10, shipping.Delivered, shipping.Delivered, shipping.Delivered},
		{simulator.Lost, 1, shipping.InTransit, shipping.InTransit, shipping.Returned},
		{simulator.Lost, 2, shipping.Lost, shipping.Lost, shipping.Lost},
		{simulator.NoRecall, none, shipping.Booked, shipping.InTransit, shipping.NotRecalled},
		{simulator.NoRecall, 0, shipping.Booked, shipping.InTransit, shipping.NotRecalled},
		{simulator.NoRecall, 1, shipping.InTransit, shipping.InTransit, shipping.NotRecalled},
		{simulator.NoRecall, 2, shipping.Delivered, shipping.Delivered, shipping.Delivered},
	} {
		p := shipping.Parcel{OrderID: "0199c0de-0000-7000-8000-000000000001", Address: event.Address{PostalCode: c.code}}
		if c.steps != none {
			p.BookedAt = time.Now().Add(-time.Duration(c.steps * float64(step)))
		}
		for _, call := range []struct {
			name string
			make func(context.Context, shipping.Parcel) (shipping.Report, error)
			want shipping.State
		}{
			{"track", carrier.Track, c.track},
			{"stop", carrier.Stop, c.stop},
			{"recall", carrier.Recall, c.recall},
		} {
			if r, err := call.make(t.Context(), p); err != nil || r.State != call.want {
				t.Errorf("%s, %v steps after booking, %s: %s %v, want %s", c.code, c.steps, call.name, r.State, err, call.want)
			}
		}
	}
}

func TestBook(t *testing.T) {
	carrier := simulator.New(step)
	p := shipping.Parcel{OrderID: "0199c0de-0000-7000-8000-000000000001"}
	first, err := carrier.Book(t.Context(), p)
	if err != nil || first.State != shipping.Booked || first.Carrier == "" || first.TrackingNumber == "" {
		t.Fatalf("%+v %v", first, err)
	}
	if again, err := carrier.Book(t.Context(), p); err != nil || again != first {
		t.Errorf("the same parcel again: %+v %v, want %+v", again, err, first)
	}
	p.Address.PostalCode = simulator.Refused
	if r, err := carrier.Book(t.Context(), p); err != nil || r.State != shipping.Refused || r.TrackingNumber != "" {
		t.Errorf("%+v %v", r, err)
	}
}

func TestGivenUpCallsAnswerNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := simulator.New(step).Book(ctx, shipping.Parcel{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
