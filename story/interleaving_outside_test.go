package story_test

import (
	"context"
	"fmt"
	"time"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
	shippingsim "millrace/handlers/shipping/simulator"
)

// interleavingGateway notes what the simulated provider answered.
type interleavingGateway struct {
	payment.Gateway
	reached func(string)
}

func (g interleavingGateway) Void(ctx context.Context, r payment.Request) (payment.Result, error) {
	result, err := g.Gateway.Void(ctx, r)
	switch {
	case err != nil:
	case result.Outcome == payment.Captured:
		g.reached(voidFoundCaptured)
	case result.Outcome == payment.Declined:
		g.reached(voidFoundDeclined)
	default:
		g.reached(voidConfirmed)
	}
	return result, err
}

func (g interleavingGateway) Refund(ctx context.Context, r payment.Request) (payment.Result, error) {
	result, err := g.Gateway.Refund(ctx, r)
	if result.Outcome == payment.Refused {
		g.reached(refundRefused)
	}
	return result, err
}

// interleavingCarrier is the simulated carrier with a memory, as real ones have: it
// knows of bookings whose answer was lost, and what was stopped or is back stays so.
type interleavingCarrier struct {
	shippingsim.Carrier
	parcels map[event.OrderID]*interleavingParcel
	reached func(string)
}

// interleavingParcel is the carrier's book for one order.
type interleavingParcel struct {
	bookedAt time.Time
	bookings map[string]bool // idempotency keys it was taken under
	ended    shipping.State  // where nothing changes any more
}

func (c *interleavingCarrier) parcel(p *shipping.Parcel) *interleavingParcel {
	known := c.parcels[p.OrderID]
	if known == nil {
		known = &interleavingParcel{bookings: map[string]bool{}}
		c.parcels[p.OrderID] = known
	}
	p.BookedAt = known.bookedAt
	return known
}

func (c *interleavingCarrier) do(ctx context.Context, p shipping.Parcel, act func(context.Context, shipping.Parcel) (shipping.Report, error)) (shipping.Report, error) {
	parcel := c.parcel(&p)
	if parcel.ended != "" {
		return shipping.Report{State: parcel.ended}, nil
	}
	report, err := act(ctx, p)
	if err != nil {
		return report, err
	}
	if report.State == shipping.Delivered && p.Address.PostalCode == undeliverable {
		report.State = shipping.Returned
	}
	switch report.State {
	case shipping.Refused, shipping.Stopped, shipping.Returned, shipping.Lost, shipping.Delivered:
		parcel.ended = report.State
	}
	switch report.State {
	case shipping.Refused, shipping.Stopped:
	default:
		if parcel.bookedAt.IsZero() {
			parcel.bookedAt = time.Now()
		}
	}
	return report, nil
}

func (c *interleavingCarrier) Book(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	report, err := c.do(ctx, p, c.Carrier.Book)
	if report.State == shipping.Stopped {
		c.reached(bookingAfterStop)
	}
	if report.State == shipping.Booked {
		c.parcels[p.OrderID].bookings[p.Key] = true
	}
	return report, err
}

func (c *interleavingCarrier) Track(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	return c.do(ctx, p, c.Carrier.Track)
}

func (c *interleavingCarrier) Stop(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	report, err := c.do(ctx, p, c.Carrier.Stop)
	if err == nil && report.State != shipping.Stopped {
		c.reached(stopTooLate)
	}
	return report, err
}

func (c *interleavingCarrier) Recall(ctx context.Context, p shipping.Parcel) (shipping.Report, error) {
	report, err := c.do(ctx, p, c.Carrier.Recall)
	if report.State == shipping.NotRecalled {
		c.reached(recallRefused)
	}
	return report, err
}

// interleavingSender honours the idempotency key, and refuses one address for good.
type interleavingSender struct {
	sent map[string]time.Time // by key
	to   map[string]string    // order/kind/channel -> key
}

func (s *interleavingSender) Send(_ context.Context, m notification.Message) (time.Time, error) {
	if m.To == refusedEmail {
		return time.Time{}, notification.ErrRefused
	}
	what := fmt.Sprint(m.OrderID, m.Kind, m.Channel)
	if key, known := s.to[what]; known && key != m.Key {
		return time.Time{}, fmt.Errorf("the notice %s went out under two keys: %s, %s", what, key, m.Key)
	}
	s.to[what] = m.Key
	if at, known := s.sent[m.Key]; known {
		return at, nil
	}
	s.sent[m.Key] = time.Now()
	return s.sent[m.Key], nil
}
