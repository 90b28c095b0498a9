//go:build unix

package story_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/event"
	"millrace/testserver"
)

const (
	// soon is many times what a good order takes, on two cores that others use as well.
	soon = 30 * time.Second
	// moreMemory is what bad input may leave behind in a process with the race detector in it: a
	// few of the largest records that are there, several times over.
	moreMemory = 300 << 20
)

// Whatever comes in: it is refused or lettered, each for itself, and the system goes on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	brokers, dsn := testserver.Kafka(t), testserver.PostgresDSN(t)
	n := startNode(t, settings{"DATABASE_URL": dsn, "KAFKA_BROKERS": brokers, "RETRY_BACKOFF": "10ms", "LOG_FORMAT": faultsAreLogged})
	t.Cleanup(n.stopWithLetters)
	n.showRaces()
	s := openShop(t, dsn, n)
	s.goodOrder() // the first one warms up
	before := n.memory()
	t.Run("over HTTP", func(t *testing.T) { testBadRequests(t, s, brokers) })
	t.Run("an unknown SKU", func(t *testing.T) {
		o := s.in(t).places(buying("NOBODY-HAS-IT", 1))
		o.isNow(event.OrderIsCancelled)
		if answer := n.logged(o.id); strings.Contains(answer, "ERROR") {
			t.Errorf("it is not an error:\n%s", answer)
		}
	})
	t.Run("in Kafka", func(t *testing.T) { testBadRecords(t, s, brokers) })
	t.Run("an order that waits for an upgrade", func(t *testing.T) { testWaitsForTheUpgrade(t, s, brokers) })
	t.Run("everything again", func(t *testing.T) { testReplay(t, s, brokers) })
	took := s.goodOrder()
	noLag(s, brokers)
	grown := n.memory() - before
	if grown > moreMemory {
		t.Errorf("the process has %d MiB more than before", grown>>20)
	}
	eventually(t, "it is ready", func() error {
		answer, err := n.get("/readyz?verbose")
		if err == nil && !strings.HasPrefix(answer, "200 ") {
			err = errors.New(answer)
		}
		return err
	})
	t.Logf("afterwards a good order is DELIVERED within %v, no group lags, %d MiB of memory more than before", took.Round(time.Millisecond), grown>>20)
}

// goodOrder places an order that must arrive in normal time.
func (s *shop) goodOrder() time.Duration {
	s.t.Helper()
	begin := time.Now()
	o := s.places()
	o.isNow(event.OrderDelivered)
	took := time.Since(begin)
	if took > soon {
		s.t.Errorf("a good order took %v", took)
	}
	return took
}

// stopWithLetters is stop where dead letters are what was wanted.
func (n *node) stopWithLetters() {
	if !n.running.Swap(false) {
		return
	}
	if err := syscall.Kill(n.process.PID(), syscall.SIGTERM); err != nil {
		n.tb.Errorf("stop the router: %v", err)
	}
	select {
	case <-n.process.Done():
		if err := n.process.Err(); err != nil {
			n.tb.Errorf("the router did not end well: %v", err)
		}
	case <-time.After(stopPatience):
		n.tb.Errorf("the router runs %v after SIGTERM", stopPatience)
		n.process.Stop(0)
	}
}

// memory is how many bytes of memory the process has.
func (n *node) memory() int64 {
	n.tb.Helper()
	metrics, err := n.get("/metrics")
	if err != nil {
		n.tb.Fatal(err)
	}
	const name = "process_resident_memory_bytes "
	for line := range strings.SplitSeq(metrics, "\n") {
		if text, found := strings.CutPrefix(line, name); found {
			bytes, err := strconv.ParseFloat(text, 64)
			if err != nil {
				n.tb.Fatal(err)
			}
			return int64(bytes)
		}
	}
	n.tb.Fatal(fmt.Errorf("no %sin the metrics", name))
	return 0
}
