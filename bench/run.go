package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"millrace/bench/rig"
)

// Rounds of a run, unless the scenario or the command line says otherwise. Five give a median and a
// spread worth the name; three fit into the six minutes of a quick run; one shows correctness.
const (
	smokeRounds = 1
	quickRounds = 3
	wholeRounds = 5
)

// partitions of every topic, on both sides: what the router creates unless configured.
const partitions = 3

// DefaultRounds is the number of rounds of a scale.
func DefaultRounds(scale Scale) int { return [...]int{smokeRounds, quickRounds, wholeRounds}[scale] }

// Runner runs scenarios in interleaved rounds.
type Runner struct {
	Scale     Scale
	Rounds    int // 0: the scale's. A scenario with a number of its own keeps it
	Scenarios []Scenario
	Rig       *rig.Rig
	Log       *slog.Logger

	// Before is called before each round: it puts the servers at rest, and tells how often per
	// second the file system can be synced just now.
	Before func(ctx context.Context) (fsyncsPerSecond float64, err error)

	Append   func(Row) error // takes each row as soon as it is there
	Progress io.Writer       // for people; a line per round and side
}

// Run measures all scenarios. A side that fails leaves a row that says so, and the others go on; the
// error then names all failures. When ctx ends, what is under way is stopped and ctx's error returned.
func (r *Runner) Run(ctx context.Context) ([]Row, error) {
	var rows []Row
	var failures []error
	for _, s := range r.Scenarios {
		rounds := r.rounds(s)
		for round := 1; round <= rounds; round++ {
			fsyncs, err := r.Before(ctx)
			if err != nil {
				return rows, errors.Join(append(failures, fmt.Errorf("preparing round %d of %s: %w", round, s.Name, err))...)
			}
			r.say("%s  %s, round %d of %d, %.0f fsyncs/s", time.Now().Format(time.TimeOnly), s.Name, round, rounds, fsyncs)
			for _, side := range s.Sides {
				row := Row{Scenario: s.Name, Side: side.Name, Round: round, FsyncsPerSecond: fsyncs}
				err := r.measure(ctx, side, &row, rows)
				if ctx.Err() != nil { // what it measured is cut short, and says nothing
					return rows, errors.Join(append(failures, ctx.Err())...)
				}
				if err != nil {
					failures = append(failures, fmt.Errorf("%s, %s, round %d: %w", s.Name, side.Name, round, err))
				}
				rows = append(rows, row)
				if err := r.Append(row); err != nil {
					return rows, errors.Join(append(failures, err)...)
				}
			}
		}
	}
	return rows, errors.Join(failures...)
}

func (r *Runner) rounds(s Scenario) int {
	switch {
	case s.Rounds != nil:
		return s.Rounds(r.Scale)
	case r.Rounds > 0:
		return r.Rounds
	default:
		return DefaultRounds(r.Scale)
	}
}

// measure runs one side and fills its row.
func (r *Runner) measure(ctx context.Context, side Side, row *Row, earlier []Row) error {
	env := &Env{
		Scale: r.Scale, Rig: r.Rig, Log: r.Log, Earlier: slices.Clip(earlier), Partitions: partitions,
		Progress: func(format string, args ...any) { r.say("    "+format, args...) },
	}
	row.Began = time.Now()
	values, err := side.Run(ctx, env)
	row.Seconds = time.Since(row.Began).Seconds()
	row.Partitions, row.Concurrency = env.Partitions, env.Concurrency
	row.Values, row.Series = finite(values), env.series
	switch {
	case ctx.Err() != nil:
		r.say("  %-12s %6.1f s  interrupted", side.Name, row.Seconds)
		return ctx.Err()
	case err != nil:
		row.Failed = err.Error()
		r.say("  %-12s %6.1f s  FAILED: %v", side.Name, row.Seconds, err)
		return err
	}
	r.say("  %-12s %6.1f s  %s", side.Name, row.Seconds, summary(row.Values))
	return nil
}

// Shares says how long each scenario took, in the order in which they were run.
func Shares(rows []Row) []string {
	var names []string
	seconds := map[string]float64{}
	for _, row := range rows {
		if _, known := seconds[row.Scenario]; !known {
			names = append(names, row.Scenario)
		}
		seconds[row.Scenario] += row.Seconds
	}
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %.0f s", name, seconds[name])
	}
	return names
}

// finite leaves out what JSON cannot say: a quotient by zero has no value.
func finite(values Values) Values {
	kept := Values{}
	for name, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			kept[name] = v
		}
	}
	return kept
}

// summary is the values on one line: rates, then the others by name.
func summary(values Values) string {
	const atMost = 6 // what a line holds; the file has all
	names := sortedKeys(values)
	rate := func(name string) bool { return strings.HasSuffix(name, "_per_second") }
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case rate(a) && !rate(b):
			return -1
		case rate(b) && !rate(a):
			return 1
		default:
			return 0
		}
	})
	var parts []string
	for i, name := range names {
		if i == atMost {
			parts = append(parts, fmt.Sprintf("and %d more", len(values)-atMost))
			break
		}
		parts = append(parts, name+" "+number(values[name]))
	}
	return strings.Join(parts, ", ")
}

func (r *Runner) say(format string, args ...any) { fmt.Fprintf(r.Progress, format+"\n", args...) }
