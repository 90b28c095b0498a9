//go:build unix

package embedded

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func startKafka(t *testing.T, c KafkaConfig) *Kafka {
	t.Helper()
	k, err := StartKafka(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func TestKafkaKeepsRecordsOffsetsAndItsID(t *testing.T) {
	dir := t.TempDir()
	k := startKafka(t, KafkaConfig{Dir: dir})
	client := kafkaClient(t, k.Addr())
	createTopic(t, client, "kept")
	for _, v := range []string{"a", "b"} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset("kept", 0, 1, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "group", offsets); err != nil {
		t.Fatal(err)
	}
	id := clusterID(t, client)
	k.Close()
	k.Close()

	client = kafkaClient(t, startKafka(t, KafkaConfig{Dir: dir}).Addr())
	if got := clusterID(t, client); got != id {
		t.Errorf("the cluster's id is %s, was %s", got, id)
	}
	committed, err := kadm.NewClient(client).FetchOffsets(t.Context(), "group")
	if o, ok := committed.Lookup("kept", 0); err != nil || !ok || o.At != 1 {
		t.Errorf("the group's offset is %v (%v), want 1", o.At, err)
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), "kept")
	if o, ok := ends.Lookup("kept", 0); err != nil || !ok || o.Offset != 2 {
		t.Errorf("the log ends at %v (%v), want 2", o.Offset, err)
	}
	other := kafkaClient(t, startKafka(t, KafkaConfig{Dir: t.TempDir()}).Addr())
	if clusterID(t, other) == id {
		t.Error("two clusters have one id")
	}
}

func TestATakenPortNamesTheSetting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = StartKafka(KafkaConfig{Dir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "EMBEDDED_KAFKA_PORT") || !strings.Contains(err.Error(), "taken") {
		t.Errorf("the error is %v", err)
	}
}

func TestKafkaCreatesNoTopicByItself(t *testing.T) {
	client := kafkaClient(t, startKafka(t, KafkaConfig{Dir: t.TempDir()}).Addr(), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(0))
	err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "typo", Value: []byte("x")}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("%v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
}

func TestKafkaTakesTheLargestDeadLetter(t *testing.T) {
	client := kafkaClient(t, startKafka(t, KafkaConfig{Dir: t.TempDir()}).Addr(),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	createTopic(t, client, "dlq.order-service")
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "dlq.order-service", Value: make([]byte, 4<<20)}).FirstErr(); err != nil {
		t.Error(err)
	}
}
