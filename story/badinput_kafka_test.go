//go:build unix

package story_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

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
	{kind: "a negative quantity", make: keyed(changed(`:1,`, `:-1,`)), letters: []string{"inventory"}, because: "quantity -1"},
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
	{kind: "an event of a later version", make: keyed(good, "ce_dataschemaversion", "2"), letters: allThatHear, because: "upgrade"},
	{kind: "a version that is no number", make: keyed(good, "ce_dataschemaversion", "abc"), letters: allThatHear, because: "not a version number"},
	{kind: "another type of event", make: keyed(good, "ce_type", "PaymentFailed"), letters: allThatHear, because: "PaymentFailed"},
	{kind: "nested 20,000 levels deep", make: keyed(func(id string) []byte {
		return created(id, `"customerId"`, `"x":`+strings.Repeat("[", deep)+strings.Repeat("]", deep)+`,"customerId"`)
	}), letters: allThatHear, because: "depth"},
	{kind: "900 KiB that are not JSON", make: keyed(text(strings.Repeat("x", large))), letters: allThatHear, because: "not a JSON object"},
	{kind: "8001 lines, too much to answer", make: keyed(manyLines), letters: []string{"inventory"}, because: "bytes; an event may have"},
	{kind: "NUL in a text", make: keyed(changed(`c-1`, `c-\u0000`)), letters: []string{"notification"}, because: "refused"},
	{kind: "a SKU with NUL", make: keyed(changed(`MUG`, `M\u0000G`)), letters: []string{"inventory"}, because: "items[0]"},
	{kind: "binary headers, and not JSON", make: keyed(text("x"), "image", "\x00\xff\x01", "ce_id", "\xff\xfe", "ce_correlationid", "a\nb", "n\xffme", "v"), letters: allThatHear, because: "not a JSON object"},
	{kind: "an orderId given twice", make: keyed(func(id string) []byte {
		return created(id, `"customerId"`, `"orderId":"`+uuid.NewString()+`","customerId"`)
	}), letters: allThatHear, because: "the body is about order"},

	{kind: "key and value alone: a full citizen", make: keyed(good)},
	{kind: "ce_ headers, none of Watermill's", make: keyed(good, "ce_id", uuid.NewString(), "ce_type", "OrderCreated", "ce_source", "elsewhere", "ce_dataschemaversion", "1")},
	{kind: "Watermill's id, no ce_ headers", make: keyed(good, "_watermill_message_uuid", uuid.NewString())},
	{kind: "ids that are no UUIDs", make: keyed(good, "ce_id", "order 7", "ce_source", "elsewhere", "ce_correlationid", "two\nlines", "ce_time", "yesterday", "traceparent", "\x00")},
	{kind: "fields nobody knows", make: keyed(changed(`"customerId"`, `"colour":"red","customerId"`))},
	{kind: "invalid UTF-8 in a text", make: keyed(changed("c-1", "c-\xff"))},
	{kind: "binary headers", make: keyed(good, "image", "\x00\xff\x01", "n\xffme", strings.Repeat("x", 100<<10))},
	{kind: "900 KiB that are right", make: keyed(changed("c-1", strings.Repeat("c", large)))},
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
			if copies[id] != nil {
				t.Errorf("letter %s is in Kafka twice", id)
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

// letterRow is a row of deadletter.letters.
type letterRow struct {
	id, service, group, handler, message, topic, errorType, error, version string
	order                                                                  *string
	partition                                                              int32
	offset                                                                 int64
	key, headers, payload                                                  []byte
	attempts                                                               int
	firstFailed, lastFailed                                                time.Time
}

func lettersIn(t *testing.T, s *shop) (letters []letterRow) {
	t.Helper()
	rows, err := s.books.Query(`SELECT id, service, consumer_group, handler, message_id, topic, error_type, error, version, order_id, partition, kafka_offset,
key, headers, payload, attempts, first_failed_at, last_failed_at FROM deadletter.letters`)
	if err != nil {
		t.Fatalf("read the letters: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l letterRow
		if err := rows.Scan(&l.id, &l.service, &l.group, &l.handler, &l.message, &l.topic, &l.errorType, &l.error, &l.version, &l.order, &l.partition, &l.offset,
			&l.key, &l.headers, &l.payload, &l.attempts, &l.firstFailed, &l.lastFailed); err != nil {
			t.Fatalf("read the letters: %v", err)
		}
		letters = append(letters, l)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("read the letters: %v", err)
	}
	return letters
}

func lettersAt(letters []letterRow, r kgo.Record) (found []letterRow) {
	for _, l := range letters {
		if l.topic == r.Topic && l.partition == r.Partition && l.offset == r.Offset {
			found = append(found, l)
		}
	}
	return found
}

// check looks at the letters of one record, and tells what became of it.
func (w written) check(t *testing.T, s *shop, letters []letterRow, copies map[string]*kgo.Record) string {
	found := lettersAt(letters, *w.Record)
	var groups []string
	for _, l := range found {
		groups = append(groups, l.group)
		w.checkLetter(t, l)
		if c := copies[l.id]; c == nil {
			t.Errorf("no copy of letter %s in Kafka", l.id)
		} else {
			w.checkCopy(t, l, c)
		}
	}
	w.checkKept(t, s)
	slices.Sort(groups)
	slices.Sort(w.groups)
	if !slices.Equal(groups, w.groups) {
		t.Errorf("letters for %v, want %v", groups, w.groups)
	}
	if len(found) == 0 {
		return "processed"
	}
	reason := found[0].error
	if len(reason) > 90 {
		reason = reason[:90] + "…"
	}
	return fmt.Sprintf("%d × letter: %q", len(found), reason)
}

// checkKept asks the services: an order somebody else wrote is reserved, unless inventory has a
// letter about it, and the order service shows none that nobody placed.
func (w written) checkKept(t *testing.T, s *shop) {
	t.Helper()
	if err := s.read("/orders/"+url.PathEscape(string(w.Key)), new(any)); !errors.Is(err, errNotThere) && utf8.Valid(w.Key) && len(w.Key) > 0 {
		t.Errorf("the order service shows it: %v", err)
	}
	if w.Topic != topic.OrderCreated.Name || slices.Contains(w.groups, "inventory-service") || strings.HasPrefix(w.kind, "an unknown order") {
		return
	}
	var reservation struct{ Status string }
	if err := s.read("/reservations/"+string(w.Key), &reservation); err != nil || reservation.Status != "RESERVED" {
		t.Errorf("its reservation is %q: %v", reservation.Status, err)
	}
}

func (w written) checkLetter(t *testing.T, l letterRow) {
	t.Helper()
	if !bytes.Equal(l.key, w.Key) || !bytes.Equal(l.payload, w.Value) {
		t.Errorf("letter %s has the key %q and %d bytes of payload, want %q and %d", l.id, l.key, len(l.payload), w.Key, len(w.Value))
	}
	if l.handler != l.service+"/"+w.Topic || l.group != l.service+"-service" || l.attempts < 1 || l.errorType == "" || l.message == "" ||
		l.version == "" || l.firstFailed.IsZero() || l.lastFailed.Before(l.firstFailed) {
		t.Errorf("letter %s is not complete: %+v", l.id, l)
	}
	if !strings.Contains(l.error, w.because) {
		t.Errorf("letter %s says %q, want something about %q", l.id, l.error, w.because)
	}
	var headers map[string]string
	if err := json.Unmarshal(l.headers, &headers); err != nil {
		t.Errorf("letter %s has the headers %s: %v", l.id, l.headers, err)
	}
	for _, h := range w.Headers {
		name := strings.ToValidUTF8(h.Key, "\uFFFD")
		decoded, _ := base64.StdEncoding.DecodeString(headers[name+"_base64"])
		if name != "_watermill_message_uuid" && headers[name] != string(h.Value) && !bytes.Equal(decoded, h.Value) {
			t.Errorf("letter %s lost the header %q", l.id, h.Key)
		}
	}
}

// checkCopy compares the record in dlq.<group> with the letter in the database.
func (w written) checkCopy(t *testing.T, l letterRow, c *kgo.Record) {
	t.Helper()
	if c.Topic != "dlq."+l.group || !bytes.Equal(c.Key, w.Key) || !bytes.Equal(c.Value, w.Value) {
		t.Errorf("the copy of letter %s is in %s under %q with %d bytes", l.id, c.Topic, c.Key, len(c.Value))
	}
	for name, want := range map[string]string{
		"reason_poisoned": l.error, "topic_poisoned": l.topic, "handler_poisoned": l.handler, "subscriber_poisoned": l.group,
		"dlq_partition": strconv.Itoa(int(l.partition)), "dlq_offset": strconv.FormatInt(l.offset, 10), "dlq_error_type": l.errorType,
		"dlq_attempts": strconv.Itoa(l.attempts), "dlq_key_base64": base64.StdEncoding.EncodeToString(w.Key), "dlq_version": l.version,
	} {
		if got := headerOf(c, name); got != want {
			t.Errorf("the copy of letter %s has %s %q, want %q", l.id, name, got, want)
		}
	}
	for _, name := range []string{"dlq_first_failed_at", "dlq_last_failed_at"} {
		if _, err := time.Parse(time.RFC3339Nano, headerOf(c, name)); err != nil {
			t.Errorf("the copy of letter %s: %s: %v", l.id, name, err)
		}
	}
	for _, h := range c.Headers {
		if strings.Contains(string(h.Value), "goroutine ") || strings.Contains(string(h.Value), ".go:") {
			t.Errorf("the copy of letter %s has a stack in %s", l.id, h.Key)
		}
	}
}
