package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/cmd/exit"
	"millrace/demo"
	"millrace/testserver"
	"millrace/verify"
)

func TestVerifyRefusesWhatItCannotDo(t *testing.T) {
	t.Setenv("DATA_DIR", t.TempDir())
	t.Setenv("TRANSPORT", "memory")
	ids := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(ids, []byte("order-17\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, test := range map[string]struct {
		want  string
		usage bool
	}{
		"--examples 0":           {"--examples: at least 1 is needed", true},
		"--patience -1s":         {"--patience: -1s is less than nothing", true},
		"--output yaml":          {"it is one of table, json", true},
		"--accepted /nowhere/at": {"--accepted: open /nowhere/at", true},
		"--wait 3s":              {"--wait: it goes with --at-rest", true},
		"now":                    {`unknown command "now" for "router verify"`, true},
		"--database postgres://127.0.0.1:1/shop?sslmode=maybe":           {"--database: ", true},
		"--database postgres://127.0.0.1:1/shop":                         {"connection refused", false},
		"--database " + testserver.PostgresDSN(t):                        {"it has none of the system's tables", false},
		"--accepted " + ids + " --database " + testserver.PostgresDSN(t): {`"order-17" is no order's id`, true},
	} {
		root := rootCommand()
		root.SetArgs(append([]string{"verify"}, strings.Split(args, " ")...))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &exit.UsageError{}) != test.usage {
			t.Errorf("verify %s: want %q, usage %v; got %v", args, test.want, test.usage, err)
		}
	}
}

// verified runs the command and returns its report. Whether it fails must be what the report says.
func verified(t *testing.T, args ...string) *verify.Report {
	t.Helper()
	var out bytes.Buffer
	root := rootCommand()
	root.SetArgs(append([]string{"verify", "--output", "json"}, args...))
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(t.Context())
	var report verify.Report
	if decodeErr := json.Unmarshal(out.Bytes(), &report); decodeErr != nil {
		t.Fatalf("verify: %v, %v\n%s", err, decodeErr, out.String())
	}
	if (err == nil) != report.OK {
		t.Errorf("verify ends with %v, and the report says ok: %t", err, report.OK)
	}
	return &report
}

func violated(r *verify.Report) (list []string) {
	for _, i := range r.Invariants {
		if i.Violations > 0 {
			list = append(list, i.ID)
		}
	}
	slices.Sort(list)
	return list
}

func examples(t *testing.T, r *verify.Report) string {
	t.Helper()
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// A real system is looked at while orders of every kind go through it, and when it has come to rest: there is
// nothing to find.
func TestVerifyOnARealSystem(t *testing.T) {
	for name, settings := range map[string]func(t *testing.T) map[string]string{
		"stock Watermill": func(t *testing.T) map[string]string {
			return map[string]string{"TRANSPORT": "watermill", "KAFKA_BROKERS": testserver.Kafka(t), "DATABASE_URL": testserver.PostgresDSN(t)}
		},
		"real Kafka": func(t *testing.T) map[string]string {
			return map[string]string{"KAFKA_BROKERS": testserver.RealKafka(t), "DATABASE_URL": testserver.PostgresDSN(t)}
		},
		"three databases": func(t *testing.T) map[string]string {
			return map[string]string{"KAFKA_BROKERS": testserver.Kafka(t), "DATABASE_URL": testserver.PostgresDSN(t),
				"PAYMENT_DATABASE_URL": testserver.PostgresDSN(t), "SHIPPING_DATABASE_URL": testserver.PostgresDSN(t)}
		},
	} {
		t.Run(name, func(t *testing.T) { goThrough(t, 60, settings(t)) })
	}
}

// goThrough has orders of every kind go through a system, until that has come to rest. verify looks all the while.
func goThrough(t *testing.T, orders int, settings map[string]string) {
	t.Helper()
	maps.Copy(settings, map[string]string{"CARRIER_STEP": "20ms", "PAYMENT_DEADLINE": "6s", "ORDER_DEADLINE": "30s"})
	system := startServe(t, settings)
	for name, value := range settings { // where verify looks
		t.Setenv(name, value)
	}
	mix, err := demo.ParseMix(strings.Join(everyScenario(), ","))
	if err != nil {
		t.Fatal(err)
	}
	placed := make(chan error, 1)
	go func() {
		report, err := demo.Run(t.Context(), demo.Options{URL: system.http, Orders: orders, Rate: 40, Mix: mix, Wait: patience, Progress: io.Discard})
		if err == nil && len(report.Problems) > 0 {
			err = errors.New(strings.Join(report.Problems, "\n"))
		}
		placed <- err
	}()
	looks, busy := 0, 0
	for going := true; going; looks++ {
		select {
		case err := <-placed:
			if err != nil {
				t.Fatal(err)
			}
			going = false
		default:
		}
		r := verified(t)
		if !r.OK {
			t.Fatalf("while it goes on:\n%s", examples(t, r))
		}
		if r.Counts.Unheard > 0 || r.Counts.Later > 0 || r.Counts.Outbox > 0 {
			busy++
		}
	}
	atRest := verified(t, "--at-rest", "--wait", patience.String())
	t.Logf("%d looks, %d of them met something on its way; then\n%s%d bytes for each order", looks, busy, examples(t, atRest), atRest.Bytes/int64(orders))
	if !atRest.OK || atRest.Counts.Orders != int64(orders) || len(atRest.Warnings) > 0 || busy == 0 {
		t.Errorf("%d orders, want %d; warnings: %v; met something on its way %d times", atRest.Counts.Orders, orders, atRest.Warnings, busy)
	}
}

// A demo ends with what verify finds: all orders it placed are there, and nothing is wrong; or something is.
func TestDemoEndsWithVerify(t *testing.T) {
	settings := map[string]string{
		"KAFKA_BROKERS": testserver.Kafka(t), "DATABASE_URL": testserver.PostgresDSN(t), "CARRIER_STEP": "20ms",
	}
	system := startServe(t, settings)
	for name, value := range settings {
		t.Setenv(name, value)
	}
	play := func(args ...string) (string, error) {
		var out bytes.Buffer
		root := rootCommand()
		root.SetArgs(append([]string{"demo", "--url", system.http, "--orders", "10", "--mix", "accepted=1"}, args...))
		root.SetOut(&out)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	text, err := play()
	if err != nil || !strings.Contains(text, "every order is accounted for") || !strings.Contains(text, "No violation.") {
		t.Errorf("%v\n%s", err, text)
	}
	db, err := sql.Open("postgres", settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE inventory.stock SET sold = sold + 1, available = available - 1 WHERE sku = (SELECT min(sku) FROM inventory.stock WHERE available > 0)`); err != nil {
		t.Fatal(err)
	}
	text, err = play("--output", "json")
	var report struct {
		Placed int            `json:"placed"`
		Verify *verify.Report `json:"verify"`
	}
	if decodeErr := json.Unmarshal([]byte(text), &report); decodeErr != nil {
		t.Fatalf("%v, %v\n%s", err, decodeErr, text)
	}
	if err == nil || !strings.Contains(err.Error(), "verify found") || report.Placed != 10 || report.Verify == nil || !slices.Equal(violated(report.Verify), []string{"I4"}) {
		t.Errorf("%v\n%s", err, text)
	}
}

// Databases and log of a real system are damaged, one thing after the other: each damage is found, and nothing else.
func TestVerifyFindsDamage(t *testing.T) {
	brokers, dsn := testserver.Kafka(t), testserver.PostgresDSN(t)
	goThrough(t, 60, map[string]string{"KAFKA_BROKERS": brokers, "DATABASE_URL": dsn})
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ids := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(ids, []byte("0199c0de-0000-7000-8000-000000000001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	delivered := func(n string) string {
		return " WHERE order_id = (SELECT order_id FROM orders.orders WHERE status = 'DELIVERED' ORDER BY order_id OFFSET " + n + " LIMIT 1)"
	}
	var want []string
	for _, damage := range []struct{ invariant, statement string }{
		{"I4", `UPDATE inventory.stock SET sold = sold + 1, available = available - 1 WHERE sku = (SELECT min(sku) FROM inventory.stock WHERE available > 0)`},
		{"I13", `UPDATE analytics.totals SET n = n + 1 WHERE name = 'placed'`},
		{"I3", `UPDATE provider.accounts SET captured_amount = captured_amount + 1` + delivered("0")},
		{"I9", `UPDATE shipping.shipments SET parked_at = now()` + delivered("1")},
		{"I12", `UPDATE orders.orders SET commands = array_fill(gen_random_uuid(), ARRAY[257])` + delivered("2")},
		{"I11", `UPDATE shipping.shipments SET correlation_id = 'another'` + delivered("3")},
		{"H", `UPDATE orders.orders SET status = 'PAID'` + delivered("4")},
		{"I8", `UPDATE inventory.reservations SET processed = '{}'` + delivered("5")},
		{"I7", `UPDATE payments.payments SET said = said + 1` + delivered("6")},
		{"I6", `UPDATE shipping.shipments SET waiting = '{book}'` + delivered("7")},
		{"I2", `UPDATE provider.accounts SET captures = 2` + delivered("8")},
	} {
		result, err := db.ExecContext(t.Context(), damage.statement)
		if err != nil {
			t.Fatalf("%s: %v", damage.statement, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s: %d rows, %v", damage.statement, n, err)
		}
		want = append(want, damage.invariant)
		slices.Sort(want)
		if r := verified(t, "--at-rest"); !slices.Equal(violated(r), want) {
			t.Fatalf("after the damage to %s: %v, want %v\n%s", damage.invariant, violated(r), want, examples(t, r))
		}
	}
	again(t, brokers)
	want = append(want, "I1", "I5")
	slices.Sort(want)
	if r := verified(t, "--at-rest", "--accepted", ids); !slices.Equal(violated(r), want) {
		t.Fatalf("in the end: %v, want %v\n%s", violated(r), want, examples(t, r))
	}
}

// everyScenario is a mix in which each has the same weight.
func everyScenario() (list []string) {
	for _, s := range demo.Scenarios() {
		list = append(list, s.Name+"=1")
	}
	return list
}

// again writes an event into the log once more, with another header.
func again(t *testing.T, brokers string) {
	t.Helper()
	const topic = "ecommerce.notification.sent"
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fetches := client.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil || fetches.NumRecords() != 1 {
		t.Fatalf("%d records, %v", fetches.NumRecords(), err)
	}
	r := fetches.Records()[0]
	changed := &kgo.Record{Topic: topic, Key: r.Key, Value: r.Value, Headers: append(r.Headers, kgo.RecordHeader{Key: "x-changed", Value: []byte("1")}), Timestamp: time.Now()}
	if err := client.ProduceSync(ctx, changed).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
