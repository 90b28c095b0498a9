package dialect_test

import (
	"strconv"
	"strings"
	"testing"

	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/transport"
)

// headersOf cuts a record's headers from bytes: a name, a zero, a value, a zero, and so on.
func headersOf(data []byte) (headers []transport.Header) {
	parts := strings.Split(string(data), "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		headers = append(headers, transport.Header{Key: parts[i], Value: []byte(parts[i+1])})
	}
	return headers
}

func joined(headers ...string) (data []byte) {
	for _, h := range headers {
		data = append(append(data, h...), 0)
	}
	return data
}

// FuzzRead: whoever wrote a record, it is a letter with an id; numbers it cannot have are unknown; its message's own
// headers are among those it came with.
func FuzzRead(f *testing.F) {
	f.Add([]byte("k"), []byte("{}"), joined("kafka_dlt-original-topic", "t", "kafka_dlt-original-partition", "1", "kafka_dlt-exception-stacktrace", "\nCaused by: x: y"))
	f.Add([]byte("k"), []byte("{}"), joined("__connect.errors.topic", "t", "__connect.errors.partition", "4294967296", "__connect.errors.offset", "-7"))
	f.Add([]byte(nil), []byte(nil), joined(deadletter.HeaderID, "x", deadletter.HeaderPartition, "2147483648", deadletter.HeaderAttempts, "", deadletter.HeaderKey, "%"))
	f.Add([]byte(""), []byte(""), joined("topic_poisoned", "t", "reason_poisoned", "\n\n", "_watermill_message_uuid", "\xff"))
	f.Add([]byte("k"), []byte("x"), joined("ce_id", "1", "ce_id", "2", "", ""))
	f.Fuzz(func(t *testing.T, key, value, head []byte) {
		headers := headersOf(head)
		r := transport.LogRecord{Record: transport.Record{Topic: "letters", Key: key, Value: value, Headers: headers}, Partition: 3, Offset: 5}
		l, name := dialect.Read(r)
		if l.ID == "" || l.Attempts < 1 || l.Partition < -1 || name == dialect.None && (l.Topic != "letters" || l.Partition != 3 || l.Offset != 5) {
			t.Fatalf("%s: %+v", name, l)
		}
		said := map[string]string{}
		for _, h := range headers {
			said[h.Key] = string(h.Value)
		}
		if name == dialect.Ours || name == dialect.Connect {
			text := said[deadletter.HeaderPartition]
			if name == dialect.Connect {
				text = said["__connect.errors.partition"]
			}
			if n, err := strconv.ParseInt(text, 10, 32); (err != nil || n < 0) && l.Partition != -1 || err == nil && n >= 0 && l.Partition != int32(n) {
				t.Fatalf("partition %q was read as %d", text, l.Partition)
			}
		}
		for _, h := range dialect.Original(headers) {
			if v, ok := said[h.Key]; !ok {
				t.Fatalf("%q=%q is none of its headers (%q)", h.Key, h.Value, v)
			}
		}
		if l.Fingerprint() == "" {
			t.Fatal("no fingerprint")
		}
	})
}
