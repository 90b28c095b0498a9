package memory_test

import (
	"testing"
	"time"

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
