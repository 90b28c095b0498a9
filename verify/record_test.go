package verify

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"millrace/verify/spill"
)

// block is what the outbox keeps of headers.
func block(pairs ...string) []byte {
	b := []byte{binaryHeaders}
	for i := 0; i < len(pairs); i += 2 {
		if n := slices.Index(outboxNames[:], pairs[i]); n >= 0 {
			b = append(b, byte(n+1))
		} else {
			b = append(b, 0)
			b = binary.AppendUvarint(b, uint64(len(pairs[i])))
			b = append(b, pairs[i]...)
		}
		b = binary.AppendUvarint(b, uint64(len(pairs[i+1])))
		b = append(b, pairs[i+1]...)
	}
	return b
}

func TestHeadersOfTheOutboxAreRead(t *testing.T) {
	want := []header{{headID, []byte("1")}, {"x-own", []byte("")}, {headType, []byte("OrderCreated")}}
	got, err := outboxHeaders(block(headID, "1", "x-own", "", headType, "OrderCreated"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(header{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, err := outboxHeaders([]byte(`{"a":"b"}`)); err != nil || len(got) != 1 || got[0].name != "a" || string(got[0].value) != "b" {
		t.Errorf("%v, %v", got, err)
	}
	whole := block(headID, "123", "x-own", "v")
	for n := range len(whole) {
		if n == 1 || n == len(block(headID, "123")) {
			continue // no header, or the first of the two
		}
		if _, err := outboxHeaders(whole[:n]); err == nil {
			t.Errorf("cut to %d of %d bytes it was read", n, len(whole))
		}
	}
	for _, bad := range [][]byte{{7}, {'{'}, {binaryHeaders, 200, 0}} {
		if _, err := outboxHeaders(bad); err == nil {
			t.Errorf("%v was read", bad)
		}
	}
}

// facts collects what keep puts into the buckets.
func facts(t *testing.T, list ...fetched) map[id]*order {
	t.Helper()
	b, err := spill.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	out := b.Writer()
	for _, f := range list {
		if err := f.keep(out); err != nil {
			t.Fatal(err)
		}
	}
	all := map[id]*order{}
	for n := range spill.Count {
		some, err := collect(b, n)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range some {
			all[i] = o
		}
	}
	return all
}

// A record, its letter's copy and an outbox row of one order come together; those whose key is no order's
// id lie under the message's own.
func TestFactsOfAMessageComeTogether(t *testing.T) {
	const of = "0199c0de-0000-7000-8000-000000000001"
	message, letterID := anyID(), anyID()
	topic := flow[paymentInitiated].topic
	head := []header{{headID, []byte(message.String())}, {headCorrelationID, []byte("c")}}
	letterHead := func(key string) []header {
		return []header{{headLetter, []byte(letterID.String())}, {headLetterMessage, []byte(message.String())},
			{headLetterKey, []byte(base64.StdEncoding.EncodeToString([]byte(key)))}}
	}
	all := facts(t,
		fetched{topic: topic, partition: 1, offset: 5, key: []byte(of), headers: head},
		fetched{topic: topic, row: 9, key: []byte(of), headers: head},
		fetched{topic: "dlq.payment-service", partition: 1, offset: 0, key: []byte(of), headers: letterHead(of)},
		fetched{topic: "dlq.payment-service", row: 10, key: []byte(of), headers: letterHead(of)},
		fetched{topic: "dlq.payment-service", key: []byte(of)}, // another system's
		fetched{topic: "somebody.elses", key: []byte(of)},
		fetched{topic: topic, partition: 2, offset: 6, key: []byte("no id"), headers: head},
		fetched{topic: "dlq.payment-service", partition: 2, offset: 1, key: []byte("no id"), headers: letterHead("no id")},
	)
	if len(all) != 2 {
		t.Fatalf("%d heaps, want two", len(all))
	}
	order, _ := orderID(of)
	o := all[order]
	if o == nil || len(o.Log) != 1 || len(o.Unsent) != 1 || len(o.Copies) != 2 || o.Log[0].ID != message || o.Copies[0].Letter != letterID || o.Copies[0].Service != payments {
		t.Errorf("%+v", o)
	}
	if o != nil && (o.Log[0].where() != topic+"/1@5" || o.Unsent[0].where() != "outbox row 9 ("+topic+")") {
		t.Errorf("%s, %s", o.Log[0].where(), o.Unsent[0].where())
	}
	o = all[message]
	if o == nil || len(o.Log) != 1 || len(o.Copies) != 1 || o.Log[0].Keyed || o.Log[0].Readable {
		t.Errorf("%+v", o)
	}
}

// The digest tells records apart by body, topic and headers, and not by the order of these.
func TestDigests(t *testing.T) {
	digest := func(topic, value string, headers ...header) uint64 {
		f := fetched{topic: topic, value: []byte(value), headers: headers}
		return f.digest()
	}
	a, b := header{"a", []byte("1")}, header{"b", []byte("2")}
	first := digest("t", "v", a, b)
	if first != digest("t", "v", b, a) {
		t.Error("the order of headers counts")
	}
	for name, other := range map[string]uint64{
		"topic": digest("u", "v", a, b), "body": digest("t", "w", a, b), "one header less": digest("t", "v", a), "another value": digest("t", "v", a, header{"b", []byte("3")}),
		"values exchanged": digest("t", "v", header{"a", []byte("2")}, header{"b", []byte("1")}), "name and value exchanged": digest("t", "v", a, header{"2", []byte("b")}),
	} {
		if other == first {
			t.Errorf("%s: the same digest", name)
		}
	}
}

// Every kind of fact comes back from the buckets as it was put in.
func TestFactsSurviveTheBuckets(t *testing.T) {
	w := newWorld()
	for _, s := range w.all() {
		b, err := spill.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		out := b.Writer()
		put := func(tag byte, f spill.Fact) {
			if err := out.Put(s.ID, tag, f); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range s.Rows {
			if r != nil {
				put(tagRow, r)
			}
		}
		for i := range s.History {
			put(tagEntry, &s.History[i])
		}
		for i := range s.Log {
			put(tagRecord, &s.Log[i])
		}
		for i := range s.Waits {
			put(tagWait, &s.Waits[i])
		}
		if s.Account != nil {
			put(tagAccount, s.Account)
		}
		for i := range s.Sent {
			put(tagSent, &s.Sent[i])
		}
		for i := range s.Letters {
			put(tagLetter, &s.Letters[i])
		}
		for i := range s.Lanes {
			put(tagLane, &s.Lanes[i])
		}
		for i := range s.Copies {
			put(tagCopy, &s.Copies[i])
		}
		for i := range s.Decided {
			put(tagDecided, &s.Decided[i])
		}
		put(tagAccepted, accepted{})
		all, err := collect(b, int(s.ID[15]))
		if err != nil {
			t.Fatal(err)
		}
		s.Accepted = true
		if diff := cmp.Diff(s.order, all[s.ID], cmp.AllowUnexported(order{}, payment{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-put +read)\n%s", diff)
		}
	}
}
