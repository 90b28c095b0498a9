// Package scenario holds what the bench measures: one file per scenario.
package scenario

import (
	"context"

	"millrace/bench"
)

// All are the scenarios in the order in which they are run: the saga before those that take its
// saturated rate from its rows.
func All() []bench.Scenario {
	return []bench.Scenario{
		saga(),
		relay(),
		consumer(),
		hotSKU(),
		idleTx(),
		backlog(),
		latency(),
		replicas(),
		badDay(),
		soak(),
		footprint(),
	}
}

// onceInQuick has a quick run measure a side in one of its rounds: the side has no goal, and the time goes to
// those that have one.
func onceInQuick(scenario string, side bench.Side) bench.Side {
	run := side.Run
	side.Run = func(ctx context.Context, env *bench.Env) (bench.Values, error) {
		if env.Scale == bench.Quick && measuredBefore(env, scenario, side.Name) {
			env.Progress("%s once is enough for a quick run", side.Name)
			return bench.Values{}, nil
		}
		return run(ctx, env)
	}
	return side
}

// measuredBefore tells whether an earlier round of this run measured a side.
func measuredBefore(env *bench.Env, scenario, side string) bool {
	for _, row := range env.Earlier {
		if row.Scenario == scenario && row.Side == side && len(row.Values) > 0 {
			return true
		}
	}
	return false
}
