// Package deadletter keeps the messages a service could not process: complete, in Postgres,
// and as a public copy in Kafka that any tool can read.
//
// A letter is written once: handing over the same message again changes nothing. What
// is not promised yet: later events of a lettered order are processed as if nothing had
// happened; the order's row has a place (parked_at) for holding them back.
package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
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

// letterNamespace makes letter ids of groups and message ids; it is a random UUID.
var letterNamespace = uuid.MustParse("5b0b9a1e-6c0f-4e0c-9d53-0c2d9b3cf1a7")

// NewID is the id of the letter about one message for one group.
func NewID(group, messageID string) string {
	return uuid.NewSHA1(letterNamespace, []byte(group+"/"+messageID)).String()
}

// maxErrorText bounds the error text of a letter. Errors of parsers quote their input, and the
// input may be a megabyte.
const maxErrorText = 2 << 10

// Describe sets what is known of an error: the type of its innermost cause, and its text.
func (l *Letter) Describe(err error) {
	innermost := err
	for {
		u, ok := innermost.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			break
		}
		innermost = u.Unwrap()
	}
	l.ErrorType = reflect.TypeOf(innermost).String()
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	text = strings.ReplaceAll(text, "\x00", "\uFFFD") // no Postgres text can hold it
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + " …"
	}
	l.Error = text
}

// Headers of a letter's copy in Kafka. The first four are Watermill's own, so
// that its tools can read our letters.
const (
	headerReason      = "reason_poisoned"
	headerTopic       = "topic_poisoned"
	headerHandler     = "handler_poisoned"
	headerSubscriber  = "subscriber_poisoned"
	headerID          = "dlq_letter_id"
	headerPartition   = "dlq_partition"
	headerOffset      = "dlq_offset"
	headerKey         = "dlq_key_base64"
	headerAttempts    = "dlq_attempts"
	headerErrorType   = "dlq_error_type"
	headerFirstFailed = "dlq_first_failed_at"
	headerLastFailed  = "dlq_last_failed_at"
	headerVersion     = "dlq_version"
)

// binarySuffix marks a header whose value is not text: JSON, in which the outbox
// keeps headers, can hold text only.
const binarySuffix = "_base64"

// textHeaders returns the message's headers with every value as text.
func (l *Letter) textHeaders() map[string]string {
	out := make(map[string]string, len(l.Headers))
	for k, v := range l.Headers {
		if !utf8.ValidString(k) {
			k = strings.ToValidUTF8(k, "\uFFFD")
		}
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
	h[headerID] = l.ID
	h[headerPartition] = strconv.Itoa(int(l.Partition))
	h[headerOffset] = strconv.FormatInt(l.Offset, 10)
	h[headerKey] = base64.StdEncoding.EncodeToString(l.Key)
	h[headerAttempts] = strconv.Itoa(l.Attempts)
	h[headerErrorType] = l.ErrorType
	h[headerFirstFailed] = l.FirstFailed.UTC().Format(time.RFC3339Nano)
	h[headerLastFailed] = l.LastFailed.UTC().Format(time.RFC3339Nano)
	h[headerVersion] = l.Version
	return h
}

func (l *Letter) headersJSON() ([]byte, error) {
	data, err := json.Marshal(l.textHeaders())
	if err != nil {
		return nil, fmt.Errorf("encode the headers of letter %s: %w", l.ID, err)
	}
	return data, nil
}
