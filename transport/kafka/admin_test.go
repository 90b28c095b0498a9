package kafka_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/testserver"
	"millrace/transport/kafka"
)

// Making topics waits for their leaders, and for a broker that has another
// process's topic already.
func TestEnsureTopicsWaitsForLeaders(t *testing.T) {
	t.Parallel()
	cluster := testserver.KafkaCluster(t)
	admin, err := kafka.NewAdmin(quick(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := admin.EnsureTopics(t.Context(), 0, "events"); err == nil {
		t.Error("a topic without partitions was made")
	}
	if err := admin.EnsureTopics(t.Context(), 3, "events", "dlq.group"); err != nil {
		t.Fatal(err)
	}
	if got := *cluster.TopicInfo("dlq.group").Configs["max.message.bytes"]; got != "4194304" {
		t.Errorf("dead letters may have %s bytes", got)
	}
	for _, topic := range []string{"events", "dlq.group"} {
		if got := *cluster.TopicInfo(topic).Configs["message.timestamp.type"]; got != "LogAppendTime" {
			t.Errorf("%s takes its times from %s", topic, got)
		}
	}
	missing := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "events", Err: kerr.LeaderNotAvailable, Count: 3})
	other, err := kafka.NewAdmin(quick(cluster.ListenAddrs()...)) // which has not seen the topic yet
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := other.EnsureTopics(t.Context(), 3, "events"); err != nil {
		t.Errorf("after %d looks: %v", missing.Hits(), err)
	}
	if missing.Hits() != 3 {
		t.Errorf("%d looks met a topic without leader", missing.Hits())
	}
	one, err := admin.ClusterID(t.Context())
	if err != nil || one == "" {
		t.Errorf("cluster id %q: %v", one, err)
	}
}

// A cluster that looks for a coordinator is asked again; one that says no is not.
func TestBacklogAsksAgain(t *testing.T) {
	t.Parallel()
	cluster := testserver.KafkaCluster(t)
	broker := cluster.ListenAddrs()[0]
	sent(t, setUp(t, broker, "events"), "events", 3)
	admin, err := kafka.NewAdmin(quick(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "group", Err: kerr.CoordinatorNotAvailable, Count: 3})
	if b, err := admin.Backlog(t.Context(), "group", "events"); err != nil || b.Messages != 3 {
		t.Errorf("%+v, %v", b, err)
	}
	if fault.Hits() != 3 {
		t.Errorf("refused %d times", fault.Hits())
	}
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "group", Err: kerr.GroupAuthorizationFailed, Count: -1})
	if _, err := admin.Backlog(t.Context(), "group", "events"); !errors.Is(err, kerr.GroupAuthorizationFailed) {
		t.Errorf("got %v", err)
	}
}
