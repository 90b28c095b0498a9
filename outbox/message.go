package outbox

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"millrace/event"
	"millrace/topic"
)

// The headers every event carries: CloudEvents 1.0 in binary mode, and our own.
const (
	HeaderSpecVersion   = "ce_specversion"
	HeaderID            = "ce_id"
	HeaderType          = "ce_type"
	HeaderSource        = "ce_source"
	HeaderTime          = "ce_time"
	HeaderSubject       = "ce_subject"
	HeaderSchemaVersion = "ce_dataschemaversion"
	HeaderOrderVersion  = "ce_orderversion"
	HeaderCorrelationID = "ce_correlationid"
	HeaderCausationID   = "ce_causationid"
	HeaderContentType   = "content-type"
	HeaderTraceParent   = "traceparent"
	// HeaderUUID is where Watermill's Kafka marshaler keeps a message's id.
	HeaderUUID = "_watermill_message_uuid"

	specVersion     = "1.0"
	contentTypeJSON = "application/json"
)

// MaxPayload is how large an event may be, in bytes. An event that is larger is
// refused to whoever wanted to say it, since the broker would refuse it for ever.
const MaxPayload = 256 << 10

// UnsayableError is what a caller gets whose change said an event that must not be sent:
// its service never declared it, or it is too large. It is permanent.
type UnsayableError struct{ reason string }

// Error says which event, and what to do.
func (e *UnsayableError) Error() string { return e.reason }

// Permanent is true.
func (e *UnsayableError) Permanent() bool { return true }

// messages turns what a change said into rows for the outbox: versions
// continue from said, ids are new, the time is the database's.
func (s *Store[S, V]) messages(events []event.Event, id event.OrderID, cause event.Cause, said int64, now time.Time) ([]outboxRow, error) {
	if len(events) == 0 {
		return nil, nil
	}
	rows := make([]outboxRow, 0, len(events))
	stamp := now.UTC().Format(time.RFC3339Nano)
	for i, e := range events {
		info, ok := topic.For(e)
		switch {
		case !ok:
			return nil, &UnsayableError{fmt.Sprintf("%T has no topic: declare one in topic/topics.go", e)}
		case !s.says(info.Name):
			return nil, &UnsayableError{fmt.Sprintf("service %s never declared that it says %s: add topic.%s to its Says in router/flow.go", s.table.Service, info.Event, info.Event)}
		case e.Key() != id:
			return nil, &UnsayableError{fmt.Sprintf("%s is about order %q, but the row is order %q's", info.Event, e.Key(), id)}
		}
		payload, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", info.Event, err)
		}
		if len(payload) > MaxPayload {
			return nil, &UnsayableError{fmt.Sprintf("%s is %d bytes; an event may have %d at most", info.Event, len(payload), MaxPayload)}
		}
		// One encode, in the order of the names: so they reach Kafka.
		eventID := newID()
		head := newHeaderBlock().
			add(HeaderUUID, eventID).
			add(HeaderCausationID, cause.ID).
			add(HeaderCorrelationID, cause.CorrelationID).
			add(HeaderSchemaVersion, strconv.Itoa(info.SchemaVersion)).
			add(HeaderID, eventID).
			add(HeaderOrderVersion, strconv.FormatInt(said+int64(i)+1, 10)).
			add(HeaderSource, s.table.Service).
			add(HeaderSpecVersion, specVersion).
			add(HeaderSubject, string(id)).
			add(HeaderTime, stamp).
			add(HeaderType, info.Event).
			add(HeaderContentType, contentTypeJSON)
		if cause.TraceParent != "" {
			head = head.add(HeaderTraceParent, cause.TraceParent)
		}
		rows = append(rows, outboxRow{topic: info.Name, key: []byte(id), payload: payload, headers: head})
	}
	return rows, nil
}
