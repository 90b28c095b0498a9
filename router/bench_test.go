package router_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/deadletter"
	"millrace/event"
	"millrace/outbox"
	"millrace/router"
	"millrace/topic"
	"millrace/transport"
	"millrace/transport/memory"
)

// batches stands for a store: whoever comes waits until its batch is done.
type batches struct {
	mu      sync.Mutex
	waiting []chan error
}

// size is how many updates end together under load.
const size = 100

func (b *batches) update(ctx context.Context) error {
	done := make(chan error, 1)
	b.mu.Lock()
	b.waiting = append(b.waiting, done)
	if len(b.waiting) >= size {
		b.flush()
	}
	b.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *batches) flush() {
	for _, done := range b.waiting {
		done <- nil
	}
	b.waiting = b.waiting[:0]
}

type noLetters struct{}

func (noLetters) Put(context.Context, deadletter.Letter) (deadletter.Status, error) {
	return deadletter.New, nil
}
func (noLetters) Behind(context.Context, deadletter.Letter) (deadletter.Status, error) {
	return "", nil
}
func (noLetters) Await(context.Context) error { return nil }

// What a delivery costs from the subscriber to the reaction and back, without broker and
// database: CPU time of the whole process, and allocations.
func BenchmarkDelivery(b *testing.B) {
	b.ReportAllocs()
	var (
		store   batches
		handled sync.WaitGroup
	)
	react := func(ctx context.Context, _ event.OrderStatusUpdated) error {
		defer handled.Done()
		if event.CauseFrom(ctx).ID == "" {
			b.Error("no cause")
		}
		return store.update(ctx)
	}
	graph := router.Graph{router.Service("notification", router.On(topic.OrderStatusUpdated, react))}
	bus := memory.NewBus()
	if err := bus.EnsureTopics(b.Context(), 3, topic.OrderStatusUpdated.Name); err != nil {
		b.Fatal(err)
	}
	r, err := router.Bind(graph, bus, router.BindConfig{
		Letters: map[string]router.Letters{"notification": noLetters{}}, Metrics: router.NewMetrics(prometheus.NewRegistry()),
		Retry: router.RetryConfig{Tries: 3, First: time.Millisecond, Longest: time.Second}, Timeout: 30 * time.Second, CloseTimeout: time.Second,
	})
	if err != nil {
		b.Fatal(err)
	}
	publisher, err := bus.Publisher()
	if err != nil {
		b.Fatal(err)
	}
	records := make([]transport.Record, b.N)
	for i := range records {
		records[i] = statusUpdated(fmt.Sprintf("0199c0de-0000-7000-8000-%012d", i%5000))
	}
	publisher.(transport.BatchPublisher).PublishBatch(b.Context(), records)
	handled.Add(b.N)
	b.ResetTimer()
	before := cpu()
	go func() { _ = r.Run(b.Context()) }()
	done := make(chan struct{})
	go func() { handled.Wait(); close(done) }()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(10 * time.Millisecond): // the last ones fill no batch
			store.mu.Lock()
			store.flush()
			store.mu.Unlock()
		}
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
	b.StopTimer()
	if err := r.Close(); err != nil {
		b.Error(err)
	}
}

// statusUpdated is a record as the outbox writes it.
func statusUpdated(order string) transport.Record {
	r := transport.Record{Topic: topic.OrderStatusUpdated.Name, Key: []byte(order),
		Value: []byte(`{"orderId":"` + order + `","status":"PAID","previous":"AWAITING_PAYMENT"}`)}
	for _, h := range [][2]string{
		{transport.UUIDHeader, uuid.NewString()}, {"ce_specversion", "1.0"}, {outbox.HeaderID, uuid.NewString()}, {outbox.HeaderType, "OrderStatusUpdated"},
		{outbox.HeaderSource, "order"}, {outbox.HeaderTime, "2026-11-22T21:21:52.123456Z"}, {transport.SubjectHeader, order},
		{outbox.HeaderSchemaVersion, "1"}, {"ce_orderversion", "3"}, {outbox.HeaderCorrelationID, uuid.NewString()},
		{"ce_causationid", uuid.NewString()}, {"content-type", "application/json"},
	} {
		r.Headers = append(r.Headers, transport.Header{Key: h[0], Value: []byte(h[1])})
	}
	return r
}

// cpu is the time this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
