package foreign_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/deadletter"
	"millrace/deadletter/deadlettertest"
	"millrace/deadletter/dialect"
	"millrace/deadletter/filter"
	"millrace/deadletter/foreign"
	"millrace/outbox"
	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const (
	partitions = 3
	origin     = "orders"
)

// cluster is a broker and a database.
type cluster struct {
	t      *testing.T
	broker string
	db     *sql.DB
	log    *kafka.Admin
	sender *kafka.Sender
	desk   *foreign.Desk
}

func newCluster(t *testing.T, topics ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, broker: testserver.Kafka(t), db: testserver.Postgres(t)}
	if err := outbox.Migrate(t.Context(), c.db, deadletter.Schema, deadletter.Migrations()); err != nil {
		t.Fatal(err)
	}
	c.create(partitions, topics...)
	config := kafka.Config{Brokers: []string{c.broker}}
	var err error
	if c.log, err = kafka.NewAdmin(config); err != nil {
		t.Fatal(err)
	}
	if c.sender, err = kafka.NewSender(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(c.log.Close(), c.sender.Close()) })
	c.desk = foreign.NewDesk(c.db, c.log, "tester")
	return c
}

func (c *cluster) create(partitions int32, topics ...string) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.broker))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).CreateTopics(c.t.Context(), partitions, 1, nil, topics...)
	if err := errors.Join(err, answers.Error()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) write(records ...transport.LogRecord) {
	c.t.Helper()
	if err := errors.Join(c.sender.Send(c.t.Context(), records)...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) read(topic string) (list []transport.LogRecord) {
	c.t.Helper()
	err := c.log.Scan(c.t.Context(), []string{topic}, time.Time{}, func(r transport.LogRecord) error { list = append(list, r); return nil })
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// chosen is a selection of a topic by a filter.
func chosen(t *testing.T, topic, text string) foreign.Selection {
	t.Helper()
	f, err := filter.Parse(text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return foreign.Selection{Topic: topic, Filter: f}
}

func (c *cluster) list(topic, text string) (list []*foreign.Letter) {
	c.t.Helper()
	err := c.desk.Each(c.t.Context(), chosen(c.t, topic, text), func(l *foreign.Letter) error { list = append(list, l); return nil })
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

func (c *cluster) redrive(r foreign.Redrive) foreign.Tally {
	c.t.Helper()
	tally, err := c.desk.Redrive(c.t.Context(), c.sender, r, func(foreign.Tally) {})
	if err != nil {
		c.t.Fatal(err)
	}
	return tally
}

// Watermill's own PoisonQueue, on its own Kafka subscriber and publisher, writes letters; they are grouped, and
// sent back to the topic they came from, from where Watermill's subscriber takes them again and this time
// processes them.
func TestLettersOfWatermill(t *testing.T) {
	const poison = "poison"
	c := newCluster(t, origin, poison)
	shop := startWatermill(t, c.broker, poison)
	const orders = 20
	for n := range orders {
		shop.publish(t, fmt.Sprint("key-", n%4), fmt.Sprintf(`{"n": %d, "total": {"amount": %d}}`, n, n*100))
	}
	deadlettertest.Eventually(t, "all are letters", func() bool { return len(c.read(poison)) == orders })

	groups, err := c.desk.Groups(t.Context(), chosen(t, poison, ""))
	if err != nil || len(groups) != 1 || groups[0].Letters != orders || groups[0].Dialect != dialect.Watermill || groups[0].Topic != origin || groups[0].Handler != "charge" {
		t.Fatalf("%d groups, %v: %+v", len(groups), err, groups)
	}
	large := c.list(poison, `body.total.amount>=1500 error~"no account"`)
	if len(large) != orders-15 {
		t.Errorf("%d letters have an amount of 1500 or more, want %d", len(large), orders-15)
	}

	shop.mend()
	tally := c.redrive(foreign.Redrive{Selection: chosen(t, poison, ""), To: origin, Reason: "mended"})
	if tally.Sent != orders {
		t.Errorf("%+v", tally)
	}
	deadlettertest.Eventually(t, "all are processed", func() bool { return len(shop.processed()) == orders })
	if got := c.list(poison, "status:redriven"); len(got) != orders || got[0].SentTo != origin {
		t.Errorf("%d are redriven", len(got))
	}
	for key, list := range shop.byKey() {
		if !slices.IsSorted(list) {
			t.Errorf("messages of %s were processed as %v", key, list)
		}
	}
	// Watermill chooses partitions by another rule than Kafka; what goes back follows it all the same.
	place := map[string]int32{}
	for _, r := range c.read(origin) {
		if p, ok := place[string(r.Key)]; ok && p != r.Partition {
			t.Errorf("messages of %s are in the partitions %d and %d", r.Key, p, r.Partition)
		}
		place[string(r.Key)] = r.Partition
	}
	if tally := c.redrive(foreign.Redrive{Selection: chosen(t, poison, ""), To: origin}); tally.Sent != 0 || tally.Before != orders {
		t.Errorf("the same again: %+v", tally)
	}
}

// shop is a Watermill router with one handler.
type shop struct {
	publisher message.Publisher

	mu     sync.Mutex
	mended bool
	seen   []*message.Message
}

func startWatermill(t *testing.T, broker, poison string) *shop {
	t.Helper()
	s := &shop{}
	marshaler := wkafka.NewWithPartitioningMarshaler(func(_ string, m *message.Message) (string, error) {
		if key, ok := wkafka.MessageKeyFromCtx(m.Context()); ok {
			return string(key), nil
		}
		return m.Metadata.Get("key"), nil
	})
	saramaConfig := wkafka.DefaultSaramaSubscriberConfig()
	saramaConfig.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := wkafka.NewSubscriber(wkafka.SubscriberConfig{Brokers: []string{broker}, Unmarshaler: marshaler, ConsumerGroup: "billing", OverwriteSaramaConfig: saramaConfig}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	if s.publisher, err = wkafka.NewPublisher(wkafka.PublisherConfig{Brokers: []string{broker}, Marshaler: marshaler}, watermill.NopLogger{}); err != nil {
		t.Fatal(err)
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: deadlettertest.Patience}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := middleware.PoisonQueue(s.publisher, poison)
	if err != nil {
		t.Fatal(err)
	}
	router.AddMiddleware(queue)
	router.AddConsumerHandler("charge", origin, subscriber, func(m *message.Message) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.mended {
			return fmt.Errorf("no account %q", m.UUID)
		}
		s.seen = append(s.seen, m)
		return nil
	})
	go func() { _ = router.Run(context.Background()) }()
	<-router.Running()
	t.Cleanup(func() { _ = errors.Join(router.Close(), s.publisher.Close()) })
	return s
}

func (s *shop) publish(t *testing.T, key, body string) {
	t.Helper()
	m := message.NewMessage(watermill.NewUUID(), []byte(body))
	m.Metadata.Set("key", key)
	m.Metadata.Set("traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
	if err := s.publisher.Publish(origin, m); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mended = true
}

func (s *shop) processed() []*message.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// byKey are the places of the processed messages' letters, by key.
func (s *shop) byKey() map[string][]string {
	list := map[string][]string{}
	for _, m := range s.processed() {
		_, n, _ := strings.Cut(string(m.Payload), `"n": `)
		n, _, _ = strings.Cut(n, ",")
		list[m.Metadata.Get("key")] = append(list[m.Metadata.Get("key")], fmt.Sprintf("%3s", n))
	}
	return list
}
