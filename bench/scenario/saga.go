package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"millrace/bench"
	"millrace/bench/load"
	"millrace/bench/pgbench"
	"millrace/bench/rig"
)

const (
	// clients place orders at the same time in a closed loop, ordersInFlight at most are placed and
	// not final, on each side: enough for large batches, and the opponent is through with them in a
	// fraction of a minute.
	clients        = 64
	ordersInFlight = 512
	// quickInFlight are half as many. The opponent goes through them three times in each round (before,
	// during and after what is measured), for which a quick run would not have the time.
	quickInFlight = 256
	// smokeInFlight lets each side end within seconds.
	smokeInFlight = 16
	// firstPatience is how long a measured span goes on for its first order. Beside other tests a
	// smoke's second may not see one.
	firstPatience = time.Minute
	// ratePerSecond is the value that half of which is asked for by latency_half and soak.
	ratePerSecond = "orders_per_second"
)

// sagaName is the scenario whose rates others use.
const sagaName = "saga"

// saga is the whole flow at saturation, with its intake over HTTP, and pgbench beside it; also what an
// order costs.
func saga() bench.Scenario {
	s := bench.Scenario{Name: sagaName, Gives: []string{"saga_vs_stock", "events_vs_pgbench", "cost"}, Figures: sagaFigures}
	for _, sys := range systems() {
		side := bench.Side{Name: sys.name, Run: func(ctx context.Context, env *bench.Env) (bench.Values, error) {
			return inRound(ctx, env, func(o *rig.Round) (bench.Values, error) { return saturated(ctx, env, o, sys) })
		}}
		if sys.name == stockTuned {
			side = onceInQuick(sagaName, side)
		}
		s.Sides = append(s.Sides, side)
	}
	s.Sides = append(s.Sides, bench.Side{Name: pgBench, Run: pgbenchSide})
	return s
}

func sagaFigures(rows []bench.Row) []bench.Figure {
	events := bench.Between("events_vs_pgbench", bench.Collect(rows, ours, "events_per_second"), bench.Collect(rows, pgBench, "transactions_per_second"))
	events.Note = fmt.Sprintf("%d events an order; several of ours may share one update of a row, and a commit: pgbench updates a row and commits for each", eventsPerOrder)
	figures := append(versusStock("saga_vs_stock", rows, ratePerSecond), events)
	figures[0].Note += fmt.Sprintf("; %d clients, at most %.0f orders in flight on each side", clients, bench.Median(bench.Collect(rows, ours, "in_flight")))
	return append(figures, costFigures(rows)...)
}

// span is how long is measured: at least for atLeast, then until all that was in flight has gone
// round once more, but not beyond atMost.
type span struct{ atLeast, atMost time.Duration }

func sagaSpan(scale bench.Scale, side string) span {
	switch {
	case scale == bench.Smoke:
		return span{500 * time.Millisecond, time.Second}
	case scale == bench.Quick && side == ours:
		return span{3 * time.Second, 5 * time.Second}
	case scale == bench.Quick: // theirs become final in waves, some seconds apart
		return span{6 * time.Second, 8 * time.Second}
	default:
		return span{15 * time.Second, 30 * time.Second}
	}
}

// inRound runs one side on a round of its own.
func inRound(ctx context.Context, env *bench.Env, run func(*rig.Round) (bench.Values, error)) (values bench.Values, err error) {
	o, err := env.Rig.Round(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	return run(o)
}

// bound is how many orders are in flight; few where figures do not matter.
func bound(scale bench.Scale) int {
	switch scale {
	case bench.Smoke:
		return smokeInFlight
	case bench.Quick:
		return quickInFlight
	default:
		return ordersInFlight
	}
}

// saturated keeps a system as busy as it can be, and measures what it finishes and what that costs.
func saturated(ctx context.Context, env *bench.Env, o *rig.Round, sys system) (bench.Values, error) {
	s, err := sys.start(ctx, o)
	if err != nil {
		return nil, err
	}
	env.Concurrency = bound(env.Scale)
	run := s.shop.Closed(ctx, clients, env.Concurrency)
	profiled := !measuredBefore(env, sagaName, sys.name)
	values, err := finishing(ctx, o, s, run, env.Concurrency, sagaSpan(env.Scale, sys.name), profiled)
	if ended := run.End(ctx); err == nil {
		err = ended
	}
	if err := errors.Join(err, s.process.Failed()); err != nil {
		return nil, err
	}
	log, err := s.check(ctx, o.Brokers, run.Placed())
	if err != nil {
		return nil, err
	}
	values["events_per_order"] = float64(log.different) / float64(run.Placed().Orders)
	values["events_repeated"] = float64(log.repeats)
	values["in_flight"] = float64(env.Concurrency)
	values["events_per_second"] = values[ratePerSecond] * eventsPerOrder // repeats do not count
	values["orders"] = float64(run.Placed().Orders)
	values["answer_p50_ms"] = milliseconds(run.Answers(0.5))
	values["answer_p99_ms"] = milliseconds(run.Answers(0.99))
	return values, nil
}

// finishing measures how many orders become final, once as many have been as were in flight first:
// the first ones had the system for themselves. Orders that were placed together tend to become
// final together, so whole turns are measured where time allows. profiled also says which parts of the
// router the time went to, at the price of a percent of it.
func finishing(ctx context.Context, o *rig.Round, s *running, run *load.Run, inFlight int, span span, profiled bool) (bench.Values, error) {
	if err := run.Await(ctx, inFlight); err != nil {
		return nil, err
	}
	meter, err := o.Measure()
	if err != nil {
		return nil, err
	}
	profile := noProfile()
	if profiled && s.admin != "" {
		profile = startProfile(ctx, s.admin, span.atLeast)
	}
	first, began := run.Finished(), time.Now()
	err = pause(ctx, span.atLeast)
	if err == nil {
		turns := (run.Finished()-first)/inFlight + 1
		limited, cancel := context.WithDeadline(ctx, began.Add(span.atMost))
		err = run.Await(limited, first+turns*inFlight)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// A slow one is measured as far as it got, and until there is anything to measure.
			patient, cancel := context.WithTimeout(ctx, firstPatience)
			err = run.Await(patient, first+1)
			cancel()
		}
	}
	finished, took := run.Finished()-first, time.Since(began)
	usage, stopped := meter.Stop()
	parts, failed := profile.shares(ctx)
	if err := errors.Join(err, stopped, failed); err != nil {
		return nil, err
	}
	if finished == 0 {
		return nil, fmt.Errorf("%s finished no order in %s", s.name, took)
	}
	memory, err := rig.MemoryOf(s.process.PID())
	if err != nil {
		return nil, err
	}
	values := costs(usage, parts, finished)
	values[ratePerSecond] = float64(finished) / took.Seconds()
	values["rss_peak_mib"] = memory.Peak
	return values, nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

// pgbenchSide is Postgres alone, one event a transaction.
func pgbenchSide(ctx context.Context, env *bench.Env) (bench.Values, error) {
	return inRound(ctx, env, func(o *rig.Round) (bench.Values, error) {
		msg, err := createdMessage()
		if err != nil {
			return nil, err
		}
		headers, err := json.Marshal(msg.Metadata)
		if err != nil {
			return nil, err
		}
		// The numbers of clients that were the best on machines with few cores.
		c := pgbench.Config{DSN: o.DSN, Clients: []int{16, 32, 64}, Duration: 2 * time.Second, Payload: string(msg.Payload), Headers: string(headers)}
		switch env.Scale {
		case bench.Smoke:
			c.Clients, c.Duration = []int{16}, time.Second
		case bench.Whole:
			c.Duration = 10 * time.Second
		}
		best, err := pgbench.Run(ctx, c)
		env.Concurrency = best.Clients
		return bench.Values{"transactions_per_second": best.TransactionsPerSecond}, err
	})
}
