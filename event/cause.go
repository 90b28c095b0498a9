package event

import (
	"context"
	"time"
)

// Cause is what makes a change happen: an event that arrived, a request, the
// answer to an effect. The store remembers its ID in the row it changes, so that
// the same cause changes nothing a second time, and stamps everything the change
// says with the correlation and causation ids.
type Cause struct {
	// ID is a UUID: the event's id, the command's, or the one derived from
	// order, step and attempt for the answer to an effect. Never empty.
	ID string
	// Type is the event's type. It is empty for commands, and for answers to effects.
	Type string
	// CorrelationID is the id of the request that began it all. Where it is empty the
	// store uses the row's own, and for a new row the cause's ID.
	CorrelationID string
	// TraceParent is the W3C trace context the cause came with, or empty.
	TraceParent string
	// Time is when the cause happened: the database's clock for events and
	// effects, the server's for requests.
	Time time.Time
	// Command marks ids that come from outside (requests, callbacks). A row
	// remembers at most 256 of them; the flow itself bounds the others.
	Command bool
	// Parkable marks a message from the log. While its order is parked at the service, it is not
	// processed but waits behind the dead letter. Requests, callbacks, answers and deadlines never wait.
	Parkable bool
}

type causeKey struct{}

// causeContext is a context with a cause. It is one for each message, so it is a type
// of its own: context.WithValue would need a second allocation.
type causeContext struct {
	context.Context
	cause Cause
}

// Value returns the cause, or what the context around it has.
func (c *causeContext) Value(key any) any {
	if key == (causeKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// WithCause returns a context whose changes are caused by c.
func WithCause(ctx context.Context, c Cause) context.Context {
	return &causeContext{ctx, c}
}

// CauseFrom returns the cause in ctx, or the zero Cause.
func CauseFrom(ctx context.Context) Cause {
	if c, ok := ctx.Value(causeKey{}).(*causeContext); ok {
		return c.cause
	}
	return Cause{}
}

// Wait is something a row waits for: a call to the outside (an effect), or a
// deadline. The store keeps it beside the row, on the database's clock; a wait
// whose Step is unchanged keeps the due time it got when it first appeared.
type Wait struct {
	// Step names the wait within its row and its service, and is part of the
	// idempotency key "order/step" of the call it stands for.
	Step string
	// After is how long after the change it becomes due; 0 is at once.
	After time.Duration
}

// DeadlineStep is the step that means giving up. It does not fire while a
// message that could have prevented it may still be on its way.
const DeadlineStep = "deadline"
