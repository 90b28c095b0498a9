package kafka_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

// sent publishes values, each under a key of its own.
func sent(t *testing.T, publisher transport.BatchPublisher, topic string, n int) {
	t.Helper()
	records := make([]transport.Record, n)
	for i := range records {
		records[i] = transport.Record{Topic: topic, Key: []byte(fmt.Sprint("key-", i)), Value: []byte(strconv.Itoa(i))}
	}
	for _, err := range publisher.PublishBatch(t.Context(), records) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func member(t *testing.T, config kafka.Config) *kafka.Subscriber {
	t.Helper()
	s, err := kafka.NewSubscriber(config, "group")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// handle answers a topic's messages, each in a goroutine, as a Router does.
func handle(t *testing.T, s *kafka.Subscriber, topic string, handler func(msg *message.Message)) {
	t.Helper()
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for msg := range messages {
			go func() {
				handler(msg)
				msg.Ack()
			}()
		}
	}()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still not after %s: %s", patience, what)
		}
		<-tick.C
	}
}

// One message that hangs lets its partition go on for MaxSpan records, no further,
// and what is fetched beyond is bounded too. When it is done, the rest comes.
func TestTheSpanIsBounded(t *testing.T) {
	t.Parallel()
	const n, span, poll = 12_000, 50, 1000
	broker := testserver.Kafka(t)
	publisher := setUp(t, broker, "events")
	config := quick(broker)
	config.MaxSpan = span
	registry := prometheus.NewPedanticRegistry()
	config.Registerer = registry
	on, err := kafka.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = on.Close() }()
	s, err := on.Subscriber("group")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var handled atomic.Int64
	release := make(chan struct{})
	handle(t, s.(*kafka.Subscriber), "events", func(msg *message.Message) {
		if d, _ := transport.DeliveryFrom(msg.Context()); d.Offset == 0 {
			<-release
		}
		handled.Add(1)
	})
	sent(t, publisher, "events", n)
	held := func() (sum float64) {
		for _, v := range gathered(t, registry, "kafka_subscriber_held_records") {
			if v > 2*span+poll {
				t.Fatalf("%v records of one partition are held", v)
			}
			sum += v
		}
		return sum
	}
	var before int64
	eventually(t, "a halt", func() bool { // nothing new in ten looks
		for range 10 {
			if now := handled.Load(); now != before || held() < 3*span {
				before = now
				return false
			}
			<-time.After(5 * time.Millisecond)
		}
		return true
	})
	if got := handled.Load(); got > 3*span {
		t.Errorf("%d messages were handled past the one that hangs", got)
	}
	close(release)
	eventually(t, "the rest", func() bool { return handled.Load() == n })
	eventually(t, "no lag", func() bool {
		sum := 0.0
		for _, v := range gathered(t, registry, "kafka_subscriber_lag_records") {
			sum += v
		}
		return sum == 0 && held() == 0
	})
}

func gathered(t *testing.T, registry prometheus.Gatherer, name string) (values []float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				values = append(values, metric.GetGauge().GetValue())
			}
		}
	}
	return values
}

// A service with many topics joins its group once, not once per topic.
func TestManyTopicsAreOneMember(t *testing.T) {
	t.Parallel()
	const topics = 16
	cluster := testserver.KafkaCluster(t)
	broker := cluster.ListenAddrs()[0]
	var names []string
	for i := range topics {
		names = append(names, fmt.Sprint("topic-", i))
	}
	publisher := setUp(t, broker, "events")
	admin, err := kafka.NewAdmin(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := admin.EnsureTopics(t.Context(), 3, names...); err != nil {
		t.Fatal(err)
	}
	joins := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Group: "group", Observe: true, Count: -1})
	s := member(t, quick(broker))
	var handled atomic.Int64
	for _, name := range names {
		handle(t, s, name, func(*message.Message) { handled.Add(1) })
	}
	for _, name := range names {
		sent(t, publisher, name, 3)
	}
	eventually(t, "a message of each topic", func() bool { return handled.Load() == 3*topics })
	if info := cluster.GroupInfo("group"); len(info.Members) != 1 {
		t.Errorf("%d members", len(info.Members))
	}
	if n := joins.Hits(); n > topics/2 { // it is balanced anew when topics come in late, on a busy machine
		t.Errorf("the group was balanced %d times", n)
	}
}

// Transactions of other clients leave no lag behind: what was aborted is not
// delivered, and the marks that end them count as done.
func TestForeignTransactions(t *testing.T) {
	t.Parallel()
	broker := testserver.Kafka(t)
	setUp(t, broker, "events")
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.TransactionalID("foreign"), kgo.DefaultProduceTopic("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		value := "aborted"
		if end == kgo.TryCommit {
			value = "committed"
		}
		if err := client.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	on, err := kafka.New(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = on.Close() }()
	backlog := func() transport.Backlog {
		b, err := on.Backlog(t.Context(), "group", "events")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if b := backlog(); b.Messages == 0 || b.Oldest.IsZero() {
		t.Errorf("before: %+v", b)
	}
	got := make(chan string, 10)
	handle(t, member(t, quick(broker)), "events", func(msg *message.Message) { got <- string(msg.Payload) })
	eventually(t, "no backlog", func() bool { return backlog().Messages == 0 })
	if len(got) != 1 || <-got != "committed" {
		t.Error("other than the committed record was delivered")
	}
}

// A subscriber that finds no broker waits for one, and can be closed; nothing of
// it is left.
func TestWithoutABrokerSubscribersWaitAndClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), brokersOwn)
	s, err := kafka.NewSubscriber(quick(nobody(t)), "group")
	if err != nil {
		t.Fatal(err)
	}
	messages, err := s.Subscribe(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, open := <-messages; open {
		t.Error("the channel is open")
	}
}

// Close is bounded when the broker goes away under it, and leaves no goroutine.
func TestCloseIsBoundedWithoutTheBroker(t *testing.T) {
	broker := testserver.Kafka(t)
	publisher := setUp(t, broker, "events")
	sent(t, publisher, "events", 10) // its connections stay
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), brokersOwn)
	w := &wire{}
	s, err := kafka.NewSubscriber(kafka.With(quick(broker), kgo.Dialer(w.dial)), "group")
	if err != nil {
		t.Fatal(err)
	}
	handled := make(chan struct{}, 10)
	handle(t, s, "events", func(*message.Message) { handled <- struct{}{} })
	<-handled
	w.cut()
	start := time.Now()
	err = s.Close()
	t.Logf("Close took %s: %v", time.Since(start), err)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Close took %s", took)
	}
}

// A topic has one subscription at a time; the next may begin when the first has ended.
func TestOneSubscriptionPerTopic(t *testing.T) {
	t.Parallel()
	broker := testserver.Kafka(t)
	publisher := setUp(t, broker, "events")
	s := member(t, quick(broker))
	ctx, cancel := context.WithCancel(t.Context())
	first, err := s.Subscribe(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Subscribe(t.Context(), "events"); err == nil || !strings.Contains(err.Error(), "events") {
		t.Errorf("a second subscription: %v", err)
	}
	cancel()
	for range first {
	}
	got := make(chan struct{}, 1)
	handle(t, s, "events", func(*message.Message) { got <- struct{}{} })
	sent(t, publisher, "events", 1)
	select {
	case <-got:
	case <-time.After(patience):
		t.Error("no message for the second subscription")
	}
}

// Encryption and every login work; a wrong one says so.
func TestLogins(t *testing.T) {
	t.Parallel()
	server, client := certificates(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(server), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain", "secret"), kfake.Superuser("SCRAM-SHA-256", "scram256", "secret"),
		kfake.Superuser("SCRAM-SHA-512", "scram512", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ask := func(login kafka.SASL) error {
		config := quick(cluster.ListenAddrs()...)
		config.TLS, config.SASL = client, &login
		admin, err := kafka.NewAdmin(config)
		if err != nil {
			return err
		}
		defer func() { _ = admin.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = admin.ClusterID(ctx)
		return err
	}
	for _, login := range []kafka.SASL{
		{Mechanism: kafka.Plain, User: "plain", Password: "secret"},
		{Mechanism: kafka.ScramSHA256, User: "scram256", Password: "secret"},
		{Mechanism: kafka.ScramSHA512, User: "scram512", Password: "secret"},
	} {
		if err := ask(login); err != nil {
			t.Errorf("%s: %v", login.Mechanism, err)
		}
	}
	for _, login := range []kafka.SASL{
		{Mechanism: kafka.Plain, User: "plain", Password: "wrong-word"},
		{Mechanism: "KERBEROS", User: "plain", Password: "wrong-word"},
	} {
		err := ask(login)
		if err == nil || strings.Contains(err.Error(), "wrong-word") {
			t.Errorf("%s: %v", login.Mechanism, err)
		}
		t.Log(err)
	}
}

// certificates make a server for 127.0.0.1 and a client that trusts it.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}
