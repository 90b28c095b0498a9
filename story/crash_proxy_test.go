//go:build unix

package story_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/chaos/wire"
	"millrace/testserver"
	"millrace/testserver/realkafka"
)

// startPostgresProxy stands before the database at dsn until the test is over, and returns the address that leads
// through it.
func startPostgresProxy(tb testing.TB, dsn string) (*wire.Postgres, string) {
	tb.Helper()
	behind, err := url.Parse(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	query := behind.Query()
	socket := fmt.Sprintf("%s/.s.PGSQL.%s", query.Get("host"), query.Get("port"))
	p, err := wire.NewPostgres(func() (net.Conn, error) { return net.Dial("unix", socket) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	through := *behind
	through.Host = p.Addr().String()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	through.RawQuery = query.Encode()
	return p, through.String()
}

// startKafkaProxy starts a broker in memory behind a proxy, whose address it names as its own. Everybody reaches it
// through the proxy.
func startKafkaProxy(tb testing.TB) *wire.Kafka {
	tb.Helper()
	behind := make(chan string, 1)
	broker := sync.OnceValue(func() string { return <-behind }) // nobody comes before it is there
	p, err := wire.NewKafka(func() (net.Conn, error) { return net.Dial("tcp", broker()) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(network, addr string) (net.Listener, error) {
		l, err := net.Listen(network, addr)
		if err != nil {
			return nil, err
		}
		behind <- l.Addr().String()
		return wire.Advertise(l, p.Addr()), nil
	}))
	if err != nil {
		tb.Fatalf("start a Kafka broker in memory: %v", err)
	}
	tb.Cleanup(cluster.Close)
	return p
}

// kafkaForKills is a real Kafka of the test's own where the machine has one, and else a broker in
// memory, which notices a killed member much later when it was killed while it joined.
func kafkaForKills(t *testing.T) (brokers string) {
	t.Helper()
	jars, err := realkafka.FindJars()
	if errors.Is(err, realkafka.ErrMissing) && os.Getenv("MILLRACE_REQUIRE_KAFKA") != "1" {
		t.Logf("on a broker in memory: %v", err)
		return testserver.Kafka(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	broker, err := realkafka.Start(t.Context(), realkafka.Config{Dir: filepath.Join(t.TempDir(), "kafka"), Jars: jars})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Kill)
	return broker.Addr()
}
