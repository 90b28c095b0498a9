package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/config"
	"millrace/embedded"
	"millrace/transport"
	"millrace/transport/kafka"
	"millrace/transport/memory"
	"millrace/transport/watermill"
)

// servers are the broker and the database this process uses, its own or somebody else's.
type servers struct {
	dir      *embedded.DataDir // nil: nothing is embedded here
	kafka    *embedded.Kafka
	postgres *embedded.Postgres
	brokers  []string
	// privateDSN is for services without a database of their own.
	privateDSN string
	joined     bool
}

// joinPatience is how long a second process waits for the first one's servers, which
// may just be starting: a fetch of Postgres included.
const joinPatience = 2 * time.Minute

// startServers starts what is not configured: a broker inside this process, a private Postgres
// beside it. Where another process of this machine already runs them, they are joined.
func startServers(ctx context.Context, cfg config.Config, log *slog.Logger, c *closers) (*servers, error) {
	s := &servers{brokers: cfg.Kafka.Brokers}
	wantKafka := len(cfg.Kafka.Brokers) == 0 && cfg.Transport != "memory"
	wantPostgres := false
	for _, name := range cfg.Services {
		wantPostgres = wantPostgres || !cfg.DatabaseURL(name).IsSet()
	}
	if !wantKafka && !wantPostgres {
		return s, nil
	}
	dir, err := embedded.OpenDataDir(cfg.DataDir)
	if errors.Is(err, embedded.ErrInUse) {
		return s, s.join(ctx, cfg, log, wantKafka, wantPostgres)
	}
	if err != nil {
		return nil, err
	}
	s.dir = dir
	c.add(dir.Close)
	if wantPostgres {
		if s.postgres, err = embedded.StartPostgres(ctx, embedded.PostgresConfig{Dir: dir.PostgresDir()}); err != nil {
			return nil, fmt.Errorf("the private Postgres (set DATABASE_URL to use another one): %w", err)
		}
		c.add(func() error { s.postgres.Close(); return nil })
		s.privateDSN = s.postgres.DSN()
		log.InfoContext(ctx, "private Postgres: for one machine; set DATABASE_URL to use a real one", "directory", dir.PostgresDir())
	}
	if wantKafka {
		if s.kafka, err = embedded.StartKafka(embedded.KafkaConfig{Dir: dir.KafkaDir(), Port: cfg.Kafka.EmbeddedPort}); err != nil {
			return nil, fmt.Errorf("the embedded broker (set KAFKA_BROKERS to use another one): %w", err)
		}
		c.add(func() error { s.kafka.Close(); return nil })
		s.brokers = []string{s.kafka.Addr()}
		log.InfoContext(ctx, "embedded broker: for development; set KAFKA_BROKERS to use a real one", "address", s.kafka.Addr(), "directory", dir.KafkaDir())
	}
	return s, s.publish(embedded.Endpoints{})
}

// publish tells other processes of this user where everything is.
func (s *servers) publish(e embedded.Endpoints) error {
	if s.dir == nil {
		return nil
	}
	if s.kafka != nil {
		e.Kafka = s.kafka.Addr()
	}
	e.Postgres = s.privateDSN
	return s.dir.WriteEndpoints(e)
}

func (s *servers) join(ctx context.Context, cfg config.Config, log *slog.Logger, wantKafka, wantPostgres bool) error {
	s.joined = true
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	e, err := embedded.AwaitEndpoints(ctx, cfg.DataDir)
	if err != nil {
		return fmt.Errorf("join the router that uses %s: %w", cfg.DataDir, err)
	}
	if wantKafka {
		if e.Kafka == "" {
			return fmt.Errorf("the router on %s has no embedded broker to join: set KAFKA_BROKERS to the brokers it uses", cfg.DataDir)
		}
		s.brokers = []string{e.Kafka}
	}
	if wantPostgres {
		if e.Postgres == "" {
			return fmt.Errorf("the router on %s has no private Postgres to join: set DATABASE_URL to the database it uses", cfg.DataDir)
		}
		s.privateDSN = e.Postgres
	}
	log.InfoContext(ctx, "using the servers of the router that runs already; they stop with it", "process", e.PID, "broker", e.Kafka)
	return nil
}

// died ends the process when the private Postgres ends by itself.
func (s *servers) died(ctx context.Context) error {
	if s.postgres == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.postgres.Done():
		return fmt.Errorf("the private Postgres ended: %w", s.postgres.Err())
	}
}

// openTransport makes the transport that TRANSPORT names, and tells which Kafka cluster it
// speaks to; none in memory.
func openTransport(ctx context.Context, cfg config.Config, s *servers, reg prometheus.Registerer, log *slog.Logger) (t transport.Transport, cluster string, err error) {
	if cfg.Transport == "memory" {
		return memory.NewBus(), "", nil
	}
	kc, err := kafkaConfig(cfg, s, reg, log)
	if err != nil {
		return nil, "", err
	}
	admin, err := kafka.NewAdmin(kc)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	if cluster, err = admin.ClusterID(ctx); err != nil {
		return nil, "", fmt.Errorf("no answer from the brokers %v (KAFKA_BROKERS): %w", s.brokers, err)
	}
	if cfg.Transport == "watermill" {
		t, err = watermill.New(kc)
	} else {
		t, err = kafka.New(kc)
	}
	return t, cluster, err
}

func kafkaConfig(cfg config.Config, s *servers, reg prometheus.Registerer, log *slog.Logger) (kafka.Config, error) {
	kc := kafka.Config{Brokers: s.brokers, Logger: log, Registerer: reg, SessionTimeout: cfg.Kafka.Session}
	tlsConfig, err := cfg.Kafka.TLSConfig()
	if err != nil {
		return kc, err
	}
	kc.TLS = tlsConfig
	if cfg.Kafka.SASLMechanism != "" {
		kc.SASL = &kafka.SASL{Mechanism: cfg.Kafka.SASLMechanism, User: cfg.Kafka.SASLUser, Password: cfg.Kafka.SASLPassword.Reveal()}
	}
	return kc, nil
}
