// Package scenario holds what the bench measures: one file per scenario.
package scenario

import "millrace/bench"

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
		soak(),
		footprint(),
	}
}
