// Package kafka carries messages over Apache Kafka with franz-go.
//
// Subscriber and Publisher are Watermill's interfaces, so a plain Watermill
// Router runs on them. What they add: many messages of a partition are in flight at
// once (never two of one key), one group member serves all topics of a service,
// and a batch of records costs one round trip per broker.
//
// Delivery is at least once. Order is kept per key within a topic, for first
// deliveries; a message may come again after a crash or when partitions move.
package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"millrace/transport/internal/perkey"
)

// Config says where Kafka is and how to use it. Brokers is all that is needed;
// the zero value of every other field means its default.
type Config struct {
	// Brokers are addresses (host:port) to begin with; the rest is learnt from them.
	Brokers []string
	// ClientID names this process in the brokers' logs; default "millrace".
	ClientID string
	// TLS, if set, encrypts all connections.
	TLS *tls.Config
	// SASL, if set, logs in on all connections.
	SASL *SASL
	// Logger takes what franz-go has to say from warnings up, and ours; default slog.Default.
	Logger *slog.Logger
	// Registerer, if set, gets the subscribers' metrics.
	Registerer prometheus.Registerer

	// HeartbeatInterval is how soon a member learns of a rebalance; default 0.5 s.
	HeartbeatInterval time.Duration
	// SessionTimeout is how long a member may be silent before its partitions go to
	// others; default 10 s. Brokers refuse less than their own minimum, usually 6 s.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long members may take to let go of partitions; default 10 s.
	RebalanceTimeout time.Duration
	// NackBackoff is the wait before the second attempt; default 0.1 s. It doubles
	// up to sixteenfold.
	NackBackoff time.Duration
	// MaxSpan is how many records of one partition, from the oldest unfinished one on,
	// may be at work or finished; default 1,000. It bounds what comes twice after a
	// crash. As many again may wait in memory before fetching pauses.
	MaxSpan int

	more []kgo.Opt // for tests: a network that fails
}

// SASL is a login.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
	Mechanism string
	User      string
	Password  string
}

// The mechanisms SASL knows.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

const (
	defaultClientID  = "millrace"
	defaultHeartbeat = 500 * time.Millisecond // a second member works within a second
	defaultSession   = 10 * time.Second       // rides out a pause; a kill is noticed all the same
	defaultRebalance = 10 * time.Second       // twice what a drain may take; a member killed while joining holds the others up for as long
	defaultMaxSpan   = 1000                   // at 20 ms a message, 50,000 messages/s per partition

	// maxDrain bounds how long a partition that was taken away waits for its
	// handlers: the group stands still meanwhile.
	maxDrain = 5 * time.Second

	// metadataAge is how soon a topic made after the start is seen.
	metadataAge = 10 * time.Second
	// metadataMinAge is how soon franz-go may look again for a leader it misses.
	metadataMinAge = 100 * time.Millisecond
)

var errNoBrokers = errors.New("kafka: no broker given; an address such as localhost:9092 is needed")

// WithDefaults fills in what was left out. It fails where no broker is given.
func (c Config) WithDefaults() (Config, error) {
	if len(c.Brokers) == 0 {
		return c, errNoBrokers
	}
	if c.ClientID == "" {
		c.ClientID = defaultClientID
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.HeartbeatInterval, defaultHeartbeat},
		{&c.SessionTimeout, defaultSession},
		{&c.RebalanceTimeout, defaultRebalance},
		{&c.NackBackoff, time.Duration(perkey.DefaultBackoff)},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if c.MaxSpan == 0 {
		c.MaxSpan = defaultMaxSpan
	}
	return c, nil
}

// drain is how long handlers may go on when their partition is taken away.
func (c Config) drain() time.Duration { return min(maxDrain, c.RebalanceTimeout/2) }

// options are those every client needs.
func (c Config) options() ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		kgo.MetadataMaxAge(metadataAge),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.WithLogger(logger{c.Logger}),
		kgo.DisableClientMetrics(), // nobody asked to have figures sent to the brokers
	}
	if c.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(c.TLS))
	}
	if c.SASL != nil {
		mechanism, err := c.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	return append(opts, c.more...), nil
}

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case Plain:
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case ScramSHA256:
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism(), nil
	case ScramSHA512:
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("kafka: unknown SASL mechanism %q; it is one of %s, %s, %s", s.Mechanism, Plain, ScramSHA256, ScramSHA512)
}

// client makes a franz-go client with these options besides the usual ones.
func (c Config) client(more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka: make a client for %v: %w", c.Brokers, err)
	}
	return client, nil
}
