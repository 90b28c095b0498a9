package kafka

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// UUIDHeader is the header in which Watermill's own Kafka packages keep a message's id.
const UUIDHeader = "_watermill_message_uuid"

// IDHeader is the CloudEvents id; where it differs from UUIDHeader it wins.
const IDHeader = "ce_id"

// record is a kgo.Record that can make messages; the conversion is free.
type record kgo.Record

// Message copies everything but the payload, which nobody may change.
func (r *record) Message() *message.Message {
	metadata, id := r.metadata()
	if id == "" {
		id = DerivedID(r.Topic, r.Partition, r.Offset)
	}
	msg := message.NewMessage(id, r.Value)
	msg.Metadata = metadata
	return msg
}

// metadata turns the headers into a map, of which the last of one name wins, and
// finds the id. The values are cut from one string, which saves an allocation for each.
func (r *record) metadata() (message.Metadata, string) {
	var all strings.Builder
	n := 0
	for _, h := range r.Headers {
		n += len(h.Value)
	}
	all.Grow(n)
	for _, h := range r.Headers {
		all.Write(h.Value)
	}
	rest, watermillID := all.String(), ""
	metadata := make(message.Metadata, len(r.Headers))
	for _, h := range r.Headers {
		value := rest[:len(h.Value)]
		rest = rest[len(h.Value):]
		if h.Key == UUIDHeader { // it is the message's UUID, as with stock Watermill, not metadata
			watermillID = value
			continue
		}
		metadata[h.Key] = value
	}
	if id := metadata[IDHeader]; id != "" {
		return metadata, id
	}
	return metadata, watermillID
}

// idSpace keeps ids derived here apart from everybody else's UUIDv5s.
var idSpace = uuid.MustParse("6b0e2f4c-5d0f-5b43-9a52-5a8b5c6f7d11")

// DerivedID is the id of a record that came without one: a UUIDv5 of where it
// lies, so that it is the same at each delivery and in each group.
func DerivedID(topic string, partition int32, offset int64) string {
	place := append([]byte(topic), 0)
	place = binary.BigEndian.AppendUint32(place, uint32(partition))
	place = binary.BigEndian.AppendUint64(place, uint64(offset))
	return uuid.NewSHA1(idSpace, place).String()
}

// Record is how a message is sent: under transport.Key, its metadata as headers.
func Record(topic string, msg *message.Message) transport.Record {
	headers := make([]transport.Header, 0, len(msg.Metadata)+1)
	headers = append(headers, transport.Header{Key: UUIDHeader, Value: []byte(msg.UUID)})
	for _, name := range slices.Sorted(maps.Keys(msg.Metadata)) {
		if name != UUIDHeader {
			headers = append(headers, transport.Header{Key: name, Value: []byte(msg.Metadata[name])})
		}
	}
	return transport.Record{Topic: topic, Key: transport.Key(msg), Value: msg.Payload, Headers: headers}
}
