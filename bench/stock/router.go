package stock

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/handlers/inventory"
	"millrace/handlers/notification"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
	"millrace/topic"
)

const (
	// poisonTopic takes the messages that no retry helps.
	poisonTopic = "poison"
	// closeTimeout bounds the wait for running handlers.
	closeTimeout = 10 * time.Second
)

// newRouter is a router with the documentation's middleware.
func newRouter(poison message.Publisher, log watermill.LoggerAdapter) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, log)
	if err != nil {
		return nil, fmt.Errorf("make the router: %w", err)
	}
	return router, addMiddleware(router, poison, log)
}

// addMiddleware adds the documentation's middleware, outermost first.
func addMiddleware(router *message.Router, poison message.Publisher, log watermill.LoggerAdapter) error {
	queue, err := middleware.PoisonQueue(poison, poisonTopic)
	if err != nil {
		return fmt.Errorf("make the poison queue: %w", err)
	}
	router.AddMiddleware(
		middleware.CorrelationID,
		queue,
		middleware.Retry{MaxRetries: 3, InitialInterval: 100 * time.Millisecond, Logger: log}.Middleware,
		middleware.Recoverer,
	)
	return nil
}

// watermillLogger passes warnings and errors on; what Watermill calls info is a line per subscription.
func watermillLogger(log *slog.Logger) watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
}

// services are the six modules; only their names matter to who hears what.
type services struct {
	order        *order.Service
	payment      *payment.Service
	inventory    *inventory.Service
	shipping     *shipping.Service
	notification *notification.Service
	analytics    *analytics.Service
}

// handler is one subscription: a service and a topic it hears.
type handler struct {
	service string
	topic   topic.Info
	handle  message.NoPublishHandlerFunc
}

// handlers is who hears what: one handler per service and topic, as in Millrace's flow.
func (s services) handlers() []handler {
	list := []handler{
		on("order", topic.PaymentSucceeded, s.order.PaymentSucceeded),
		on("order", topic.PaymentFailed, s.order.PaymentFailed),
		on("order", topic.PaymentPending, s.order.PaymentPending),
		on("order", topic.InventoryReserved, s.order.InventoryReserved),
		on("order", topic.InventoryRejected, s.order.InventoryRejected),
		on("order", topic.InventoryReleased, s.order.InventoryReleased),
		on("order", topic.ShippingStatus, s.order.ShippingStatus),
		on("order", topic.PaymentRefunded, s.order.PaymentRefunded),
		on("order", topic.PaymentRefundFailed, s.order.PaymentRefundFailed),
		on("payment", topic.PaymentInitiated, s.payment.Initiate),
		on("payment", topic.OrderCancelled, s.payment.Cancel),
		on("inventory", topic.InventoryUpdate, s.inventory.Commit),
		on("inventory", topic.OrderCreated, s.inventory.Reserve),
		on("inventory", topic.PaymentFailed, s.inventory.Release),
		on("inventory", topic.ShippingStatus, s.inventory.TakeBack),
		on("shipping", topic.ShippingInitiate, s.shipping.Initiate),
		on("shipping", topic.OrderCancelled, s.shipping.Cancel),
		on("notification", topic.OrderCreated, s.notification.OrderCreated),
		on("notification", topic.OrderStatusUpdated, s.notification.OrderStatusUpdated),
		on("notification", topic.PaymentSucceeded, s.notification.PaymentSucceeded),
		on("notification", topic.PaymentFailed, s.notification.PaymentFailed),
		on("notification", topic.PaymentPending, s.notification.PaymentPending),
		on("notification", topic.ShippingStatus, s.notification.ShippingStatus),
		on("notification", topic.PaymentRefunded, s.notification.PaymentRefunded),
		on("notification", topic.PaymentRefundFailed, s.notification.PaymentRefundFailed),
	}
	for _, info := range topic.All() { // analytics hears everything
		list = append(list, handler{"analytics", info, func(msg *message.Message) error {
			e, err := info.Decode(msg.Payload)
			if err != nil {
				return err
			}
			return s.analytics.Count(caused(msg), e)
		}})
	}
	return list
}

func on[E event.Event](service string, t topic.Topic[E], react func(context.Context, E) error) handler {
	return handler{service, t.Info, func(msg *message.Message) error {
		e, err := t.Decode(msg.Payload)
		if err != nil {
			return err
		}
		typed, ok := e.(E)
		if !ok {
			return fmt.Errorf("topic %s carries %T", t.Name, e)
		}
		return react(caused(msg), typed)
	}}
}

// caused is the message's context with what the domain wants to know of the message.
func caused(msg *message.Message) context.Context {
	at, _ := time.Parse(time.RFC3339Nano, msg.Metadata.Get(metaTime)) // written by us
	return event.WithCause(msg.Context(), event.Cause{
		ID: msg.UUID, CorrelationID: middleware.MessageCorrelationID(msg), Time: at,
	})
}
