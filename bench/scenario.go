// Package bench measures Millrace beside stock Watermill and pgbench, on the same Postgres and the
// same broker, in interleaved rounds. This package is the frame: what a scenario is, the rounds, the
// rows, the figures with their goals, and the report. Figures are reported and never fail a run;
// a round whose checks fail (an order not final, a sum wrong, a message lost) does.
package bench

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"millrace/bench/rig"
)

// Scale is how long and how much a run measures.
type Scale int

// Smoke only shows that both sides end right: all scenarios in less than a minute. Quick takes less
// than six minutes, Whole less than ninety minutes, both on two cores.
const (
	Smoke Scale = iota
	Quick
	Whole
)

// String is the scale's name on the command line and in rows.
func (s Scale) String() string { return [...]string{"smoke", "quick", "whole"}[s] }

// Scenario is one thing that is measured, on all its sides.
type Scenario struct {
	Name    string
	Gives   []string                  // the figures' names, those of Goals; what --only knows besides Name
	Sides   []Side                    // run in turn in each round: ours, theirs, ours, theirs …
	Rounds  func(scale Scale) int     // nil: the run's own number
	Figures func(rows []Row) []Figure // from this scenario's rows of all rounds; rows of failed sides are left out
}

// Side is one of those that a scenario compares.
type Side struct {
	Name string // "ours", "stock", "stock tuned", "pgbench", …

	// Run measures one round. It fails if a check fails. It begins on a database and topics of its
	// own, drops them before it returns, and leaves no process.
	Run func(ctx context.Context, env *Env) (Values, error)
}

// Values are what one side measured in one round, by name; the names carry the unit where it is
// not plain ("p99_ms", "rss_mib", "orders_per_second").
type Values map[string]float64

// Env is what one side's Run is given, anew for each.
type Env struct {
	Scale    Scale
	Rig      *rig.Rig
	Log      *slog.Logger
	Progress func(format string, args ...any) // one line for whoever watches

	// Earlier are the rows of this run so far, of all scenarios: a rate that depends on another
	// scenario's (half of the saturated one) is taken from there. With --only it may hold nothing.
	Earlier []Row

	// Partitions and Concurrency go into the row. Partitions is set; Run may set Concurrency to the
	// number of clients, connections or messages in flight that it used.
	Partitions, Concurrency int

	mu     sync.Mutex
	series map[string][]float64
}

// Sample appends one value to a series, which the report draws over time. All series of a run are
// sampled together; the one called "seconds" is their common time axis.
func (e *Env) Sample(series string, value float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.series == nil {
		e.series = map[string][]float64{}
	}
	e.series[series] = append(e.series[series], value)
}

// Row is what one side measured in one round: one line of JSON under bench/results/.
type Row struct {
	Scenario        string    `json:"scenario"`
	Side            string    `json:"side"`
	Round           int       `json:"round"` // from 1
	Began           time.Time `json:"began"`
	Seconds         float64   `json:"seconds"`         // the side's whole run, setting up included
	FsyncsPerSecond float64   `json:"fsyncsPerSecond"` // of the file system, just before
	Partitions      int       `json:"partitions"`
	Concurrency     int       `json:"concurrency,omitempty"`
	Values          Values    `json:"values,omitempty"`

	Series map[string][]float64 `json:"series,omitempty"` // what was given to Sample
	Failed string               `json:"failed,omitempty"` // the error; such a row makes no figure
}

// Figure is one line of the result.
type Figure struct {
	Name string // of Goals, or one of those with a part behind a dot: "latency_30.p50"
	Unit string // of Ours and Theirs

	Ours, Theirs float64 // medians over the rounds; NaN: not measured; Theirs 0: there is nobody to compare with
	Ratio        float64 // Ours ÷ Theirs, of the medians; 0: none
	WorstPair    float64 // our worst round ÷ their best; 0: none
	Goal         string  // in words, with its sign; empty: none. Set from Goals, as are Unit and Reached
	Reached      bool    // whether the medians reach the goal
	Unjudged     bool    // its goal does not apply to how it was measured, and is left out; Note says why
	Note         string  // what a reader must know: an opponent stopped early, a shortened soak
}
