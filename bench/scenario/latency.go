package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/bench"
	"millrace/bench/load"
	"millrace/bench/rig"
)

// latencyRate is the rate of latency_30, in orders per second.
const latencyRate = 30

// latency is how long orders take from accepted to PAID, with an open loop: at a rate that leaves the
// system nearly idle, and at half of what it can do.
func latency() bench.Scenario {
	s := bench.Scenario{Name: "latency", Gives: []string{"latency_30", "latency_half"}, Figures: latencyFigures, Rounds: latencyRounds}
	for _, sys := range systems() {
		s.Sides = append(s.Sides, bench.Side{Name: sys.name, Run: func(ctx context.Context, env *bench.Env) (bench.Values, error) {
			return inRound(ctx, env, func(o *rig.Round) (bench.Values, error) { return latencySide(ctx, env, o, sys) })
		}})
	}
	return s
}

// latencyRounds are few: each holds hundreds of orders, and a p99 of more of them in one round says more.
func latencyRounds(scale bench.Scale) int {
	if scale == bench.Whole {
		return 3
	}
	return 1
}

func latencyFigures(rows []bench.Row) []bench.Figure {
	var list []bench.Figure
	for _, name := range []string{"latency_30", "latency_half"} {
		for part, value := range map[string]string{"": "_p99_ms", ".p50": "_p50_ms"} {
			f := bench.Versus(name+part, rows, ours, stock, name+value)
			f.Note = "theirs: " + stock
			half := func(side string) float64 { return bench.Median(bench.Collect(rows, side, "half_rate")) }
			if tuned := bench.Collect(rows, stockTuned, name+value); len(tuned) > 0 {
				f.Note += fmt.Sprintf("; %s: %.0f ms", stockTuned, bench.Median(tuned))
			}
			if name == "latency_half" {
				f.Note += fmt.Sprintf("; at %.0f orders/s, theirs at %.0f, tuned at %.0f", half(ours), half(stock), half(stockTuned))
			}
			list = append(list, f)
		}
	}
	return list
}

// latencySpan is how long orders are placed before they count, and while they do.
func latencySpan(scale bench.Scale) (warm, measured time.Duration) {
	switch scale {
	case bench.Smoke:
		return 0, 500 * time.Millisecond
	case bench.Quick:
		return time.Second, 4 * time.Second
	default:
		return 5 * time.Second, 30 * time.Second
	}
}

func latencySide(ctx context.Context, env *bench.Env, o *rig.Round, sys system) (bench.Values, error) {
	if env.Scale == bench.Smoke && sys.name == stock {
		return bench.Values{}, nil // it sleeps a second between two hops, and has shown in the saga that it ends right
	}
	s, err := sys.start(ctx, o)
	if err != nil {
		return nil, err
	}
	half, placed, err := halfRate(ctx, env, o, s)
	if err != nil {
		return nil, err
	}
	values := bench.Values{"half_rate": half}
	warm, measured := latencySpan(env.Scale)
	for _, part := range []struct {
		name string
		rate float64
	}{{"latency_30", latencyRate}, {"latency_half", half}} {
		run, l, err := latencyAt(ctx, s, part.rate, warm, measured)
		if err := errors.Join(err, s.process.Failed()); err != nil {
			return nil, fmt.Errorf("at %.0f orders/s: %w", part.rate, err)
		}
		values[part.name+"_p50_ms"], values[part.name+"_p99_ms"] = milliseconds(l.P50), milliseconds(l.P99)
		values[part.name+"_orders"], values[part.name+"_answer_p99_ms"] = float64(l.Orders), milliseconds(run.Answers(0.99))
		placed = placed.And(run.Placed())
	}
	_, err = s.check(ctx, o.Brokers, placed)
	return values, err
}

// fewestMeasured is how many orders are to be expected in what is measured: half of what a slow side can do may be a few a second.
const fewestMeasured = 10

// latencyAt measures at one rate, for as long as measured or a little longer. The run has ended.
func latencyAt(ctx context.Context, s *running, rate float64, warm, measured time.Duration) (run *load.Run, l load.Latency, err error) {
	run = s.shop.Open(ctx, rate)
	err = run.Await(ctx, 1) // a group that is still dividing its partitions is not what is measured
	err = errors.Join(err, pause(ctx, warm))
	from, failed := s.shop.Now(ctx)
	measured = max(measured, time.Duration(fewestMeasured/rate*float64(time.Second)))
	err = errors.Join(err, failed, pause(ctx, measured))
	to, failed := s.shop.Now(ctx)
	if err := errors.Join(err, failed, run.End(ctx)); err != nil {
		return run, l, err
	}
	l, err = s.shop.Latency(ctx, from, to)
	return run, l, err
}

// halfRate is half of the rate at which the system was saturated earlier in this run; where that was
// not measured, it is now, briefly, and placed is what was ordered for it.
func halfRate(ctx context.Context, env *bench.Env, o *rig.Round, s *running) (half float64, placed load.Placed, err error) {
	var earlier []bench.Row
	for _, row := range env.Earlier {
		if row.Scenario == sagaName {
			earlier = append(earlier, row)
		}
	}
	if rates := bench.Collect(earlier, s.name, ratePerSecond); len(rates) > 0 {
		return bench.Median(rates) / 2, placed, nil
	}
	env.Progress("saturating %s first, since the saga is not a part of this run", s.name)
	inFlight := bound(env.Scale)
	run := s.shop.Closed(ctx, clients, inFlight)
	values, err := finishing(ctx, o, s, run, inFlight, sagaSpan(env.Scale, s.name), false)
	err = errors.Join(err, run.End(ctx))
	return values[ratePerSecond] / 2, run.Placed(), err
}
