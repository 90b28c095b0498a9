//go:build unix

package story_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/topic"
)

// letterRow is a row of deadletter.letters.
type letterRow struct {
	id, service, group, handler, message, topic, errorType, error, version, status, lane string
	order                                                                                *string
	partition                                                                            int32
	offset                                                                               int64
	key, headers, payload                                                                []byte
	attempts                                                                             int
	firstFailed, lastFailed                                                              time.Time
}

func lettersIn(t testing.TB, s *shop) (letters []letterRow) {
	t.Helper()
	rows, err := s.books.Query(`SELECT id, service, consumer_group, handler, message_id, topic, error_type, error, version, status, lane, order_id, partition, kafka_offset,
key, headers, payload, attempts, first_failed_at, last_failed_at FROM deadletter.letters`)
	if err != nil {
		t.Fatalf("read the letters: %v", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l letterRow
		if err := rows.Scan(&l.id, &l.service, &l.group, &l.handler, &l.message, &l.topic, &l.errorType, &l.error, &l.version, &l.status, &l.lane, &l.order, &l.partition, &l.offset,
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
	switch {
	case l.status != "new":
		t.Errorf("letter %s is %s", l.id, l.status)
	case w.holdsUp && (l.order == nil || *l.order != string(w.Key) || l.lane != *l.order):
		t.Errorf("letter %s does not hold up order %s: it is in lane %s", l.id, w.Key, l.lane)
	case !w.holdsUp && (l.order != nil || l.lane != l.id):
		t.Errorf("letter %s, whose order is anybody's guess, is in lane %s", l.id, l.lane)
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
