package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is something that breaks.
type Fault struct {
	Name string
	// What it does, and how it Heals.
	What, Heals string
	// On is what it breaks or needs; two faults on the same do not come at once.
	On []string
	// Shortest and Longest bound how long it lasts.
	Shortest, Longest time.Duration
	// Unfit tells why it cannot be had on this machine, or with this system; nil: it always can.
	Unfit func(Kafka, Scenario) string
	// Injected: its hits say how often it was done. Who felt it is not counted.
	Injected bool
	// Alone: it comes only where a scenario asks for it, and in no random run.
	Alone bool
	// Hides: a router may find no Postgres or no broker meanwhile, so that one that starts ends by itself.
	Hides bool
	// UntilRest: it lasts until nothing is placed any more.
	UntilRest bool

	inject func(context.Context, *injection) (heal, error)
}

// heal ends a fault and tells how often it was felt: requests spoilt, processes killed, sessions refused.
type heal func(context.Context) (hits int64, err error)

// injection is one fault of one run.
type injection struct {
	*system
	// replica is whom it meets, where it meets one.
	replica *replica
	say     func(string, ...any)
	// random is for what else has to be chosen; the same for the same seed.
	random *rand.Rand
}

// What faults break.
const (
	onReplica      = "a router"
	onPostgres     = "Postgres"
	onBroker       = "the broker"
	onPostgresLine = "the line to Postgres"
	onKafkaLine    = "the line to the broker"
)

// everything is for what needs all of it to be there.
var everything = []string{onReplica, onPostgres, onBroker, onPostgresLine, onKafkaLine}

// faults is the table of all there are.
var faults = slices.Concat(processFaults, lineFaults, requestFaults, crashFaults, serviceCrashFaults, refusalFaults(), databaseFaults, topicFaults)

// Faults lists what can be broken.
func Faults() []Fault { return slices.Clone(faults) }

func faultNamed(name string) (Fault, error) {
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, fmt.Errorf("there is no fault %q: chaos --list shows all", name)
	}
	return faults[i], nil
}

// felt is a heal that undoes something and counts what a counter says has happened since.
func felt(count func() int64, undo func() error) heal {
	before := count()
	return func(context.Context) (int64, error) {
		err := undo()
		return count() - before, err
	}
}

// once is a heal of what was felt because it happened.
func once(undo func(context.Context) error) heal {
	return func(ctx context.Context) (int64, error) { return 1, undo(ctx) }
}
