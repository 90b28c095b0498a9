package bench

import "fmt"

// Goal is what a figure is, and what it should reach.
type Goal struct {
	Name string // the figure's
	What string // in words
	Unit string // of ours and theirs
	On   On
	Sign Sign
	// Limit is what the goal demands. A goal without Sign has none: the figure is there to be watched.
	Limit float64
}

// On says which number of a figure the goal speaks of.
type On int

// A goal is on the quotient of both sides, or on our own number.
const (
	OnRatio On = iota
	OnOurs
)

// Sign says on which side of the limit it is good.
type Sign string

// The signs of goals. NoGoal goes with figures that are only watched.
const (
	NoGoal  Sign = ""
	AtLeast Sign = "≥"
	AtMost  Sign = "≤"
)

// Goals are the figures in the order of the report. A name with a dot is a part of the figure before it.
var Goals = []Goal{
	{"relay_vs_forwarder", "draining a backlog of outbox rows, to the broker's ack", "rows/s", OnRatio, AtLeast, 40},
	{"relay_vs_forwarder.tuned", "the same beside the tuned opponent", "rows/s", OnRatio, NoGoal, 0},
	{"consumer_vs_router", "durable consumer: dedupe, state, outbox", "messages/s", OnRatio, AtLeast, 15},
	{"consumer_vs_router.tuned", "the same beside the tuned opponent", "messages/s", OnRatio, NoGoal, 0},
	{"saga_vs_stock", "whole saga, closed loop at saturation, HTTP intake included", "orders/s", OnRatio, AtLeast, 30},
	{"saga_vs_stock.tuned", "the same beside the tuned opponent", "orders/s", OnRatio, NoGoal, 0},
	{"events_vs_pgbench", "whole saga's events beside pgbench's transactions of one event", "events/s", OnRatio, AtLeast, 3},
	{"latency_30", "accepted to PAID at 30 orders/s, open loop: p99", "ms", OnOurs, AtMost, 50},
	{"latency_30.p50", "the same: p50", "ms", OnOurs, AtMost, 12},
	{"latency_half", "accepted to PAID at half of the saturated rate: p99", "ms", OnOurs, AtMost, 250},
	{"latency_half.p50", "the same: p50", "ms", OnOurs, NoGoal, 0},
	{"hot_sku", "reservations of one SKU, beside one transaction per reservation", "reservations/s", OnRatio, AtLeast, 30},
	{"hot_sku.tuned", "the same beside one statement per reservation", "reservations/s", OnRatio, NoGoal, 0},
	{"idle_tx", "loss of throughput while an idle write transaction is open elsewhere in the server", "%", OnOurs, AtMost, 10},
	{"replicas", "4 replicas beside 1, with 5 ms added to each broker and database round trip", "orders/s", OnRatio, AtLeast, 3.2},
	{"replicas.2", "2 replicas beside 1", "orders/s", OnRatio, AtLeast, 1.8},
	{"backlog", "throughput while a backlog drains beside throughput with none", "messages/s", OnRatio, AtLeast, 0.9},
	{"backlog.memory", "growth of the consumer's memory meanwhile", "MiB", OnOurs, NoGoal, 0},
	{"bad_day", "healthy orders finished while a service refuses the messages of many others", "orders/s", OnRatio, AtLeast, 0.95},
	{"bad_day.p50", "accepted to PAID meanwhile, of the healthy orders: p50", "ms", OnOurs, NoGoal, 0},
	{"bad_day.p99", "the same: p99", "ms", OnOurs, NoGoal, 0},
	{"bad_day.groups", "router dlq groups, with all letters there", "s", OnOurs, AtMost, 1},
	{"bad_day.list", "router dlq list with a filter, with all letters there", "s", OnOurs, AtMost, 1},
	{"bad_day.redrive", "letters, and what waits behind them, processed by a redrive", "messages/s", OnRatio, AtLeast, 0.5},
	{"bad_day.redrive_backlog", "the same, beside a backlog of such messages", "messages/s", OnRatio, NoGoal, 0},
	{"bad_day.redrive_p99", "accepted to PAID meanwhile, of the healthy orders: p99", "ms", OnOurs, NoGoal, 0},
	{"bad_day.rss", "RSS of the router at its peak", "MiB", OnOurs, NoGoal, 0},
	{"soak", "at half rate: drift of throughput", "%", OnOurs, AtMost, 10},
	{"soak.outbox", "rows in the outbox at the end of the load", "rows", OnOurs, NoGoal, 0},
	{"soak.outbox_highest", "the most there were in it at a look", "rows", OnOurs, NoGoal, 0},
	{"soak.unfinished", "orders accepted and not final at the end of the load", "orders", OnOurs, NoGoal, 0},
	{"soak.rss", "drift of the router's RSS", "%", OnOurs, AtMost, 10},
	{"soak.goroutines", "drift of the number of goroutines", "%", OnOurs, AtMost, 10},
	{"soak.bloat", "dead rows beside live ones in tables and indexes, at the end", "%", OnOurs, NoGoal, 0},
	{"footprint", "start to ready, warm", "s", OnOurs, AtMost, 2},
	{"footprint.idle", "RSS of the router, idle", "MiB", OnOurs, AtMost, 80},
	{"footprint.saturated", "RSS of the router at saturation", "MiB", OnOurs, AtMost, 300},
	{"footprint.postgres", "memory of Postgres beside it (PSS)", "MiB", OnOurs, NoGoal, 0},
	{"footprint.broker", "RSS of the broker beside it", "MiB", OnOurs, NoGoal, 0},
	{"footprint.binary", "size of the binary", "MiB", OnOurs, NoGoal, 0},
	{"cost", "CPU per order, all processes", "ms", OnOurs, NoGoal, 0},
}

// goalOf finds a figure's goal. A figure nobody knows has none, and is shown all the same: a part of
// the cost is named by its process.
func goalOf(name string) Goal {
	for _, g := range Goals {
		if g.Name == name {
			return g
		}
	}
	return Goal{Name: name, On: OnOurs}
}

// Text is the goal in words: "≥ 40×", "≤ 50 ms", or nothing.
func (g Goal) Text() string {
	switch {
	case g.Sign == NoGoal:
		return ""
	case g.On == OnRatio:
		return fmt.Sprintf("%s %g×", g.Sign, g.Limit)
	case g.Unit == "%":
		return fmt.Sprintf("%s %g %%", g.Sign, g.Limit)
	default:
		return fmt.Sprintf("%s %g %s", g.Sign, g.Limit, g.Unit)
	}
}

// lowerIsBetter tells the direction of a figure, also of one that is only watched: without a goal, a
// quotient is one of rates, and a number of ours is a cost, of memory or time.
func (g Goal) lowerIsBetter() bool { return g.Sign == AtMost || g.Sign == NoGoal && g.On == OnOurs }

// Judge sets a figure's unit, goal, and whether it reached it. A figure without a goal reaches it if
// it was measured at all.
func Judge(f Figure) Figure {
	g := goalOf(f.Name)
	if g.Unit != "" {
		f.Unit = g.Unit
	}
	if f.Unjudged {
		g.Sign = NoGoal
	}
	f.Goal = g.Text()
	number := f.Ours
	if g.On == OnRatio {
		number = f.Ratio
	}
	switch g.Sign {
	case AtLeast:
		f.Reached = number >= g.Limit
	case AtMost:
		f.Reached = number <= g.Limit
	default:
		f.Reached = f.Measured()
	}
	return f
}
