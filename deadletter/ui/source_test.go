package ui

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"millrace/deadletter"
	"millrace/deadletter/filter"
)

// desk is a source in memory. A nil function is the ordinary behaviour.
type desk struct {
	letters []*deadletter.Letter // the youngest first
	groups  func(ctx context.Context, list []deadletter.Group) ([]deadletter.Group, error)
	drive   func(ctx context.Context, r deadletter.Redrive, pace deadletter.Pace, progress func(deadletter.Tally)) (deadletter.Tally, error)
	pauses  []deadletter.Pause
	verdict string
	broken  error // what every question is answered with
	refused error // what every decision is answered with
	limits  []int // of the pages that were asked for
	done    []string
}

// meets is as much of the filter language as these tests need: the group, one id, open letters only.
func meets(f filter.Condition, l *deadletter.Letter) bool {
	ok := true
	openOnly := false
	for _, a := range f.Args {
		text := fmt.Sprint(a)
		switch {
		case len(text) == 12:
			ok = ok && l.Fingerprint() == text
		case len(text) == 36:
			ok = ok && l.ID == text
		case text == "redriving":
			openOnly = true
		}
	}
	return ok && (!openOnly || l.Status.Open())
}

func (d *desk) Groups(ctx context.Context, f filter.Condition) (list []deadletter.Group, err error) {
	if d.broken != nil {
		return nil, d.broken
	}
	for _, l := range d.letters {
		if !meets(f, l) {
			continue
		}
		i := 0
		for i < len(list) && list[i].Fingerprint != l.Fingerprint() {
			i++
		}
		if i == len(list) {
			list = append(list, deadletter.Group{Fingerprint: l.Fingerprint(), Error: l.Error, ErrorType: l.ErrorType, Handler: l.Handler, Services: []string{l.Service},
				FirstFailed: l.FirstFailed, LastFailed: l.LastFailed, Example: l.ID})
		}
		g := &list[i]
		g.Letters, g.Orders, g.Behind, g.FirstFailed = g.Letters+1, g.Orders+1, g.Behind+2, l.FirstFailed
		if today.Sub(l.FirstFailed) < time.Hour {
			g.LastHour++
		}
	}
	if d.groups != nil {
		return d.groups(ctx, list)
	}
	return list, nil
}

func (d *desk) Pauses(context.Context) ([]deadletter.Pause, error) { return d.pauses, d.broken }

func (d *desk) Page(_ context.Context, f filter.Condition, before int64, limit int) (list []deadletter.Listed, next int64, err error) {
	d.limits = append(d.limits, limit)
	for _, l := range d.letters {
		if before > 0 && l.Position >= before || !meets(f, l) {
			continue
		}
		if len(list) == limit {
			return list, list[limit-1].Position, d.broken
		}
		list = append(list, deadletter.Listed{Letter: *l, Behind: 2})
	}
	return list, 0, d.broken
}

func (d *desk) Find(_ context.Context, id string) (*deadletter.Letter, error) {
	for _, l := range d.letters {
		if l.ID == id {
			found := *l
			return &found, d.broken
		}
	}
	return nil, deadletter.ErrNoLetter
}

func (d *desk) Lane(_ context.Context, l *deadletter.Letter) ([]*deadletter.Letter, error) {
	return []*deadletter.Letter{l, {ID: "99999999-0000-5000-8000-000000000001", Status: deadletter.Parked, Topic: "ecommerce.shipment.dispatched"}}, d.broken
}

func (d *desk) Steps(context.Context, string) ([]deadletter.Step, error) {
	return []deadletter.Step{{At: today.Add(-time.Hour), Who: "ann@ops1", Action: "redriven", Reason: "provider is back"}, {At: today.Add(-59 * time.Minute), Who: "router", Action: "failed again", Reason: "boom"}}, d.broken
}

func (d *desk) Verdict(context.Context, *deadletter.Letter) string { return d.verdict }

func (d *desk) Drop(_ context.Context, id, reason string) error {
	return d.settle(id, reason, deadletter.Dropped)
}
func (d *desk) Restore(_ context.Context, id, reason string) error {
	return d.settle(id, reason, deadletter.New)
}

func (d *desk) settle(id, reason string, s deadletter.Status) error {
	if err := cmp.Or(d.broken, d.refused); err != nil {
		return err
	}
	d.done = append(d.done, fmt.Sprintf("%s %s: %s", s, id, reason))
	for _, l := range d.letters {
		if l.ID == id {
			l.Status = s
		}
	}
	return nil
}

func (d *desk) Freeze(_ context.Context, f filter.Condition, text, reason string) (deadletter.Redrive, error) {
	r := deadletter.Redrive{ID: "0b0e5c7e-7c1a-4d0e-9d43-4f8b8f2f6a10", Who: "ann@ops1", Reason: reason, Selection: text, CreatedAt: today}
	for _, l := range d.letters {
		if meets(f, l) && (l.Status == deadletter.New || l.Status == deadletter.Retrying) {
			r.Tally.Letters++
		}
	}
	r.Tally.Waiting = r.Tally.Letters
	return r, d.broken
}

func (d *desk) Drive(ctx context.Context, r deadletter.Redrive, pace deadletter.Pace, progress func(deadletter.Tally)) (deadletter.Tally, error) {
	return d.drive(ctx, r, pace, progress)
}

// someLetters are n letters about n orders, every third of one kind, the others of another.
func someLetters(n int) []*deadletter.Letter {
	list := make([]*deadletter.Letter, n)
	for i := range list {
		position := int64(n - i)
		at := today.Add(-time.Duration(i+1) * time.Minute)
		l := &deadletter.Letter{
			ID: fmt.Sprintf("%08x-0000-5000-8000-000000000000", position*2654435761%(1<<32)), Service: "shipping", Group: "shipping-service", Handler: "shipping/ecommerce.order.confirmed",
			OrderID: fmt.Sprintf("0199c0de-0000-7000-8000-%012x", position), MessageID: fmt.Sprintf("0199c0df-0000-7000-8000-%012x", position), CorrelationID: "c-4711",
			Topic: "ecommerce.order.confirmed", Partition: 3, Offset: 1000 + position, Key: []byte("k"), Headers: map[string]string{"ce_type": "order.confirmed", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			Payload:  fmt.Appendf(nil, `{"orderId":"0199c0de-0000-7000-8000-%012x","total":{"amount":4200,"currency":"EUR"},"shippingAddress":{"name":"Zoë Żółć","country":"DE"}}`, position),
			Position: position, Status: deadletter.New, Attempts: 4, ErrorType: "*pq.Error", Error: `pq: new row for relation "shipments" violates check constraint "broken"`,
			PublishedAt: at.Add(-time.Second), FirstFailed: at, LastFailed: at, Version: "1.4.1",
		}
		if i%3 == 2 {
			l.Error, l.ErrorType, l.Status = "shipping: no carrier delivers to country \"XX\"", "*shipping.NoCarrierError", deadletter.Retrying
		}
		list[i] = l
	}
	return list
}
