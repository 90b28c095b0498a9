package stock

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// byOrder keeps an order's events of one topic in order: its id is the Kafka key.
var byOrder = kafka.NewWithPartitioningMarshaler(func(_ string, msg *message.Message) (string, error) {
	id := msg.Metadata.Get(metaOrder)
	if id == "" {
		return "", fmt.Errorf("message %s names no order", msg.UUID)
	}
	return id, nil
})

func newPublisher(brokers []string, s Settings, log watermill.LoggerAdapter) (*kafka.Publisher, error) {
	publisher, err := kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: brokers, Marshaler: byOrder, OverwriteSaramaConfig: s.publisherConfig(),
	}, log)
	if err != nil {
		return nil, fmt.Errorf("connect the publisher to %v: %w", brokers, err)
	}
	return publisher, nil
}

// groupOf is the consumer group of a service's subscription to a topic.
func groupOf(service, topicName string, s Settings) string {
	if s.GroupPerTopic {
		return service + "-service." + topicName
	}
	return service + "-service"
}

func newSubscriber(brokers []string, group string, s Settings, log watermill.LoggerAdapter) (*kafka.Subscriber, error) {
	subscriber, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: brokers, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: group, OverwriteSaramaConfig: s.subscriberConfig(),
	}, log)
	if err != nil {
		return nil, fmt.Errorf("make the subscriber of group %s: %w", group, err)
	}
	return subscriber, nil
}

// createTopics makes those that are missing.
func createTopics(brokers []string, partitions int, topics []string) error {
	admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
	if err != nil {
		return fmt.Errorf("connect to %v: %w", brokers, err)
	}
	for _, name := range topics {
		err := admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}, false)
		if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
			return errors.Join(fmt.Errorf("create topic %s: %w", name, err), admin.Close())
		}
	}
	return admin.Close()
}

// allAssigned tells whether every group has all its members and is not rebalancing.
func allAssigned(brokers []string, members map[string]int) (bool, error) {
	admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
	if err != nil {
		return false, fmt.Errorf("connect to %v: %w", brokers, err)
	}
	defer admin.Close()
	var groups []string
	for group := range members {
		groups = append(groups, group)
	}
	described, err := admin.DescribeConsumerGroups(groups)
	if err != nil {
		return false, fmt.Errorf("ask %v for the consumer groups: %w", brokers, err)
	}
	for _, g := range described {
		if g.State != "Stable" || len(g.Members) != members[g.GroupId] {
			return false, nil
		}
	}
	return len(described) == len(members), nil
}
