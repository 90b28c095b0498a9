package router

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/outbox"
	"millrace/transport"
)

// BindConfig is what the handlers need besides the graph and a transport.
type BindConfig struct {
	// Letters keeps each running service's dead letters, by service name.
	Letters map[string]Letters
	// Redrives gives out what was put aside, by service name; where there is none, it stays there.
	Redrives map[string]message.Subscriber
	Metrics  *Metrics
	Retry    RetryConfig
	// Timeout is for one try of one message.
	Timeout time.Duration
	// CloseTimeout bounds the wait for running handlers when the router closes.
	CloseTimeout time.Duration
	// Version is the build, for dead letters.
	Version string
}

type binding struct {
	letters  map[string]Letters
	metrics  *Metrics
	progress map[string]*progress
	retry    RetryConfig
	timeout  time.Duration
	version  string
}

// Bind makes the graph a Watermill router: a subscriber per service, a handler per
// arrow. Run the router to start it; it closes the subscribers.
func Bind(g Graph, t transport.Transport, cfg BindConfig) (*message.Router, error) {
	if err := g.subscribable(cfg); err != nil {
		return nil, err
	}
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: cfg.CloseTimeout}, newLogger())
	if err != nil {
		return nil, fmt.Errorf("make the Watermill router: %w", err)
	}
	b := &binding{letters: cfg.Letters, metrics: cfg.Metrics, progress: map[string]*progress{}, retry: cfg.Retry, timeout: cfg.Timeout, version: cfg.Version}
	for _, s := range g {
		b.progress[s.Name] = new(progress)
		subscriber, err := t.Subscriber(s.Group())
		if err != nil {
			return nil, fmt.Errorf("subscribe %s: %w", s.Group(), err)
		}
		if settler, ok := subscriber.(transport.Settler); ok {
			settler.ExpectSettle() // the chain does it
		}
		for _, e := range s.Hears {
			h := r.AddConsumerHandler(handlerName(s, e), e.Topic.Name, subscriber, e.handle)
			h.AddMiddleware(b.chain(s, e)...)
			if again := cfg.Redrives[s.Name]; again != nil {
				h := r.AddConsumerHandler(handlerName(s, e)+redriveSuffix, e.Topic.Name, again, e.handle)
				h.AddMiddleware(b.redriveChain(s, e)...)
			}
		}
	}
	return r, nil
}

func (g Graph) subscribable(cfg BindConfig) error {
	for _, s := range g {
		if cfg.Letters[s.Name] == nil {
			return fmt.Errorf("service %s has nowhere to keep dead letters", s.Name)
		}
	}
	return nil
}

// handlerName is an arrow's identity in logs and letters; it does not change when
// a Go function is renamed.
func handlerName(s ServiceFlow, e Edge) string { return s.Name + "/" + e.Topic.Name }

// redriveSuffix names the handler of an arrow that is fed with what was put aside.
const redriveSuffix = " (redrive)"

// BadMessageError is a message no try can make readable. It is permanent.
type BadMessageError struct {
	reason string
	// anybodys is a message whose key or body cannot be read: it may be about another order than its key says.
	anybodys bool
}

// Error says what is wrong with it.
func (e *BadMessageError) Error() string { return e.reason }

// Permanent is true.
func (e *BadMessageError) Permanent() bool { return true }

// handle decodes a message and calls the reaction.
func (e Edge) handle(msg *message.Message) error {
	ev, err := e.read(msg)
	if err != nil {
		return err
	}
	return e.react(msg.Context(), ev)
}

// read decodes a message. Its error is a BadMessageError.
func (e Edge) read(msg *message.Message) (event.Event, error) {
	if v := msg.Metadata.Get(outbox.HeaderSchemaVersion); v != "" {
		version, err := strconv.Atoi(v)
		switch {
		case err != nil || version < 1:
			return nil, &BadMessageError{fmt.Sprintf("header %s is %q, not a version number", outbox.HeaderSchemaVersion, v), true}
		case version > e.Topic.SchemaVersion:
			return nil, &BadMessageError{fmt.Sprintf("%s has schema version %d, this build knows %d: upgrade, then redrive", e.Topic.Event, version, e.Topic.SchemaVersion), false}
		}
	}
	if typ := msg.Metadata.Get(outbox.HeaderType); typ != "" && typ != e.Topic.Event {
		return nil, &BadMessageError{fmt.Sprintf("header %s is %q, but the topic carries %s", outbox.HeaderType, typ, e.Topic.Event), true}
	}
	ev, err := e.Topic.Decode(msg.Payload)
	if err != nil {
		return nil, &BadMessageError{fmt.Sprintf("the body is not readable: %v", err), true}
	}
	if d, ok := transport.DeliveryFrom(msg.Context()); ok && string(d.Key) != string(ev.Key()) {
		return nil, &BadMessageError{fmt.Sprintf("the key is %q, but the body is about order %s", d.Key, ev.Key()), true}
	}
	return ev, nil
}

// Deliver hands one message to the reaction a service has to a topic, under the cause
// that the message's headers name. Neither Watermill nor any middleware is involved, so what the
// reaction returns comes back as it is, after one try: it is for those who decide
// themselves what arrives when. An arrow the graph does not have is an error.
func (g Graph) Deliver(service, topicName string, msg *message.Message) error {
	for _, s := range g {
		for _, e := range s.Hears {
			if s.Name == service && e.Topic.Name == topicName {
				msg.SetContext(event.WithCause(msg.Context(), causeOf(msg)))
				return e.handle(msg)
			}
		}
	}
	return fmt.Errorf("deliver: service %s does not hear topic %s", service, topicName)
}

// foreignIDs makes UUIDs of event ids that are none; it is a random UUID.
var foreignIDs = uuid.MustParse("0d5f8f5e-7a53-4f0f-8a4e-6f3a9c1b2e77")

// causeOf reads a message's ids. Nothing in them is trusted: an id that is no UUID becomes
// one, and a correlation id that could break a log line is replaced.
func causeOf(msg *message.Message) event.Cause {
	id := msg.Metadata.Get(outbox.HeaderID)
	if id == "" {
		id = msg.UUID
	}
	if _, err := event.ParseOrderID(id); err == nil {
		// canonical already, as all of ours are
	} else if parsed, err := uuid.Parse(id); err == nil {
		id = parsed.String()
	} else {
		id = uuid.NewSHA1(foreignIDs, []byte(msg.Metadata.Get(outbox.HeaderSource)+"/"+id)).String()
	}
	c := event.Cause{ID: id, Type: msg.Metadata.Get(outbox.HeaderType), CorrelationID: msg.Metadata.Get(outbox.HeaderCorrelationID)}
	if !printable(c.CorrelationID) {
		c.CorrelationID = id
	}
	if tp := msg.Metadata.Get(outbox.HeaderTraceParent); printable(tp) {
		c.TraceParent = tp
	}
	if t, err := time.Parse(time.RFC3339Nano, msg.Metadata.Get(outbox.HeaderTime)); err == nil {
		c.Time = t
	} else if d, ok := transport.DeliveryFrom(msg.Context()); ok {
		c.Time = d.Time
	}
	return c
}

// maxIDLength bounds the ids taken from elsewhere.
const maxIDLength = 128

func printable(s string) bool {
	if s == "" || len(s) > maxIDLength {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
