package kafka_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
	"millrace/transport/transporttest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture { return fixture(t, testserver.Kafka(t)) })
}

func TestConformanceOnRealKafka(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture { return fixture(t, testserver.RealKafka(t)) })
}

// quick is a configuration for tests: short waits, and no log. A session is long enough for a machine that stands still for a moment.
func quick(brokers ...string) kafka.Config {
	return kafka.Config{
		Brokers: brokers, Logger: slog.New(slog.DiscardHandler),
		HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 5 * time.Second, RebalanceTimeout: 2 * time.Second,
		NackBackoff: 2 * time.Millisecond,
	}
}

func fixture(t *testing.T, brokers ...string) transporttest.Fixture {
	t.Helper()
	publisher, err := kafka.NewPublisher(quick(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = publisher.Close() })
	var mu sync.Mutex
	wires := map[message.Subscriber]*wire{}
	return transporttest.Fixture{
		Open: func(t *testing.T) transport.Transport {
			w := &wire{}
			on, err := kafka.New(kafka.With(quick(brokers...), kgo.Dialer(w.dial)))
			if err != nil {
				t.Fatal(err)
			}
			return noting{on, func(sub message.Subscriber) {
				mu.Lock()
				defer mu.Unlock()
				wires[sub] = w
			}}
		},
		Foreign: publisher,
		PerKey:  true,
		Kill: func(sub message.Subscriber) {
			mu.Lock()
			defer mu.Unlock()
			wires[sub].cut()
		},
	}
}

// noting tells which subscribers a transport made.
type noting struct {
	*kafka.Transport
	note func(message.Subscriber)
}

func (n noting) Subscriber(group string) (message.Subscriber, error) {
	sub, err := n.Transport.Subscriber(group)
	n.note(sub)
	return sub, err
}

// wire is the network of one client, which can be cut for good.
type wire struct {
	mu    sync.Mutex
	isCut bool
	open  []net.Conn
}

// brokersOwn are goroutines of the embedded broker: it begins one for each request, so a connection
// from before that asks once more looks like a leak.
var brokersOwn = goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read.func1")

func (w *wire) dial(ctx context.Context, network, host string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return nil, net.ErrClosed
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err == nil {
		w.open = append(w.open, conn)
	}
	return conn, err
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, conn := range w.open {
		_ = conn.Close()
	}
}
