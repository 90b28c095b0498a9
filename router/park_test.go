package router

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/outbox"
	"millrace/topic"
	"millrace/transport"
)

// What can be parked is what the service would read, or will be able to: the order must be known.
func TestWhatAServiceParks(t *testing.T) {
	const order = "0199c0de-0000-7000-8000-000000000001"
	id := uuid.NewString()
	record := func(change func(*transport.LogRecord)) transport.LogRecord {
		r := transport.LogRecord{Record: transport.Record{Topic: topic.OrderCancelled.Name, Key: []byte(order), Value: []byte(`{"orderId":"` + order + `","reason":"X"}`), Headers: []transport.Header{
			{Key: outbox.HeaderID, Value: []byte(id)}, {Key: outbox.HeaderType, Value: []byte("OrderCancelled")}, {Key: outbox.HeaderCorrelationID, Value: []byte("c")}, {Key: transport.UUIDHeader, Value: []byte(id)},
		}}, Partition: 2, Offset: 17, Time: time.Now()}
		change(&r)
		return r
	}
	header := func(name, value string) func(*transport.LogRecord) {
		return func(r *transport.LogRecord) {
			r.Headers = append(r.Headers, transport.Header{Key: name, Value: []byte(value)})
		}
	}
	for what, c := range map[string]struct {
		service string
		change  func(*transport.LogRecord)
		want    bool
	}{
		"a message":                      {"payment", func(*transport.LogRecord) {}, true},
		"of a newer schema":              {"payment", header(outbox.HeaderSchemaVersion, "99"), true},
		"of no schema":                   {"payment", header(outbox.HeaderSchemaVersion, "x"), false},
		"of another type":                {"payment", header(outbox.HeaderType, "X"), false},
		"that cannot be read":            {"payment", func(r *transport.LogRecord) { r.Value = []byte("{") }, false},
		"about another order":            {"payment", func(r *transport.LogRecord) { r.Key = []byte("0199c0de-0000-7000-8000-000000000002") }, false},
		"of a topic it does not hear":    {"inventory", func(*transport.LogRecord) {}, false},
		"of a service that is not there": {"nobody", func(*transport.LogRecord) {}, false},
	} {
		l, ok := Flow(Services{}).Parkable(c.service, "v", record(c.change))
		if ok != c.want {
			t.Errorf("a message %s: %v", what, ok)
		}
		if ok && (l.ID != deadletter.NewID("payment-service", id) || l.OrderID != order || l.MessageID != id || l.CorrelationID != "c" || l.Handler != "payment/"+topic.OrderCancelled.Name ||
			l.Partition != 2 || l.Offset != 17 || l.Status != deadletter.Parked || l.Headers["correlation_id"] != "c" || l.Headers[transport.UUIDHeader] != "") {
			t.Errorf("a message %s: %+v", what, l)
		}
	}
}
