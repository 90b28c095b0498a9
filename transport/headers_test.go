package transport_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"millrace/transport"
)

// What was encoded is decoded, whatever bytes the metadata holds.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		msg := message.NewMessage(rapid.StringN(1, 40, 40).Draw(r, "id"), rapid.SliceOf(rapid.Byte()).Draw(r, "payload"))
		for name, value := range rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.Byte())).Draw(r, "metadata") {
			if name != transport.UUIDHeader && name != transport.IDHeader {
				msg.Metadata[name] = string(value)
			}
		}
		record := transport.Encode("topic", msg)
		got := transport.Decode(record.Topic, 0, 0, record.Value, record.Headers)
		if got.UUID != msg.UUID || string(got.Payload) != string(msg.Payload) {
			r.Errorf("got %q %q, want %q %q", got.UUID, got.Payload, msg.UUID, msg.Payload)
		}
		if diff := cmp.Diff(msg.Metadata, got.Metadata); diff != "" {
			r.Errorf("metadata (-sent +got):\n%s", diff)
		}
	})
}

// Two identical messages are the same bytes: headers are sorted.
func TestEncodingIsStable(t *testing.T) {
	msg := message.NewMessage("id", []byte("payload"))
	msg.Metadata = message.Metadata{"c": "3", "a": "1", "b": "2", transport.UUIDHeader: "not this one"}
	msg.Metadata[transport.SubjectHeader] = "order"
	want := transport.Record{Topic: "topic", Key: []byte("order"), Value: []byte("payload"), Headers: []transport.Header{
		{Key: transport.UUIDHeader, Value: []byte("id")},
		{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "c", Value: []byte("3")},
		{Key: transport.SubjectHeader, Value: []byte("order")},
	}}
	if diff := cmp.Diff(want, transport.Encode("topic", msg)); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// The id is ce_id, else Watermill's, else one made of the place; the last header
// of one name wins.
func TestIDs(t *testing.T) {
	header := func(pairs ...string) (headers []transport.Header) {
		for i := 0; i < len(pairs); i += 2 {
			headers = append(headers, transport.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return headers
	}
	derived := transport.DerivedID("topic", 2, 7)
	for _, c := range []struct {
		name    string
		headers []transport.Header
		id      string
	}{
		{"ce_id wins", header("ce_id", "ce", transport.UUIDHeader, "wm"), "ce"},
		{"Watermill's", header(transport.UUIDHeader, "wm"), "wm"},
		{"the last one", header("ce_id", "1", "ce_id", "2"), "2"},
		{"an empty one is none", header("ce_id", ""), derived},
		{"none", nil, derived},
	} {
		msg := transport.Decode("topic", 2, 7, nil, c.headers)
		if msg.UUID != c.id {
			t.Errorf("%s: %q, want %q", c.name, msg.UUID, c.id)
		}
		if _, ok := msg.Metadata[transport.UUIDHeader]; ok {
			t.Errorf("%s: Watermill's id is in the metadata", c.name)
		}
	}
	space := uuid.MustParse("6b0e2f4c-5d0f-5b43-9a52-5a8b5c6f7d11")
	place := append([]byte("topic\x00"), 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7)
	if want := uuid.NewSHA1(space, place).String(); derived != want { // it must never change
		t.Errorf("derived %s, want %s", derived, want)
	}
	for _, other := range []string{transport.DerivedID("topic", 2, 8), transport.DerivedID("topic", 1, 7), transport.DerivedID("topi", 2, 7)} {
		if other == derived {
			t.Error("two places have one id")
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	msg := message.NewMessage("0199c0de-0000-7000-8000-000000000001", make([]byte, 300))
	for _, name := range []string{"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_dataschemaversion",
		"ce_orderversion", "ce_correlationid", "ce_causationid", "content-type", "traceparent"} {
		msg.Metadata[name] = "0199c0de-0000-7000-8000-000000000001"
	}
	record := transport.Encode("topic", msg)
	for b.Loop() {
		transport.Decode(record.Topic, 0, 0, record.Value, record.Headers)
	}
}
