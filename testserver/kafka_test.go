//go:build unix

package testserver_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/testserver"
)

func kafkaClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestBothKafkasCarryARecord(t *testing.T) {
	for name, start := range map[string]func(testing.TB) string{"in memory": testserver.Kafka, "real": testserver.RealKafka} {
		t.Run(name, func(t *testing.T) {
			client := kafkaClient(t, start(t), kgo.ConsumeTopics("carried"))
			if answer, err := kadm.NewClient(client).CreateTopic(t.Context(), 3, 1, nil, "carried"); err != nil {
				t.Fatalf("create a topic: %v %v", err, answer.Err)
			}
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "carried", Value: []byte("42")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			records := client.PollFetches(t.Context()).Records()
			if len(records) != 1 || string(records[0].Value) != "42" {
				t.Errorf("received %v", records)
			}
		})
	}
}

func TestAKafkaClusterCanBeMadeToFail(t *testing.T) {
	cluster := testserver.KafkaCluster(t)
	admin := kadm.NewClient(kafkaClient(t, cluster.ListenAddrs()[0]))
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.PolicyViolation})
	if answer, _ := admin.CreateTopic(t.Context(), 1, 1, nil, "refused"); answer.Err != kerr.PolicyViolation {
		t.Errorf("the fault is not felt: %v", answer.Err)
	}
}

func TestAllTestsShareOneRealKafka(t *testing.T) {
	first, second := testserver.RealKafka(t), testserver.RealKafka(t)
	if first != second {
		t.Error("the second one has another address")
	}
}

func TestAMissingKafkaIsSaidAloudAndFailsWhereItIsRequired(t *testing.T) {
	for required, want := range map[string]string{
		"":  "LEFT OUT: not tested on a real Kafka: no Apache Kafka on this machine",
		"1": "--- FAIL",
	} {
		cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestAllTestsShareOneRealKafka$")
		cmd.Env = append(os.Environ(), "KAFKA_HOME_JARS="+t.TempDir(), "MILLRACE_REQUIRE_KAFKA="+required)
		output, err := cmd.CombinedOutput()
		if (err != nil) != (required == "1") || !strings.Contains(string(output), want) {
			t.Errorf("MILLRACE_REQUIRE_KAFKA=%s: %v, want %q in\n%s", required, err, want, output)
		}
	}
}
