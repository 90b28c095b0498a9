package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/embedded"
	"millrace/testserver/realkafka"
)

// brokerAddress is the file in which a broker process tells its address.
const brokerAddress = "address"

// startBroker starts an embedded broker for the round, or hands out the run's Apache Kafka, which is
// warm after the first round, as a Kafka usually is.
func (o *Round) startBroker(ctx context.Context, delay time.Duration) error {
	if o.rig.real != nil {
		if delay > 0 {
			return o.startDelayedKafka(ctx, delay)
		}
		o.Brokers = []string{o.rig.real.Addr()}
		o.closers = append(o.closers, func() error { return clear(o.Brokers) })
		return nil
	}
	dir := filepath.Join(o.dir, "kafka")
	cmd := exec.Command(o.rig.Bench(), "broker", "--dir", dir, "--delay", delay.String())
	_, err := o.Start(ctx, "broker", cmd, func(context.Context) error {
		text, err := os.ReadFile(filepath.Join(dir, brokerAddress))
		o.Brokers = []string{string(text)}
		return err
	})
	return err
}

// startDelayedKafka starts an Apache Kafka for this round alone: clients go where a broker tells them,
// so it has to be told of the proxy before it starts.
func (o *Round) startDelayedKafka(ctx context.Context, delay time.Duration) error {
	address, err := FreeAddress()
	if err != nil {
		return err
	}
	proxy, err := startProxy(delay, "tcp", address)
	if err != nil {
		return err
	}
	o.closers = append(o.closers, proxy.Close)
	jars, err := realkafka.FindJars()
	if err != nil {
		return err
	}
	broker, err := realkafka.Start(ctx, realkafka.Config{Dir: filepath.Join(o.dir, "kafka"), Jars: jars, Port: portOf(address), Advertised: portOf(proxy.addr())})
	if err != nil {
		return fmt.Errorf("start a delayed Apache Kafka: %w", err)
	}
	o.closers = append(o.closers, func() error { broker.Kill(); return nil }) // nobody reads its data again
	o.Brokers = []string{proxy.addr()}
	return nil
}

// portOf is the port of an address that has one.
func portOf(address string) int {
	_, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	return port
}

// RunBroker is the broker process: it serves what is in dir until ctx ends. Each round trip to it
// takes delay longer.
func RunBroker(ctx context.Context, dir string, delay time.Duration) error {
	broker, err := embedded.StartKafka(embedded.KafkaConfig{Dir: filepath.Join(dir, "data"), Listen: func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil || delay == 0 {
			return l, err
		}
		return delayedListener{l, delay}, nil
	}})
	if err != nil {
		return err
	}
	defer broker.Close()
	// Renamed into place: whoever finds the file finds all of it.
	path := filepath.Join(dir, brokerAddress)
	err = os.WriteFile(path+".new", []byte(broker.Addr()), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("tell the broker's address: %w", err)
	}
	<-ctx.Done()
	return nil
}

// clear removes all topics and groups.
func clear(brokers []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return fmt.Errorf("clear the broker: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	groups, err := admin.ListGroups(ctx)
	if err == nil {
		_, err = admin.DeleteGroups(ctx, groups.Groups()...)
	}
	topics, listed := admin.ListTopics(ctx)
	err = errors.Join(err, listed)
	var own []string
	for _, name := range topics.Names() {
		if !strings.HasPrefix(name, "__") { // the broker's
			own = append(own, name)
		}
	}
	if listed == nil && len(own) > 0 {
		_, deleted := admin.DeleteTopics(ctx, own...)
		err = errors.Join(err, deleted)
	}
	if err != nil {
		return fmt.Errorf("clear the broker: %w", err)
	}
	return nil
}
