//go:build unix

package story_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/chaos/wire"
	"millrace/router"
	"millrace/testserver"
)

// lastingRest is how long nothing must have changed: far longer than a record needs to be fetched.
const lastingRest = 2 * time.Second

// ordersPerPoint is how many orders are placed around each crash point.
const ordersPerPoint = 200

// faultsAreLogged is the format in which a router may log errors: in the other one the harness
// takes each for a fault of the router's own, and here they are the test's.
const faultsAreLogged = "json"

// crashing is a system of its own behind both proxies.
type crashing struct {
	*shop
	node     *node
	postgres *wire.Postgres
	kafka    *wire.Kafka
}

// crashesAtOnce is how many systems fail at the same time: each may use 34 of the hundred
// connections that their Postgres has, and a few more that it has not yet noticed to be cut.
var crashesAtOnce = make(chan struct{}, 2)

// takeTurn waits until another system may fail.
func takeTurn(t *testing.T) {
	crashesAtOnce <- struct{}{}
	t.Cleanup(func() { <-crashesAtOnce })
}

func openCrashing(t *testing.T, env settings) *crashing {
	t.Helper()
	takeTurn(t)
	dsn := testserver.DurablePostgresDSN(t)
	postgres, through := startPostgresProxy(t, dsn)
	kafka := startKafkaProxy(t)
	n := startNode(t, settings{"DATABASE_URL": through, "KAFKA_BROKERS": kafka.Addr().String(), "KAFKA_SESSION_TIMEOUT": "6s", "LOG_FORMAT": faultsAreLogged}.with(env))
	n.showRaces()
	return &crashing{openShop(t, dsn, n), n, postgres, kafka}
}

// every is one fate in n for what matches, forward for the rest.
func every[T any](n int, what wire.Fate, matches func(T) bool) func(T) wire.Fate {
	count := 0
	return func(v T) wire.Fate {
		if !matches(v) {
			return wire.Forward
		}
		if count++; count%n != 0 {
			return wire.Forward
		}
		return what
	}
}

// sometimes is one fate, at random, for that share of what matches. A call that takes two
// statements would fail for ever if every second one did.
func sometimes[T any](share float64, what wire.Fate, matches func(T) bool) func(T) wire.Fate {
	random := rand.New(rand.NewPCG(1, 1))
	return func(v T) wire.Fate {
		if !matches(v) || random.Float64() > share {
			return wire.Forward
		}
		return what
	}
}

// butOneIn is a fate for all that matches but one in n. database/sql tries what fails on a broken
// connection three times in all, so with n = 4 the caller gets to see it.
func butOneIn[T any](n int, what wire.Fate, matches func(T) bool) func(T) wire.Fate {
	spare := every(n, what, matches)
	return func(v T) wire.Fate {
		if !matches(v) || spare(v) == what {
			return wire.Forward
		}
		return what
	}
}

// isCommit is the end of a transaction of ours; the provider's are another point.
func isCommit(s wire.Statement) bool { return s.Text == "COMMIT" && !s.Touches("provider.accounts") }

// isLedger is what makes a change of the provider's books durable.
func isLedger(s wire.Statement) bool {
	return len(s.Text) > 6 && s.Text[:6] == "INSERT" && s.Touches("provider.accounts") || s.Text == "COMMIT" && s.Touches("UPDATE provider.accounts")
}

func isOutboxDelete(s wire.Statement) bool { return s.Touches("DELETE FROM millrace.outbox") }

// crashPoints are the places at which a connection ends, again and again, with many orders
// under way. Offsets have a test of their own, since only a restart shows what they are for.
var crashPoints = []struct {
	name     string
	postgres func(wire.Statement) wire.Fate
	kafka    func(kmsg.Key) wire.Fate
	env      settings
	// repeats says that the point leaves records in Kafka twice, which shows that it was hit
	// where it hurts.
	repeats bool
}{
	{name: "before a commit", postgres: every(5, wire.CutBefore, isCommit)},
	{name: "after a commit, before its answer", postgres: every(5, wire.CutAfter, isCommit)},
	{name: "after publishing, before the delete", postgres: butOneIn(4, wire.CutBefore, isOutboxDelete), repeats: true},
	{name: "the broker has the records, its answer is lost", kafka: every(3, wire.CutAfter, func(k kmsg.Key) bool { return k == kmsg.Produce })},
	// It is the provider that is hard to reach here: neither breaker nor deadline should notice.
	{name: "the provider has acted, its answer is lost", postgres: sometimes(0.4, wire.CutAfter, isLedger),
		env: settings{"PROVIDER_BREAKER_MIN_CALLS": "1000000", "PAYMENT_DEADLINE": "2m", "ORDER_DEADLINE": "3m"}},
}

func TestCrashPoints(t *testing.T) {
	for _, point := range crashPoints {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel()
			s := openCrashing(t, point.env)
			var hits func() int64
			if point.postgres != nil {
				s.postgres.When(point.postgres)
				hits = s.postgres.Hits
			} else {
				s.kafka.When(point.kafka)
				hits = s.kafka.Hits
			}
			r := s.startCrowd(ordersPerPoint, 0)
			duplicates := r.addsUp(s.kafka.Addr().String())
			t.Logf("hit %d times", hits())
			if hits() == 0 {
				t.Error("the point was never hit")
			}
			if point.repeats && duplicates == 0 {
				t.Error("no record was published twice: the point was not hit where it hurts")
			}
		})
	}
}

// atRest returns what lies in the topics once nothing more comes: each record has been finished by
// all who hear it, which committed offsets cannot tell while they are held back, nor the number of
// messages handled, since some are handled again whenever a group balances.
func (s *crashing) atRest() ([]*kgo.Record, error) {
	records, err := readLog(s.kafka.Addr().String())
	if err != nil {
		return nil, err
	}
	lags, err := s.node.lags()
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		for _, service := range router.Flow(router.Services{}) {
			if !slices.Contains(service.Topics(), r.Topic) {
				continue
			}
			at := partitionOf{service.Group(), r.Topic, strconv.Itoa(int(r.Partition))}
			if lag, known := lags[at]; !known || lag > 0 {
				return nil, fmt.Errorf("%v is %v records behind, known: %v", at, lag, known)
			}
		}
	}
	return records, atRest(s.shop)
}

// partitionOf is a partition as one group sees it.
type partitionOf struct{ group, topic, partition string }

var lagMetric = regexp.MustCompile(`(?m)^kafka_subscriber_lag_records\{group="([^"]*)",partition="([^"]*)",topic="([^"]*)"\} ([0-9.e+]+)$`)

// lags are the subscribers' own: how much lies behind the first record that is unfinished.
func (n *node) lags() (map[partitionOf]float64, error) {
	metrics, err := n.get("/metrics")
	if err != nil {
		return nil, err
	}
	lags := map[partitionOf]float64{}
	for _, m := range lagMetric.FindAllStringSubmatch(metrics, -1) {
		if lags[partitionOf{m[1], m[3], m[2]}], err = strconv.ParseFloat(m[4], 64); err != nil {
			return nil, err
		}
	}
	return lags, nil
}

// What was done but not committed to Kafka is delivered again after a restart, all of it, and
// changes nothing.
func TestCrashAfterEffectBeforeOffset(t *testing.T) {
	t.Parallel()
	s := openCrashing(t, nil)
	s.kafka.When(every(1, wire.Refuse, func(k kmsg.Key) bool { return k == kmsg.OffsetCommit }))
	r := s.startCrowd(ordersPerPoint, 0)
	r.allEnd()
	var before []*kgo.Record
	restSince := time.Now()
	// A fetch may just be under way: rest is what lasts.
	eventually(t, "nothing is on its way", func() error {
		records, err := s.atRest()
		if len(records) != len(before) || err != nil {
			before, restSince = records, time.Now()
		}
		if err == nil && time.Since(restSince) < lastingRest {
			err = fmt.Errorf("at rest for %s", time.Since(restSince))
		}
		return err
	})
	rows := everything(t, s.shop)
	s.node.crash()
	if s.kafka.Hits() == 0 {
		t.Fatal("no offset was held back")
	}
	s.kafka.When(every(1, wire.Forward, func(kmsg.Key) bool { return false }))
	s.node.start()
	r.addsUp(s.kafka.Addr().String())
	after, err := readLog(s.kafka.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Errorf("%d records before the restart, %d after: something was done again", len(before), len(after))
	}
	if now := everything(t, s.shop); now != rows {
		t.Errorf("something changed:\nbefore %s\nafter  %s", rows, now)
	}
	// Analytics alone hears every record.
	again := s.node.handled()
	if again < len(before) {
		t.Errorf("%d messages were handled after the restart, want %d at least", again, len(before))
	}
	t.Logf("%d commits of offsets were refused, %d messages were handled again", s.kafka.Hits(), again)
}

const (
	// kills is how often the router is killed while it works.
	kills = 10
	// ordersWhileKilled last longer than the kills.
	ordersWhileKilled = 400
	// killedWithin is the longest a router runs: longer than the group takes to give up the one
	// before, so that some are killed while they catch up.
	killedWithin = 9 * time.Second
)

func TestCrashByKillMinusNine(t *testing.T) {
	t.Parallel()
	takeTurn(t)
	dsn, brokers := testserver.DurablePostgresDSN(t), kafkaForKills(t)
	n := startNode(t, settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "KAFKA_SESSION_TIMEOUT": "6s", "LOG_FORMAT": faultsAreLogged})
	n.showRaces()
	r := openShop(t, dsn, n).startCrowd(ordersWhileKilled, customersAtOnce*kills*killedWithin/2/ordersWhileKilled)
	random := randomly(t)
	atWork := 0
	for i := range kills {
		after := time.Duration(random.Int64N(int64(killedWithin)))
		<-time.After(after)
		n.crash()
		underWay, err := r.underWay()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("kill %d, %v after the start, with %d orders under way", i+1, after.Round(time.Millisecond), underWay)
		if underWay > 0 {
			atWork++
		}
		n.start()
	}
	// On a fast machine the orders may all have ended before the last kills.
	if atWork < kills/2 {
		t.Errorf("only %d of %d kills found orders under way", atWork, kills)
	}
	r.addsUp(brokers)
}

// The embedded broker and the private database go down with the router, and come up again
// with everything in them.
func TestCrashOfEverythingEmbedded(t *testing.T) {
	t.Parallel()
	takeTurn(t)
	n := prepareNode(t, settings{"EMBEDDED_KAFKA_PORT": portText(freePort(t)), "LOG_FORMAT": faultsAreLogged})
	n.start()
	n.showRaces()
	kafka, dsn := n.embedded()
	s := openShop(t, dsn, n)
	r := s.startCrowd(ordersPerPoint, 100*time.Millisecond)
	eventually(t, "some orders are under way", func() error { return r.atLeast(ordersPerPoint / 4) })
	n.crash()
	n.start()
	r.addsUp(kafka)
}
