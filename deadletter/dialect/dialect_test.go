package dialect_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/transport"
)

// written is a record of a topic with letters.
func written(topic string, partition int32, offset int64, headers ...string) transport.LogRecord {
	r := transport.LogRecord{
		Record:    transport.Record{Topic: topic, Key: []byte("k"), Value: []byte(`{}`)},
		Partition: partition, Offset: offset, Time: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, transport.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

// As Watermill 1.5.3's PoisonQueue writes it: no partition, no offset, no time of the original.
func TestAWatermillLetter(t *testing.T) {
	l, name := dialect.Read(written("poison", 2, 7,
		"_watermill_message_uuid", "01", "reason_poisoned", "boom\ngoroutine 12 [running]:\nmain.f()", "topic_poisoned", "orders",
		"handler_poisoned", "charge", "subscriber_poisoned", "kafka.Subscriber", "correlation_id", "c-1", "ce_type", "X"))
	if name != dialect.Watermill || l.Topic != "orders" || l.Handler != "charge" || l.Error != "boom" || l.Partition != -1 || l.Offset != -1 ||
		l.MessageID != "01" || l.CorrelationID != "c-1" || !l.PublishedAt.IsZero() || l.LastFailed.IsZero() {
		t.Errorf("%s: %+v", name, l)
	}
	if len(l.Headers) != 3 || l.Headers["ce_type"] != "X" || l.Headers["_watermill_message_uuid"] != "01" {
		t.Errorf("headers %v, want those it came with", l.Headers)
	}
}

// bytes are a number as Java's ByteBuffer writes it.
func bytes(n int64, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[size-1-i] = byte(n >> (8 * i))
	}
	return string(b)
}

const javaStack = `org.springframework.kafka.listener.ListenerExecutionFailedException: Listener method threw exception
	at org.springframework.kafka.listener.KafkaMessageListenerContainer.decorateException(KafkaMessageListenerContainer.java:2813)
Caused by: java.lang.RuntimeException: wrapped
	at shop.Orders.charge(Orders.java:41)
Caused by: java.lang.IllegalStateException: no account "a-1": closed
	at shop.Accounts.find(Accounts.java:12)
	... 13 more
`

// As Spring Kafka's DeadLetterPublishingRecoverer writes it, byte by byte. Without a stack, the cause is what it
// says in a header.
func TestASpringLetter(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)
	headers := []string{
		"kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", bytes(2, 4), "kafka_dlt-original-offset", bytes(256, 8),
		"kafka_dlt-original-timestamp", bytes(at.UnixMilli(), 8), "kafka_dlt-original-timestamp-type", "CreateTime",
		"kafka_dlt-original-consumer-group", "billing", "kafka_dlt-exception-fqcn", "org.springframework.kafka.listener.ListenerExecutionFailedException",
		"kafka_dlt-exception-cause-fqcn", "java.lang.RuntimeException", "kafka_dlt-exception-message", "Listener failed",
		"kafka_deliveryAttempt", bytes(3, 4), "traceparent", "00-1-2-01",
	}
	for name, want := range map[string]struct {
		more      []string
		errorType string
		text      string
	}{
		"with a stack":    {[]string{"kafka_dlt-exception-stacktrace", javaStack}, "java.lang.IllegalStateException", `no account "a-1": closed`},
		"without a stack": {nil, "java.lang.RuntimeException", "Listener failed"},
		// It failed again on the way: Spring appends to what is there.
		"twice": {[]string{"kafka_dlt-original-topic", "orders.DLT", "kafka_dlt-original-partition", bytes(0, 4), "kafka_dlt-original-offset", bytes(1, 8)}, "java.lang.RuntimeException", "Listener failed"},
	} {
		l, by := dialect.Read(written("orders.DLT", 0, 3, append(headers[:len(headers):len(headers)], want.more...)...))
		if by != dialect.Spring || l.Topic != "orders" || l.Partition != 2 || l.Offset != 256 || l.Group != "billing" || l.Attempts != 3 ||
			l.ErrorType != want.errorType || l.Error != want.text || !l.PublishedAt.Equal(at) || len(l.Headers) != 1 {
			t.Errorf("%s: %s: %+v", name, by, l)
		}
	}
}

// What Spring Kafka 3.3.4's own recoverer wrote (with a MockProducer): of a message, and of its letter that failed
// once more.
func TestLettersThatSpringWrote(t *testing.T) {
	data, err := os.ReadFile("testdata/spring-kafka-3.3.4.json")
	if err != nil {
		t.Fatal(err)
	}
	var records []struct {
		Topic      string
		Partition  int32
		Key, Value []byte
		Headers    []transport.Header
	}
	if err := json.Unmarshal(data, &records); err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for i, want := range []struct{ errorType, text string }{
		{"java.lang.IllegalStateException", `no account "a-1": closed`}, {"java.lang.IllegalArgumentException", "still no account"},
	} {
		r := records[i]
		l, by := dialect.Read(transport.LogRecord{Record: transport.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}, Partition: r.Partition})
		if by != dialect.Spring || l.Topic != "orders" || l.Partition != 2 || l.Offset != 256 || l.Group != "billing" || l.Attempts != 3 ||
			l.ErrorType != want.errorType || l.Error != want.text || l.PublishedAt.UnixMilli() != 1769860800005 ||
			len(l.Headers) != 2 || l.Headers["bin"] != "\xff\x00" {
			t.Errorf("%s: %+v", by, l)
		}
	}
}

// As Spring's retry topics write it: other names, and numbers of as many bytes as they need.
func TestALetterOfASpringRetryTopic(t *testing.T) {
	l, by := dialect.Read(written("orders-dlt", 0, 3,
		"kafka_original-topic", "orders", "kafka_original-partition", bytes(2, 4), "kafka_original-offset", bytes(256, 8), "kafka_original-timestamp", bytes(1_700_000_000_000, 8),
		"kafka_original-timestamp-type", "CreateTime", "kafka_original-consumer-group", "billing", "kafka_exception-fqcn", "X", "kafka_exception-message", "m",
		"kafka_exception-stacktrace", javaStack, "kafka_key-exception-fqcn", "Y", "retry_topic-attempts", bytes(4, 1), "retry_topic-original-timestamp", bytes(1_700_000_000_000, 6),
		"retry_topic-backoff-timestamp", bytes(1_700_000_001_000, 6), "springDeserializerExceptionValue", "\xac\xed", "__TypeId__", "shop.Order"))
	if by != dialect.Spring || l.Topic != "orders" || l.Partition != 2 || l.Offset != 256 || l.Group != "billing" || l.Attempts != 4 ||
		l.ErrorType != "java.lang.IllegalStateException" || l.PublishedAt.UnixMilli() != 1_700_000_000_000 {
		t.Errorf("%s: %+v", by, l)
	}
	if len(l.Headers) != 1 || l.Headers["__TypeId__"] != "shop.Order" {
		t.Errorf("headers %v", l.Headers)
	}
}

// Anybody may write such a topic: what is no number is not known.
func TestNumbersThatAreNone(t *testing.T) {
	for _, wrong := range []string{"", "123456789", "\xff\xff\xff\xff"} {
		l, by := dialect.Read(written("t", 0, 0, "kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", wrong, "kafka_dlt-original-offset", wrong))
		if by != dialect.Spring || l.Partition != -1 || l.Offset != -1 {
			t.Errorf("%q: %+v", wrong, l)
		}
	}
	// Cut to 32 bits these would be partitions that there are, and a redrive would send the message there.
	for wrong, headers := range map[string][]string{
		"Spring":  {"kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", bytes(1<<32+1, 8)},
		"Connect": {"__connect.errors.topic", "orders", "__connect.errors.partition", "4294967297"},
		"ours":    {deadletter.HeaderID, "x", "topic_poisoned", "orders", deadletter.HeaderPartition, "-4294967295", deadletter.HeaderAttempts, "-1"},
	} {
		if l, _ := dialect.Read(written("t", 0, 0, headers...)); l.Partition != -1 || l.Attempts < 1 {
			t.Errorf("%s: partition %d, %d attempts", wrong, l.Partition, l.Attempts)
		}
	}
}

func TestAConnectLetterAndARecordThatIsNone(t *testing.T) {
	l, name := dialect.Read(written("dlq-sink", 0, 0, "__connect.errors.topic", "orders", "__connect.errors.partition", "1", "__connect.errors.offset", "9",
		"__connect.errors.connector.name", "sink", "__connect.errors.exception.class.name", "X", "__connect.errors.exception.message", "m"))
	if name != dialect.Connect || l.Topic != "orders" || l.Partition != 1 || l.Offset != 9 || l.Handler != "sink" || l.Group != "connect-sink" ||
		l.ErrorType != "X" || l.Error != "m" || len(l.Headers) != 0 {
		t.Errorf("%s: %+v", name, l)
	}
	l, name = dialect.Read(written("t", 1, 2, "a", "b"))
	other, _ := dialect.Read(written("t", 1, 3))
	if name != dialect.None || l.Headers["a"] != "b" || l.ID == "" || l.ID == other.ID || l.PublishedAt.IsZero() {
		t.Errorf("%q: %+v", name, l)
	}
}

// What a message came with is kept as it lies there: what is repeated, what is no text, and in its order.
func TestTheOriginalHeadersAreKept(t *testing.T) {
	r := written("t", 0, 0, "b", "1", "reason_poisoned", "boom", "a", "\xff\x00", "topic_poisoned", "orders", "b", "2", "dlq_redriven_from", "x")
	got := dialect.Original(r.Headers)
	if len(got) != 3 || got[0].Key != "b" || string(got[0].Value) != "1" || got[1].Key != "a" || string(got[1].Value) != "\xff\x00" || got[2].Key != "b" || string(got[2].Value) != "2" {
		t.Errorf("%q", got)
	}
}
