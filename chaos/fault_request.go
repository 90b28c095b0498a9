package chaos

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/chaos/wire"
)

// Requests whose end is another than whoever sent it is told. The shares leave room for progress: a transaction of two
// statements that each fail every other time is rarely done.
const (
	someRequests = 0.3
	mostRequests = 0.7
	allRequests  = 1.0
)

// The longest that single requests fail.
const shortestTrouble, longestTrouble = 3 * time.Second, 8 * time.Second

func isCommit(s wire.Statement) bool { return s.Text == "COMMIT" && !s.Touches("provider.accounts") }

// isLedger is what makes a change of the provider's books durable.
func isLedger(s wire.Statement) bool {
	return strings.HasPrefix(s.Text, "INSERT") && s.Touches("provider.accounts") || s.Text == "COMMIT" && s.Touches("UPDATE provider.accounts")
}

// isProvider is any word with the provider.
func isProvider(s wire.Statement) bool { return strings.Contains(s.Text, "provider.accounts") }

func isOutboxDelete(s wire.Statement) bool {
	return strings.Contains(s.Text, "DELETE FROM millrace.outbox")
}

var requestFaults = []Fault{
	statementFault("commit-lost", "connections end before a COMMIT reaches Postgres", wire.CutBefore, someRequests, isCommit),
	statementFault("commit-answer-lost", "Postgres commits, and the answer is lost with the connection", wire.CutAfter, someRequests, isCommit),
	statementFault("outbox-delete-lost", "what is published is not deleted from the outbox", wire.CutBefore, mostRequests, isOutboxDelete),
	statementFault("provider-down", "no call reaches the provider", wire.CutBefore, allRequests, isProvider),
	statementFault("provider-answer-lost", "the provider acts, and its answer is lost", wire.CutAfter, someRequests, isLedger),
	produceFault("produce-lost", "connections end before records reach the broker", wire.CutBefore),
	produceFault("produce-answer-lost", "the broker keeps records, and its answer is lost with the connection", wire.CutAfter),
	produceFault("produced-but-timed-out", "the broker keeps records, and says that it timed out", wire.DoneButLate),
	produceFault("not-leader", "the broker says that another one leads", wire.NotLeader),
	produceFault("not-enough-replicas", "the broker says that too few replicas are there", wire.NotEnoughReplicas),
	kafkaFault("offset-commit-refused", "the broker refuses to note offsets", kmsg.OffsetCommit, wire.Refuse, allRequests),
}

func statementFault(name, what string, fate wire.Fate, portion float64, matches func(wire.Statement) bool) Fault {
	return Fault{Name: name, What: what, Heals: "all is forwarded again", On: []string{onPostgresLine}, Shortest: shortestTrouble, Longest: longestTrouble,
		inject: func(_ context.Context, i *injection) (heal, error) {
			var undo []func() int64
			for _, r := range i.replicas {
				before := r.proxy.Hits()
				r.proxy.When(sometimes(rand.New(rand.NewPCG(i.random.Uint64(), 0)), portion, fate, matches))
				undo = append(undo, func() int64 { r.proxy.When(nil); return r.proxy.Hits() - before })
			}
			return func(context.Context) (hits int64, _ error) {
				for _, u := range undo {
					hits += u()
				}
				return hits, nil
			}, nil
		}}
}

func produceFault(name, what string, fate wire.Fate) Fault {
	return kafkaFault(name, what, kmsg.Produce, fate, someRequests)
}

func kafkaFault(name, what string, key kmsg.Key, fate wire.Fate, portion float64) Fault {
	return Fault{Name: name, What: what, Heals: "all is forwarded again", On: []string{onKafkaLine}, Shortest: shortestTrouble, Longest: longestTrouble,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.proxy.When(sometimes(i.random, portion, fate, func(k kmsg.Key) bool { return k == key }))
			return felt(i.broker.proxy.Hits, func() error { i.broker.proxy.When(nil); return nil }), nil
		}}
}

// sometimes is a fate, at random, for that share of what matches. It is asked by one at a time.
func sometimes[T any](random *rand.Rand, portion float64, fate wire.Fate, matches func(T) bool) func(T) wire.Fate {
	return func(v T) wire.Fate {
		if !matches(v) || random.Float64() > portion {
			return wire.Forward
		}
		return fate
	}
}
