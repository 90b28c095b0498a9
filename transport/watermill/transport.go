// Package watermill carries messages with stock watermill-kafka, unchanged: its
// subscriber and publisher on sarama, set up as they need to be for records that
// must neither be lost nor reordered.
//
// It is slower than transport/kafka by design, not by neglect: its subscriber has
// one message of a partition in flight, its publisher sends one at a time. It exists
// to compare with, and to show that handlers do not depend on what carries them.
//
// A group is one Kafka group per topic, named <group>.<topic>: each stock
// subscription is a group member of its own, and members of one group with different
// topics rebalance each other for seconds.
//
// A Nack blocks its partition, and a handler that runs while its subscriber closes
// or its partition moves is run again elsewhere.
package watermill

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	stock "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/transport"
	"millrace/transport/kafka"
)

const (
	// commitInterval is how much finished work a crash may repeat.
	commitInterval = 200 * time.Millisecond
	// maxProcessing is longer than any handler takes; beyond it sarama drops the
	// partition's fetch and starts it anew.
	maxProcessing = 30 * time.Second
	// retries and backoff outlast the election of a leader.
	retries = 20
	backoff = 250 * time.Millisecond
	// maxMessageBytes is what dead letter topics take; a broker refuses what other
	// topics do not.
	maxMessageBytes = 4 << 20
)

// protocol is the oldest Kafka it speaks to; all from there to 4.x understand it.
var protocol = sarama.V2_8_0_0

// Transport is stock watermill-kafka. Topics and backlogs are managed as with kafka.Transport.
type Transport struct {
	config kafka.Config
	admin  *kafka.Admin
}

var _ transport.Transport = (*Transport)(nil)

// New makes a transport from the same settings as kafka.New, of which MaxSpan
// and Registerer mean nothing here. It speaks SASL PLAIN only.
func New(config kafka.Config) (*Transport, error) {
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	if config.SASL != nil && config.SASL.Mechanism != kafka.Plain {
		return nil, fmt.Errorf("watermill: this transport knows SASL %s only, not %s; use the kafka transport", kafka.Plain, config.SASL.Mechanism)
	}
	admin, err := kafka.NewAdmin(config)
	if err != nil {
		return nil, err
	}
	return &Transport{config: config, admin: admin}, nil
}

// EnsureTopics implements transport.Transport.
func (t *Transport) EnsureTopics(ctx context.Context, partitions int, topics ...string) error {
	return t.admin.EnsureTopics(ctx, partitions, topics...)
}

// ClusterID is kafka.Admin's.
func (t *Transport) ClusterID(ctx context.Context) (string, error) { return t.admin.ClusterID(ctx) }

// Backlog implements transport.Transport: the sum over the topics' groups.
func (t *Transport) Backlog(ctx context.Context, group string, topics ...string) (transport.Backlog, error) {
	var sum transport.Backlog
	for _, topic := range topics {
		one, err := t.admin.Backlog(ctx, groupOf(group, topic), topic)
		if err != nil {
			return transport.Backlog{}, err
		}
		sum.Messages += one.Messages
		if sum.Oldest.IsZero() || !one.Oldest.IsZero() && one.Oldest.Before(sum.Oldest) {
			sum.Oldest = one.Oldest
		}
	}
	return sum, nil
}

// groupOf is the Kafka group of a group's topic.
func groupOf(group, topic string) string { return group + "." + topic }

// Publisher implements transport.Transport. It connects at once, and sends the
// messages of one Publish one after the other.
func (t *Transport) Publisher() (message.Publisher, error) {
	config := t.sarama()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Return.Successes = true
	config.Producer.Retry.Max = retries
	config.Producer.Retry.Backoff = backoff
	config.Producer.Partitioner = sarama.NewMurmur2Partitioner
	config.Producer.MaxMessageBytes = maxMessageBytes
	publisher, err := stock.NewPublisher(stock.PublisherConfig{
		Brokers: t.config.Brokers, Marshaler: marshaler{}, OverwriteSaramaConfig: config,
	}, t.logger())
	if err != nil {
		return nil, fmt.Errorf("watermill: publisher on %v: %w", t.config.Brokers, err)
	}
	return publisher, nil
}

// Subscriber implements transport.Transport.
func (t *Transport) Subscriber(group string) (message.Subscriber, error) {
	return &Subscriber{transport: t, group: group, topics: map[string]*stock.Subscriber{}, closing: make(chan struct{})}, nil
}

// Close closes the administration's connections.
func (t *Transport) Close() error { return t.admin.Close() }

// subscriberConfig is sarama's, for consumers.
func (t *Transport) subscriberConfig() *sarama.Config {
	config := t.sarama()
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = commitInterval
	config.Consumer.MaxProcessingTime = maxProcessing
	config.Consumer.Group.Session.Timeout = t.config.SessionTimeout
	config.Consumer.Group.Heartbeat.Interval = t.config.HeartbeatInterval
	config.Consumer.Group.Rebalance.Timeout = t.config.RebalanceTimeout
	return config
}

func (t *Transport) sarama() *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = t.config.ClientID
	config.Version = protocol
	config.Metadata.Retry.Max = retries
	config.Metadata.Retry.Backoff = backoff
	if t.config.TLS != nil {
		config.Net.TLS.Enable, config.Net.TLS.Config = true, t.config.TLS
	}
	if login := t.config.SASL; login != nil {
		config.Net.SASL.Enable = true
		config.Net.SASL.Mechanism = sarama.SASLTypePlaintext
		config.Net.SASL.User, config.Net.SASL.Password = login.User, login.Password
	}
	return config
}

// logger passes warnings and errors on; what Watermill calls info is a line per
// subscription and rebalance.
func (t *Transport) logger() watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(t.config.Logger, quieter)
}
