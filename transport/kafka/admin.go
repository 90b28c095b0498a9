package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// requestTimeout bounds one question to the cluster where the caller set no end.
	requestTimeout = 10 * time.Second
	// leaderTimeout is how long a new topic may be without leaders; retryInterval
	// is the wait between looks.
	leaderTimeout = 10 * time.Second
	retryInterval = 20 * time.Millisecond

	replicasOfBroker = -1 // the broker's own default.replication.factor
)

// Admin makes topics and tells what a group has yet to do.
type Admin struct {
	config Config
	client *kadm.Client
}

// NewAdmin makes an admin; nothing is sent to a broker yet.
func NewAdmin(config Config) (*Admin, error) {
	config, err := config.WithDefaults()
	if err != nil {
		return nil, err
	}
	client, err := config.client()
	if err != nil {
		return nil, err
	}
	return &Admin{config: config, client: kadm.NewClient(client)}, nil
}

// Close closes the connections.
func (a *Admin) Close() error {
	a.client.Close()
	return nil
}

// ClusterID is the name the cluster gave itself when it was made. It differs
// where a cluster was made anew, even at the same address.
func (a *Admin) ClusterID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	metadata, err := a.client.BrokerMetadata(ctx)
	if err != nil {
		return "", fmt.Errorf("kafka: ask %v for the cluster's id: %w", a.config.Brokers, err)
	}
	return metadata.Cluster, nil
}

// EnsureTopics implements transport.Transport. New topics carry the broker's
// time, so that a client whose clock is ahead is not refused, and ages are told on one
// clock; topics under DeadLetterPrefix take records of 4 MiB. Topics that exist
// keep their settings. It returns when every partition has a leader.
func (a *Admin) EnsureTopics(ctx context.Context, partitions int, topics ...string) error {
	if partitions < 1 {
		return fmt.Errorf("kafka: %d partitions a topic; at least 1 is needed", partitions)
	}
	if len(topics) == 0 {
		return nil
	}
	if err := a.createMissing(ctx, int32(partitions), topics); err != nil {
		return err
	}
	return a.awaitLeaders(ctx, partitions, topics)
}

func (a *Admin) createMissing(ctx context.Context, partitions int32, topics []string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	existing, err := a.client.ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("kafka: list topics on %v: %w", a.config.Brokers, err)
	}
	var events, letters []string
	for _, topic := range topics {
		switch {
		case existing.Has(topic):
		case strings.HasPrefix(topic, DeadLetterPrefix):
			letters = append(letters, topic)
		default:
			events = append(events, topic)
		}
	}
	if err := a.create(ctx, partitions, events, nil); err != nil {
		return err
	}
	return a.create(ctx, partitions, letters, kadm.StringPtr(strconv.Itoa(deadLetterTopicBytes)))
}

func (a *Admin) create(ctx context.Context, partitions int32, topics []string, maxBytes *string) error {
	if len(topics) == 0 {
		return nil
	}
	configs := map[string]*string{"message.timestamp.type": kadm.StringPtr("LogAppendTime")}
	if maxBytes != nil {
		configs["max.message.bytes"] = maxBytes
	}
	answers, err := a.client.CreateTopics(ctx, partitions, replicasOfBroker, configs, topics...)
	if err != nil {
		return fmt.Errorf("kafka: create topics on %v: %w", a.config.Brokers, err)
	}
	var failed []error
	for _, answer := range answers.Sorted() {
		// Another process may have been faster; the partitions are looked at below.
		if answer.Err != nil && !errors.Is(answer.Err, kerr.TopicAlreadyExists) {
			failed = append(failed, fmt.Errorf("kafka: create topic %s: %w %s", answer.Topic, answer.Err, answer.ErrMessage))
		}
	}
	return errors.Join(failed...)
}

// awaitLeaders waits until the topics are ready, and refuses those with another
// number of partitions.
func (a *Admin) awaitLeaders(ctx context.Context, partitions int, topics []string) error {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	for {
		missing, err := a.leaderless(ctx, partitions, topics)
		if missing == nil {
			return err
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
			return fmt.Errorf("kafka: topic %s has no leader yet: %w", missing.topic, errors.Join(missing.err, ctx.Err()))
		}
	}
}

// notReady is a topic to wait for.
type notReady struct {
	topic string
	err   error
}

// leaderless finds a topic that is not ready, or an error that waiting does not mend.
func (a *Admin) leaderless(ctx context.Context, partitions int, topics []string) (*notReady, error) {
	known, err := a.client.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("kafka: list topics on %v: %w", a.config.Brokers, err)
	}
	for _, topic := range topics {
		detail := known[topic]
		if detail.Err != nil {
			if kerr.IsRetriable(detail.Err) {
				return &notReady{topic, detail.Err}, nil
			}
			return nil, fmt.Errorf("kafka: topic %s: %w", topic, detail.Err)
		}
		if n := len(detail.Partitions); n != partitions {
			return nil, fmt.Errorf("kafka: topic %s has %d partitions, %d are configured: "+
				"with another number keys would move and lose their order; configure %d, or use a new topic", topic, n, partitions, n)
		}
		for _, p := range detail.Partitions {
			if p.Err != nil || p.Leader < 0 {
				return &notReady{topic, p.Err}, nil
			}
		}
	}
	return nil, nil
}
