package kafka

import (
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
)

// record is a kgo.Record that can make messages; the conversion is free.
type record kgo.Record

// Message implements perkey.Record.
func (r *record) Message() *message.Message {
	return transport.Decode(r.Topic, r.Partition, r.Offset, r.Value, r.Headers)
}
