package scenario

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
)

// costPrefix begins the values of what an order cost, in ms of CPU: cpu_ms_router, cpu_ms_router_store.
const costPrefix = "cpu_ms_"

// costs divides what was used among the orders. parts are the shares of the router's parts.
func costs(usage rig.Usage, parts map[string]float64, orders int) bench.Values {
	values := bench.Values{}
	each := func(t time.Duration) float64 { return milliseconds(t) / float64(orders) }
	for process, t := range usage {
		values[costPrefix+strings.ReplaceAll(process, " ", "_")] = each(t)
	}
	values[costPrefix+"postgres"] = each(usage.Postgres())
	values[costPrefix+"total"] = each(usage.Postgres() + usage[routerProcess] + usage[stockProcess] + usage[rig.Broker])
	for part, share := range parts {
		values[costPrefix+routerProcess+"_"+part] = share * each(usage[routerProcess])
	}
	return values
}

// costFigures are one figure for all, and one for each process and part.
func costFigures(rows []bench.Row) []bench.Figure {
	names := map[string]bool{}
	for _, r := range rows {
		for value := range r.Values {
			if r.Side == ours && strings.HasPrefix(value, costPrefix) {
				names[value] = true
			}
		}
	}
	total := bench.Versus("cost", rows, ours, stock, costPrefix+"total")
	total.Note = "router, Postgres and broker, the load apart; theirs: " + stock
	if tuned := bench.Collect(rows, stockTuned, costPrefix+"total"); len(tuned) > 0 {
		total.Note += fmt.Sprintf("; %s: %.0f ms", stockTuned, bench.Median(tuned))
	}
	list := []bench.Figure{total}
	for _, value := range slices.Sorted(maps.Keys(names)) {
		part := strings.TrimPrefix(value, costPrefix)
		if part == "total" {
			continue
		}
		f := bench.Alone("cost."+strings.ReplaceAll(part, "_", "."), rows, ours, value)
		f.Unit = "ms"
		if n := len(bench.Collect(rows, ours, value)); n < len(bench.Collect(rows, ours, costPrefix+"total")) {
			f.Note = fmt.Sprintf("by a CPU profile, rounds: %d", n)
		}
		list = append(list, f)
	}
	return list
}
