package stock_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"millrace/bench/stock"
	"millrace/event"
	"millrace/testserver"
	"millrace/topic"
	"millrace/transport/kafka"
)

func created() event.OrderCreated {
	return event.OrderCreated{
		OrderID: event.OrderID(uuid.Must(uuid.NewV7()).String()), CustomerID: "c-42", PaymentMethod: "pm_accepted",
		Items: []event.Item{{SKU: "MUG-RED", Quantity: 1, UnitPrice: 1250}}, Total: event.Money{Amount: 1250, Currency: "EUR"},
	}
}

// during runs a part until the test is over.
func during(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// row is a consumer's, as plain as can be.
type row struct{ Heard int }

// The events go through the outbox to Kafka twice over, and what they cause is written once.
func TestPartsByThemselves(t *testing.T) {
	for name, settings := range map[string]stock.Settings{"documented": stock.Documented(), "tuned": stock.Tuned()} {
		t.Run(name, func(t *testing.T) {
			const orders = 100
			brokers := []string{testserver.Kafka(t)}
			admin, err := kafka.NewAdmin(kafka.Config{Brokers: brokers})
			if err == nil {
				err = errors.Join(admin.EnsureTopics(t.Context(), 3, topic.OrderCreated.Name, topic.InventoryReserved.Name), admin.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			p, err := stock.OpenParts(t.Context(), testserver.PostgresDSN(t), brokers, settings, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			var said, handled atomic.Int64
			tx, err := p.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var events []event.Event
			for range orders {
				events = append(events, created())
			}
			if err := errors.Join(p.Enqueue(tx, events...), tx.Commit()); err != nil {
				t.Fatal(err)
			}
			during(t, func(ctx context.Context) error {
				return p.Forward(ctx, func(to message.Publisher) message.Publisher { return twice{to} })
			})
			during(t, func(ctx context.Context) error {
				return stock.Consume(ctx, p, topic.OrderCreated, func(r *row, e event.OrderCreated) []event.Event {
					r.Heard++
					said.Add(1)
					return []event.Event{event.InventoryReserved{OrderID: e.OrderID, Items: e.Items}}
				}, func(next message.HandlerFunc) message.HandlerFunc {
					return func(msg *message.Message) ([]*message.Message, error) {
						out, err := next(msg)
						if err == nil {
							handled.Add(1)
						}
						return out, err
					}
				})
			})
			var written, forwarded int64
			for end := time.Now().Add(patience); time.Now().Before(end) && (handled.Load() < 2*orders || forwarded < 2*orders); <-time.After(look) {
				if written, forwarded, err = p.Outbox(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if handled.Load() != 2*orders || said.Load() != orders || written != 2*orders || forwarded != written {
				t.Errorf("%d messages were handled, %d of them changed a row; %d events are in the outbox, %d of them forwarded; want %d, %d, and %d twice",
					handled.Load(), said.Load(), written, forwarded, 2*orders, orders, 2*orders)
			}
		})
	}
}

// twice publishes everything twice, as a forwarder does that is killed before its commit.
type twice struct{ message.Publisher }

func (p twice) Publish(topicName string, msgs ...*message.Message) error {
	return errors.Join(p.Publisher.Publish(topicName, msgs...), p.Publisher.Publish(topicName, msgs...))
}
