//go:build unix

package story_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/testserver"
)

const (
	// failuresVariable says how many failures there must be at least: MILLRACE_FAILURES=10000 go test -run RandomFailures ./story
	// takes minutes.
	failuresVariable = "MILLRACE_FAILURES"
	// failuresInTheGate are enough for every service to have some, of every kind of message.
	failuresInTheGate = 300
	// atRandom refuses one state of a row in ten, for a second: a store that tries it again at once, with fewer others beside it,
	// meets the same refusal, and a redrive most likely another one.
	atRandom = "left(md5(NEW.state::text || extract(epoch FROM clock_timestamp())::bigint), 4) < '1999'"
	// failuresPerOrder is fewer than come of that share: an order comes to some twenty messages that are written.
	failuresPerOrder = 1.2
	// replicaKills is how often a replica is killed while messages fail; one more for each failuresPerKill.
	replicaKills, failuresPerKill = 3, 1000
	// killPause bounds the time between two kills.
	killPause = 6 * time.Second
	// askForAll is how long one redrive of everything may take before the operator begins another one.
	askForAll = 20 * time.Second
)

// Every service refuses one message in ten, at random; an operator redrives whatever failed, again and again, while replicas are
// killed. In the end each service has processed each order's messages in order, all of them, none twice.
func TestRandomFailuresWhileReplicasAreKilled(t *testing.T) {
	t.Parallel()
	takeTurn(t)
	failures := failuresInTheGate
	if text := os.Getenv(failuresVariable); text != "" {
		var err error
		if failures, err = strconv.Atoi(text); err != nil || failures < 1 {
			t.Fatalf("%s is %q, want a number of failures", failuresVariable, text)
		}
	}
	dsn, brokers := testserver.DurablePostgresDSN(t), kafkaForKills(t)
	env := unhurriedDeadlines.with(settings{
		"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "KAFKA_SESSION_TIMEOUT": "6s", "LOG_FORMAT": faultsAreLogged, "LOG_LEVEL": "warn", "FLOOD_LETTERS": "0",
	})
	nodes := []*node{startNode(t, env), startNode(t, env)}
	for _, n := range nodes {
		t.Cleanup(n.stopWithLetters)
		n.showRaces()
	}
	s := openShop(t, dsn, nodes...)
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range nodes {
				t.Logf("a router is at: %s", n.atWork())
			}
		}
	})
	var bugs []*breakage
	for service, table := range rowTables {
		condition := atRandom
		if service == "order" { // a refused request is answered with an error, which is no dead letter
			condition += " AND NEW.state->>'status' NOT IN ('PENDING', 'CANCELLING')"
		}
		bugs = append(bugs, s.refuses(table, condition))
	}
	begin := time.Now()
	orders, kills := int(float64(failures)/failuresPerOrder), replicaKills+failures/failuresPerKill
	r := s.startCrowd(orders, time.Duration(customersAtOnce*kills)*killPause/2/time.Duration(orders))
	r.mayFail = true
	stopped := s.startOperator(nodes[0])
	kills = r.killReplicas(nodes, kills, randomly(t))
	r.allEnd()
	s.redriveTheRest(nodes[1])
	stopped()
	took := time.Since(begin)

	r.addsUp(brokers)
	records, err := readLog(brokers)
	if err != nil {
		t.Fatalf("read the topics: %v", err)
	}
	messages := s.processedInOrder(records)
	var failed, letters, redrives int
	if err := s.books.QueryRow(`SELECT coalesce(sum(attempts), 0), count(*), (SELECT count(*) FROM deadletter.redrives) FROM deadletter.letters`).Scan(&failed, &letters, &redrives); err != nil {
		t.Fatalf("count the letters: %v", err)
	}
	if failed < failures {
		t.Errorf("only %d messages failed, want %d: it shows less than it says", failed, failures)
	}
	var refused int64
	for _, b := range bugs {
		refused += b.hits()
	}
	t.Logf("%d failures of %d letters (the database refused %d writes), %d redrives, %d kills with orders under way, in %v; "+
		"%d messages of %d orders were processed, each once and in the order of its topic", failed, letters, refused, redrives, kills, took.Round(time.Second), messages, len(r.orders))
}

// redriveAll is one command of an operator who has everything redriven that failed, and what it answered. unusual tells that this is
// worth a word: that some fail again is not, though it is an exit code of 1.
func (n *node) redriveAll(ctx context.Context) (answer string, unusual bool) {
	limited, stop := context.WithTimeout(ctx, askForAll)
	defer stop()
	stdout, stderr, code := n.dlq(limited, "redrive", "--filter", "status:new", "--yes", "--reason", "again", "--max-failures", "1000000")
	answer = fmt.Sprintf("router dlq redrive ends with %d:\n%s%s", code, stdout, stderr)
	switch {
	case code == 0 || code == 1 && strings.Contains(stderr, "not processed"):
		return answer, false
	case code != 1 && limited.Err() == nil:
		n.tb.Error(answer)
	}
	return answer, true // it was interrupted, and what it asked for goes on; or it failed, and is tried again
}

// startOperator has somebody redrive everything that failed, until the returned function is called.
func (s *shop) startOperator(n *node) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(look)
		defer tick.Stop()
		for ctx.Err() == nil {
			if answer, unusual := n.redriveAll(ctx); unusual && ctx.Err() == nil {
				s.t.Log(answer)
			}
			<-tick.C
		}
	})
	stop = func() {
		cancel()
		done.Wait()
	}
	s.t.Cleanup(stop)
	return stop
}

// redriveTheRest is another operator, who goes on until nothing is held up: no letter is open, nothing is parked, no row is marked.
// Patience begins anew whenever less is held up.
func (s *shop) redriveTheRest(n *node) {
	s.t.Helper()
	tick := time.NewTicker(look)
	defer tick.Stop()
	deadline, least, answer, asked := time.Now().Add(patience), math.MaxInt, "", 0
	for ; ; <-tick.C {
		all, sum, err := s.allHeldUp()
		switch {
		case err == nil && sum == 0:
			return
		case err == nil && sum < least:
			deadline, least = time.Now().Add(patience), sum
		case time.Now().After(deadline):
			s.t.Fatalf("are held up, and no fewer for %v, though somebody asked %d times: %v %+v; %s; the last answer: %q", patience, asked, err, all, s.holdUps(), answer)
		}
		answer, _ = n.redriveAll(context.Background())
		asked++
	}
}

// killReplicas kills one of the nodes again and again, and starts it anew. It returns how many kills found orders under way.
func (r *crowd) killReplicas(nodes []*node, kills int, random *rand.Rand) (atWork int) {
	r.t.Helper()
	for range kills {
		<-time.After(time.Duration(random.Int64N(int64(killPause))))
		underWay, err := r.underWay()
		if err != nil {
			r.t.Fatal(err)
		}
		if underWay > 0 {
			atWork++
		}
		victim := nodes[random.IntN(len(nodes))]
		victim.crash()
		victim.start()
	}
	if atWork == 0 {
		r.t.Error("no kill found an order under way")
	}
	return atWork
}
