package watermill_test

import (
	"log/slog"
	"testing"
	"time"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
	"millrace/transport/transporttest"
	"millrace/transport/watermill"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture { return fixture(t, testserver.Kafka(t)) })
}

func TestConformanceOnRealKafka(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture { return fixture(t, testserver.RealKafka(t)) })
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
