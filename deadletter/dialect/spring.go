package dialect

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"millrace/deadletter"
)

// Spring's headers. Its recoverer writes them with one prefix, its retry topics with another; both put
// numbers as big-endian bytes, four or eight, or as few as the number needs.
const (
	springDeadLetter = "kafka_dlt-"
	springRetryTopic = "kafka_"

	originalTopic     = "original-topic"
	originalPartition = "original-partition"
	originalOffset    = "original-offset"
	originalTime      = "original-timestamp"
	originalGroup     = "original-consumer-group"
	exceptionType     = "exception-fqcn"
	exceptionCause    = "exception-cause-fqcn"
	exceptionMessage  = "exception-message"
	exceptionStack    = "exception-stacktrace"

	springAttempts = "retry_topic-attempts"
	springDelivery = "kafka_deliveryAttempt"
)

// springs are the beginnings of all that Spring adds on a record's way to the dead letters.
var springs = []string{
	springDeadLetter, springRetryTopic + "original-", springRetryTopic + "exception-", springRetryTopic + "key-exception-", springDelivery,
	"retry_topic-", "springDeserializerException",
}

func ofSpring(name string) bool {
	return slices.ContainsFunc(springs, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func isSpring(h map[string]string) bool {
	return h[springDeadLetter+originalTopic] != "" || h[springRetryTopic+originalTopic] != ""
}

// readSpring takes where the message came from from the first headers of a name: one that failed on several topics
// has them all, in order. Of its failures only the last is there.
func readSpring(l *deadletter.Letter, last, first map[string]string) {
	prefix := springDeadLetter
	if first[springDeadLetter+originalTopic] == "" {
		prefix = springRetryTopic
	}
	l.Topic, l.Group = first[prefix+originalTopic], first[prefix+originalGroup]
	l.Partition, l.Offset = partition(bigEndian(first[prefix+originalPartition])), bigEndian(first[prefix+originalOffset])
	if ms := bigEndian(first[prefix+originalTime]); ms > 0 && ms < year10000 {
		l.PublishedAt = time.UnixMilli(ms).UTC()
	}
	for _, attempts := range []string{last[springDelivery], last[springAttempts]} { // the latter counts all of them
		if n := bigEndian(attempts); n > 0 {
			l.Attempts = int(n)
		}
	}
	// The exception itself is Spring's wrapper, the same for every failure: its cause tells them apart, and the
	// innermost one is named in the stack only.
	l.ErrorType, l.Error = innermost(last[prefix+exceptionStack])
	l.ErrorType = cmp.Or(l.ErrorType, last[prefix+exceptionCause], last[prefix+exceptionType])
	l.Error = cmp.Or(l.Error, firstLine(last[prefix+exceptionMessage]))
	l.Handler = l.Group
}

// year10000 is where times end that can be written down, in milliseconds.
var year10000 = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// innermost is the last cause in a Java stack trace, its class and its message.
func innermost(stack string) (class, text string) {
	const mark = "\nCaused by: "
	i := strings.LastIndex(stack, mark)
	if i < 0 {
		return "", ""
	}
	class, text, _ = strings.Cut(firstLine(stack[i+len(mark):]), ": ")
	return class, text
}

// bigEndian reads a signed number of up to eight bytes.
func bigEndian(value string) int64 {
	const longest = 8
	if value == "" || len(value) > longest {
		return unknown
	}
	n := int64(int8(value[0])) // its first bit is the sign
	for i := 1; i < len(value); i++ {
		n = n<<8 | int64(value[i])
	}
	return n
}
