//go:build unix

package story_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/event"
	"millrace/router"
	"millrace/testserver"
)

// An order that is undone again after the carrier refused it: all that anybody said of it, and
// all that was logged, can be found by the correlation id of the request that began it.
func TestCorrelation(t *testing.T) {
	t.Parallel()
	brokers, dsn := testserver.Kafka(t), testserver.PostgresDSN(t)
	n := startNode(t, settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "LOG_FORMAT": "json", "LOG_LEVEL": "debug"})
	s := openShop(t, dsn, n)
	o := s.places(shippedTo("SHIP-REFUSED"))
	// The database is asked, since requests about the order would have ids of their own.
	eventually(t, "the order is cancelled", func() error {
		var status string
		err := s.books.QueryRow(`SELECT status FROM orders.orders WHERE order_id = $1`, o.id).Scan(&status)
		if err == nil && status != string(event.OrderIsCancelled) {
			err = fmt.Errorf("it is %s", status)
		}
		return err
	})
	eventually(t, "nothing is on its way", func() error { return atRest(s) })

	log, err := readLog(brokers)
	if err != nil {
		t.Fatal(err)
	}
	said := slices.DeleteFunc(log, func(r *kgo.Record) bool { return string(r.Key) != o.id })
	topics := map[string]bool{}
	for _, r := range said {
		topics[r.Topic] = true
		if got := headerOf(r, "ce_correlationid"); got != o.correlation {
			t.Errorf("%s at %s/%d/%d has the correlation id %q, want %q", headerOf(r, "ce_type"), r.Topic, r.Partition, r.Offset, got, o.correlation)
		}
	}
	t.Logf("%d records in %d topics carry the correlation id %s", len(said), len(topics), o.correlation)
	t.Logf("what caused what:\n%s", strings.Join(causes(t, o.id, said), "\n"))
	t.Logf("%d log lines name the order and carry its correlation id", correlatedLines(t, n, o))
}

// causes checks that the records form a tree whose root is the request, and draws it. The answer
// to a call is a cause that is no record: a UUIDv5, of a service that heard something first.
func causes(t *testing.T, request string, said []*kgo.Record) (drawn []string) {
	t.Helper()
	hears := map[string][]string{}
	for _, service := range router.Flow(router.Services{}) {
		hears[service.Name] = service.Topics()
	}
	events := map[string]bool{}
	for _, r := range said {
		events[headerOf(r, "ce_id")] = true
	}
	depth := map[string]int{request: 0} // of what hangs on the root by now
	heard := map[string]int{}           // the depth of what was said in a topic
	for left := slices.Clone(said); len(left) > 0; {
		before := len(left)
		left = slices.DeleteFunc(left, func(r *kgo.Record) bool {
			cause, source := headerOf(r, "ce_causationid"), headerOf(r, "ce_source")
			at, known := depth[cause]
			how := ""
			if id, err := uuid.Parse(cause); !known && err == nil && id.Version() == 5 && !events[cause] {
				for _, topic := range hears[source] {
					if d, ok := heard[topic]; ok {
						at, known, how = max(at, d), true, ", having asked outside"
					}
				}
			}
			if known {
				depth[headerOf(r, "ce_id")], heard[r.Topic] = at+1, at+1
				drawn = append(drawn, fmt.Sprintf("%s%s said %s%s", strings.Repeat("  ", at), source, headerOf(r, "ce_type"), how))
			}
			return known
		})
		if len(left) == before {
			for _, r := range left {
				t.Errorf("%s of %s is caused by %s, which is neither the request nor an event nor an answer", headerOf(r, "ce_type"), headerOf(r, "ce_source"), headerOf(r, "ce_causationid"))
			}
			break
		}
	}
	if len(said) == 0 || headerOf(firstOf(said, "OrderCreated"), "ce_causationid") != request {
		t.Errorf("OrderCreated is not caused by the request %s", request)
	}
	return drawn
}

func firstOf(said []*kgo.Record, eventType string) *kgo.Record {
	i := slices.IndexFunc(said, func(r *kgo.Record) bool { return headerOf(r, "ce_type") == eventType })
	if i < 0 {
		return &kgo.Record{}
	}
	return said[i]
}

// correlatedLines counts the log lines that name the order; each must carry its correlation id.
func correlatedLines(t *testing.T, n *node, o *placed) (lines int) {
	t.Helper()
	text, err := os.ReadFile(n.logPath)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.Contains(line, o.id) {
			continue
		}
		lines++
		var entry struct {
			CorrelationID string `json:"correlation_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.CorrelationID != o.correlation {
			t.Errorf("the log names the order without its correlation id: %s", line)
		}
	}
	if lines == 0 {
		t.Error("the log does not name the order")
	}
	return lines
}
