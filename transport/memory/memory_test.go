package memory_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"millrace/transport"
	"millrace/transport/memory"
	"millrace/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Fixture {
		bus := memory.NewBus()
		bus.NackBackoff = 2 * time.Millisecond
		bus.Drain = time.Second
		publisher, err := bus.Publisher()
		if err != nil {
			t.Fatal(err)
		}
		return transporttest.Fixture{
			Open:    func(*testing.T) transport.Transport { return bus },
			Foreign: publisher.(transport.BatchPublisher),
			PerKey:  true,
		}
	})
}

// Nothing is left of a Bus whose subscribers are closed, however they were used.
func TestNothingIsLeftRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	bus := memory.NewBus()
	if err := bus.EnsureTopics(t.Context(), 3, "events"); err != nil {
		t.Fatal(err)
	}
	publisher, _ := bus.Publisher()
	for _, id := range []string{"1", "2", "3"} {
		if err := publisher.Publish("events", message.NewMessage(id, nil)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s, err := bus.Subscriber("group")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		messages, err := s.Subscribe(ctx, "events")
		if err != nil {
			t.Fatal(err)
		}
		(<-messages).Ack()
		cancel() // the others are never asked for
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A topic that nobody made is a mistake, on either side.
func TestUnknownTopics(t *testing.T) {
	bus := memory.NewBus()
	publisher, _ := bus.Publisher()
	if err := publisher.Publish("nowhere", message.NewMessage("1", nil)); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("publish: %v", err)
	}
	s, _ := bus.Subscriber("group")
	if _, err := s.Subscribe(t.Context(), "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("subscribe: %v", err)
	}
	if err := publisher.Close(); err != nil {
		t.Error(err)
	}
	if err := publisher.Publish("nowhere", message.NewMessage("1", nil)); err == nil {
		t.Error("a closed publisher publishes")
	}
}
