package chaos

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/chaos/wire"
)

// crashFaults kill routers by kill -9 at one exact place: the proxy sees them arrive there.
var crashFaults = []Fault{
	dieAtStatement("die-before-commit", "before a COMMIT", wire.CutBefore, isCommit),
	dieAtStatement("die-after-commit", "after a COMMIT, before anybody heard of it", wire.CutAfter, isCommit),
	dieAtStatement("die-mid-batch", "in the middle of a batch, between its statements", wire.CutBefore, func(s wire.Statement) bool {
		return strings.Contains(s.Text, "INSERT INTO millrace.outbox") || strings.Contains(s.Text, "millrace.waits") && s.Within != nil
	}),
	dieAtStatement("die-before-outbox-delete", "after events were published, before they leave the outbox", wire.CutBefore, isOutboxDelete),
	dieAtStatement("die-after-provider-call", "after the provider has acted, before its answer is heard", wire.CutAfter, isLedger),
	dieAtRequest("die-before-produce", "before records reach the broker", wire.CutBefore, kmsg.Produce),
	dieAtRequest("die-after-produce", "after the broker kept records, before its answer", wire.CutAfter, kmsg.Produce),
	dieAtRequest("die-before-offset-commit", "before offsets are noted", wire.CutBefore, kmsg.OffsetCommit),
	dieAtRequest("die-after-offset-commit", "after offsets were noted, before the answer", wire.CutAfter, kmsg.OffsetCommit),
}

// serviceCrashFaults kill a router in a transaction of one service, each service in turn: the places of crashFaults are
// mostly reached first by whoever writes most.
var serviceCrashFaults = makeServiceCrashFaults()

func makeServiceCrashFaults() (list []Fault) {
	for _, table := range ordersOf {
		service, _, _ := strings.Cut(table, ".")
		commit := func(s wire.Statement) bool { return s.Text == "COMMIT" && writes(table, s.Within...) }
		between := func(s wire.Statement) bool { return isMidBatch(s, table) }
		list = append(list,
			awaitVictim("die-before-commit-"+service, "before a COMMIT of "+service, wire.CutBefore, commit),
			awaitVictim("die-after-commit-"+service, "after a COMMIT of "+service+", before anybody heard of it", wire.CutAfter, commit),
			awaitVictim("die-mid-batch-"+service, "in a transaction of "+service+", between two statements that write", wire.CutBefore, between))
	}
	return list
}

// isMidBatch tells whether a transaction that changes a service's rows has written something, rows or events, and is about to
// go on.
func isMidBatch(s wire.Statement, table string) bool {
	begun := writes(table, s.Within...)
	return s.Text != "COMMIT" && s.Text != "ROLLBACK" && (begun || writes("millrace.outbox", s.Within...) && writes(table, s.Text))
}

// writes tells whether statements change a table.
func writes(table string, statements ...string) bool {
	return slices.ContainsFunc(statements, func(text string) bool {
		return strings.Contains(text, "INSERT INTO "+table+" ") || strings.Contains(text, "UPDATE "+table+" ")
	})
}

// An ambush lasts until the groups, which may still wait for the dead of the last one, are at work again. Whoever dies in
// it is started again after restartPause. One for a single service is short, and lasts longer where nobody came by in time.
const (
	shortestAmbush, longestAmbush               = 7 * time.Second, 10 * time.Second
	shortestServiceAmbush, longestServiceAmbush = 3 * time.Second, 4 * time.Second
	ambushPatience                              = 15 * time.Second
)

// awaitVictim is dieAtStatement for one service, which is over when somebody has died.
func awaitVictim(name, where string, fate wire.Fate, matches func(wire.Statement) bool) Fault {
	f := ambush(name, where, fate, matches, ambushPatience)
	f.Alone, f.Shortest, f.Longest = true, shortestServiceAmbush, longestServiceAmbush
	return f
}

// dieAtStatement kills whichever router gets there first.
func dieAtStatement(name, where string, fate wire.Fate, matches func(wire.Statement) bool) Fault {
	return ambush(name, where, fate, matches, 0)
}

// ambush is healed after its time, and at most so much later, if nobody has come by.
func ambush(name, where string, fate wire.Fate, matches func(wire.Statement) bool, patience time.Duration) Fault {
	return Fault{Name: name, What: "kill -9 of a router " + where, Heals: "it is started again", On: []string{onReplica, onPostgresLine}, Shortest: shortestAmbush, Longest: longestAmbush,
		inject: func(_ context.Context, i *injection) (heal, error) {
			var killed atomic.Int64
			var once sync.Once
			died := make(chan struct{})
			for _, r := range i.replicas {
				r.proxy.OnHit(func() {
					once.Do(func() {
						killed.Store(count(r.kill()))
						close(died)
						time.AfterFunc(restartPause, func() { _ = r.start() }) // the end of it starts it once more
					})
				})
				r.proxy.When(first(fate, matches))
			}
			return func(ctx context.Context) (int64, error) {
				select {
				case <-died:
				case <-ctx.Done():
				case <-time.After(patience):
				}
				for _, r := range i.replicas {
					r.proxy.When(nil)
					r.proxy.OnHit(nil)
				}
				return killed.Load(), i.startRouters()
			}, nil
		}}
}

// dieAtRequest kills all routers: nobody tells whose connection to the broker it is.
func dieAtRequest(name, where string, fate wire.Fate, key kmsg.Key) Fault {
	return Fault{Name: name, What: "kill -9 of all routers " + where, Heals: "they are started again", On: []string{onReplica, onKafkaLine}, Shortest: shortestAmbush, Longest: longestAmbush,
		inject: func(_ context.Context, i *injection) (heal, error) {
			p, killed := i.broker.proxy, new(atomic.Int64)
			p.OnHit(sync.OnceFunc(func() {
				killed.Store(i.killRouters())
				time.AfterFunc(restartPause, func() { _ = i.startRouters() }) // the end of it starts them once more
			}))
			p.When(first(fate, func(k kmsg.Key) bool { return k == key }))
			return func(context.Context) (int64, error) {
				p.When(nil)
				p.OnHit(nil)
				return killed.Load(), i.startRouters()
			}, nil
		}}
}

// first is a fate for the first that matches. It is asked by one at a time.
func first[T any](fate wire.Fate, matches func(T) bool) func(T) wire.Fate {
	done := false
	return func(v T) wire.Fate {
		if done || !matches(v) {
			return wire.Forward
		}
		done = true
		return fate
	}
}
