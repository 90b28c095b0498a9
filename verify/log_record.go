package verify

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/maphash"
	"strconv"
	"time"

	decode "github.com/go-json-experiment/json/v1"

	"millrace/verify/spill"
)

// header is one of a record's.
type header struct {
	name  string
	value []byte
}

// fetched is a record as it came, from the log or from the outbox.
type fetched struct {
	topic      string
	partition  int32
	offset     int64
	row        int64 // the outbox row's number; 0: from the log
	key, value []byte
	headers    []header
	stamp      int64
}

// The headers that are looked at.
const (
	headID            = "ce_id"
	headWatermillID   = "_watermill_message_uuid"
	headType          = "ce_type"
	headSource        = "ce_source"
	headTime          = "ce_time"
	headSchemaVersion = "ce_dataschemaversion"
	headOrderVersion  = "ce_orderversion"
	headCorrelationID = "ce_correlationid"

	headLetter        = "dlq_letter_id"
	headLetterMessage = "dlq_message_id"
	headLetterKey     = "dlq_key_base64"
)

// head is a header's value, the last of one name; empty if there is none.
func (f *fetched) head(name string) string {
	for i := len(f.headers) - 1; i >= 0; i-- {
		if f.headers[i].name == name {
			return string(f.headers[i].value)
		}
	}
	return ""
}

// keep puts what the checks need of it into the buckets. A record in a topic that is none of the
// system's, and a dead letter of another system's, are left alone.
func (f *fetched) keep(out *spill.Writer) error {
	if k, ok := kindOf(f.topic); ok {
		r := f.record(k)
		if f.row != 0 {
			return out.Put(home(f.key, r.ID), tagUnsent, &r)
		}
		return out.Put(home(f.key, r.ID), tagRecord, &r)
	}
	for s := range services {
		if f.topic != s.letterTopic() {
			continue
		}
		copied := letterCopy{Service: s, Partition: f.partition, Offset: f.offset, Row: f.row, Stamp: f.stamp}
		var ok bool
		if copied.Letter, ok = canonical(f.head(headLetter)); !ok {
			return nil
		}
		key := f.key
		if original, err := base64.StdEncoding.DecodeString(f.head(headLetterKey)); err == nil {
			key = original
		}
		return out.Put(home(key, eventID(f.head(headLetterMessage), "", "", "", 0, 0)), tagCopy, &copied)
	}
	return nil
}

// record is what is known of an event.
func (f *fetched) record(k kind) record {
	source := f.head(headSource)
	r := record{
		Kind: k, Partition: f.partition, Offset: f.offset, Row: f.row, Stamp: f.stamp, At: f.stamp,
		ID:     eventID(f.head(headID), f.head(headWatermillID), source, f.topic, f.partition, f.offset),
		Source: serviceNamed(source), Correlation: f.head(headCorrelationID), Digest: f.digest(),
	}
	if v, err := strconv.ParseInt(f.head(headOrderVersion), 10, 64); err == nil && v > 0 {
		r.Version = v
	}
	if at, err := time.Parse(time.RFC3339Nano, f.head(headTime)); err == nil {
		r.At = at.UnixMicro()
	}
	_, r.Keyed = orderID(string(f.key))
	about, err := r.read(f.value)
	r.Readable = err == nil && r.Keyed && about == string(f.key) && f.understood(k)
	return r
}

// understood tells whether the headers say that the body is what the topic carries, in a version that is known.
func (f *fetched) understood(k kind) bool {
	if typ := f.head(headType); typ != "" && typ != flow[k].event {
		return false
	}
	text := f.head(headSchemaVersion)
	if text == "" {
		return true
	}
	v, err := strconv.Atoi(text)
	return err == nil && v >= 1 && v <= knownSchemaVersion
}

// digest is the same for records that are the same, whatever the order of their headers.
func (f *fetched) digest() uint64 {
	sum := maphash.Bytes(seed, f.value) + maphash.String(seed, f.topic)
	for _, h := range f.headers {
		const odd = 0x9e3779b97f4a7c15 // tells a name from a value
		sum += maphash.String(seed, h.name)*odd ^ maphash.Bytes(seed, h.value)
	}
	return sum
}

// read takes what the checks need from a body, and returns the order it is about.
func (r *record) read(value []byte) (order string, err error) {
	var body struct {
		OrderID      string `json:"orderId"`
		Status       string `json:"status"`
		Reason       string `json:"reason"`
		Kind         string `json:"kind"`
		Channel      string `json:"channel"`
		Total        money  `json:"total"`
		AfterSuccess bool   `json:"afterSuccess"`
	}
	if err := decode.Unmarshal(value, &body); err != nil {
		return "", err
	}
	r.Status, r.Reason, r.Total, r.AfterSuccess = body.Status, body.Reason, body.Total, body.AfterSuccess
	if r.Kind == notificationSent {
		r.Status, r.Reason = body.Kind, body.Channel
	}
	return body.OrderID, nil
}

// binaryHeaders is the first byte of headers that are no JSON object: then come, for each, its name
// and its value. A name is its number in outboxNames, or a zero, its length and its bytes; a value is its
// length and its bytes. Lengths are uvarints.
const binaryHeaders = 1

// outboxNames are the names that have numbers, from 1 on.
var outboxNames = [...]string{
	headWatermillID, "ce_causationid", headCorrelationID, headSchemaVersion, headID, headOrderVersion,
	headSource, "ce_specversion", "ce_subject", headTime, headType, "content-type", "traceparent",
}

var errHeaders = errors.New("its headers are not readable")

// outboxHeaders reads the headers of an outbox row.
func outboxHeaders(block []byte) (list []header, err error) {
	if len(block) == 0 {
		return nil, errHeaders
	}
	if block[0] == '{' {
		var texts map[string]string
		if err := json.Unmarshal(block, &texts); err != nil {
			return nil, errors.Join(errHeaders, err)
		}
		for name, value := range texts {
			list = append(list, header{name, []byte(value)})
		}
		return list, nil
	}
	if block[0] != binaryHeaders {
		return nil, errHeaders
	}
	for rest := block[1:]; len(rest) > 0; {
		var h header
		var text []byte
		var ok bool
		number := int(rest[0])
		rest = rest[1:]
		switch {
		case number == 0:
			if text, rest, ok = cut(rest); !ok {
				return nil, errHeaders
			}
			h.name = string(text)
		case number <= len(outboxNames):
			h.name = outboxNames[number-1]
		default:
			return nil, errHeaders
		}
		if text, rest, ok = cut(rest); !ok {
			return nil, errHeaders
		}
		h.value = text
		list = append(list, h)
	}
	return list, nil
}

// cut takes a length and as many bytes.
func cut(b []byte) (content, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	return b[size : size+int(n)], b[size+int(n):], true
}
