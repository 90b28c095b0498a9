package bench

import (
	"context"
	"time"
)

// fake scenarios, whose sides return what a test says, round by round.

// racers compares the rates of two sides, and gives a figure of the real table.
func racers(ours, theirs []float64) Scenario {
	return Scenario{
		Name: "relay", Gives: []string{"relay_vs_forwarder"},
		Sides: []Side{fakeSide("ours", ours), fakeSide("stock", theirs)},
		Figures: func(rows []Row) []Figure {
			return []Figure{Versus("relay_vs_forwarder", rows, "ours", "stock", "rate")}
		},
	}
}

// lone has no opponent, one round and series.
func lone() Scenario {
	run := func(_ context.Context, env *Env) (Values, error) {
		for second := range 4 {
			env.Sample("seconds", float64(second))
			env.Sample("orders_per_second", float64(100+second))
		}
		env.Concurrency = 16
		return Values{"drift": 3, "rss_drift": 0.5, "outbox_rows": 7}, nil
	}
	return Scenario{
		Name: "soak", Gives: []string{"soak"},
		Sides:  []Side{{Name: "ours", Run: run}},
		Rounds: func(Scale) int { return 1 },
		Figures: func(rows []Row) []Figure {
			short := Alone("soak", rows, "ours", "drift")
			short.Note = "30 s only"
			return []Figure{short, Alone("soak.rss", rows, "ours", "rss_drift"), Alone("soak.outbox", rows, "ours", "outbox_rows")}
		},
	}
}

func fakeSide(name string, rates []float64) Side {
	round := 0
	return Side{Name: name, Run: func(context.Context, *Env) (Values, error) {
		round++
		return Values{"rate": rates[round-1]}, nil
	}}
}

// resultsOf is a run's results without a run: one row per side and round, with fixed times.
func resultsOf(ours, theirs []float64) Results {
	began := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	r := Results{Run: Run{Began: began, Scale: "whole", Rounds: len(ours), Machine: Machine{
		CPU: "Test CPU", Cores: 2, MemoryGiB: 8, Kernel: "6.1", FileSystem: "ext4", Go: "go1.26 linux/amd64", Postgres: "15", Broker: "embedded", Kafka: "embedded broker", Commit: "0123456789ab"}}}
	for i := range ours {
		row := Row{Scenario: "relay", Side: "ours", Round: i + 1, Began: began, Seconds: 2, FsyncsPerSecond: 1000 + float64(i), Partitions: partitions, Values: Values{"rate": ours[i]}}
		opponents := row
		opponents.Side, opponents.Values = "stock", Values{"rate": theirs[i]}
		r.Rows = append(r.Rows, row, opponents)
	}
	return r
}
