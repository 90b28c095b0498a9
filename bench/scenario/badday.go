package scenario

import (
	"context"
	"fmt"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
)

const badDayName = "bad_day"

// badDay is a deploy with a bug, with the protection against floods off: for a minute inventory refuses the messages of very
// many orders, which become letters and what is parked behind them, while other orders come in as ever. Then
// somebody looks at what happened, mends it, and has everything redriven.
func badDay() bench.Scenario {
	return bench.Scenario{
		Name: badDayName, Gives: []string{badDayName}, Figures: badDayFigures,
		Rounds: func(bench.Scale) int { return 1 }, // one long one
		Sides: []bench.Side{{Name: ours, Run: func(ctx context.Context, env *bench.Env) (bench.Values, error) {
			return inRound(ctx, env, func(o *rig.Round) (bench.Values, error) { return runBadDay(ctx, env, o) })
		}}},
	}
}

// badDaySize is how many orders the bug hits, and within which time. Each has two messages, every second one a third.
func badDaySize(scale bench.Scale) (orders int, within time.Duration) {
	switch scale {
	case bench.Smoke:
		return 40, time.Second
	case bench.Quick:
		return 2_000, 6 * time.Second
	default:
		return 20_000, time.Minute
	}
}

// badDayFigures compare what the healthy orders see during the bad minute with what they saw before it, and the redrive with
// the normal flow of the same messages.
func badDayFigures(rows []bench.Row) []bench.Figure {
	one := func(value string) float64 { return bench.Median(bench.Collect(rows, ours, value)) }
	during := fmt.Sprintf("while %.0f messages of %.0f orders fail or park within %.0f s; theirs: before it, at the same %.0f orders/s",
		one("messages"), one("orders_hit"), one("bad_seconds"), one("rate"))
	figures := []bench.Figure{
		between("bad_day", rows, "orders_per_second_during", "orders_per_second_before", during),
		between("bad_day.p50", rows, "p50_ms_during", "p50_ms_before", during),
		between("bad_day.p99", rows, "p99_ms_during", "p99_ms_before", during),
		between("bad_day.redrive", rows, "redriven_per_second", "usual_per_second",
			fmt.Sprintf("%.0f letters and %.0f messages behind them, in order, with the load; theirs: what the service processes when the system is saturated with orders",
				one("letters"), one("parked"))),
		between("bad_day.redrive_backlog", rows, "redriven_per_second", "flow_per_second",
			"the same; theirs: as many such messages, and no others, as a backlog from the log, which the healthy orders wait for"),
		between("bad_day.redrive_p99", rows, "p99_ms_redriving", "p99_ms_before", "the healthy orders while it drains; theirs: before it"),
	}
	for _, f := range []struct{ name, value, note string }{
		{"bad_day.groups", "groups_seconds", "the slowest of a few, its start included, with all letters there and the load"},
		{"bad_day.list", "list_seconds", "the same"},
		{"bad_day.rss", "rss_peak_mib", ""},
	} {
		figure := bench.Alone(f.name, rows, ours, f.value)
		figure.Note = f.note
		figures = append(figures, figure)
	}
	return figures
}

// between is the figure of two values of ours.
func between(name string, rows []bench.Row, value, beside, note string) bench.Figure {
	f := bench.Between(name, bench.Collect(rows, ours, value), bench.Collect(rows, ours, beside))
	f.Note = note
	return f
}
