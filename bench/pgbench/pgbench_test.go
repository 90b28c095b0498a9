package pgbench

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"millrace/embedded"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const summary = `transaction type: transaction.sql
number of transactions actually processed: 4711
number of failed transactions: 0 (0.000%)
latency average = 3.1 ms
tps = 1234.567890 (without initial connection time)
`

func TestParse(t *testing.T) {
	r, err := parse(summary)
	if err != nil || r.Transactions != 4711 || r.TransactionsPerSecond != 1234.56789 {
		t.Errorf("parse = %+v, %v", r, err)
	}
	if _, err := parse(strings.Replace(summary, "failed transactions: 0", "failed transactions: 3", 1)); err == nil {
		t.Error("failed transactions were not noticed")
	}
	if _, err := parse("nothing"); err == nil {
		t.Error("a summary without a rate was not noticed")
	}
}

// What pgbench counts is in the outbox, whole, and the best of the tries is the result.
func TestRun(t *testing.T) {
	if _, err := embedded.FindPostgresProgram("pgbench"); err != nil {
		t.Skipf("LEFT OUT: %v", err)
	}
	payload := `{"orderId":"0199c0de-0000-7000-8000-000000000001","at":"21:20:30","quantity":2}`
	dsn := testserver.DurablePostgresDSN(t)
	r, err := Run(t.Context(), Config{DSN: dsn, Clients: []int{1, 4}, Duration: time.Second, Payload: payload, Headers: "{}"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Transactions == 0 || r.TransactionsPerSecond <= 0 || r.Clients == 0 {
		t.Errorf("nothing was measured: %+v", r)
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var other int
	if err := db.QueryRow("SELECT count(*) FROM outbox WHERE payload <> $1", payload).Scan(&other); err != nil || other > 0 {
		t.Errorf("%d rows carry another payload (%v)", other, err)
	}
}
