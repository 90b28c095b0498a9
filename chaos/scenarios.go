package chaos

import (
	"slices"
	"time"
)

// scenarios is the table: the plan's twenty-eight in their order, then what was asked for beside them.
var scenarios = slices.Concat(planned, besides)

var planned = []Scenario{
	{Number: 1, Name: "kill", Title: "kill -9 of routers at random under load", Faults: []string{"router-kill", "routers-kill"}},
	{Number: 2, Name: "crash-points", Title: "kill -9 of routers at exact places, of each service", Faults: slices.Concat(names(crashFaults), names(serviceCrashFaults)), Lasts: 210 * time.Second, Once: true},
	{Number: 3, Name: "answers-lost", Title: "done, and reported as failed", Lasts: 50 * time.Second,
		Faults: []string{"commit-answer-lost", "commit-lost", "outbox-delete-lost", "produce-answer-lost", "produced-but-timed-out", "provider-answer-lost"}},
	{Number: 4, Name: "unknown-payments", Title: "no word of a payment, then a late, doubled or wrong one",
		Faults: []string{"provider-answer-lost", "provider-hangs", "provider-down"}, Env: []string{"EFFECT_TIMEOUT=2s"}},
	{Number: 5, Name: "zombies", Title: "a router sleeps for longer than its lease and its session, and wakes up", Faults: []string{"router-zombie"}, Lasts: 40 * time.Second},
	{Number: 6, Name: "everything-again", Title: "every record is delivered again, in the middle of the work", Faults: []string{"offsets-rewound"}},
	{Number: 7, Name: "commit-order", Title: "a lower id commits after a higher one was published",
		Elsewhere: "it takes two connections and a certain moment: TestALowerIDThatCommitsLaterIsNotLost, TestARelayKeepsEachKeyInOrderWhileManyWrite; under load it happens by itself"},
	{Number: 8, Name: "broker-away", Title: "the broker is away, is killed, stops, or sleeps", Faults: []string{"broker-kill", "broker-stop", "broker-away", "broker-pause"}, Lasts: 50 * time.Second, Patient: true},
	{Number: 9, Name: "postgres-away", Title: "Postgres is killed, restarted, or sleeps, and its sessions end", Faults: []string{"postgres-kill", "postgres-restart", "postgres-pause", "sessions-terminated"}, Patient: true},
	{Number: 10, Name: "poison", Title: "bad records among the good ones", Faults: []string{"poison"}, finish: settleLetters, dropsLetters: true},
	{Number: 11, Name: "letters-redriven", Title: "letters are redriven while routers die", Faults: []string{"poison", "router-kill"}, finish: redriveTwice, dropsLetters: true},
	{Number: 12, Name: "too-little-stock", Title: "most orders want one article of which there is too little, in crossed lines", HotStock: 60, Faults: []string{"deadlocks", "article-held"}, Rate: 40},
	{Number: 13, Name: "rebalances", Title: "routers come and go without end", Faults: []string{"members-come-and-go", "rolling-restart"}, Replicas: 3, Lasts: 40 * time.Second},
	{Number: 14, Name: "full-replay", Title: "all groups begin anew at the first record, after everything", Faults: []string{"offsets-rewound", "offsets-lost"}, Once: true, AtRest: true},
	{Number: 15, Name: "bad-lines", Title: "lines that are cut, slow, silent, crumbly, or reset", Faults: names(lineFaults), Lasts: 75 * time.Second},
	{Number: 16, Name: "state-machine", Title: "every state and event", Elsewhere: "pure code, without a system: TestEveryPair, TestEveryStateAndInput, TestEveryStateAndEvent, TestAnythingAtAll"},
	{Number: 17, Name: "simulation", Title: "whole sagas in every order, without time", Elsewhere: "in memory: TestEverySagaEndsWell, TestTheInterleavingDoesNotMatter"},
	{Number: 18, Name: "held-horizon", Title: "transactions that wrote stay open, here and in another database", Faults: []string{"idle-transactions"}, Lasts: 45 * time.Second},
	{Number: 19, Name: "two-relays", Title: "two routers publish the same rows", Faults: []string{"lease-stolen"}, Replicas: 3},
	{Number: 20, Name: "stuck-sagas", Title: "the provider does not answer, nor the carrier in time", Faults: []string{"provider-hangs", "provider-errors", "provider-down"}, Env: []string{"EFFECT_TIMEOUT=2s", "CARRIER_STEP=2s"}},
	{Number: 21, Name: "repeated-requests", Title: "requests are sent again because their answer is lost", Faults: []string{"routers-kill", "commit-answer-lost"}},
	{Number: 22, Name: "clocks", Title: "clocks jump", Faults: []string{"database-clock"}, FakeClock: true},
	{Number: 23, Name: "no-room", Title: "the disk is full, connections are few, a resource is short", Faults: []string{"disk-full", "few-connections", "out-of-memory"}, SmallDisk: true, Env: []string{"DATABASE_READ_CONNECTIONS=2"}, Lasts: 40 * time.Second},
	{Number: 24, Name: "two-versions", Title: "two versions side by side while routers are restarted one by one", Faults: []string{"rolling-restart", "router-kill"},
		EnvOfSecond: []string{"HANDLER_TRIES=2", "EFFECT_CONCURRENCY=4", "RETRY_BACKOFF=10ms", "DATABASE_READ_CONNECTIONS=2", "HANDLER_TIMEOUT=5s"}},
	{Number: 25, Name: "soak", Title: "all faults mixed, for long", Elsewhere: "chaos --random --for 30m: see the random runs"},
	{Number: 26, Name: "fuzz", Title: "bad input", Elsewhere: "Go's own fuzzing and the stories of bad input: TestBadBodiesAreRefusedWithTheirPlace, TestBodiesThatDoNotArrive; bad records are scenario poison"},
	{Number: 27, Name: "locked-out", Title: "logins, certificates and rights that fail", Elsewhere: "on a broker and a database that ask for them: TestServeWithEverythingLocked, TestServeIsRefusedByKafka, TestDatabaseOverTLS, TestRefusals, TestForgedTokensAreRefused"},
	{Number: 28, Name: "restored", Title: "the database is dumped and restored into a new server, whose transaction ids begin anew; the log stays", Faults: []string{"restored-elsewhere"}, Once: true},
}

var besides = []Scenario{
	{Name: "refusing-broker", Title: "the broker has no leader, too few replicas, no patience, no place for offsets", Faults: []string{"not-leader", "not-enough-replicas", "produced-but-timed-out", "offset-commit-refused", "produce-lost"}, Lasts: 45 * time.Second},
	{Name: "refusing-database", Title: "serialization failures and deadlocks, of Postgres' own and made", Faults: []string{"serialization-failures", "deadlock-errors", "deadlocks"}},
	{Name: "held-rows", Title: "an idle transaction holds rows of open orders and of articles", Faults: []string{"rows-held", "article-held"}, Lasts: 40 * time.Second},
	{Name: "stuck-consumer", Title: "an order's message cannot be finished, or a router's partitions stand still, not for long enough to be given to others", Faults: []string{"order-held", "router-pause"}, Lasts: 40 * time.Second},
	{Name: "stops", Title: "SIGTERM to routers under load", Faults: []string{"router-stop", "rolling-restart"}},
	{Name: "offsets-lost", Title: "the groups are deleted", Faults: []string{"offsets-lost"}, Once: true},
	{Name: "long-outages", Title: "the broker, and then Postgres, is away for longer than every deadline, and routers are restarted after it", Faults: []string{"broker-outage", "postgres-outage"}, Once: true, Patient: true, Lasts: 70 * time.Second,
		// So an outage meets orders that are paid and not yet shipped, and what comes after it takes as long as it may.
		Env: []string{"CARRIER_STEP=12s"}},
	{Name: "retention-passed", Title: "records are removed before a slow service has heard them", Faults: []string{"retention-passes"}, Once: true, Lasts: 10 * time.Second,
		Expected: "The checker says which records were removed before the slow service had read them (I8), as many as they were, and nothing else: what the others have heard is done, once, and all adds up.",
		finish:   untilQuiet, expect: removedUnread},
	{Name: "topic-deleted", Title: "a topic is deleted under running routers", Faults: []string{"topic-deleted"}, Once: true, Lasts: 10 * time.Second, finish: restartRouters,
		Expected: "Started anew, the routers make the topic again. The checker says which events are in no topic (I7), and may say what nobody can hear any more (I5, I6, I8, I13). Nothing is done twice, money and stock add up.",
		expect:   only("I7", "I5", "I6", "I8", "I13")},
}

// Random has all faults that a system recovers from, several at a time.
func Random() Scenario {
	return Scenario{Name: "random", Title: "all faults mixed, several at a time", Faults: recoverable(), Replicas: 3, Overlap: true, Lasts: time.Minute}.withDefaults()
}

// Quick is the usual faults, one of each, within half a minute with all that belongs to it.
func Quick() Scenario {
	return Scenario{Name: "quick", Title: "the usual faults, one after the other", Lasts: 12 * time.Second, Once: true, Brief: time.Second,
		Env:    []string{"PAYMENT_DEADLINE=3s", "ORDER_DEADLINE=6s"},
		Faults: []string{"router-kill", "postgres-kill", "broker-kill", "commit-answer-lost", "kafka-line-reset"}}.withDefaults()
}

// names are the faults of a list.
func names(list []Fault) (all []string) {
	for _, f := range list {
		all = append(all, f.Name)
	}
	return all
}

// recoverable are the faults after which all is well by itself, and that are for any system.
func recoverable() (all []string) {
	for _, f := range faults {
		if !f.Alone {
			all = append(all, f.Name)
		}
	}
	return all
}
