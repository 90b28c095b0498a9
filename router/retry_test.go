package router_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/event"
	"millrace/router"
	"millrace/topic"
	"millrace/transport"
	"millrace/transport/memory"
)

// However many messages of one topic are tried again and again, because somebody else holds
// their rows, those of other orders go on.
func TestMessagesThatAreTriedAgainStarveNobody(t *testing.T) {
	const (
		inHand   = 1000 // the most that a member may have
		stuck    = inHand + 500
		patience = 20 * time.Second
	)
	handled := make(chan struct{})
	tried := make(chan struct{}, stuck)
	held := func(context.Context, event.OrderStatusUpdated) error {
		select {
		case tried <- struct{}{}:
		default:
		}
		return context.DeadlineExceeded // transient
	}
	free := func(context.Context, event.PaymentSucceeded) error { close(handled); return nil }
	bus := memory.NewBus()
	if err := bus.EnsureTopics(t.Context(), 3, topic.OrderStatusUpdated.Name, topic.PaymentSucceeded.Name); err != nil {
		t.Fatal(err)
	}
	r, err := router.Bind(router.Graph{router.Service("notification", router.On(topic.OrderStatusUpdated, held), router.On(topic.PaymentSucceeded, free))},
		bus, router.BindConfig{
			Letters: map[string]router.Letters{"notification": noLetters{}}, Metrics: router.NewMetrics(prometheus.NewRegistry()),
			Retry: router.RetryConfig{Tries: 3, First: time.Second, Longest: time.Minute}, Timeout: 30 * time.Second, CloseTimeout: time.Second,
		})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := bus.Publisher()
	if err != nil {
		t.Fatal(err)
	}
	batch := publisher.(transport.BatchPublisher)
	records := make([]transport.Record, stuck)
	for i := range records {
		records[i] = statusUpdated(order(i))
	}
	batch.PublishBatch(t.Context(), records)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	defer func() {
		_ = r.Close()
		<-ended
	}()
	for range inHand {
		<-tried
	}
	batch.PublishBatch(t.Context(), []transport.Record{{Topic: topic.PaymentSucceeded.Name, Key: []byte(order(stuck)),
		Value: []byte(`{"orderId":"` + order(stuck) + `"}`)}})
	select {
	case <-handled:
	case <-time.After(patience):
		t.Fatalf("a message waits for %d of other orders", stuck)
	}
}

func order(i int) string { return fmt.Sprintf("0199c0de-0000-7000-8000-%012d", i) }
