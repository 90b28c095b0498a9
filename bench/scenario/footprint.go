package scenario

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"millrace/bench"
	"millrace/bench/load"
	"millrace/bench/rig"
	"millrace/embedded"
)

// footprint is what a user meets who types router serve in an empty directory: how long it takes to be
// ready, once its data is there, and what it occupies. There the broker is a part of the router; what
// each occupies by itself is measured with the broker in a process of its own.
func footprint() bench.Scenario {
	return bench.Scenario{
		Name: "footprint", Gives: []string{"footprint"}, Figures: footprintFigures,
		Rounds: func(scale bench.Scale) int {
			if scale == bench.Whole {
				return 3
			}
			return 1
		},
		Sides: []bench.Side{{Name: ours, Run: func(ctx context.Context, env *bench.Env) (bench.Values, error) {
			return inRound(ctx, env, func(o *rig.Round) (bench.Values, error) { return runFootprint(ctx, env, o) })
		}}},
	}
}

func footprintFigures(rows []bench.Row) []bench.Figure {
	var list []bench.Figure
	for _, f := range []struct{ name, value, note string }{
		{"footprint", "ready_seconds", fmt.Sprintf("broker and Postgres included; in an empty directory %.1f s", bench.Median(bench.Collect(rows, ours, "first_ready_seconds")))},
		{"footprint.idle", "rss_idle_mib", "the embedded broker included"},
		{"footprint.saturated", "rss_saturated_mib", fmt.Sprintf("the most at once, the embedded broker included; without it %.0f MiB", bench.Median(bench.Collect(rows, ours, "rss_router_mib")))},
		{"footprint.postgres", "postgres_mib", "at saturation"},
		{"footprint.broker", "rss_broker_mib", "in a process of its own, at saturation"},
		{"footprint.binary", "binary_mib", ""},
	} {
		figure := bench.Alone(f.name, rows, ours, f.value)
		figure.Note = f.note
		list = append(list, figure)
	}
	return list
}

// footprintSpan is how long a router is left idle before it is looked at, and how long it is saturated.
func footprintSpan(scale bench.Scale) (idle, saturated time.Duration) {
	switch scale {
	case bench.Smoke:
		return 0, 500 * time.Millisecond
	case bench.Quick:
		return 2 * time.Second, 4 * time.Second
	default:
		return 10 * time.Second, 20 * time.Second
	}
}

func runFootprint(ctx context.Context, env *bench.Env, o *rig.Round) (bench.Values, error) {
	values := bench.Values{}
	info, err := os.Stat(env.Rig.Router())
	if err != nil {
		return nil, fmt.Errorf("look at the router's binary: %w", err)
	}
	const mib = 1 << 20
	values["binary_mib"] = float64(info.Size()) / mib
	dir := filepath.Join(o.Dir(), "alone")
	for _, name := range []string{"first_ready_seconds", "ready_seconds"} {
		began := time.Now()
		r, err := o.StartAlone(ctx, routerProcess+" alone", dir, ourSettings()...)
		if err != nil {
			return nil, err
		}
		values[name] = time.Since(began).Seconds()
		if name == "ready_seconds" {
			err = footprintAlone(ctx, env, r, dir, values)
		}
		if err := errors.Join(err, r.Stop()); err != nil {
			return nil, err
		}
	}
	return values, footprintApart(ctx, env, o, values)
}

// footprintAlone looks at a router with everything embedded.
func footprintAlone(ctx context.Context, env *bench.Env, r *rig.Router, dir string, values bench.Values) (err error) {
	idle, saturated := footprintSpan(env.Scale)
	if err := pause(ctx, idle); err != nil {
		return err
	}
	memory, err := rig.MemoryOf(r.PID())
	if err != nil {
		return err
	}
	values["rss_idle_mib"] = memory.RSS
	endpoints, err := embedded.ReadEndpoints(dir)
	if err != nil {
		return err
	}
	db, err := sql.Open("postgres", endpoints.Postgres)
	if err != nil {
		return fmt.Errorf("connect to the router's Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s := &running{name: ours, shop: load.Shop{URL: r.URL, DB: db}, process: r.Process}
	if err := saturate(ctx, env, s, []string{endpoints.Kafka}, saturated); err != nil {
		return err
	}
	memory, err = rig.MemoryOf(r.PID())
	values["rss_saturated_mib"] = memory.Peak
	return err
}

// footprintApart looks at router, broker and Postgres, each a process of its own.
func footprintApart(ctx context.Context, env *bench.Env, o *rig.Round, values bench.Values) error {
	s, err := oursSystem.start(ctx, o)
	if err != nil {
		return err
	}
	_, saturated := footprintSpan(env.Scale)
	if err := saturate(ctx, env, s, o.Brokers, saturated); err != nil {
		return err
	}
	memory, err := rig.MemoryOf(s.process.PID())
	if err != nil {
		return err
	}
	values["rss_router_mib"] = memory.Peak
	if memory, err = o.BrokerMemory(); err != nil {
		return err
	}
	values["rss_broker_mib"] = memory.Peak
	values["postgres_mib"], err = o.PostgresMemory()
	return err
}

// saturate keeps a system busy for a while.
func saturate(ctx context.Context, env *bench.Env, s *running, brokers []string, length time.Duration) error {
	env.Concurrency = bound(env.Scale)
	run := s.shop.Closed(ctx, clients, env.Concurrency)
	err := pause(ctx, length)
	if err := errors.Join(err, run.End(ctx), s.process.Failed()); err != nil {
		return err
	}
	_, err = s.check(ctx, brokers, run.Placed())
	return err
}
