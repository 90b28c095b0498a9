// Package simulator is a carrier for trying things out: a parcel leaves one step
// after it was booked and is delivered one step later. Some postal codes make it
// behave otherwise.
//
// It keeps nothing: what it answers follows from the parcel and the clock, so that
// any number of replicas agree, and a restart changes nothing. The price: a carrier
// with a memory would still know of a booking whose answer was lost; this one goes
// by what the shop knows.
package simulator

import (
	"context"
	"strings"
	"time"

	"millrace/handlers/shipping"
)

// The postal codes that do not simply deliver.
const (
	Slow     = "SHIP-SLOW"      // each step takes slowness times as long
	Refused  = "SHIP-REFUSED"   // the booking is refused
	Lost     = "SHIP-LOST"      // lost on the way
	NoRecall = "SHIP-NO-RECALL" // cannot be stopped, and a recall is refused for good
)

// slowness makes a slow parcel noticeably so, and still ends a demo within a minute.
const slowness = 5

// name is what the simulated carrier calls itself.
const name = "Simulated Parcel Service"

// Carrier is a simulated carrier.
type Carrier struct{ step time.Duration }

var _ shipping.Carrier = Carrier{}

// New returns a carrier that takes step from booking to leaving, and step again to
// the door.
func New(step time.Duration) Carrier { return Carrier{step: step} }

// Book takes every parcel but those to Refused.
func (c Carrier) Book(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	if p.Address.PostalCode == Refused {
		return c.report(ctx, p, shipping.Refused)
	}
	return c.report(ctx, p, shipping.Booked)
}

// Track goes by the time since the booking.
func (c Carrier) Track(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.report(ctx, p, c.state(p))
}

// Stop works until the parcel has left.
func (c Carrier) Stop(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	switch state := c.state(p); {
	case p.Address.PostalCode == NoRecall && state == shipping.Booked:
		return c.report(ctx, p, shipping.InTransit)
	case state == shipping.Booked:
		return c.report(ctx, p, shipping.Stopped)
	default:
		return c.report(ctx, p, state)
	}
}

// Recall brings everything back that has not arrived.
func (c Carrier) Recall(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	switch state := c.state(p); {
	case state == shipping.Delivered, state == shipping.Lost:
		return c.report(ctx, p, state)
	case p.Address.PostalCode == NoRecall:
		return c.report(ctx, p, shipping.NotRecalled)
	default:
		return c.report(ctx, p, shipping.Returned)
	}
}

func (c Carrier) state(p shipping.Parcel) shipping.State {
	if p.BookedAt.IsZero() {
		return shipping.Booked
	}
	pace := c.step
	if p.Address.PostalCode == Slow {
		pace *= slowness
	}
	// BookedAt may be another machine's clock, and a step's wait ends by the database's;
	// half a step of grace keeps a clock that is a little behind from costing a whole step more.
	passed := time.Since(p.BookedAt) + c.step/2
	switch {
	case passed < pace:
		return shipping.Booked
	case passed < 2*pace:
		return shipping.InTransit
	case p.Address.PostalCode == Lost:
		return shipping.Lost
	default:
		return shipping.Delivered
	}
}

func (c Carrier) report(ctx context.Context, p shipping.Parcel, state shipping.State) (shipping.Report, error) {
	if err := ctx.Err(); err != nil {
		return shipping.Report{}, err
	}
	r := shipping.Report{State: state, Carrier: name}
	if state != shipping.Refused && state != shipping.Stopped {
		r.TrackingNumber = "SIM" + strings.ToUpper(strings.ReplaceAll(string(p.OrderID), "-", ""))
	}
	return r, nil
}
