package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"millrace/bench"
	"millrace/bench/load"
	"millrace/bench/rig"
)

// soak runs our system for long at half of what it can do, and looks whether anything grows that should not.
func soak() bench.Scenario {
	return bench.Scenario{
		Name: "soak", Gives: []string{"soak"}, Figures: soakFigures,
		Rounds: func(bench.Scale) int { return 1 }, // one long one
		Sides: []bench.Side{{Name: ours, Run: func(ctx context.Context, env *bench.Env) (bench.Values, error) {
			return inRound(ctx, env, func(o *rig.Round) (bench.Values, error) { return runSoak(ctx, env, o) })
		}}},
	}
}

// soakSpan is how long orders are placed, and how often a sample is taken.
func soakSpan(scale bench.Scale) (whole, every time.Duration) {
	switch scale {
	case bench.Smoke:
		return time.Second, 100 * time.Millisecond
	case bench.Quick:
		return 30 * time.Second, time.Second
	default:
		return 20 * time.Minute, 10 * time.Second
	}
}

// soakWarmUp is how long the router's memory grows until heap, pools and caches have their size. The growth of
// a soak that is shorter says nothing of a leak.
const soakWarmUp = 3 * time.Minute

// soakDrifts are the figures that compare the end with the beginning, and their series.
var soakDrifts = map[string]string{"soak": "finished_of_accepted", "soak.rss": "rss_mib", "soak.goroutines": "goroutines"}

func soakFigures(rows []bench.Row) []bench.Figure {
	var list []bench.Figure
	for name, series := range soakDrifts {
		list = append(list, bench.Alone(name, rows, ours, series+"_drift_percent"))
	}
	list = append(list, bench.Alone("soak.outbox", rows, ours, "outbox_rows_last"), bench.Alone("soak.outbox_highest", rows, ours, "outbox_rows_highest"),
		bench.Alone("soak.unfinished", rows, ours, "unfinished"), bench.Alone("soak.bloat", rows, ours, "dead_percent"))
	seconds := bench.Median(bench.Collect(rows, ours, "soak_seconds"))
	for i := range list {
		list[i].Note = fmt.Sprintf("%.0f s at %.0f orders/s", seconds, bench.Median(bench.Collect(rows, ours, "rate")))
		_, compared := soakDrifts[list[i].Name]
		if compared {
			list[i].Note += "; last third beside the first"
		}
		if list[i].Name == "soak.rss" && seconds < soakWarmUp.Seconds() {
			list[i].Unjudged = true
			list[i].Note += "; so early the memory still warms up: judged in a whole run only"
		}
		if list[i].Name == "soak.bloat" {
			list[i].Note += fmt.Sprintf("; bytes on disk per order: drift %.1f %%", bench.Median(bench.Collect(rows, ours, "disk_bytes_per_order_drift_percent")))
		}
	}
	return list
}

func runSoak(ctx context.Context, env *bench.Env, o *rig.Round) (bench.Values, error) {
	s, err := oursSystem.start(ctx, o)
	if err != nil {
		return nil, err
	}
	half, warmed, err := halfRate(ctx, env, o, s)
	if err != nil {
		return nil, err
	}
	before, err := ordersIn(ctx, o)
	if err != nil {
		return nil, err
	}
	whole, every := soakSpan(env.Scale)
	run := s.shop.Open(ctx, half)
	samples, err := sampleSoak(ctx, env, o, s, run, before, whole, every)
	unfinished := run.Accepted() - run.Finished()
	if err := errors.Join(err, run.End(ctx), s.process.Failed()); err != nil {
		return nil, err
	}
	if _, err := s.check(ctx, o.Brokers, warmed.And(run.Placed())); err != nil {
		return nil, err
	}
	outbox := samples["outbox_rows"]
	values := bench.Values{"rate": half, "soak_seconds": whole.Seconds(), "unfinished": float64(unfinished),
		"outbox_rows_last": outbox[len(outbox)-1], "outbox_rows_highest": slices.Max(outbox)}
	for name, series := range samples {
		values[name] = bench.Median(series[len(series)*2/3:])
		values[name+"_drift_percent"] = drift(series)
	}
	return values, nil
}

// drift is by how many percent the mean of the last third is above, or below, that of the first.
func drift(series []float64) float64 {
	third := len(series) / 3
	if third == 0 {
		return 0
	}
	mean := func(part []float64) (sum float64) {
		for _, v := range part {
			sum += v
		}
		return sum / float64(len(part))
	}
	first, last := mean(series[:third]), mean(series[len(series)-third:])
	if first == 0 {
		return 0
	}
	return max(100*(last-first)/first, 100*(first-last)/first)
}

// sampleSoak takes samples until the time is over, and returns them by name.
func sampleSoak(ctx context.Context, env *bench.Env, o *rig.Round, s *running, run *load.Run, before int64, whole, every time.Duration) (map[string][]float64, error) {
	series := map[string][]float64{}
	began := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var finished, accepted int
	for warm := true; time.Since(began) < whole; warm = false {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		if err := run.Failed(); err != nil {
			return nil, err
		}
		finishedNow, acceptedNow := run.Finished(), run.Accepted()
		sample, err := soakSample(ctx, o, s, before+int64(acceptedNow))
		if err != nil {
			return nil, err
		}
		sample["finished_of_accepted"] = float64(finishedNow-finished) / float64(max(1, acceptedNow-accepted))
		finished, accepted = finishedNow, acceptedNow
		if warm {
			continue // the first orders are still on their way
		}
		env.Sample("seconds", time.Since(began).Seconds())
		for name, v := range sample {
			env.Sample(name, v)
			series[name] = append(series[name], v)
		}
	}
	if len(series) == 0 {
		return nil, errors.New("the soak was too short for a sample")
	}
	return series, nil
}

// goroutines is the line of the router's metrics that counts them.
var goroutines = regexp.MustCompile(`(?m)^go_goroutines ([0-9.e+]+)$`)

func soakSample(ctx context.Context, o *rig.Round, s *running, orders int64) (map[string]float64, error) {
	var outbox, dead, bytes float64
	err := o.DB.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM millrace.outbox),
(SELECT 100.0 * sum(n_dead_tup) / greatest(sum(n_live_tup), 1) FROM pg_stat_user_tables),
(SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables)`).Scan(&outbox, &dead, &bytes)
	if err != nil {
		return nil, fmt.Errorf("take a sample of the database: %w", err)
	}
	memory, err := rig.MemoryOf(s.process.PID())
	if err != nil {
		return nil, errors.Join(err, s.process.Failed())
	}
	metrics, err := rig.Get(ctx, s.admin+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("take a sample of the router: %w", err)
	}
	found := goroutines.FindSubmatch(metrics)
	if found == nil {
		return nil, errors.New("the router's metrics have no go_goroutines")
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	return map[string]float64{
		"outbox_rows": outbox, "dead_percent": dead, "disk_bytes_per_order": bytes / float64(max(1, orders)),
		"rss_mib": memory.RSS, "goroutines": n,
	}, err
}

func ordersIn(ctx context.Context, o *rig.Round) (n int64, err error) {
	if err := o.DB.QueryRowContext(ctx, "SELECT count(*) FROM orders.orders WHERE customer_id IS NOT NULL").Scan(&n); err != nil {
		return 0, fmt.Errorf("count the orders: %w", err)
	}
	return n, nil
}
