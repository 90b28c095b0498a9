//go:build unix

package testserver

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/embedded"
	"millrace/testserver/realkafka"
)

// minSession lets tests have a group give up on a silent member quickly.
const minSession = time.Second

// requireVariable, set to 1, makes a missing Apache Kafka fail the test instead
// of skipping it: for the run that must not leave anything out.
const requireVariable = "MILLRACE_REQUIRE_KAFKA"

// Kafka is the address of a broker of the test's own: the real protocol, in
// memory, without any topic. It is gone when the test is over.
func Kafka(tb testing.TB) string {
	tb.Helper()
	return KafkaCluster(tb).ListenAddrs()[0]
}

// KafkaCluster is such a broker itself, for tests that make it fail.
func KafkaCluster(tb testing.TB) *kfake.Cluster {
	tb.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(minSession), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		return embedded.KafkaListener(l), nil
	}))
	if err != nil {
		tb.Fatalf("start a Kafka broker in memory: %v", err)
	}
	tb.Cleanup(cluster.Close)
	return cluster
}

var realKafka shared[*realkafka.Broker]

// RealKafka is the address of a real Apache Kafka, one for all tests of the
// process: a test names its topics and groups so that no other one uses them.
// Where Java or the jars are missing the test is skipped, or, with
// MILLRACE_REQUIRE_KAFKA=1, fails.
func RealKafka(tb testing.TB) string {
	tb.Helper()
	broker, err := realKafka.get(startRealKafka)
	switch {
	case errors.Is(err, realkafka.ErrMissing) && os.Getenv(requireVariable) != "1":
		tb.Skipf("LEFT OUT: not tested on a real Kafka: %v", err)
	case err != nil:
		tb.Fatal(err)
	}
	return broker.Addr()
}

func startRealKafka(ctx context.Context) (*realkafka.Broker, error) {
	jars, err := realkafka.FindJars()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory()
	if err != nil {
		return nil, err
	}
	broker, err := realkafka.Start(ctx, realkafka.Config{Dir: filepath.Join(dir, "kafka"), Jars: jars})
	if err != nil {
		return nil, err
	}
	atEnd(broker.Kill) // nobody reads its data again
	return broker, nil
}
