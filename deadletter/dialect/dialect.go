// Package dialect reads dead letters as different systems write them to Kafka: our own, Watermill's
// PoisonQueue, Spring Kafka's DeadLetterPublishingRecoverer, and Kafka Connect.
package dialect

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/deadletter"
	"millrace/outbox"
	"millrace/transport"
)

// Name is who wrote a letter.
type Name string

const (
	// Ours is a letter of this system.
	Ours Name = "millrace"
	// Watermill is one of Watermill's PoisonQueue middleware.
	Watermill Name = "watermill"
	// Spring is one of Spring Kafka's DeadLetterPublishingRecoverer.
	Spring Name = "spring"
	// Connect is one of Kafka Connect's error reporter.
	Connect Name = "connect"
	// None is a record that is no letter as far as anybody can tell.
	None Name = ""
)

// Record is a record of a topic with dead letters.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []transport.Header
	Time      time.Time
}

// headers of the other systems. Spring's numbers are big-endian integers, Connect's are text.
const (
	watermillReason     = "reason_poisoned"
	watermillTopic      = "topic_poisoned"
	watermillHandler    = "handler_poisoned"
	watermillSubscriber = "subscriber_poisoned"

	spring          = "kafka_dlt-"
	springTopic     = spring + "original-topic"
	springPartition = spring + "original-partition"
	springOffset    = spring + "original-offset"
	springTime      = spring + "original-timestamp"
	springGroup     = spring + "original-consumer-group"
	springType      = spring + "exception-fqcn"
	springCause     = spring + "exception-cause-fqcn"
	springMessage   = spring + "exception-message"
	springAttempts  = "retry_topic-attempts"

	connect          = "__connect.errors."
	connectTopic     = connect + "topic"
	connectPartition = connect + "partition"
	connectOffset    = connect + "offset"
	connectName      = connect + "connector.name"
	connectType      = connect + "exception.class.name"
	connectMessage   = connect + "exception.message"
)

// Read makes a letter of a record, and tells who wrote it. What the record does not say is empty in the letter; a
// record that nobody seems to have written as a letter is None, with its body and headers.
func Read(r Record) (deadletter.Letter, Name) {
	h := lastOf(r.Headers)
	l := deadletter.Letter{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Payload: r.Value, PublishedAt: r.Time,
		FirstFailed: r.Time, LastFailed: r.Time, Attempts: 1, Headers: map[string]string{},
	}
	name := None
	switch {
	case h[deadletter.HeaderID] != "":
		name = Ours
		readOurs(&l, h)
	case h[springTopic] != "":
		name = Spring
		readSpring(&l, h)
	case h[connectTopic] != "":
		name = Connect
		readConnect(&l, h)
	case h[watermillTopic] != "":
		name = Watermill
		l.Topic, l.Handler, l.Group, l.Error = h[watermillTopic], h[watermillHandler], h[watermillSubscriber], firstLine(h[watermillReason])
		l.Partition, l.Offset = -1, -1 // it does not say
	}
	for key, value := range h {
		if !ofFailure(key) {
			l.Headers[key] = value
		}
	}
	if name == Ours {
		delete(l.Headers, outbox.HeaderUUID) // the copy's own
		if id := h[deadletter.HeaderUUID]; id != "" {
			l.Headers[outbox.HeaderUUID] = id
		}
	}
	if l.ID == "" {
		// The place in the log of letters is the only thing that is surely its own.
		l.ID = deadletter.NewID(string(name), r.Topic+"/"+strconv.Itoa(int(r.Partition))+"/"+strconv.FormatInt(r.Offset, 10))
	}
	return l, name
}

func readOurs(l *deadletter.Letter, h map[string]string) {
	l.ID, l.Topic, l.Handler, l.Group, l.Error = h[deadletter.HeaderID], h[watermillTopic], h[watermillHandler], h[watermillSubscriber], h[watermillReason]
	l.ErrorType, l.Version, l.MessageID = h[deadletter.HeaderErrorType], h[deadletter.HeaderVersion], h[deadletter.HeaderMessageID]
	l.Service, l.OrderID, l.CorrelationID = h[deadletter.HeaderService], h[deadletter.HeaderOrderID], h[deadletter.HeaderCorrelationID]
	l.Partition, l.Offset = int32(number(h[deadletter.HeaderPartition])), number(h[deadletter.HeaderOffset])
	l.Attempts = int(number(h[deadletter.HeaderAttempts]))
	if key, err := base64.StdEncoding.DecodeString(h[deadletter.HeaderKey]); err == nil {
		l.Key = key
	}
	for header, at := range map[string]*time.Time{
		deadletter.HeaderFirstFailed: &l.FirstFailed, deadletter.HeaderLastFailed: &l.LastFailed, deadletter.HeaderPublished: &l.PublishedAt,
	} {
		if t, err := time.Parse(time.RFC3339Nano, h[header]); err == nil {
			*at = t
		}
	}
}

func readSpring(l *deadletter.Letter, h map[string]string) {
	l.Topic, l.Group, l.Error = h[springTopic], h[springGroup], firstLine(h[springMessage])
	l.ErrorType = h[springCause] // what happened; the outer one is always the listener's
	if l.ErrorType == "" {
		l.ErrorType = h[springType]
	}
	l.Partition, l.Offset = int32(bigEndian(h[springPartition])), bigEndian(h[springOffset])
	if ms := bigEndian(h[springTime]); ms > 0 {
		l.PublishedAt = time.UnixMilli(ms).UTC()
	}
	if n := bigEndian(h[springAttempts]); n > 0 {
		l.Attempts = int(n)
	}
}

func readConnect(l *deadletter.Letter, h map[string]string) {
	l.Topic, l.Group, l.Handler = h[connectTopic], "connect-"+h[connectName], h[connectName]
	l.ErrorType, l.Error = h[connectType], firstLine(h[connectMessage])
	l.Partition, l.Offset = int32(number(h[connectPartition])), number(h[connectOffset])
}

// ofFailure tells whether a header was added by whoever wrote the letter: it does not go back with the message.
func ofFailure(name string) bool {
	return strings.HasSuffix(name, "_poisoned") || strings.HasPrefix(name, spring) || strings.HasPrefix(name, connect) ||
		strings.HasPrefix(name, deadletter.HeaderPrefix) || name == springAttempts ||
		slices.Contains([]string{"retry_topic-backoff-timestamp", "retry_topic-original-timestamp"}, name)
}

// lastOf is the last value of each header: who writes a header again means the newer one.
func lastOf(headers []transport.Header) map[string]string {
	h := make(map[string]string, len(headers))
	for _, header := range headers {
		h[header.Key] = string(header.Value)
	}
	return h
}

// firstLine leaves stacks out: no two are alike.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// number reads a decimal number; -1 is what is not known.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// bigEndian reads a number of four or eight bytes, as Spring writes them; -1 is what is not known.
func bigEndian(value string) int64 {
	switch b := []byte(value); len(b) {
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	default:
		return -1
	}
}
