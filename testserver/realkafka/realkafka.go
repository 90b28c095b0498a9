//go:build unix

// Package realkafka starts a real Apache Kafka on loopback: one node, KRaft, no
// Docker, from jars that pom.xml brings. For tests and measurements: it is set
// up to start and rebalance quickly, and is killed with this process.
package realkafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/embedded/child"
)

const (
	// readyTimeout bounds a start: it takes 2 to 4 s, and more than a minute has been
	// seen on two cores with twenty processes that wanted them.
	readyTimeout = 3 * time.Minute
	// readyPoll is how often a starting broker is asked.
	readyPoll = 50 * time.Millisecond
	// stopPatience is for an orderly shutdown.
	stopPatience = 20 * time.Second
	// portTries is how often a start looks for other ports: one that was free
	// may be taken by the time Kafka opens it.
	portTries = 3
	// clusterID is any 22 characters that are a UUID in base 64: all clusters of
	// a test machine may share it.
	clusterID = "bWlsbHJhY2UtdGVzdC1rZg"
)

// Config says what to start, and where.
type Config struct {
	// Dir is for the broker's data, configuration and log. What an earlier
	// broker left there is served again.
	Dir string
	// Jars is the directory with Kafka's jars; see FindJars.
	Jars string
	// Port is the broker's port on loopback; 0 takes any free one.
	Port int
	// Advertised is the port on loopback that clients are told, if it is another one: something in
	// between listens there, and passes on to Port.
	Advertised int
}

// Broker is a running Apache Kafka.
type Broker struct {
	process *child.Process
	addr    string
}

// Start starts a broker and returns when topics can be created on it. It
// creates no topics by itself.
func Start(ctx context.Context, c Config) (*Broker, error) {
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("create Kafka's directory: %w", err)
	}
	for try := 1; ; try++ {
		b, err := start(ctx, java, c)
		if err == nil || try == portTries || !strings.Contains(err.Error(), "Address already in use") {
			return b, err
		}
	}
}

func start(ctx context.Context, java string, c Config) (*Broker, error) {
	port, controller, err := choosePorts(c.Port)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(c.Dir, "server.properties")
	if err := os.WriteFile(config, []byte(properties(port, cmp.Or(c.Advertised, port), controller, filepath.Join(c.Dir, "data"))), 0o600); err != nil {
		return nil, fmt.Errorf("write Kafka's configuration: %w", err)
	}
	if err := format(ctx, java, c, config); err != nil {
		return nil, err
	}
	cmd := exec.Command(java, "-Xmx256m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(c.Jars, "*"), "kafka.Kafka", config)
	process, err := child.Start(cmd, syscall.SIGKILL, filepath.Join(c.Dir, "kafka.log"))
	if err != nil {
		return nil, fmt.Errorf("start Apache Kafka: %w", err)
	}
	b := &Broker{process: process, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	if err := b.awaitReady(ctx); err != nil {
		b.Kill()
		return nil, err
	}
	return b, nil
}

// format prepares an empty directory, which a broker insists on.
func format(ctx context.Context, java string, c Config, config string) error {
	if _, err := os.Stat(filepath.Join(c.Dir, "data", "meta.properties")); err == nil {
		return nil
	}
	cmd := exec.Command(java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-cp", filepath.Join(c.Jars, "*"), "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", config)
	if err := child.Run(ctx, cmd, filepath.Join(c.Dir, "format.log")); err != nil {
		return fmt.Errorf("format a directory for Apache Kafka: %w", err)
	}
	return nil
}

// awaitReady asks until the broker would create a topic. Its port opens before that.
func (b *Broker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RequestRetries(0))
	if err != nil {
		return fmt.Errorf("make a client for Apache Kafka: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for {
		answer, err := admin.ValidateCreateTopics(ctx, 1, 1, nil, "ready")
		if err == nil {
			err = answer.Error()
		}
		if err == nil {
			return nil
		}
		select {
		case <-b.process.Done():
			return fmt.Errorf("Apache Kafka did not start (%w); %s", b.process.Err(), b.process.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("Apache Kafka does not answer: %w; %s", errors.Join(ctx.Err(), err), b.process.LogTail())
		case <-time.After(readyPoll):
		}
	}
}

// Addr is the broker's host:port.
func (b *Broker) Addr() string { return b.addr }

// PID is the broker's process id.
func (b *Broker) PID() int { return b.process.PID() }

// Close stops the broker in order. It may be called again.
func (b *Broker) Close() { b.process.Stop(stopPatience, syscall.SIGTERM) }

// Kill stops the broker as a crash would. Start on the same directory and port
// brings it back.
func (b *Broker) Kill() { b.process.Stop(stopPatience, syscall.SIGKILL) }

// choosePorts finds ports free at this moment; wanted, unless it is 0, is the broker's.
func choosePorts(wanted int) (broker, controller int, err error) {
	ports := [2]int{wanted}
	for i, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return 0, 0, fmt.Errorf("find a port for Apache Kafka: %w", err)
		}
		defer l.Close() // both are held until both are found
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}
