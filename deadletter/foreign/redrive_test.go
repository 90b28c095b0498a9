package foreign_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/deadletter/foreign"
	"millrace/transport"
	"millrace/transport/kafka"
)

const deadLetters = "orders.DLT"

// noon is when the original was written.
var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func bigEndian[N int32 | int64](n N) []byte {
	b, err := binary.Append(nil, binary.BigEndian, n)
	if err != nil {
		panic(err)
	}
	return b
}

// spring is a letter as Spring's DeadLetterPublishingRecoverer writes it: into the partition it came from.
func spring(n int, key []byte, partition int32, value string) transport.LogRecord {
	r := transport.LogRecord{Record: transport.Record{Topic: deadLetters, Key: key, Value: []byte(value)}, Partition: partition}
	r.Headers = []transport.Header{
		{Key: "__TypeId__", Value: []byte("shop.Order")}, {Key: "b", Value: []byte{0xff, 0}}, {Key: "b", Value: []byte("2")},
		{Key: "traceparent", Value: []byte("00-1-2-01")}, {Key: "X-B3-TraceId", Value: []byte("1")}, {Key: "__replicator_id", Value: []byte("dc1")}, {Key: "region", Value: []byte("x")},
		{Key: "kafka_dlt-original-topic", Value: []byte(origin)}, {Key: "kafka_dlt-original-partition", Value: bigEndian(partition)},
		{Key: "kafka_dlt-original-offset", Value: bigEndian(int64(n))}, {Key: "kafka_dlt-original-timestamp", Value: bigEndian(noon.UnixMilli())},
		{Key: "kafka_dlt-original-consumer-group", Value: []byte("billing")}, {Key: "kafka_dlt-exception-fqcn", Value: []byte("X")},
		{Key: "kafka_dlt-exception-message", Value: fmt.Appendf(nil, "no account %d", n)},
	}
	return r
}

// Spring's letters go back as they came: partition, key, body, time, and headers, but for those of the failure and
// the trace.
func TestLettersOfSpring(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	c.create(partitions+4, "elsewhere")
	keys := [][]byte{[]byte("a"), []byte("b"), nil, {0xff, 0}}
	var letters []transport.LogRecord
	for n := range 60 {
		letters = append(letters, spring(n, keys[n%len(keys)], int32(n%partitions), fmt.Sprintf(`{"n": %d}`, n)))
	}
	letters[7].Value = nil // a tombstone
	c.write(letters...)

	if groups, err := c.desk.Groups(t.Context(), chosen(t, deadLetters, "")); err != nil || len(groups) != 1 || groups[0].Letters != 60 {
		t.Errorf("%d groups, %v", len(groups), err)
	}
	tally := c.redrive(foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin, Drop: []string{"region"}})
	if tally.Sent != 60 {
		t.Errorf("%+v", tally)
	}
	sent := c.read(origin)
	places := map[string]bool{}
	next := map[int32]int{}
	for _, r := range sent {
		from := string(r.Headers[len(r.Headers)-1].Value)
		places[from] = true
		var partition int32
		var offset int64
		if _, err := fmt.Sscanf(from, deadLetters+"/%d@%d", &partition, &offset); err != nil || partition != r.Partition || offset != int64(next[partition]) {
			t.Errorf("%s was sent for %s, out of order: %v", r.Place(), from, err)
		}
		next[partition]++
		letter, err := c.log.ReadAt(t.Context(), deadLetters, partition, offset)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Key, letter.Key) || (r.Key == nil) != (letter.Key == nil) || !bytes.Equal(r.Value, letter.Value) || (r.Value == nil) != (letter.Value == nil) || !r.Time.Equal(noon) {
			t.Errorf("%s: key %q, value %q, time %s", r.Place(), r.Key, r.Value, r.Time)
		}
		want := append(slices.Clone(letter.Headers[:3]), transport.Header{Key: "dlq_original_traceparent", Value: []byte("00-1-2-01")},
			transport.Header{Key: "dlq_original_x-b3-traceid", Value: []byte("1")}, transport.Header{Key: foreign.HeaderFrom, Value: []byte(letter.Place())})
		if !slices.EqualFunc(r.Headers, want, func(a, b transport.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }) {
			t.Errorf("%s has the headers %q, want %q", r.Place(), r.Headers, want)
		}
	}
	if len(places) != 60 || len(sent) != 60 {
		t.Errorf("%d messages were sent for %d letters", len(sent), len(places))
	}

	// To a topic with another number of partitions a message goes where its key belongs.
	c.redrive(foreign.Redrive{Selection: chosen(t, deadLetters, "status:redriven"), To: "elsewhere"})
	if n := len(c.read("elsewhere")); n != 0 {
		t.Errorf("%d were sent a second time", n)
	}
	more := spring(99, []byte("a"), 0, "{}")
	c.write(more)
	c.redrive(foreign.Redrive{Selection: chosen(t, deadLetters, "offset:99"), To: "elsewhere"})
	list := c.read("elsewhere")
	c.write(transport.LogRecord{Record: transport.Record{Topic: "elsewhere", Key: []byte("a")}, Partition: -1})
	if got := c.read("elsewhere"); len(list) != 1 || len(got) != 2 || got[0].Partition != got[1].Partition {
		t.Errorf("sent %d; %+v", len(list), got)
	}
}

// Filters and limits choose; what is not chosen stays.
func TestOnlyWhatIsChosenGoesBack(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	for n := range 10 {
		c.write(spring(n, []byte("k"), 0, fmt.Sprintf(`{"n": %d}`, n)))
	}
	if tally := c.redrive(foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin, Limit: 3}); tally.Sent != 3 {
		t.Errorf("three of them: %+v", tally)
	}
	if tally := c.redrive(foreign.Redrive{Selection: chosen(t, deadLetters, "body.n>=8 topic:orders group:"+c.list(deadLetters, "")[0].Fingerprint()), To: origin}); tally.Sent != 2 {
		t.Errorf("two of them: %+v", tally)
	}
	var got []string
	for _, r := range c.read(origin) {
		got = append(got, string(r.Value))
	}
	if want := []string{`{"n": 0}`, `{"n": 1}`, `{"n": 2}`, `{"n": 8}`, `{"n": 9}`}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if l, err := c.desk.Find(t.Context(), deadLetters, 0, 8); err != nil || l.SentTo != origin || l.SentAt.IsZero() || l.Offset != 8 {
		t.Errorf("%+v, %v", l, err)
	}
	if n := len(c.list(deadLetters, "status:new")); n != 5 {
		t.Errorf("%d are left", n)
	}
}

// What the topic of the letters no longer keeps need not be remembered.
func TestNoMoreIsRememberedThanThereAreLetters(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	for n := range 10 {
		c.write(spring(n, []byte("k"), int32(n%2), "{}"))
	}
	all := foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}
	if tally := c.redrive(all); tally.Sent != 10 {
		t.Fatalf("%+v", tally)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var until kadm.Offsets
	until.Add(kadm.Offset{Topic: deadLetters, Partition: 0, At: 3})
	if answers, err := kadm.NewClient(client).DeleteRecords(t.Context(), until); err != nil || answers.Error() != nil {
		t.Fatal(err, answers.Error())
	}
	if tally := c.redrive(all); tally.Sent != 0 || tally.Before != 7 {
		t.Errorf("%+v", tally)
	}
	var remembered int
	if err := c.db.QueryRow("SELECT count(*) FROM deadletter.sent_back").Scan(&remembered); err != nil || remembered != 7 {
		t.Errorf("%d are remembered, %v; want the 7 that are left", remembered, err)
	}
}

// A message that is too large for the topic it is to go to is named, with how to leave it out; the others before it go.
func TestALetterThatIsTooLargeIsNamed(t *testing.T) {
	const largeLetters = kafka.DeadLetterPrefix + "spring"
	c := newCluster(t, origin, largeLetters)
	small, large := spring(0, []byte("k"), 0, "{}"), spring(1, []byte("k"), 0, strings.Repeat("x", 2*kafka.MaxRecordBytes))
	small.Topic, large.Topic = largeLetters, largeLetters
	c.write(small, large)
	tally, err := c.desk.Redrive(t.Context(), c.sender, foreign.Redrive{Selection: chosen(t, largeLetters, ""), To: origin}, func(foreign.Tally) {})
	if tally.Sent != 1 || tally.Failed != 1 || !errors.Is(err, kafka.ErrTooLarge) || !strings.Contains(err.Error(), "the letter at 0@1 could not be sent (leave it out with: not id:") {
		t.Errorf("%+v, %v", tally, err)
	}
}

// cutSender loses its connection: after that many records, none is acknowledged.
type cutSender struct {
	foreign.Sender
	left int
	send bool // what is not acknowledged arrives all the same
}

var errCut = errors.New("the connection is cut")

func (s *cutSender) Send(ctx context.Context, records []transport.LogRecord) []error {
	good := min(s.left, len(records))
	s.left -= good
	arrive := good
	if s.send {
		arrive = len(records)
	}
	errs := s.Sender.Send(ctx, records[:arrive])
	errs = append(errs[:good:good], make([]error, len(records)-good)...)
	for i := good; i < len(records); i++ {
		errs[i] = errCut
	}
	return errs
}

// Whenever the connection is cut: what was acknowledged is not sent again, what was not is; and no message is left
// out, nor overtaken.
func TestACutRedriveGoesOn(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		c := newCluster(t, origin, deadLetters)
		const letters = 250
		for n := range letters {
			c.write(spring(n, []byte("k"), 0, fmt.Sprintf("%03d", n)))
		}
		redrive := foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}
		sent := int64(0)
		for _, left := range []int{0, 40, 130} {
			tally, err := c.desk.Redrive(t.Context(), &cutSender{c.sender, left, arrives}, redrive, func(foreign.Tally) {})
			if !errors.Is(err, errCut) || tally.Sent != int64(left) || tally.Before != sent {
				t.Errorf("cut after %d: %+v, %v", left, tally, err)
			}
			sent += tally.Sent
		}
		if tally := c.redrive(redrive); tally.Sent != letters-sent {
			t.Errorf("the rest: %+v", tally)
		}
		var got []string
		again := 0
		for _, r := range c.read(origin) {
			if slices.Contains(got, string(r.Value)) {
				again++ // it says the same place
				continue
			}
			got = append(got, string(r.Value))
		}
		if len(got) != letters || !slices.IsSorted(got) || !arrives && again > 0 || arrives && again == 0 {
			t.Errorf("%d of %d messages arrived, %d twice, in order: %v", len(got), letters, again, slices.IsSorted(got))
		}
	}
}

// A commit that fails after the messages were sent has them sent again: nothing is believed that is not written.
func TestWhatIsNotRememberedIsSentAgain(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	c.write(spring(0, []byte("k"), 0, "x"))
	if _, err := c.db.Exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON deadletter.sent_back DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`); err != nil {
		t.Fatal(err)
	}
	redrive := foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}
	if tally, err := c.desk.Redrive(t.Context(), c.sender, redrive, func(foreign.Tally) {}); err == nil || tally.Sent != 0 {
		t.Errorf("%+v, %v", tally, err)
	}
	if _, err := c.db.Exec("DROP TRIGGER refuse ON deadletter.sent_back"); err != nil {
		t.Fatal(err)
	}
	if tally := c.redrive(redrive); tally.Sent != 1 {
		t.Errorf("%+v", tally)
	}
	list := c.read(origin)
	if len(list) != 2 || string(list[0].Headers[len(list[0].Headers)-1].Value) != deadLetters+"/0@0" || string(list[1].Headers[len(list[1].Headers)-1].Value) != deadLetters+"/0@0" {
		t.Errorf("%d messages", len(list))
	}
}

// Several people redrive the same at once: each message goes once.
func TestRedrivesBesideEachOther(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	const letters = 400
	var list []transport.LogRecord
	for n := range letters {
		list = append(list, spring(n, []byte("k"), int32(n%partitions), fmt.Sprintf("%03d", n)))
	}
	c.write(list...)
	var sent atomic.Int64
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			tally, err := c.desk.Redrive(t.Context(), &oneAtATime{Sender: c.sender}, foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}, func(foreign.Tally) {})
			if err != nil || tally.Sent+tally.Before != letters {
				t.Errorf("%+v, %v", tally, err)
			}
			sent.Add(tally.Sent)
		})
	}
	running.Wait()
	got := c.read(origin)
	last := map[int32]string{}
	for _, r := range got {
		if string(r.Value) < last[r.Partition] {
			t.Errorf("%s overtook %s", last[r.Partition], r.Value)
		}
		last[r.Partition] = string(r.Value)
	}
	if len(got) != letters || sent.Load() != letters {
		t.Errorf("%d messages of %d, %d are said to be sent", len(got), letters, sent.Load())
	}
}

// oneAtATime lets one goroutine use the test's sender.
type oneAtATime struct{ foreign.Sender }

var turn sync.Mutex

func (s *oneAtATime) Send(ctx context.Context, records []transport.LogRecord) []error {
	turn.Lock()
	defer turn.Unlock()
	return s.Sender.Send(ctx, records)
}

// interruptedSender is interrupted while it sends.
type interruptedSender struct {
	foreign.Sender
	interrupt func()
}

func (s *interruptedSender) Send(ctx context.Context, records []transport.LogRecord) []error {
	s.interrupt()
	return s.Sender.Send(ctx, records)
}

// Ctrl-C ends a redrive between two batches, and what was sent until then is remembered.
func TestAnInterruptedRedriveGoesOn(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	const letters = 350
	var list []transport.LogRecord
	for n := range letters {
		list = append(list, spring(n, []byte("k"), 0, fmt.Sprintf("%03d", n)))
	}
	c.write(list...)
	ctx, cancel := context.WithCancel(t.Context())
	redrive := foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}
	tally, err := c.desk.Redrive(ctx, &interruptedSender{c.sender, cancel}, redrive, func(foreign.Tally) {})
	if !errors.Is(err, context.Canceled) || tally.Sent == 0 || tally.Sent == letters {
		t.Errorf("%+v, %v", tally, err)
	}
	if rest := c.redrive(redrive); rest.Sent+tally.Sent != letters || len(c.read(origin)) != letters {
		t.Errorf("%+v and %+v", tally, rest)
	}
}

// A topic that was made anew counts from 0 again: its letters are others.
func TestATopicMadeAnew(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	c.write(spring(0, []byte("k"), 0, "old"))
	redrive := foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}
	c.redrive(redrive)
	if _, err := c.db.Exec("UPDATE deadletter.sent_back SET written_at = written_at - interval '1 day'"); err != nil { // as if it had been another record
		t.Fatal(err)
	}
	if tally := c.redrive(redrive); tally.Sent != 1 {
		t.Errorf("%+v", tally)
	}
}

// Whatever a record says, it is listed: anybody may write to such a topic.
func TestHostileLettersAreListed(t *testing.T) {
	c := newCluster(t, origin, deadLetters)
	for n, headers := range [][]transport.Header{
		nil,
		{{Key: "\xff\x00", Value: []byte("\xff\x00")}, {Key: "", Value: nil}},
		{{Key: "topic_poisoned", Value: []byte("\x00")}, {Key: "reason_poisoned", Value: bytes.Repeat([]byte("\xff\x00ä"), 10_000)}, {Key: "ce_id", Value: []byte("\x00")}},
		{{Key: "kafka_dlt-original-topic", Value: []byte("a")}, {Key: "kafka_dlt-original-timestamp", Value: bigEndian(int64(1) << 62)}},
		{{Key: "dlq_letter_id", Value: []byte("no uuid")}, {Key: "dlq_first_failed_at", Value: []byte("never")}},
		{{Key: "__connect.errors.topic", Value: []byte("a")}, {Key: "__connect.errors.partition", Value: []byte("99999999999999999999")}},
	} {
		c.write(transport.LogRecord{Record: transport.Record{Topic: deadLetters, Key: []byte{0, 0xff}, Value: []byte{0, 0xff, byte(n)}, Headers: headers}})
	}
	if n := len(c.list(deadLetters, "")); n != 6 {
		t.Errorf("%d letters", n)
	}
	if n := len(c.list(deadLetters, "not error:x header.a!=1 body.x!=1 text:y or status:new")); n != 6 {
		t.Errorf("%d letters", n)
	}
	if groups, err := c.desk.Groups(t.Context(), chosen(t, deadLetters, "")); err != nil || len(groups) == 0 {
		t.Errorf("%d groups, %v", len(groups), err)
	}
	if tally := c.redrive(foreign.Redrive{Selection: chosen(t, deadLetters, ""), To: origin}); tally.Sent != 5 || tally.Ours != 1 {
		t.Errorf("%+v", tally)
	}
}
