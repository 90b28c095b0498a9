package foreign

import (
	"context"
	"slices"
	"strings"

	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/transport"
)

const (
	// HeaderFrom names the letter that a message was sent back for: topic/partition@offset. It is the same each
	// time it is sent, so that whoever processes a message twice can find out.
	HeaderFrom = deadletter.HeaderPrefix + "redriven_from"
	// linkPrefix keeps what a trace's header said, under a name that nobody goes on with: the trace ended when the
	// message failed.
	linkPrefix = deadletter.HeaderPrefix + "original_"
	// replicator is by what Confluent's Replicator knows a record it has copied already.
	replicator = "__replicator_id"
)

// traces are the headers by which a trace goes on: of W3C, B3, Jaeger, AWS, Datadog and Elastic.
var traces = []string{
	"traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
	"uber-trace-id", "x-amzn-trace-id", "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority", "elastic-apm-traceparent",
}

// Route is the way back from a topic with letters to another one.
type Route struct {
	To string
	// alike topics have as many partitions: whoever wrote the letter chose its partition by the same rule, whichever
	// that is, as the original's.
	alike bool
}

// Route looks at both topics, and fails where one is not there.
func (d *Desk) Route(ctx context.Context, from, to string) (Route, error) {
	letters, err := d.log.Partitions(ctx, from)
	if err != nil {
		return Route{}, err
	}
	target, err := d.log.Partitions(ctx, to)
	return Route{To: to, alike: letters == target}, err
}

// Original is the message as it goes back: its key, its body, and its headers as they lie in the letter, repeated
// ones and those that are no text included. The headers of the failure are gone, and those named by drop; those of
// the trace became links, and HeaderFrom is new. Its time is the original's where the letter tells it.
//
// On its own topic it goes to the partition it came from, where the letter tells that; otherwise to the one with
// the number of the letter's own, if the topics have as many; else where its key belongs by Kafka's own rule.
func (l *Letter) Original(way Route, drop []string) transport.LogRecord {
	out := transport.LogRecord{Record: transport.Record{Topic: way.To, Key: l.Record.Key, Value: l.Record.Value}, Partition: -1, Time: l.PublishedAt}
	switch {
	case l.Dialect != dialect.None && way.To == l.Topic && l.Partition >= 0:
		out.Partition = l.Partition
	case way.alike:
		out.Partition = l.Record.Partition
	}
	for _, h := range dialect.Original(l.Record.Headers) {
		switch {
		case h.Key == replicator || slices.Contains(drop, h.Key):
		case slices.Contains(traces, strings.ToLower(h.Key)):
			out.Headers = append(out.Headers, transport.Header{Key: linkPrefix + strings.ToLower(h.Key), Value: h.Value})
		default:
			out.Headers = append(out.Headers, h)
		}
	}
	out.Headers = append(out.Headers, transport.Header{Key: HeaderFrom, Value: []byte(l.Record.Place())})
	return out
}
