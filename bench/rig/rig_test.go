package rig_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/bench/rig"
	"millrace/embedded"
	"millrace/testserver"
)

func TestMain(m *testing.M) {
	embedded.RunFetchChildIfAsked()
	code := testserver.Stopping(m).Run()
	if r, err := one(); err == nil {
		if err := r.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// one rig serves all tests: it builds two programs.
var one = sync.OnceValues(func() (*rig.Rig, error) {
	return rig.Start(context.Background(), rig.Config{Kafka: rig.EmbeddedKafka})
})

func start(t *testing.T) *rig.Rig {
	t.Helper()
	r, err := one()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func round(t *testing.T, r *rig.Rig, delay time.Duration) *rig.Round {
	t.Helper()
	o, err := r.DelayedRound(t.Context(), delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// The durability that the figures are measured with.
func TestPostgresWaitsForTheDisk(t *testing.T) {
	o := round(t, start(t), 0)
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := o.DB.QueryRow("SHOW " + setting).Scan(&value); err != nil || value != "on" {
			t.Errorf("%s is %q (%v), want on", setting, value, err)
		}
	}
}

func TestARoundFindsNothingOfTheLast(t *testing.T) { leaveSomething(t, start(t)) }

func leaveSomething(t *testing.T, r *rig.Rig) {
	for range 2 {
		o, err := r.Round(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.DB.Exec("CREATE TABLE left_behind ()"); err != nil {
			t.Error(err)
		}
		if topics := topicsOf(t, o); len(topics) > 0 {
			t.Errorf("a new round has the topics %v", topics)
		}
		client := kafka(t, o)
		if _, err := kadm.NewClient(client).CreateTopic(t.Context(), rig.Partitions, 1, nil, "left-behind"); err != nil {
			t.Error(err)
		}
		client.Close()
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A router on a round, measured, and slowed.
func TestARouterRunsOnARound(t *testing.T) {
	r := start(t)
	o := round(t, r, 0)
	meter, err := o.Measure()
	if err != nil {
		t.Fatal(err)
	}
	router, err := o.StartRouter(t.Context(), "router")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := rig.Get(t.Context(), router.URL+"/inventory"); err != nil || !strings.Contains(string(body), "MUG-RED") {
		t.Errorf("GET /inventory: %s (%v)", body, err)
	}
	// The clock of a process ticks a hundred times a second: this is some of its ticks, and the router's sessions may have none yet.
	if _, err := o.DB.Exec("SELECT count(*) FROM generate_series(1, 3000000)"); err != nil {
		t.Error(err)
	}
	usage, err := meter.Stop()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"router", rig.PostgresBackends} {
		if usage[name] <= 0 {
			t.Errorf("a start cost %s %v of CPU", name, usage[name])
		}
	}
	if m, err := rig.MemoryOf(router.PID()); err != nil || m.RSS < 10 || m.Peak < m.RSS {
		t.Errorf("the router occupies %+v (%v)", m, err)
	}
	for name, read := range map[string]func() (float64, error){
		"Postgres": o.PostgresMemory,
		"broker":   func() (float64, error) { m, err := o.BrokerMemory(); return m.RSS, err },
	} {
		if mib, err := read(); err != nil || mib < 1 {
			t.Errorf("%s occupies %v MiB (%v)", name, mib, err)
		}
	}
}

func TestADelayIsAddedToEachRoundTrip(t *testing.T) { delayed(t, start(t)) }

func TestARealKafkaIsClearedAndDelayed(t *testing.T) {
	testserver.RealKafka(t) // skips where there is none
	one := start(t)
	r, err := rig.Start(t.Context(), rig.Config{Kafka: rig.RealKafka, Bench: one.Bench()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	leaveSomething(t, r)
	delayed(t, r)
}

func delayed(t *testing.T, r *rig.Rig) {
	const delay = 50 * time.Millisecond
	o := round(t, r, delay)
	db, err := sql.Open("postgres", o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	client := kafka(t, o)
	defer client.Close()
	for name, ask := range map[string]func() error{
		"Postgres": func() error { return db.Ping() },
		"Kafka":    func() error { return client.Ping(t.Context()) },
	} {
		if err := ask(); err != nil { // the connection is made here
			t.Fatal(err)
		}
		begin := time.Now()
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < delay {
			t.Errorf("a round trip to %s took %v, want %v at least", name, took, delay)
		}
	}
}

func TestFsyncsAreCounted(t *testing.T) {
	r := start(t)
	if n, err := r.Fsyncs(t.Context()); err != nil || n <= 0 {
		t.Errorf("%v fsyncs a second (%v)", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Fsyncs(ctx); err == nil {
		t.Error("no error after a cancel")
	}
}

func kafka(t *testing.T, o *rig.Round) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(o.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func topicsOf(t *testing.T, o *rig.Round) []string {
	t.Helper()
	client := kafka(t, o)
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return topics.Names()
}
