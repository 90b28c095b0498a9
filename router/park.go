package router

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"millrace/deadletter"
	"millrace/event"
	"millrace/outbox"
	"millrace/transport"
)

// Parkable is a record as a service would put it aside. It is false for one that would not wait behind a letter of
// its order, because the service cannot tell whose it is, or does nothing with it; and for one of a topic the
// service does not hear, of which the letter is empty.
func (g Graph) Parkable(service, version string, r transport.LogRecord) (deadletter.Letter, bool) {
	for _, s := range g {
		for _, e := range s.Hears {
			if s.Name != service || e.Topic.Name != r.Topic {
				continue
			}
			msg := transport.Decode(r.Topic, r.Partition, r.Offset, r.Value, r.Headers)
			msg.SetContext(transport.WithDelivery(context.Background(), transport.Delivery{
				Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Group: s.Group(), Attempt: 1, Time: r.Time,
			}))
			cause := causeOf(msg)
			msg.SetContext(event.WithCause(msg.Context(), cause))
			middleware.SetCorrelationID(cause.CorrelationID, msg) // as CorrelationID does
			ev, err := e.read(msg)
			waits := true
			if err == nil {
				ctx, probe := outbox.Probe(msg.Context())
				failed := judged(func() error { return e.react(ctx, ev) })
				waits = failed != nil || probe.Asked
			}
			if bad, ok := errors.AsType[*BadMessageError](err); !ok || !bad.anybodys {
				err = outbox.ErrParked
			}
			l := (&binding{version: version}).letterFor(s, e, msg, err)
			l.Status = deadletter.Parked
			return l, waits && l.OrderID != ""
		}
	}
	return deadletter.Letter{}, false
}
