package main

import (
	"bytes"
	"database/sql"
	"net/http"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/testserver"
	"millrace/verify"
)

// runCommand runs a command of the router, which must succeed.
func runCommand(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
}

// A service fails, and a stranger sends what nobody can read: what is held up is listed, and no violation; nor is
// what comes of it when letters are redriven and dropped.
func TestVerifyWithDeadLetters(t *testing.T) {
	brokers, dsn := testserver.Kafka(t), testserver.PostgresDSN(t)
	settings := map[string]string{
		"KAFKA_BROKERS": brokers, "DATABASE_URL": dsn, "CARRIER_STEP": "20ms", "PAYMENT_DEADLINE": "6s", "ORDER_DEADLINE": "10s",
	}
	system := startServe(t, settings)
	for name, value := range settings { // where verify looks
		t.Setenv(name, value)
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	must := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	must(`ALTER TABLE shipping.shipments ADD CONSTRAINT broken CHECK (state::text = '{}') NOT VALID`)
	const orders = 12
	for range orders {
		if status, body := system.ask(t, "POST", system.http+"/orders", orderBody, nil); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, body)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const stranger = "0199c0de-0000-7000-8000-000000000001"
	foreign := func(key, value string) *kgo.Record {
		return &kgo.Record{Topic: "ecommerce.orders.created", Key: []byte(key), Value: []byte(value)}
	}
	if err := client.ProduceSync(t.Context(), foreign(stranger, "{"), foreign("no id", "{}"), foreign("", ""),
		foreign(stranger, `{"orderId":"`+stranger+`","customerId":"c","items":[{"sku":"MUG-RED","quantity":1,"unitPrice":5}],"total":{"amount":5,"currency":"EUR"},"paymentMethod":"pm_accepted"}`),
	).FirstErr(); err != nil {
		t.Fatal(err)
	}
	const unreadable = 3 * 3 // by three services each
	eventually(t, "all letters are written", func() bool {
		r := verified(t)
		if !r.OK {
			t.Fatalf("while letters are written:\n%s", examples(t, r))
		}
		return r.Counts.Letters == orders+unreadable && r.Counts.Foreign == 4
	})
	eventually(t, "the deadlines have passed, and their words are parked", func() bool {
		r := verified(t)
		if !r.OK {
			t.Fatalf("while orders are held up:\n%s", examples(t, r))
		}
		return r.Counts.Parked == orders
	})
	var r *verify.Report
	eventually(t, "nothing stands still, and each order has its reason", func() bool {
		r = verified(t, "--patience", "1s")
		if bad := slices.DeleteFunc(violated(r), func(id string) bool { return id == "I6" }); len(bad) > 0 { // a busy machine may stand still for a second
			t.Fatalf("while orders are held up:\n%s", examples(t, r))
		}
		return r.OK && r.ListedCount == orders
	})
	must(`ALTER TABLE shipping.shipments DROP CONSTRAINT broken`)
	var first string
	if err := db.QueryRowContext(t.Context(), `SELECT id FROM deadletter.letters WHERE service = 'shipping' AND status = 'new' ORDER BY position LIMIT 1`).Scan(&first); err != nil {
		t.Fatal(err)
	}
	runCommand(t, "dlq", "drop", first, "--reason", "to see what comes of it")
	runCommand(t, "dlq", "redrive", "--filter", "service:shipping", "--yes", "--reason", "mended")
	eventually(t, "the system is at rest", func() bool {
		if r = verified(t); !r.OK {
			t.Fatalf("while letters are redriven:\n%s", examples(t, r))
		}
		r = verified(t, "--at-rest")
		return r.OK
	})
	t.Log(examples(t, r))
	// A parcel may have arrived before the cancel was redriven: then its order needs attention, and is listed.
	if r.Counts.Letters != unreadable || r.Counts.Parked != 0 {
		t.Errorf("%+v; want %d letters, and nothing behind them", r.Counts, unreadable)
	}
}
