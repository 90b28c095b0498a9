package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"millrace/bench"
	"millrace/bench/load"
	"millrace/bench/rig"
)

const (
	// replicasDelay is added to each round trip to the broker and to the database. Then replicas wait
	// most of the time, as they do when servers are in another building.
	replicasDelay = 5 * time.Millisecond
	// replicaInFlight and replicaClients are the closed loop of each replica. The cores of two are some 85 %
	// busy with four replicas, with twice as many as well.
	replicaInFlight, replicaClients = 12, 6
	// smokeReplicaInFlight lets the smallest run end within seconds.
	smokeReplicaInFlight = 2
	// mostReplicas is how many there are at most.
	mostReplicas = 4
)

// replicas is what more replicas finish, each with a load of its own, while all of them share one
// database, its rows and its outbox.
func replicas() bench.Scenario {
	s := bench.Scenario{Name: "replicas", Gives: []string{"replicas"}, Figures: replicasFigures, Rounds: replicasRounds}
	for n := 1; n <= mostReplicas; n *= 2 {
		s.Sides = append(s.Sides, bench.Side{Name: replicasSide(n), Run: func(ctx context.Context, env *bench.Env) (bench.Values, error) {
			return runReplicas(ctx, env, n)
		}})
	}
	return s
}

// replicasRounds are fewer than usual: replicas that start on slow servers take their time.
func replicasRounds(scale bench.Scale) int {
	if scale == bench.Whole {
		return 3
	}
	return 1
}

func replicasSide(n int) string { return strconv.Itoa(n) + " of ours" }

func replicasFigures(rows []bench.Row) []bench.Figure {
	one := replicasSide(1)
	var list []bench.Figure
	for name, n := range map[string]int{"replicas.2": 2, "replicas": mostReplicas} {
		f := bench.Versus(name, rows, replicasSide(n), one, ratePerSecond)
		f.Note = fmt.Sprintf("theirs: 1 replica; %d orders in flight for each; cores busy %.0f %%, with one replica %.0f %%", replicaInFlight,
			bench.Median(bench.Collect(rows, replicasSide(n), "cores_busy_percent")), bench.Median(bench.Collect(rows, one, "cores_busy_percent")))
		list = append(list, f)
	}
	return list
}

func replicasSpan(scale bench.Scale) time.Duration {
	switch scale {
	case bench.Smoke:
		return 500 * time.Millisecond
	case bench.Quick:
		return 3 * time.Second
	default:
		return 15 * time.Second
	}
}

func runReplicas(ctx context.Context, env *bench.Env, n int) (values bench.Values, err error) {
	if env.Scale == bench.Smoke { // two, once, show that several get on: to divide the partitions takes seconds
		if n < mostReplicas {
			return bench.Values{}, nil
		}
		n = 2
	}
	o, err := env.Rig.DelayedRound(ctx, replicasDelay)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	env.Concurrency = n * replicaInFlight
	if env.Scale == bench.Smoke {
		env.Concurrency = n * smokeReplicaInFlight
	}
	var nodes []*running
	for i := range n {
		r, err := o.StartRouter(ctx, fmt.Sprintf("%s %d", routerProcess, i+1), ourSettings()...)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, &running{name: ours, shop: load.Shop{URL: r.URL, DB: o.DB}, process: r.Process})
	}
	var urls []string
	for _, s := range nodes {
		urls = append(urls, s.shop.URL)
	}
	shop := load.Shop{URL: urls[0], Others: urls[1:], DB: o.DB}
	run := shop.Closed(ctx, n*replicaClients, env.Concurrency)
	values, err = finishingTogether(ctx, run, 2*env.Concurrency, replicasSpan(env.Scale))
	err = errors.Join(err, run.End(ctx))
	for _, s := range nodes {
		err = errors.Join(err, s.process.Failed())
	}
	if err != nil {
		return nil, err
	}
	_, err = nodes[0].check(ctx, o.Brokers, run.Placed())
	return values, err
}

// finishingTogether measures what all replicas together finish, and how busy that keeps the machine.
func finishingTogether(ctx context.Context, run *load.Run, warm int, span time.Duration) (bench.Values, error) {
	// The groups are still dividing the partitions among them when the last replica is ready; once
	// that many orders are final, they are done with it.
	if err := run.Await(ctx, warm); err != nil {
		return nil, err
	}
	busy, err := rig.MeasureCores()
	if err != nil {
		return nil, err
	}
	first, began := run.Finished(), time.Now()
	if err := pause(ctx, span); err != nil {
		return nil, err
	}
	finished, took := run.Finished()-first, time.Since(began)
	share, err := busy()
	return bench.Values{ratePerSecond: float64(finished) / took.Seconds(), "cores_busy_percent": 100 * share}, err
}
