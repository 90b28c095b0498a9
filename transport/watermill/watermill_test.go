package watermill_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/transport"
	"millrace/transport/kafka"
	"millrace/transport/transporttest"
	"millrace/transport/watermill"
)

func TestConformance(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		return fixture(t, cluster.ListenAddrs()...)
	})
}

func fixture(t *testing.T, brokers ...string) transporttest.Fixture {
	config := kafka.Config{
		Brokers: brokers, Logger: slog.New(slog.DiscardHandler),
		HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 2 * time.Second, RebalanceTimeout: 2 * time.Second,
		NackBackoff: 2 * time.Millisecond,
	}
	publisher, err := kafka.NewPublisher(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = publisher.Close() })
	return transporttest.Fixture{
		Open: func(t *testing.T) transport.Transport {
			on, err := watermill.New(config)
			if err != nil {
				t.Fatal(err)
			}
			return on
		},
		Foreign: publisher,
	}
}
