package kafka_test

import (
	"context"
	"fmt"
	"log/slog"

	stock "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/transport"
	"millrace/transport/kafka"
)

// A plain Watermill Router with plain Watermill handlers. The first is fed by our
// subscriber and answers through our publisher; the second, stock as it comes, hears that
// answer and passes it on through stock watermill-kafka to a third on our subscriber again.
func ExampleRouter() {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders", "greetings", "echoes"))
	if err != nil {
		panic(err)
	}
	defer broker.Close()
	brokers := broker.ListenAddrs()

	on, err := kafka.New(kafka.Config{Brokers: brokers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer on.Close()
	ours, _ := on.Subscriber("our-group")
	publisher, _ := on.Publisher()
	defer publisher.Close()

	fromOldest := stock.DefaultSaramaSubscriberConfig()
	fromOldest.Consumer.Offsets.Initial = sarama.OffsetOldest
	theirs, err := stock.NewSubscriber(stock.SubscriberConfig{
		Brokers: brokers, ConsumerGroup: "their-group", OverwriteSaramaConfig: fromOldest,
	}, watermill.NopLogger{})
	if err != nil {
		panic(err)
	}
	theirPublisher, err := stock.NewPublisher(stock.PublisherConfig{Brokers: brokers}, watermill.NopLogger{})
	if err != nil {
		panic(err)
	}

	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		panic(err)
	}
	router.AddMiddleware(middleware.CorrelationID, middleware.Recoverer)
	router.AddHandler("greet", "orders", ours, "greetings", publisher,
		func(msg *message.Message) ([]*message.Message, error) {
			fmt.Printf("order %s\n", msg.Payload)
			return []*message.Message{message.NewMessage(watermill.NewUUID(), []byte("hello "+string(msg.Payload)))}, nil
		})
	router.AddHandler("echo", "greetings", theirs, "echoes", theirPublisher, message.PassthroughHandler)
	done := make(chan struct{})
	router.AddConsumerHandler("listen", "echoes", ours, func(msg *message.Message) error {
		from, _ := transport.DeliveryFrom(msg.Context())
		fmt.Printf("%s, from topic %s, attempt %d, correlation id %s\n",
			msg.Payload, from.Topic, from.Attempt, middleware.MessageCorrelationID(msg))
		close(done)
		return nil
	})

	order := message.NewMessage(watermill.NewUUID(), []byte("42"))
	order.Metadata.Set(transport.SubjectHeader, "42") // the record's key
	middleware.SetCorrelationID("the-first", order)
	if err := publisher.Publish("orders", order); err != nil {
		panic(err)
	}
	go func() {
		<-done
		if err := router.Close(); err != nil {
			panic(err)
		}
	}()
	if err := router.Run(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// order 42
	// hello 42, from topic echoes, attempt 1, correlation id the-first
}
