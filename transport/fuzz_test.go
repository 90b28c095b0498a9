package transport_test

import (
	"bytes"
	"testing"

	"millrace/transport"
)

// FuzzDecode: whatever headers a record has, it is a message with an id, the same at each delivery, and its body is untouched.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("{}"), "ce_id", []byte("1"), "ce_id", []byte(""), int64(0))
	f.Add([]byte(nil), transport.UUIDHeader, []byte("\xff"), "", []byte(nil), int64(-1))
	f.Add([]byte("x"), "a", []byte("1"), "a", []byte("2"), int64(1)<<62)
	f.Fuzz(func(t *testing.T, body []byte, name string, value []byte, other string, otherValue []byte, offset int64) {
		headers := []transport.Header{{Key: name, Value: value}, {Key: other, Value: otherValue}}
		msg := transport.Decode("topic", 1, offset, body, headers)
		again := transport.Decode("topic", 1, offset, body, headers)
		if msg.UUID == "" || msg.UUID != again.UUID || !bytes.Equal(msg.Payload, body) {
			t.Fatalf("%q: %+v, %+v", headers, msg, again)
		}
		if _, ok := msg.Metadata[transport.UUIDHeader]; ok {
			t.Fatal("Watermill's id is in the metadata")
		}
		if other != transport.UUIDHeader && msg.Metadata[other] != string(otherValue) {
			t.Fatalf("%q=%q became %q", other, otherValue, msg.Metadata[other])
		}
		record := transport.Encode("topic", msg)
		reread := transport.Decode(record.Topic, 1, offset, record.Value, record.Headers)
		if reread.UUID != msg.UUID || len(reread.Metadata) != len(msg.Metadata) {
			t.Fatalf("%+v became %+v", msg, reread)
		}
	})
}
