package outbox

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/transport"
)

func TestHeadersComeOutAsTheyWentIn(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.OneOf(rapid.SampledFrom(knownHeaders[:]), rapid.String())
		list := rapid.SliceOf(rapid.Custom(func(r *rapid.T) transport.Header {
			return transport.Header{Key: name.Draw(r, "name"), Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "value")}
		})).Draw(r, "headers")
		b := newHeaderBlock()
		for _, h := range list {
			b = b.add(h.Key, string(h.Value))
		}
		got, err := b.headers()
		if diff := cmp.Diff(list, got); err != nil || diff != "" && len(list)+len(got) > 0 {
			r.Errorf("%v (-in +out):\n%s", err, diff)
		}
		if len(list) > 0 { // whatever is missing at the end is noticed, or was a whole header
			cut, err := b[:rapid.IntRange(1, len(b)-1).Draw(r, "cut")].headers()
			if err == nil && len(cut) >= len(list) {
				r.Errorf("%d headers in a part of a block of %d", len(cut), len(list))
			}
		}
	})
}

// Rows of this release are read by the next one: what stands here must stay readable for ever.
func TestTheFormatOfHeadersStaysAsItIs(t *testing.T) {
	for block, want := range map[string]string{
		"\x01" + "\x01\x03uid" + "\x05\x03eid" + "\x0d\x02tp" + "\x00\x04name\x05value": "_watermill_message_uuid=uid ce_id=eid traceparent=tp name=value",
		"\x01" + "\x02\x00\x03\x00\x04\x00\x06\x00\x07\x00\x08\x00\x09\x00\x0a\x00\x0b\x00\x0c\x00": "ce_causationid= ce_correlationid= ce_dataschemaversion= ce_orderversion= " +
			"ce_source= ce_specversion= ce_subject= ce_time= ce_type= content-type=",
		`{"b":"2","ce_id":"eid","a":"\u0031"}`: "a=1 b=2 ce_id=eid", // as releases before this one wrote all rows
	} {
		headers, err := headerBlock(block).headers()
		var got []byte
		for _, h := range headers {
			got = append(append(append(append(got, ' '), h.Key...), '='), h.Value...)
		}
		if string(bytes.TrimSpace(got)) != want || err != nil {
			t.Errorf("%s: %s (%v), want %s", hex.EncodeToString([]byte(block)), got, err, want)
		}
	}
	for _, broken := range []string{"", "\x02", "\x01\x0e\x00", "\x01\x00\x05name", "\x01\x01\x05uid", "\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "[1]", `{"a":1}`} {
		if headers, err := headerBlock(broken).headers(); err == nil {
			t.Errorf("%q is read as %v", broken, headers)
		}
	}
}

// The headers of an event lie in Kafka in the order of their names, as those of other messages do.
func TestAnEventsHeadersAreSorted(t *testing.T) {
	s, _ := NewMemory(basketTable, Options{}, nil)
	rows, err := s.messages([]event.Event{event.OrderCancelled{OrderID: "o"}}, "o", event.Cause{ID: "c", TraceParent: "t"}, 0, time.Now())
	need(t, err)
	headers, err := rows[0].headers.headers()
	need(t, err)
	sorted := slices.IsSortedFunc(headers, func(a, b transport.Header) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	if !sorted || len(headers) != len(knownHeaders) {
		t.Errorf("%d headers, want %d, sorted by name: %v", len(headers), len(knownHeaders), headers)
	}
	if len(rows[0].headers) > typicalBlock {
		t.Errorf("typical headers take %d bytes, more than typicalBlock", len(rows[0].headers))
	}
}

func BenchmarkHeaderBlock(b *testing.B) {
	b.ReportAllocs()
	const id = "0199c0de-0000-7000-8000-000000000001"
	for b.Loop() {
		block := newHeaderBlock()
		for _, name := range knownHeaders {
			block = block.add(name, id[:10])
		}
		if _, err := block.headers(); err != nil {
			b.Fatal(err)
		}
	}
}
