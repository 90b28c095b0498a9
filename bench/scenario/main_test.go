package scenario

import (
	"database/sql"
	"testing"

	"millrace/bench/rig"
	"millrace/embedded"
	"millrace/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// aRound is one on the servers of the tests: as durable as those of a run, and in this process.
func aRound(t *testing.T) *rig.Round {
	t.Helper()
	dsn := testserver.DurablePostgresDSN(t)
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	broker, err := embedded.StartKafka(embedded.KafkaConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	return &rig.Round{DSN: dsn, DB: db, Brokers: []string{broker.Addr()}}
}
