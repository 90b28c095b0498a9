package router

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/deadletter"
	"millrace/outbox"
	"millrace/transport"
)

// Verdict is what would happen if a letter were redriven now.
type Verdict struct {
	Result Result `json:"result"`
	// Why is a sentence.
	Why string `json:"why"`
	// ErrorType is of the error with which it would fail (see deadletter.ErrorType).
	ErrorType string `json:"errorType,omitempty"`
	// Says are the events that would be published.
	Says []string `json:"says,omitempty"`
	// Before and After are the row's status, where it has one.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Result is a verdict in one word.
type Result string

const (
	// Applied would change something.
	Applied Result = "applied"
	// Ignored would change nothing, and count as processed.
	Ignored Result = "ignored"
	// Fails would fail again.
	Fails Result = "fails"
	// Unknown could not be found out.
	Unknown Result = "unknown"
)

// Judge finds out what would happen if a letter were redriven now: the reaction runs on the row as it is, in a
// transaction that is rolled back. What waits before the letter in its lane is not taken into account.
func (g Graph) Judge(ctx context.Context, l *deadletter.Letter) Verdict {
	msg := message.NewMessage(l.MessageID, l.Payload)
	msg.Metadata = l.Original()
	ctx, rehearsal := outbox.Rehearse(transport.WithDelivery(ctx, transport.Delivery{
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Key: l.Key, Group: l.Group, Attempt: 1, Time: l.PublishedAt,
	}))
	msg.SetContext(ctx)
	err := judged(func() error { return g.Deliver(l.Service, l.Topic, msg) })
	v := Verdict{Before: statusIn(rehearsal.Before), After: statusIn(rehearsal.After)}
	for _, s := range rehearsal.Said {
		v.Says = append(v.Says, s.Topic)
	}
	switch {
	case err != nil && transient(err):
		v.Result, v.Why = Unknown, fmt.Sprintf("could not be tried: %v", err)
	case err != nil:
		v.Result, v.Why, v.ErrorType = Fails, fmt.Sprintf("fails again: %v", err), deadletter.ErrorType(err)
	case !rehearsal.Asked:
		v.Result, v.Why = Ignored, fmt.Sprintf("ignored: %s does nothing with it", l.Service)
	case rehearsal.Processed:
		v.Result, v.Why = Ignored, "ignored: it was processed already"
	case !rehearsal.Changes():
		v.Result, v.Why = Ignored, "ignored: it changes nothing any more"
		if v.Before != "" {
			v.Why = fmt.Sprintf("ignored: it changes nothing in %s", v.Before)
		}
	default:
		v.Result, v.Why = Applied, "applied"
		if v.Before != v.After && v.After != "" {
			v.Why += ": " + strings.TrimSpace(v.Before+" → "+v.After)
		}
		if len(v.Says) > 0 {
			v.Why += "; says " + strings.Join(v.Says, ", ")
		}
	}
	return v
}

// judged turns a panic into an error, as the middleware does.
func judged(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the handler panicked: %v", v)
		}
	}()
	return do()
}

// statusIn is the status a row's JSON has, if it has one.
func statusIn(state []byte) string {
	var row struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(state, &row) != nil {
		return ""
	}
	return row.Status
}

// Readable tells whether the service a letter is of could read its message: the body as the topic's event, about the
// order its key names.
func (g Graph) Readable(l *deadletter.Letter) error {
	for _, s := range g {
		for _, e := range s.Hears {
			if s.Name != l.Service || e.Topic.Name != l.Topic {
				continue
			}
			ev, err := e.Topic.Decode(l.Payload)
			if err != nil {
				return fmt.Errorf("it is no %s: %w", e.Topic.Event, err)
			}
			if string(ev.Key()) != string(l.Key) {
				return fmt.Errorf("it is about order %s, and its key is %q", ev.Key(), l.Key)
			}
			return nil
		}
	}
	return fmt.Errorf("service %s does not hear topic %s", l.Service, l.Topic)
}
