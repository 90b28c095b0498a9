package chaos

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/bench/rig"
	"millrace/chaos/wire"
	"millrace/embedded"
	"millrace/embedded/child"
	"millrace/testserver/realkafka"
)

// Kafka is which broker a run uses.
type Kafka string

const (
	// EmbeddedKafka is the broker that a router brings along, in a process of its own.
	EmbeddedKafka Kafka = "embedded"
	// RealKafka is Apache Kafka, as realkafka starts it.
	RealKafka Kafka = "real"
)

const (
	// brokerPoll is how often a starting broker is asked.
	brokerPoll = 20 * time.Millisecond
	// stopPatience is for an orderly end of a broker or a router: longer than a router's SHUTDOWN_TIMEOUT and what
	// comes after it.
	stopPatience = time.Minute
)

// broker is the run's Kafka, behind a proxy. It comes up again at the same port, on the same data.
type broker struct {
	kind    Kafka
	dir     string
	log     string
	port    int
	program string // that has the command broker; for EmbeddedKafka
	proxy   *wire.Kafka
	process *child.Process    // EmbeddedKafka
	real    *realkafka.Broker // RealKafka
}

func newBroker(kind Kafka, dir, log, program string) (*broker, error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address) // it was made of the two
	b := &broker{kind: kind, dir: dir, log: log, program: program}
	if b.port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	b.proxy, err = wire.NewKafka(func() (net.Conn, error) { return net.Dial("tcp", address) })
	return b, err
}

// addr is where clients find it.
func (b *broker) addr() string { return b.proxy.Addr().String() }

func (b *broker) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	advertised := b.proxy.Addr().(*net.TCPAddr).Port
	if b.kind == RealKafka {
		jars, err := realkafka.FindJars()
		if err != nil {
			return fmt.Errorf("--kafka real: %w", err)
		}
		b.real, err = realkafka.Start(ctx, realkafka.Config{Dir: b.dir, Jars: jars, Port: b.port, Advertised: advertised})
		return err
	}
	cmd := exec.Command(b.program, "broker", "--dir", b.dir, "--port", strconv.Itoa(b.port), "--advertise", b.addr())
	if b.process, err = child.Start(cmd, syscall.SIGKILL, b.log); err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	for {
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port))); err == nil {
			return c.Close()
		}
		select {
		case <-b.process.Done():
			return fmt.Errorf("the broker ended at its start (%w); %s", b.process.Err(), b.process.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("the broker is not ready; %s", b.process.LogTail())
		case <-time.After(brokerPoll):
		}
	}
}

func (b *broker) pid() int {
	if b.real != nil {
		return b.real.PID()
	}
	return b.process.PID()
}

func (b *broker) signal(s syscall.Signal) error {
	if err := syscall.Kill(b.pid(), s); err != nil {
		return fmt.Errorf("send %s to the broker: %w", s, err)
	}
	return nil
}

// kill is kill -9.
func (b *broker) kill() {
	if b.real != nil {
		b.real.Kill()
	} else if b.process != nil {
		b.process.Stop(0)
	}
}

// stop is SIGTERM.
func (b *broker) stop() {
	if b.real != nil {
		b.real.Close()
	} else if b.process != nil {
		b.process.Stop(stopPatience, syscall.SIGTERM)
	}
}

func (b *broker) close() {
	b.kill()
	b.proxy.Close()
}

// admin does something to the broker's data, as an operator would.
func (b *broker) admin(ctx context.Context, do func(context.Context, *kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr()), kgo.ClientID("chaos"))
	if err != nil {
		return fmt.Errorf("make a client for the broker: %w", err)
	}
	defer client.Close()
	return do(ctx, kadm.NewClient(client))
}

// RunBroker is the broker process of EmbeddedKafka: it serves what is in dir at a port of loopback until ctx ends, and
// tells clients to come to the address advertised.
func RunBroker(ctx context.Context, dir string, port int, advertised string) error {
	as, err := net.ResolveTCPAddr("tcp", advertised)
	if err != nil {
		return fmt.Errorf("--advertise %q: %w", advertised, err)
	}
	b, err := embedded.StartKafka(embedded.KafkaConfig{Dir: filepath.Join(dir, "data"), Port: port, Listen: func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		return wire.Advertise(l, as), nil
	}})
	if err != nil {
		return err
	}
	defer b.Close()
	<-ctx.Done()
	return nil
}
