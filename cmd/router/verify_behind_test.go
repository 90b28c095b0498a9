package main

import (
	"database/sql"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/testserver"
)

// A service runs nowhere. That its messages wait is no violation until they have waited for too long; that records are removed
// which it has not read is one at once, and excuses nobody else.
func TestVerifyFindsAServiceThatStaysBehind(t *testing.T) {
	brokers, dsn := testserver.Kafka(t), testserver.PostgresDSN(t)
	settings := map[string]string{"KAFKA_BROKERS": brokers, "DATABASE_URL": dsn, "CARRIER_STEP": "20ms"}
	for name, value := range settings { // where verify looks, and whose tables there are
		t.Setenv(name, value)
	}
	runCommand(t, "migrate", "up")
	settings["SERVICES"] = "order,payment,inventory,shipping,analytics"
	system := startServe(t, settings)
	address := regexp.MustCompile(`order (http://[^,]+)`).FindStringSubmatch(system.http)[1]
	const placed = 6
	for range placed {
		if status, body := system.ask(t, "POST", address+"/orders", orderBody, nil); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, body)
		}
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	eventually(t, "the orders are delivered", func() bool {
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM orders.orders WHERE status = 'DELIVERED'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == placed
	})
	if r := verified(t); !r.OK || r.Counts.Unheard == 0 {
		t.Errorf("%d are unheard\n%s", r.Counts.Unheard, examples(t, r))
	}
	eventually(t, "they have waited for too long", func() bool {
		r := verified(t, "--patience", "1s")
		return slices.Equal(violated(r), []string{"I6"}) && strings.Contains(examples(t, r), "notification has not heard of it what lies in the log")
	})

	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(t.Context(), "ecommerce.orders.created")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others have told the broker what they have read", func() bool {
		for _, group := range []string{"inventory-service", "analytics-service"} {
			read, err := admin.FetchOffsetsForTopics(t.Context(), group, "ecommerce.orders.created")
			if err != nil {
				t.Fatal(err)
			}
			behind := false
			ends.Each(func(end kadm.ListedOffset) {
				at, there := read.Lookup(end.Topic, end.Partition)
				behind = behind || end.Offset > 0 && (!there || at.At < end.Offset)
			})
			if behind {
				return false
			}
		}
		return true
	})
	if answer, err := admin.DeleteRecords(t.Context(), ends.Offsets()); err != nil || answer.Error() != nil {
		t.Fatal(err, answer.Error())
	}
	r := verified(t)
	text := examples(t, r)
	t.Log(text)
	if !slices.Equal(violated(r), []string{"I8"}) || !strings.Contains(text, "records were removed before notification-service had read them") || strings.Contains(text, "inventory-service") {
		t.Errorf("violated: %v, want I8\n%s", violated(r), text)
	}
}
