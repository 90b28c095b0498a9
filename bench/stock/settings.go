package stock

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
)

// Settings are what one can turn on a stock Watermill system without changing what it promises:
// acks=all, one transaction per message and the order of an order's events are in both variants.
type Settings struct {
	// PollInterval is how long the forwarder's SQL subscriber sleeps after it found no row.
	PollInterval time.Duration
	// BatchSize is how many rows it takes in one transaction.
	BatchSize int
	// Outboxes is how many outbox tables there are, each with a forwarder; an order's events are all in one.
	Outboxes int
	// GroupPerTopic gives each subscription a consumer group of its own, <service>-service.<topic>.
	GroupPerTopic bool
	// Connections bounds the pool of database connections.
	Connections int
	// Prepared keeps the handlers' statements prepared on their connections.
	Prepared bool
	// WaitInterval is how often deadlines and other delayed steps are looked for, WaitWorkers
	// how many of them run at once.
	WaitInterval time.Duration
	WaitWorkers  int
	// GCPercent is the Go collector's target while Run runs; 0: as it is.
	GCPercent int
	// Subscriber changes sarama's configuration of the subscribers; nil: not at all.
	Subscriber func(*sarama.Config)
}

// Documented is what Watermill's documentation and examples show, with its defaults where they
// say nothing. The pool, which they do not speak of, is large enough: database/sql's own
// default keeps two idle connections, and would open one for nearly every message.
func Documented() Settings {
	return Settings{
		PollInterval: time.Second,            // SubscriberConfig.PollInterval's default
		BatchSize:    100,                    // DefaultPostgreSQLSchema.SubscribeBatchSize's default
		Outboxes:     1,                      // the example of components/forwarder
		Connections:  64,                     // more than messages are ever in a transaction at once on two cores
		WaitInterval: 100 * time.Millisecond, // ours: ten looks a second cost nothing
		WaitWorkers:  16,
	}
}

// Tuned is what its documentation, issues and users recommend for throughput and latency. Of the numbers
// of outboxes tried on two busy cores, one and four finished fewer orders than eight, and twelve
// no more; smaller batches and fewer connections gained nothing.
func Tuned() Settings {
	return Settings{
		PollInterval:  10 * time.Millisecond, // each look is a transaction, which has its price too
		BatchSize:     1000,                  // "higher value" in the documentation: fewer selects and commits per event
		Outboxes:      8,                     // as many forwarders publish side by side, and share the producer's batches
		GroupPerTopic: true,                  // a joining member makes only its own topic's group rebalance
		Connections:   64,
		Prepared:      true, // what pgx does by itself: no parsing and planning for each message
		WaitInterval:  20 * time.Millisecond,
		WaitWorkers:   32,
		GCPercent:     400, // the live heap is some MB: collect less often
		Subscriber: func(c *sarama.Config) {
			c.Consumer.MaxProcessingTime = 10 * time.Second // the default of 100 ms makes sarama drop a busy partition's fetches
		},
	}
}

// Variant returns the settings of that name: documented or tuned.
func Variant(name string) (Settings, error) {
	switch name {
	case "documented":
		return Documented(), nil
	case "tuned":
		return Tuned(), nil
	}
	return Settings{}, fmt.Errorf("stock Watermill has the variants documented and tuned, not %q", name)
}

// subscriberConfig is the documentation's: Watermill's defaults, from the oldest offset on.
func (s Settings) subscriberConfig() *sarama.Config {
	config := kafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	if s.Subscriber != nil {
		s.Subscriber(config)
	}
	return config
}

// publisherConfig is Watermill's default with acks=all, which both sides promise.
func (s Settings) publisherConfig() *sarama.Config {
	config := kafka.DefaultSaramaSyncPublisherConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	return config
}
