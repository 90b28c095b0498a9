//go:build unix

package story_test

import (
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/chaos/wire"
)

// ordersWithLetters is how many orders are heard of at each point. Half of them fail.
const ordersWithLetters = 60

// halfOfThem is the condition for it.
const halfOfThem = "right(NEW.order_id::text, 1) < '8'"

func isHalf(order string) bool { return order[len(order)-1] < '8' }

// first is one fate for the first n that match, forward for the rest.
func first[T any](n int, what wire.Fate, matches func(T) bool) func(T) wire.Fate {
	return func(v T) wire.Fate {
		if n <= 0 || !matches(v) {
			return wire.Forward
		}
		n--
		return what
	}
}

// Transactions are told apart by what they touch: one that holds rows of analytics and writes letters parks, one that
// takes letters away settles, and one that leaves letters alone is the store's.
func parks(s wire.Statement) bool {
	return s.Text == "COMMIT" && s.Touches("INSERT INTO deadletter.letters")
}

func settles(s wire.Statement) bool {
	return s.Text == "COMMIT" && s.Touches("deadletter.letters") && s.Touches("analytics.orders") && !s.Touches("INSERT INTO deadletter.letters")
}

func stores(s wire.Statement) bool {
	return s.Text == "COMMIT" && s.Touches("analytics.orders") && !s.Touches("deadletter.")
}

func produces(k kmsg.Key) bool { return k == kmsg.Produce }

// cuts is how often a point is hit: more often than database/sql tries a statement by itself.
const cuts = 4

// letterPoint is a place between a failure and its end at which connections end.
type letterPoint struct {
	name     string
	parking  func(wire.Statement) wire.Fate // while messages fail
	copying  func(kmsg.Key) wire.Fate       // at the same time, in Kafka
	settling func(wire.Statement) wire.Fate // while they are redriven
	repeats  bool                           // copies are in Kafka more than once
}

func letterPoints() []letterPoint {
	return []letterPoint{
		{name: "before the commit of letter, lane and mark", parking: first(cuts, wire.CutBefore, parks)},
		{name: "after it, before its answer", parking: first(cuts, wire.CutAfter, parks)},
		{name: "before Kafka has the copies", copying: first(cuts, wire.CutBefore, produces)},
		{name: "Kafka has the copies, its answer is lost", copying: first(cuts, wire.CutAfter, produces)},
		{name: "the copies are published, and not yet deleted here", parking: first(cuts, wire.CutBefore, isOutboxDelete), repeats: true},
		{name: "before a redriven message is committed", settling: first(cuts, wire.CutBefore, stores)},
		{name: "a redriven message is committed, its letter is not settled", settling: first(cuts, wire.CutBefore, settles)},
		{name: "the letter is settled, the answer is lost", settling: first(cuts, wire.CutAfter, settles)},
	}
}

// Analytics hears of the same orders at each point, anew, and has nothing to say: so all that is published are copies of letters.
func TestCrashPointsOfLetters(t *testing.T) {
	t.Parallel()
	w := openLetterWorld(t)
	for _, point := range letterPoints() {
		t.Run(point.name, func(t *testing.T) {
			w := w.anew(t)
			hits := w.postgres.Hits
			if point.copying != nil {
				hits = w.kafka.Hits
			}
			before := hits()
			bug := w.s.refuses("analytics.orders", halfOfThem)
			w.decide(point.parking, point.copying)
			w.hearer.start()
			w.allHeldUp()
			w.decide(point.settling, nil)
			w.copiesAreComplete(point.repeats)
			bug.mend()
			w.tool.dlqDone("redrive", "--filter", "service:analytics", "--yes", "--reason", "mended")
			w.addsUp()
			if hits() == before {
				t.Error("the point was never hit")
			}
			t.Logf("hit %d times: %d letters, %d messages behind them", hits()-before, w.want.letters, w.want.parked)
		})
	}
	t.Run("kill -9 of a router that is at a lane", func(t *testing.T) {
		w := w.anew(t)
		bug := w.s.refuses("analytics.orders", halfOfThem)
		w.hearer.start()
		w.allHeldUp()
		bug.mend()
		release := w.holdOneRow()
		asking, leave := context.WithCancel(t.Context())
		var operator sync.WaitGroup
		operator.Go(func() {
			w.tool.dlq(asking, "redrive", "--filter", "service:analytics", "--yes", "--reason", "mended")
		})
		w.awaitLease()
		w.hearer.crash()
		leave()
		operator.Wait()
		release()
		w.hearer.start()
		w.tool.dlqDone("redrive", "--filter", "service:analytics", "--yes", "--reason", "what was not asked for yet")
		w.addsUp()
	})
}
