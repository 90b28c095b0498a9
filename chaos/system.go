package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// The secrets that provider and carrier sign with: the load sends their callbacks again.
	providerSecret = "the provider's secret of this run"
	carrierSecret  = "the carrier's secret of this run"
)

// The deadlines are short, so that what has no answer ends while somebody looks, and longer than a fault that a
// replica alone suffers.
const (
	paymentDeadline = 6 * time.Second
	orderDeadline   = 18 * time.Second
)

// settings are those that all routers of a run have, and the checker.
var settings = []string{
	"LOG_LEVEL=info", "LOG_FORMAT=json", "PARTITIONS=3", "KAFKA_SESSION_TIMEOUT=6s", "CARRIER_STEP=100ms",
	"PAYMENT_DEADLINE=" + paymentDeadline.String(), "ORDER_DEADLINE=" + orderDeadline.String(),
	"PAYMENT_CALLBACK_SECRET=" + providerSecret, "CARRIER_CALLBACK_SECRET=" + carrierSecret,
	"PROVIDER_BREAKER_OPEN_FOR=1s", "SHUTDOWN_TIMEOUT=10s",
}

// system is what is run: a Postgres, a broker, and routers behind proxies.
type system struct {
	dir      string
	env      []string // of the routers and the checker, without addresses
	programs Programs
	database *database
	broker   *broker
	replicas []*replica
	// unmount undoes what made the database's directory a small file system; nil: nothing did.
	unmount func() error
}

// startSystem starts the servers and the routers, and waits until all are ready.
func startSystem(ctx context.Context, dir string, c Config) (*system, error) {
	y := &system{dir: dir, programs: c.Programs, env: slices.Concat(settings, c.Scenario.Env, c.Env)}
	if err := y.start(ctx, c.Kafka, c.Scenario); err != nil {
		return nil, errors.Join(err, y.close())
	}
	return y, nil
}

func (y *system) start(ctx context.Context, kind Kafka, s Scenario) (err error) {
	for _, name := range []string{"logs", "kafka", "postgres"} {
		if err := os.MkdirAll(filepath.Join(y.dir, name), 0o711); err != nil {
			return fmt.Errorf("make the run's directory: %w", err)
		}
	}
	if s.SmallDisk && os.Getuid() == 0 { // else the disk is not what is filled
		if err := y.mountSmallDisk(); err != nil {
			return err
		}
	}
	y.database = &database{dir: filepath.Join(y.dir, "postgres")}
	if y.broker, err = newBroker(kind, filepath.Join(y.dir, "kafka"), filepath.Join(y.dir, "logs", "broker.log"), y.programs.Chaos); err != nil {
		return err
	}
	var starting sync.WaitGroup
	var failed [2]error
	starting.Go(func() { failed[1] = y.broker.start(ctx) })
	if s.FakeClock {
		starting.Wait() // the environment is for the database alone
		failed[0] = y.withFakeClock(func() error { return y.database.start(ctx) })
	} else {
		failed[0] = y.database.start(ctx)
	}
	starting.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	for n := range s.Replicas {
		r, err := y.addReplica(n, s)
		if err != nil {
			return err
		}
		if err := r.start(); err != nil {
			return err
		}
		if n == 0 { // the first one makes tables and topics
			if err := r.awaitReady(ctx); err != nil {
				return err
			}
			if err := y.database.prepareRefusals(ctx); err != nil {
				return err
			}
		}
	}
	return y.awaitReady(ctx)
}

func (y *system) addReplica(n int, s Scenario) (*replica, error) {
	binary := y.programs.Router
	if n%2 == 1 && y.programs.Old != "" {
		binary = y.programs.Old
	}
	r, err := newReplica("router-"+strconv.Itoa(n+1), binary, filepath.Join(y.dir, "logs"), func() (net.Conn, error) { return y.database.dial() })
	if err != nil {
		return nil, err
	}
	r.env = append(r.env, y.env...)
	if n%2 == 1 {
		r.env = append(r.env, s.EnvOfSecond...)
	}
	r.env = append(r.env, "DATABASE_URL="+y.database.through(r.proxy.Addr()), "KAFKA_BROKERS="+y.broker.addr())
	y.replicas = append(y.replicas, r)
	return r, nil
}

func (y *system) awaitReady(ctx context.Context) error {
	for _, r := range y.replicas {
		if err := r.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// toolEnv is the environment of the router's other commands: past the proxies of the database.
func (y *system) toolEnv() []string {
	return append(append(inherited(), y.env...), "DATABASE_URL="+y.database.dsn, "KAFKA_BROKERS="+y.broker.addr(), "LOG_LEVEL=warn")
}

// stopRouters ends all routers in order.
func (y *system) stopRouters() error {
	var stopping sync.WaitGroup
	failed := make([]error, len(y.replicas))
	for i, r := range y.replicas {
		stopping.Go(func() { failed[i] = r.stop() })
	}
	stopping.Wait()
	return errors.Join(failed...)
}

// complaints are what the routers' logs say that nothing excuses.
func (y *system) complaints() (list []string, err error) {
	for _, r := range y.replicas {
		more, failed := r.complaints()
		list, err = append(list, more...), errors.Join(err, failed)
	}
	return list, err
}

// endings are how routers ended by themselves.
func (y *system) endings() (list []ending) {
	for _, r := range y.replicas {
		list = append(list, r.endings()...)
	}
	return list
}

// close ends everything; the files stay.
func (y *system) close() error {
	var closing sync.WaitGroup
	for _, r := range y.replicas {
		closing.Go(r.close)
	}
	closing.Wait()
	if y.broker != nil {
		y.broker.close()
	}
	if y.database != nil {
		y.database.close()
	}
	if y.unmount != nil {
		return y.unmount()
	}
	return nil
}
