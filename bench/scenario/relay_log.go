package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/transport"
	"millrace/transport/kafka"
)

// loadChunk is how many records are sent at once when a topic is filled.
const loadChunk = 5000

// fill makes the topics, and sends n orders to the first of them. Every duplicateEvery-th is sent twice.
// It returns how many records there are.
func fill(ctx context.Context, brokers []string, partitions, n int, topics ...string) (records int, err error) {
	config := kafka.Config{Brokers: brokers}
	admin, err := kafka.NewAdmin(config)
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	if err := admin.EnsureTopics(ctx, partitions, topics...); err != nil {
		return 0, err
	}
	publisher, err := kafka.NewPublisher(config)
	if err != nil {
		return 0, err
	}
	defer publisher.Close()
	for left := n; left > 0; left -= loadChunk {
		sent, err := send(ctx, publisher, topics[0], min(left, loadChunk))
		if err != nil {
			return 0, err
		}
		records += sent
	}
	return records, nil
}

// duplicateEvery is how often an order is sent twice, as a relay does after a crash: the consumers have
// something to deduplicate.
const duplicateEvery = 100

// send sends n orders and some of them again.
func send(ctx context.Context, publisher transport.BatchPublisher, topicName string, n int) (records int, err error) {
	batch := make([]transport.Record, 0, n+n/duplicateEvery)
	for i := range n {
		msg, err := createdMessage()
		if err != nil {
			return 0, err
		}
		record := transport.Encode(topicName, msg)
		batch = append(batch, record)
		if i%duplicateEvery == duplicateEvery-1 {
			batch = append(batch, record)
		}
	}
	for _, err := range publisher.PublishBatch(ctx, batch) {
		if err != nil {
			return 0, fmt.Errorf("fill %s: %w", topicName, err)
		}
	}
	return len(batch), nil
}

// logPatience is how long reading a topic may take: some seconds, however long it is.
const logPatience = time.Minute

// inLog reads a topic whole and counts the different messages in it, and the repeats.
func inLog(ctx context.Context, brokers []string, topicName string) (found logged, err error) {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topicName), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return found, fmt.Errorf("read %s: %w", topicName, err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topicName)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return found, fmt.Errorf("ask for the end of %s: %w", topicName, err)
	}
	var left int64
	ends.Each(func(end kadm.ListedOffset) { left += end.Offset })
	records := left
	seen := map[string]bool{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return found, fmt.Errorf("read %s, with %d records to go: %w", topicName, left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			seen[idOf(r)] = true
		})
	}
	return logged{different: int64(len(seen)), repeats: records - int64(len(seen))}, nil
}

// idOf is the id of a message, whichever side wrote it.
func idOf(r *kgo.Record) string {
	var msg *message.Message = transport.Decode(r.Topic, r.Partition, r.Offset, r.Value, r.Headers)
	return msg.UUID
}
