package chaos

import (
	"slices"
	"time"
)

// names are the faults of a list.
func names(list []Fault) (all []string) {
	for _, f := range list {
		all = append(all, f.Name)
	}
	return all
}

// notInRandom end a run otherwise than well by design, or take all of the system for a while.
var notInRandom = []string{"retention-passes", "topic-deleted", "poison"}

func allButFinal() []string {
	return slices.DeleteFunc(names(faults), func(name string) bool { return slices.Contains(notInRandom, name) })
}

// scenarios is the table: the plan's twenty-eight, and what was asked for beside them.
var scenarios = []Scenario{
	{Number: 1, Name: "kill", Title: "kill -9 of routers at random under load", Faults: []string{"router-kill", "routers-kill"}},
	{Number: 2, Name: "crash-points", Title: "kill -9 of routers at exact places", Faults: names(crashFaults), Lasts: 75 * time.Second, Once: true},
	{Number: 3, Name: "answers-lost", Title: "done, and reported as failed", Faults: []string{"commit-answer-lost", "produce-answer-lost", "produced-but-timed-out", "provider-answer-lost", "commit-lost", "outbox-delete-lost"}, Lasts: 50 * time.Second},
}

// Random has all faults that a system recovers from, several at a time.
func Random() Scenario {
	return Scenario{Name: "random", Title: "all faults mixed, several at a time", Faults: allButFinal(), Replicas: 3, Overlap: true, Lasts: time.Minute}.withDefaults()
}

// Quick is the usual faults, one of each, within a minute with all that belongs to it.
func Quick() Scenario {
	return Scenario{Name: "quick", Title: "the usual faults, one after the other", Lasts: 20 * time.Second, Once: true,
		Faults: []string{"router-kill", "postgres-kill", "broker-kill", "commit-answer-lost", "kafka-line-reset"}}.withDefaults()
}
