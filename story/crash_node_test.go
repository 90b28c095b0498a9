//go:build unix

package story_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/embedded"
)

// crash is kill -9 at this very moment: nothing is asked of the router before.
func (n *node) crash() {
	n.tb.Helper()
	n.running.Store(false)
	n.process.Stop(0)
}

// raceShown is how many lines a race report has at most.
const raceShown = 80

// showRaces shows what the race detector found, of which the end of a long log says nothing.
func (n *node) showRaces() {
	n.tb.Cleanup(func() {
		text, err := os.ReadFile(n.logPath)
		if err != nil {
			n.tb.Error(err)
			return
		}
		if _, report, found := strings.Cut(string(text), "WARNING: DATA RACE"); found {
			lines := strings.Split(report, "\n")
			n.tb.Errorf("a data race:%s", strings.Join(lines[:min(len(lines), raceShown)], "\n"))
		}
	})
}

// handled is how many messages the process has finished since its start.
func (n *node) handled() (messages int) {
	n.tb.Helper()
	metrics, err := n.get("/metrics")
	if err != nil {
		n.tb.Fatalf("read the metrics: %v", err)
	}
	for _, m := range doneMetric.FindAllStringSubmatch(metrics, -1) {
		count, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			n.tb.Fatalf("read the metrics: %v", err)
		}
		messages += int(count)
	}
	return messages
}

// embedded is where the node's own broker and database are.
func (n *node) embedded() (kafka, postgres string) {
	n.tb.Helper()
	text, err := os.ReadFile(filepath.Join(n.env["DATA_DIR"], "endpoints.json"))
	if err != nil {
		n.tb.Fatal(err)
	}
	var e embedded.Endpoints
	if err := json.Unmarshal(text, &e); err != nil {
		n.tb.Fatal(err)
	}
	return e.Kafka, e.Postgres
}

func portText(port int) string { return strconv.Itoa(port) }

// nothingLeft tells whether all events have been published.
func nothingLeft(db *sql.DB) error {
	var n int
	err := db.QueryRow(`SELECT count(*) FROM millrace.outbox`).Scan(&n)
	if err == nil && n > 0 {
		err = fmt.Errorf("%d events are left", n)
	}
	return err
}

// atLeast is nil once so many orders were accepted.
func (r *crowd) atLeast(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.orders) < n {
		return fmt.Errorf("%d orders are accepted", len(r.orders))
	}
	return nil
}

// randomly is a source of random numbers whose seed a failed test shows.
func randomly(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the seed was %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}
