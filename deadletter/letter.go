// Package deadletter keeps the messages a service could not process: complete, in Postgres,
// and as a public copy in Kafka that any tool can read.
//
// A letter is written once: handing over the same message again changes nothing. The messages of its
// order that come after it wait behind it (they are parked), in the order they came in, until it is
// redriven or dropped; those of other orders go on.
package deadletter

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"millrace/outbox"
)

// Letter is one message that one service could not process.
type Letter struct {
	// ID derives from the group and the message's id, so one failure has one letter.
	ID      string
	Service string
	Group   string
	Handler string
	// OrderID is empty where the key is no order id.
	OrderID       string
	MessageID     string
	CorrelationID string
	Topic         string
	Partition     int32
	Offset        int64
	Key           []byte
	Headers       map[string]string
	Payload       []byte
	// Before is the body as it came, where somebody has edited it; nil otherwise.
	Before []byte
	// PublishedAt is the record's timestamp.
	PublishedAt time.Time
	// Lane is what goes on one message after the other: the order, or the letter itself.
	Lane string
	// Position is its place in its lane, and among all letters of the database.
	Position int64
	// Status is New or Retrying for a message that has just failed.
	Status Status
	// RetryAt is when a Retrying one is tried again.
	RetryAt time.Time
	// Attempts counts the tries of this process, redeliveries included.
	Attempts  int
	ErrorType string
	// Error is the message alone: a stack differs each time and would end up in a header.
	Error       string
	FirstFailed time.Time
	LastFailed  time.Time
	// Version is the build that failed.
	Version string
}

// lane is the lane of a letter that was read, and of a new one.
func (l *Letter) lane() string { return cmp.Or(l.Lane, l.OrderID, l.ID) }

// Fingerprint is the same for failures of one kind.
func (l *Letter) Fingerprint() string { return Fingerprint(l.Handler, l.ErrorType, l.Error) }

// letterNamespace makes letter ids of groups and message ids; it is a random UUID.
var letterNamespace = uuid.MustParse("5b0b9a1e-6c0f-4e0c-9d53-0c2d9b3cf1a7")

// NewID is the id of the letter about one message for one group.
func NewID(group, messageID string) string {
	return uuid.NewSHA1(letterNamespace, []byte(group+"/"+messageID)).String()
}

// otherID is the id of a letter whose message has the id of another message: a producer repeats ids.
func (l *Letter) otherID() string {
	return NewID(l.Group, fmt.Sprintf("%s/%s/%d/%d", l.MessageID, l.Topic, l.Partition, l.Offset))
}

// HasOwnID tells whether the letter's id is one that its group and message give it.
func (l *Letter) HasOwnID() bool { return l.ID == NewID(l.Group, l.MessageID) || l.ID == l.otherID() }

// maxErrorText bounds the error text of a letter. Errors of parsers quote their input, and the
// input may be a megabyte.
const maxErrorText = 2 << 10

// Describe sets what is known of an error: its type, and its text.
func (l *Letter) Describe(err error) {
	l.ErrorType = ErrorType(err)
	text := asText(err.Error())
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + " …"
	}
	l.Error = text
}

// asText makes of a string what a text of Postgres can hold, and its JSON.
func asText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Headers of a letter's copy in Kafka. The first four are Watermill's own, so
// that its tools can read our letters.
const (
	headerReason     = "reason_poisoned"
	headerTopic      = "topic_poisoned"
	headerHandler    = "handler_poisoned"
	headerSubscriber = "subscriber_poisoned"

	// HeaderPrefix is what all of the others begin with.
	HeaderPrefix        = "dlq_"
	HeaderID            = HeaderPrefix + "letter_id"
	HeaderService       = HeaderPrefix + "service"
	HeaderOrderID       = HeaderPrefix + "order_id"
	HeaderMessageID     = HeaderPrefix + "message_id"
	HeaderCorrelationID = HeaderPrefix + "correlation_id"
	HeaderPartition     = HeaderPrefix + "partition"
	HeaderOffset        = HeaderPrefix + "offset"
	HeaderPublished     = HeaderPrefix + "published_at"
	HeaderKey           = HeaderPrefix + "key_base64"
	HeaderAttempts      = HeaderPrefix + "attempts"
	HeaderErrorType     = HeaderPrefix + "error_type"
	HeaderFirstFailed   = HeaderPrefix + "first_failed_at"
	HeaderLastFailed    = HeaderPrefix + "last_failed_at"
	HeaderVersion       = HeaderPrefix + "version"
	HeaderFingerprint   = HeaderPrefix + "fingerprint"
	// HeaderCut names what of a copy is not whole (body, headers, key), because Kafka would not take it.
	HeaderCut = HeaderPrefix + "cut"
	// HeaderUUID is what the message had in outbox.HeaderUUID, where the copy has its own id.
	HeaderUUID = HeaderPrefix + "watermill_message_uuid"
)

// binarySuffix marks a header whose value is not text: JSON, in which the outbox
// keeps headers, can hold text only.
const binarySuffix = "_base64"

// textHeaders returns the message's headers with every value as text.
func (l *Letter) textHeaders() map[string]string {
	out := make(map[string]string, len(l.Headers))
	for k, v := range l.Headers {
		k = asText(k)
		if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			out[k+binarySuffix] = base64.StdEncoding.EncodeToString([]byte(v))
			continue
		}
		out[k] = v
	}
	return out
}

// kafkaHeaders are the original's headers and all that is known of the failure.
func (l *Letter) kafkaHeaders() map[string]string {
	h := l.textHeaders()
	h[headerReason] = l.Error
	h[headerTopic] = l.Topic
	h[headerHandler] = l.Handler
	h[headerSubscriber] = l.Group
	h[HeaderID] = l.ID
	h[HeaderPartition] = strconv.Itoa(int(l.Partition))
	h[HeaderOffset] = strconv.FormatInt(l.Offset, 10)
	h[HeaderKey] = base64.StdEncoding.EncodeToString(l.Key)
	h[HeaderAttempts] = strconv.Itoa(l.Attempts)
	h[HeaderErrorType] = l.ErrorType
	h[HeaderFirstFailed] = l.FirstFailed.UTC().Format(time.RFC3339Nano)
	h[HeaderLastFailed] = l.LastFailed.UTC().Format(time.RFC3339Nano)
	h[HeaderVersion] = l.Version
	h[HeaderService], h[HeaderOrderID], h[HeaderMessageID], h[HeaderCorrelationID] = l.Service, l.OrderID, l.MessageID, l.CorrelationID
	h[HeaderPublished] = l.PublishedAt.UTC().Format(time.RFC3339Nano)
	h[HeaderFingerprint] = l.Fingerprint()
	if id, ok := h[outbox.HeaderUUID]; ok {
		h[HeaderUUID] = id
		delete(h, outbox.HeaderUUID)
	}
	return h
}

func (l *Letter) headersJSON() ([]byte, error) {
	data, err := json.Marshal(l.textHeaders())
	if err != nil {
		return nil, fmt.Errorf("encode the headers of letter %s: %w", l.ID, err)
	}
	return data, nil
}

// Original are the headers the message came with. Those whose value was not text are text since it was
// put aside, under another name; they get their own back. (So does one that came with such a name, and base64 in it.)
func (l *Letter) Original() map[string]string {
	out := make(map[string]string, len(l.Headers))
	for k, v := range l.Headers {
		if name, ok := strings.CutSuffix(k, binarySuffix); ok && name != "" {
			if raw, err := base64.StdEncoding.DecodeString(v); err == nil {
				out[name] = string(raw)
				continue
			}
		}
		out[k] = v
	}
	return out
}
