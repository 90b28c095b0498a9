package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// DefaultKafkaPort is the broker's port unless EMBEDDED_KAFKA_PORT says
	// otherwise. It is fixed, so that clients find the broker after a restart,
	// and not Kafka's own 9092, which may be in use.
	DefaultKafkaPort = 19092
	// kafkaMaxMessage is the largest batch taken: dead letters may be 4 MiB, to
	// which comes the batch's own frame. Events are held to their limit before
	// they get here.
	kafkaMaxMessage = 4<<20 + 64<<10
	// kafkaMinSession lets a group give up on a killed member after a second
	// instead of Kafka's six: on one machine silence means death.
	kafkaMinSession = time.Second
	// kafkaRetention is Kafka's own default, seven days. The broker forgets older records only when
	// it is told to, which happens every kafkaTidyEvery.
	kafkaRetention = 7 * 24 * time.Hour
	kafkaTidyEvery = time.Hour
)

// KafkaConfig says where the embedded broker lives.
type KafkaConfig struct {
	// Dir is a directory of the broker's own, created if it is missing. It must
	// not be open twice: the broker itself does not check.
	Dir string
	// Port is the port on loopback; 0 takes any free one.
	Port int
	// Listen replaces net.Listen, for whoever puts something between the broker and its clients.
	Listen func(network, address string) (net.Listener, error)
}

// Kafka is a Kafka broker inside this process: one node, durable, with the real
// protocol, without replication. It creates no topic that nobody asked for.
type Kafka struct {
	cluster *kfake.Cluster
	addr    string
	tidy    *time.Ticker
	closing sync.Once
	stop    chan struct{}
	stopped chan struct{}
}

// StartKafka starts the broker on what is in its directory. What it has
// acknowledged is on disk; members of groups forgotten by a kill -9 join again
// at their next heartbeat.
func StartKafka(c KafkaConfig) (*Kafka, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the Kafka directory %s: %w", c.Dir, err)
	}
	if c.Listen == nil {
		c.Listen = net.Listen
	}
	cluster, err := kfake.NewCluster(
		kfake.Ports(c.Port),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := c.Listen(network, address)
			if err != nil {
				return nil, err
			}
			return KafkaListener(l), nil
		}),
		kfake.DataDir(c.Dir),
		kfake.SyncWrites(),
		kfake.ClusterID(uuid.NewString()), // for a new directory; an old one remembers its own
		kfake.GroupMinSessionTimeout(kafkaMinSession),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes": strconv.Itoa(kafkaMaxMessage),
			"log.retention.ms":  strconv.FormatInt(kafkaRetention.Milliseconds(), 10),
		}),
		kfake.WithLogger(kafkaLogger{}),
	)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d on 127.0.0.1 is taken, and the embedded Kafka broker needs it: set EMBEDDED_KAFKA_PORT to a free port, or KAFKA_BROKERS to a running Kafka", c.Port)
	}
	var refused *net.OpError
	if errors.As(err, &refused) {
		return nil, fmt.Errorf("the embedded Kafka broker cannot listen on port %d: set EMBEDDED_KAFKA_PORT to another one: %w", c.Port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start the embedded Kafka broker on %s: %w", c.Dir, err)
	}
	k := &Kafka{cluster: cluster, addr: cluster.ListenAddrs()[0], tidy: time.NewTicker(kafkaTidyEvery),
		stop: make(chan struct{}), stopped: make(chan struct{})}
	go k.forgetOld()
	return k, nil
}

// forgetOld keeps the log from growing for ever.
func (k *Kafka) forgetOld() {
	defer close(k.stopped)
	defer k.tidy.Stop()
	k.cluster.ApplyRetention()
	for {
		select {
		case <-k.tidy.C:
			k.cluster.ApplyRetention()
		case <-k.stop:
			return
		}
	}
}

// Addr is the broker's host:port.
func (k *Kafka) Addr() string { return k.addr }

// Close saves the groups' state, so that nobody has to join again after a
// restart, and stops the broker. It may be called again.
func (k *Kafka) Close() {
	k.closing.Do(func() { close(k.stop) })
	<-k.stopped // asking a closed cluster to forget would block for ever
	k.cluster.Close()
}

// kafkaLogger passes on what the broker complains of. What it does is its
// clients' to log.
type kafkaLogger struct{}

func (kafkaLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		slog.Log(context.Background(), slog.LevelError, "embedded Kafka: "+fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		slog.Log(context.Background(), slog.LevelWarn, "embedded Kafka: "+fmt.Sprintf(format, args...))
	}
}
