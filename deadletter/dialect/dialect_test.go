package dialect_test

import (
	"testing"
	"time"

	"millrace/deadletter/dialect"
	"millrace/transport"
)

func headers(pairs ...string) (list []transport.Header) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, transport.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return list
}

// As Watermill 1.5.1's PoisonQueue writes it: no partition, no offset, no time of the original.
func TestAWatermillLetter(t *testing.T) {
	l, name := dialect.Read(dialect.Record{Topic: "poison", Partition: 2, Offset: 7, Key: []byte("k"), Value: []byte(`{}`), Headers: headers(
		"_watermill_message_uuid", "01", "reason_poisoned", "boom\ngoroutine 12 [running]:\nmain.f()", "topic_poisoned", "orders",
		"handler_poisoned", "charge", "subscriber_poisoned", "kafka.Subscriber", "ce_type", "X")})
	if name != dialect.Watermill || l.Topic != "orders" || l.Handler != "charge" || l.Error != "boom" || l.Offset != -1 {
		t.Errorf("%s: %+v", name, l)
	}
	if len(l.Headers) != 2 || l.Headers["ce_type"] != "X" || l.Headers["_watermill_message_uuid"] != "01" {
		t.Errorf("headers %v, want those it came with", l.Headers)
	}
}

// As Spring Kafka's DeadLetterPublishingRecoverer writes it: numbers are big-endian.
func TestASpringLetter(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)
	ms := at.UnixMilli()
	l, name := dialect.Read(dialect.Record{Topic: "orders.DLT", Headers: headers(
		"kafka_dlt-original-topic", "orders", "kafka_dlt-original-partition", "\x00\x00\x00\x02", "kafka_dlt-original-offset", "\x00\x00\x00\x00\x00\x00\x01\x00",
		"kafka_dlt-original-timestamp", string([]byte{byte(ms >> 56), byte(ms >> 48), byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)}),
		"kafka_dlt-original-consumer-group", "billing", "kafka_dlt-exception-fqcn", "org.springframework.kafka.listener.ListenerExecutionFailedException",
		"kafka_dlt-exception-cause-fqcn", "java.lang.IllegalStateException", "kafka_dlt-exception-message", "no account",
		"kafka_dlt-exception-stacktrace", "java.lang…\n\tat …", "traceparent", "00-1-2-01")})
	if name != dialect.Spring || l.Topic != "orders" || l.Partition != 2 || l.Offset != 256 || l.Group != "billing" || l.ErrorType != "java.lang.IllegalStateException" ||
		l.Error != "no account" || !l.PublishedAt.Equal(at) || len(l.Headers) != 1 {
		t.Errorf("%s: %+v", name, l)
	}
}

func TestAConnectLetterAndARecordThatIsNone(t *testing.T) {
	l, name := dialect.Read(dialect.Record{Topic: "dlq-sink", Headers: headers("__connect.errors.topic", "orders", "__connect.errors.partition", "1", "__connect.errors.offset", "9",
		"__connect.errors.connector.name", "sink", "__connect.errors.exception.class.name", "X", "__connect.errors.exception.message", "m")})
	if name != dialect.Connect || l.Topic != "orders" || l.Partition != 1 || l.Offset != 9 || l.ErrorType != "X" || len(l.Headers) != 0 {
		t.Errorf("%s: %+v", name, l)
	}
	l, name = dialect.Read(dialect.Record{Topic: "t", Partition: 1, Offset: 2, Headers: headers("a", "b")})
	other, _ := dialect.Read(dialect.Record{Topic: "t", Partition: 1, Offset: 3})
	if name != dialect.None || l.Headers["a"] != "b" || l.ID == "" || l.ID == other.ID {
		t.Errorf("%q: %+v", name, l)
	}
}
