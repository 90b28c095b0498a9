// Package dialect reads dead letters as different systems write them to Kafka: our own, Watermill's
// PoisonQueue, Spring Kafka's DeadLetterPublishingRecoverer, and Kafka Connect.
package dialect

import (
	"cmp"
	"encoding/base64"
	"math"
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
	// Spring is one of Spring Kafka's DeadLetterPublishingRecoverer, that of retry topics included.
	Spring Name = "spring"
	// Connect is one of Kafka Connect's error reporter.
	Connect Name = "connect"
	// None is a record that is no letter as far as anybody can tell.
	None Name = ""
)

// headers of Watermill and of Connect, whose numbers are text.
const (
	watermillSuffix      = "_poisoned"
	watermillReason      = "reason" + watermillSuffix
	watermillTopic       = "topic" + watermillSuffix
	watermillHandler     = "handler" + watermillSuffix
	watermillSubscriber  = "subscriber" + watermillSuffix
	watermillCorrelation = "correlation_id"

	connect          = "__connect.errors."
	connectTopic     = connect + "topic"
	connectPartition = connect + "partition"
	connectOffset    = connect + "offset"
	connectName      = connect + "connector.name"
	connectType      = connect + "exception.class.name"
	connectMessage   = connect + "exception.message"
)

// unknown is a partition or an offset that a letter does not tell.
const unknown = -1

// Read makes a letter of a record, and tells who wrote it. What the record does not say is empty in the letter,
// a partition or an offset -1; when it failed is the record's own time. A record that nobody
// seems to have written as a letter is None, with its own place, body and headers.
func Read(r transport.LogRecord) (deadletter.Letter, Name) {
	h := lastOf(r.Headers)
	l := deadletter.Letter{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Key: r.Key, Payload: r.Value,
		FirstFailed: r.Time, LastFailed: r.Time, Attempts: 1, Headers: map[string]string{},
		MessageID: cmp.Or(h[transport.IDHeader], h[transport.UUIDHeader]), CorrelationID: cmp.Or(h[outbox.HeaderCorrelationID], h[watermillCorrelation]),
	}
	name := None
	switch {
	case h[deadletter.HeaderID] != "":
		name = Ours
		readOurs(&l, h)
	case isSpring(h):
		name = Spring
		readSpring(&l, h, firstOf(r.Headers))
	case h[connectTopic] != "":
		name = Connect
		l.Topic, l.Handler, l.Group = h[connectTopic], h[connectName], "connect-"+h[connectName]
		l.ErrorType, l.Error = h[connectType], firstLine(h[connectMessage])
		l.Partition, l.Offset = partition(number(h[connectPartition])), number(h[connectOffset])
	case h[watermillTopic] != "":
		name = Watermill
		l.Topic, l.Handler, l.Group, l.Error = h[watermillTopic], h[watermillHandler], h[watermillSubscriber], firstLine(h[watermillReason])
		l.Partition, l.Offset = unknown, unknown
	default:
		l.PublishedAt = r.Time
	}
	for _, header := range Original(r.Headers) {
		l.Headers[header.Key] = string(header.Value)
	}
	if name == Ours {
		delete(l.Headers, outbox.HeaderUUID) // the copy's own
		if id := h[deadletter.HeaderUUID]; id != "" {
			l.Headers[outbox.HeaderUUID] = id
		}
	}
	if l.ID == "" {
		// The place in the log of letters is the only thing that is surely its own.
		l.ID = deadletter.NewID(string(name), r.Place())
	}
	return l, name
}

func readOurs(l *deadletter.Letter, h map[string]string) {
	l.ID, l.Topic, l.Handler, l.Group, l.Error = h[deadletter.HeaderID], h[watermillTopic], h[watermillHandler], h[watermillSubscriber], h[watermillReason]
	l.ErrorType, l.Version, l.MessageID = h[deadletter.HeaderErrorType], h[deadletter.HeaderVersion], h[deadletter.HeaderMessageID]
	l.Service, l.OrderID, l.CorrelationID = h[deadletter.HeaderService], h[deadletter.HeaderOrderID], h[deadletter.HeaderCorrelationID]
	l.Partition, l.Offset = partition(number(h[deadletter.HeaderPartition])), number(h[deadletter.HeaderOffset])
	l.Attempts = int(max(number(h[deadletter.HeaderAttempts]), 1))
	if key, err := base64.StdEncoding.DecodeString(h[deadletter.HeaderKey]); err == nil && len(key) > 0 { // an empty key and none look alike there
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

// Original are the headers that a letter's message came with, as they lie in the record: repeated ones, and
// values that are no text, are as they were. What whoever wrote the letter added is left out.
func Original(headers []transport.Header) []transport.Header {
	kept := make([]transport.Header, 0, len(headers))
	for _, h := range headers {
		if !ofFailure(h.Key) {
			kept = append(kept, h)
		}
	}
	return kept
}

// ofFailure tells whether a header was added by whoever wrote the letter.
func ofFailure(name string) bool {
	return strings.HasSuffix(name, watermillSuffix) || strings.HasPrefix(name, connect) || strings.HasPrefix(name, deadletter.HeaderPrefix) || ofSpring(name)
}

// lastOf is the last value of each header: who writes a header again means the newer one.
func lastOf(headers []transport.Header) map[string]string {
	h := make(map[string]string, len(headers))
	for _, header := range headers {
		h[header.Key] = string(header.Value)
	}
	return h
}

// firstOf is the first value of each header.
func firstOf(headers []transport.Header) map[string]string {
	h := make(map[string]string, len(headers))
	for _, header := range headers {
		if _, ok := h[header.Key]; !ok {
			h[header.Key] = string(header.Value)
		}
	}
	return h
}

// firstLine leaves stacks out: no two are alike.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

// partition is the number of one, where there can be one with that number.
func partition(n int64) int32 {
	if n < 0 || n > math.MaxInt32 {
		return unknown
	}
	return int32(n)
}

// number reads a decimal number.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return unknown
	}
	return n
}
