package transport

import (
	"crypto/sha1" // what a UUIDv5 is made of; nothing here is a secret
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// UUIDHeader is the header in which Watermill's own Kafka packages keep a
// message's id. It is not part of a message's metadata.
const UUIDHeader = "_watermill_message_uuid"

// IDHeader is the CloudEvents id. Where it differs from UUIDHeader, it wins.
const IDHeader = "ce_id"

// Encode is the record a message is sent as: under its Key, with its metadata as headers.
func Encode(topic string, msg *message.Message) Record {
	headers := make([]Header, 0, len(msg.Metadata)+1)
	headers = append(headers, Header{Key: UUIDHeader, Value: []byte(msg.UUID)})
	for _, name := range slices.Sorted(maps.Keys(msg.Metadata)) {
		if name != UUIDHeader {
			headers = append(headers, Header{Key: name, Value: []byte(msg.Metadata[name])})
		}
	}
	return Record{Topic: topic, Key: Key(msg), Value: msg.Payload, Headers: headers}
}

// Decode is the message of a record that lies there. It copies the headers, of
// which the last of one name wins; the payload is the record's own value. Its id is
// ce_id, else Watermill's, else DerivedID.
func Decode[H ~struct {
	Key   string
	Value []byte
}](topic string, partition int32, offset int64, value []byte, headers []H) *message.Message {
	metadata, id := decodeHeaders(headers)
	if id == "" {
		id = DerivedID(topic, partition, offset)
	}
	msg := message.NewMessage(id, value)
	msg.Metadata = metadata
	return msg
}

// decodeHeaders cuts all values from one string, which saves an allocation for each.
func decodeHeaders[H ~struct {
	Key   string
	Value []byte
}](headers []H) (message.Metadata, string) {
	size := 0
	for _, h := range headers {
		size += len(Header(h).Value)
	}
	var values strings.Builder
	values.Grow(size)
	for _, h := range headers {
		values.Write(Header(h).Value)
	}
	rest, watermillID := values.String(), ""
	metadata := make(message.Metadata, len(headers))
	for _, h := range headers {
		h := Header(h)
		value := rest[:len(h.Value)]
		rest = rest[len(h.Value):]
		if h.Key == UUIDHeader {
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

// idSpace is the UUIDv5 name space of DerivedID; it keeps these ids apart from
// everybody else's.
var idSpace = [16]byte{0x6b, 0x0e, 0x2f, 0x4c, 0x5d, 0x0f, 0x5b, 0x43, 0x9a, 0x52, 0x5a, 0x8b, 0x5c, 0x6f, 0x7d, 0x11}

// DerivedID is the id of a record that came without one: a UUIDv5 of where it
// lies, so that it is the same at each delivery and in each group.
func DerivedID(topic string, partition int32, offset int64) string {
	place := append(idSpace[:], topic...)
	place = append(place, 0)
	place = binary.BigEndian.AppendUint32(place, uint32(partition))
	place = binary.BigEndian.AppendUint64(place, uint64(offset))
	id := sha1.Sum(place)
	id[6] = id[6]&0x0f | 5<<4 // version
	id[8] = id[8]&0x3f | 0x80 // variant
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
