//go:build unix

package story_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/router"
	"millrace/topic"
)

// badRecord is one kind of record that another system might write, on a topic that three
// services hear unless it says otherwise.
type badRecord struct {
	kind  string
	topic string // empty: OrderCreated's
	make  func(id string) kgo.Record
	// letters are the services whose dead letter it becomes.
	letters []string
	// because is part of what the letter says.
	because string
	// holdsUp: it is plain which order it is about, so what follows of that order waits behind it. Otherwise the letter
	// is for itself.
	holdsUp bool
}

// allThatHear stands for all services that hear the topic.
var allThatHear = []string{"all that hear it"}

// created is a body that everybody understands, but for a replacement.
func created(id, old, replacement string) []byte {
	good := `{"orderId":"` + id + `","customerId":"c-1","items":[{"sku":"MUG","quantity":1,"unitPrice":5}],"total":{"amount":5,"currency":"EUR"},"paymentMethod":"pm_accepted"}`
	return []byte(strings.Replace(good, old, replacement, 1))
}

// keyed is a record with a key and a value only.
func keyed(value func(id string) []byte, headers ...string) func(string) kgo.Record {
	return func(id string) kgo.Record {
		r := kgo.Record{Key: []byte(id), Value: value(id)}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
		}
		return r
	}
}

// good is the value that everybody understands.
func good(id string) []byte { return created(id, "", "") }

// text is a value whatever the order.
func text(value string) func(string) []byte { return func(string) []byte { return []byte(value) } }

// changed is the good value with a replacement.
func changed(old, replacement string) func(string) []byte {
	return func(id string) []byte { return created(id, old, replacement) }
}

const (
	large      = 900 << 10
	deep       = 20_000 // levels; encoding/json goes no deeper than 10,000
	tooManyFor = 8000   // lines, so that an answer that repeats them is beyond 256 KiB
)

func manyLines(id string) []byte {
	line := `{"sku":"MUG","quantity":1,"unitPrice":5}`
	return created(id, line, strings.Repeat(line+",", tooManyFor)+line)
}

var badRecords = []badRecord{
	{kind: "not JSON", make: keyed(text("hello")), letters: allThatHear, because: "not a JSON object"},
	{kind: "JSON that ends early", make: keyed(text(`{"orderId":`)), letters: allThatHear, because: "unexpected end"},
	{kind: "a JSON array", make: keyed(text("[]")), letters: allThatHear, because: "not a JSON object"},
	{kind: "a text that is a number", make: keyed(changed(`"c-1"`, `7`)), letters: allThatHear, because: "customerId"},
	{kind: "items that are a text", make: keyed(changed(`[{"sku":"MUG","quantity":1,"unitPrice":5}]`, `"MUG"`)), letters: allThatHear, because: "items"},
	{kind: "a number beyond 64 bits", make: keyed(changed(`:5,`, `:9223372036854775808,`)), letters: allThatHear, because: "9223372036854775808"},
	{kind: "a fraction", make: keyed(changed(`:1,`, `:1.5,`)), letters: allThatHear, because: "1.5"},
	{kind: "a negative quantity", make: keyed(changed(`:1,`, `:-1,`)), letters: []string{"inventory"}, because: "quantity -1", holdsUp: true},
	{kind: "an empty value", make: keyed(text("")), letters: allThatHear, because: "empty"},
	{kind: "no value (a tombstone)", make: keyed(func(string) []byte { return nil }), letters: allThatHear, because: "empty"},
	{kind: "no key", make: func(id string) kgo.Record { return kgo.Record{Value: good(id)} }, letters: allThatHear, because: `the key is ""`},
	{kind: "a key that is no order id", make: func(string) kgo.Record {
		return kgo.Record{Key: []byte("customer-7"), Value: good("customer-7")}
	}, letters: allThatHear, because: "orderId"},
	{kind: "a key that is not UTF-8", make: func(id string) kgo.Record {
		return kgo.Record{Key: []byte("\xff\x00\xfe"), Value: good(id)}
	}, letters: allThatHear, because: "the key is"},
	{kind: "the key of another order", make: func(id string) kgo.Record {
		return kgo.Record{Key: []byte(uuid.NewString()), Value: good(id)}
	}, letters: allThatHear, because: "the body is about order"},
	{kind: "an order id in upper case", make: func(id string) kgo.Record {
		return kgo.Record{Key: []byte(strings.ToUpper(id)), Value: good(strings.ToUpper(id))}
	}, letters: allThatHear, because: "orderId"},
	{kind: "an event of a later version", make: keyed(good, "ce_dataschemaversion", "2"), letters: allThatHear, because: "upgrade", holdsUp: true},
	{kind: "a version that is no number", make: keyed(good, "ce_dataschemaversion", "abc"), letters: allThatHear, because: "not a version number"},
	{kind: "another type of event", make: keyed(good, "ce_type", "PaymentFailed"), letters: allThatHear, because: "PaymentFailed"},
	{kind: "nested 20,000 levels deep", make: keyed(func(id string) []byte {
		return created(id, `"customerId"`, `"x":`+strings.Repeat("[", deep)+strings.Repeat("]", deep)+`,"customerId"`)
	}), letters: allThatHear, because: "depth"},
	{kind: "900 KiB that are not JSON", make: keyed(text(strings.Repeat("x", large))), letters: allThatHear, because: "not a JSON object"},
	{kind: "8001 lines, too much to answer", make: keyed(manyLines), letters: []string{"inventory"}, because: "bytes; an event may have", holdsUp: true},
	{kind: "NUL in a text", make: keyed(changed(`"c-1"`, `"c-\u0000"`)), letters: []string{"notification"}, because: "refused", holdsUp: true},
	{kind: "a SKU with NUL", make: keyed(changed(`MUG`, `M\u0000G`)), letters: []string{"inventory"}, because: "items[0]", holdsUp: true},
	{kind: "binary headers, and not JSON", make: keyed(text("x"), "image", "\x00\xff\x01", "ce_id", "\xff\xfe", "ce_correlationid", "a\nb", "n\xffme", "v"), letters: allThatHear, because: "not a JSON object"},
	{kind: "an orderId given twice", make: keyed(func(id string) []byte {
		return created(id, `"customerId"`, `"orderId":"`+uuid.NewString()+`","customerId"`)
	}), letters: allThatHear, because: "the body is about order"},

	{kind: "key and value alone: a full citizen", make: keyed(good)},
	{kind: "ce_ headers, none of Watermill's", make: keyed(good, "ce_id", uuid.NewString(), "ce_type", "OrderCreated", "ce_source", "elsewhere", "ce_dataschemaversion", "1")},
	{kind: "Watermill's id, no ce_ headers", make: keyed(good, "_watermill_message_uuid", uuid.NewString())},
	{kind: "ids that are no UUIDs", make: keyed(good, "ce_id", "order 7", "ce_source", "elsewhere", "ce_correlationid", "two\nlines", "ce_time", "yesterday", "traceparent", "\x00")},
	{kind: "fields nobody knows", make: keyed(changed(`"customerId"`, `"colour":"red","customerId"`))},
	{kind: "invalid UTF-8 in a text", make: keyed(changed(`"c-1"`, "\"c-\xff\""))},
	{kind: "binary headers", make: keyed(good, "image", "\x00\xff\x01", "n\xffme", strings.Repeat("x", 100<<10))},
	{kind: "900 KiB that are right", make: keyed(changed(`"c-1"`, `"`+strings.Repeat("c", large)+`"`))},
}

// aboutNobody is an event of each type on an order nobody placed: it is remembered, or says
// nothing, and is no error.
func aboutNobody(t *testing.T) (records []badRecord) {
	t.Helper()
	for _, info := range topic.All() {
		golden, err := os.ReadFile("../event/testdata/" + info.Event + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.Unmarshal(golden, &body); err != nil {
			t.Fatal(err)
		}
		records = append(records, badRecord{kind: "an unknown order: " + info.Event, topic: info.Name, make: keyed(func(id string) []byte {
			body["orderId"] = id
			return encode(t, body)
		})})
	}
	return records
}

// testWaitsForTheUpgrade: of an event of a later version the order is known, so what follows waits until somebody upgrades,
// or gives it up; also across topics, and in each service for itself.
func testWaitsForTheUpgrade(t *testing.T, s *shop, brokers string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id := uuid.NewString()
	about := func(body string) []byte { return []byte(`{"orderId":"` + id + `",` + body + `}`) }
	for _, r := range []*kgo.Record{
		{Topic: topic.OrderCreated.Name, Value: good(id), Headers: []kgo.RecordHeader{{Key: "ce_dataschemaversion", Value: []byte("2")}}},
		{Topic: topic.PaymentSucceeded.Name, Value: about(`"total":{"amount":5,"currency":"EUR"},"providerRef":"r"`)},
		{Topic: topic.ShippingStatus.Name, Value: about(`"status":"DELIVERED"`)},
	} {
		r.Key = []byte(id)
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		noLag(s.in(t), brokers) // one after the other: across topics Kafka promises no order
	}
	lanes := func() string {
		var text string
		if err := s.books.QueryRow(`SELECT coalesce(string_agg(service || ' ' || status || ' ' || topic, ', ' ORDER BY service, position), '')
FROM deadletter.letters WHERE order_id = $1 AND status IN ('new', 'parked')`, id).Scan(&text); err != nil {
			t.Fatalf("read the letters: %v", err)
		}
		return strings.ReplaceAll(text, "ecommerce.", "")
	}
	// Inventory does nothing about a parcel that has arrived, and order does not hear OrderCreated.
	want := "analytics new orders.created, analytics parked payment.success, inventory new orders.created, " +
		"notification new orders.created, notification parked payment.success, notification parked shipping.status"
	if got := lanes(); got != want {
		t.Errorf("there are\n%s, want\n%s", got, want)
	}
	n := s.nodes[0]
	n.tb = t
	defer func() { n.tb = s.t }()
	letters := n.letters("order:" + id)
	for _, l := range letters {
		n.dlqDone("drop", l.ID, "--reason", "nobody upgrades here")
	}
	eventually(t, "what was parked goes on", func() error {
		if left := lanes(); left != "" {
			return fmt.Errorf("there are %s", left)
		}
		return nil
	})
	if len(letters) != 3 {
		t.Errorf("there were %d letters, want one in each service that hears the topic", len(letters))
	}
	if h, err := s.heldUpAt("notification"); err != nil || h.parked != 0 {
		t.Errorf("at notification there are %+v: %v", h, err)
	}
}

// testReplay has every group hear everything again, letters included, and nothing may come of it.
func testReplay(t *testing.T, s *shop, brokers string) {
	eventually(t, "nothing is on its way", func() error { return nothingLeft(s.books) })
	before, letters, log := everything(t, s), len(lettersIn(t, s)), logLength(t, brokers)
	n := s.nodes[0]
	n.stopWithLetters()
	forgetOffsets(t, brokers)
	n.start()
	noLag(s.in(t), brokers)
	eventually(t, "nothing is on its way", func() error { return nothingLeft(s.books) })
	if after := everything(t, s); after != before {
		t.Errorf("something changed:\nbefore %s\nafter  %s", before, after)
	}
	if after := len(lettersIn(t, s)); after != letters {
		t.Errorf("%d letters before, %d after", letters, after)
	}
	if after := logLength(t, brokers); after != log {
		t.Errorf("%d records before, %d after", log, after)
	}
	t.Logf("all %d records were delivered again to all groups: still %d letters, and nothing changed", log, letters)
}

func logLength(t *testing.T, brokers string) int {
	t.Helper()
	log, err := readLog(brokers)
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	return len(log)
}

// forgetOffsets makes all groups begin anew. They have no members.
func forgetOffsets(t *testing.T, brokers string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, service := range router.Flow(router.Services{}) {
		if answer, err := kadm.NewClient(client).DeleteGroup(t.Context(), service.Group()); err != nil || answer.Err != nil {
			t.Fatalf("delete group %s: %v %v", service.Group(), err, answer.Err)
		}
	}
}

// written is a bad record in its topic.
type written struct {
	badRecord
	*kgo.Record
	groups []string // that hear it
}

func testBadRecords(t *testing.T, s *shop, brokers string) {
	s.in(t).restock("MUG", onTheShelf*onTheShelf)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ProducerBatchMaxBytes(2*large))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all []written
	for _, b := range slices.Concat(badRecords, aboutNobody(t)) {
		all = append(all, write(t, client, b))
	}
	// The same event once more, under the same id: it has its letter already.
	twice := badRecord{kind: "the same bad event twice", make: keyed(text("twice"), "ce_id", uuid.NewString()), letters: allThatHear, because: "not a JSON object"}
	first := write(t, client, twice)
	again := kgo.Record{Topic: first.Topic, Key: first.Key, Value: first.Value, Headers: first.Headers}
	if err := client.ProduceSync(t.Context(), &again).FirstErr(); err != nil {
		t.Fatal(err)
	}
	all = append(all, first)

	noLag(s.in(t), brokers)
	eventually(t, "nothing is on its way to Kafka", func() error { return nothingLeft(s.books) })
	log, err := readLog(brokers)
	if err != nil {
		t.Fatal(err)
	}
	copies := map[string]*kgo.Record{}
	for _, r := range log {
		if id := headerOf(r, "dlq_letter_id"); id != "" {
			if c := copies[id]; c != nil && !sameRecord(c, r) {
				t.Errorf("letter %s is in Kafka as two records that differ, at %s/%d/%d and %d/%d", id, r.Topic, c.Partition, c.Offset, r.Partition, r.Offset)
			}
			copies[id] = r
		}
	}
	letters := lettersIn(t, s)
	var table []string
	for _, w := range all {
		t.Run(w.kind, func(t *testing.T) {
			table = append(table, fmt.Sprintf("%-42s %s", w.kind, w.check(t, s, letters, copies)))
		})
	}
	if n := len(lettersAt(letters, again)); n > 0 {
		t.Errorf("the same event again made %d more letters", n)
	}
	t.Logf("%d kinds of bad records, and what became of them:\n%s", len(all), strings.Join(table, "\n"))
}

// sameRecord tells whether two records may be one that the relay has published again, as it does whenever it cannot tell
// whether it has, on a busy machine without any fault.
func sameRecord(a, b *kgo.Record) bool {
	return a.Topic == b.Topic && a.Partition == b.Partition && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && reflect.DeepEqual(a.Headers, b.Headers)
}

func write(t *testing.T, client *kgo.Client, b badRecord) written {
	t.Helper()
	if b.topic == "" {
		b.topic = topic.OrderCreated.Name
	}
	record := b.make(uuid.NewString())
	record.Topic = b.topic
	if err := client.ProduceSync(t.Context(), &record).FirstErr(); err != nil {
		t.Fatalf("write %s: %v", b.kind, err)
	}
	w := written{badRecord: b, Record: &record}
	for _, service := range router.Flow(router.Services{}) {
		if slices.Contains(service.Topics(), b.topic) && (slices.Equal(b.letters, allThatHear) || slices.Contains(b.letters, service.Name)) {
			w.groups = append(w.groups, service.Group())
		}
	}
	return w
}
