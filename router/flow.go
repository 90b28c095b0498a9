package router

import (
	"millrace/handlers/analytics"
	"millrace/handlers/inventory"
	"millrace/handlers/notification"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
	"millrace/topic"
)

// Services are the six modules. A nil one is not run here; the flow is the same.
type Services struct {
	Order        *order.Service
	Payment      *payment.Service
	Inventory    *inventory.Service
	Shipping     *shipping.Service
	Notification *notification.Service
	Analytics    *analytics.Service
}

// Flow is the whole system on one screen: who hears what, and who may say what.
// On marks the specification's arrows, Also the ones the saga needs besides. Topics,
// consumer groups, publishing rights, the README's table and docs/flow.md all come from here.
func Flow(s Services) Graph {
	return Graph{
		Service("order",
			On(topic.PaymentSucceeded, s.Order.PaymentSucceeded),
			On(topic.PaymentFailed, s.Order.PaymentFailed),
			On(topic.PaymentPending, s.Order.PaymentPending),
			Also(topic.InventoryReserved, s.Order.InventoryReserved),
			Also(topic.InventoryRejected, s.Order.InventoryRejected),
			Also(topic.InventoryReleased, s.Order.InventoryReleased),
			Also(topic.ShippingStatus, s.Order.ShippingStatus),
			Also(topic.PaymentRefunded, s.Order.PaymentRefunded),
			Also(topic.PaymentRefundFailed, s.Order.PaymentRefundFailed),
			Says(topic.OrderCreated, topic.PaymentInitiated, topic.OrderStatusUpdated, topic.OrderCancelled),
		),
		Service("payment",
			On(topic.PaymentInitiated, s.Payment.Initiate),
			Also(topic.OrderCancelled, s.Payment.Cancel),
			Says(topic.PaymentSucceeded, topic.PaymentFailed, topic.PaymentPending, topic.InventoryUpdate,
				topic.ShippingInitiate, topic.PaymentRefunded, topic.PaymentRefundFailed),
		),
		Service("inventory",
			On(topic.InventoryUpdate, s.Inventory.Commit),
			Also(topic.OrderCreated, s.Inventory.Reserve),
			Also(topic.PaymentFailed, s.Inventory.Release),
			Also(topic.ShippingStatus, s.Inventory.TakeBack),
			Says(topic.InventoryReserved, topic.InventoryRejected, topic.InventoryReleased),
		),
		Service("shipping",
			On(topic.ShippingInitiate, s.Shipping.Initiate),
			Also(topic.OrderCancelled, s.Shipping.Cancel),
			Says(topic.ShippingStatus),
		),
		Service("notification",
			On(topic.OrderCreated, s.Notification.OrderCreated),
			On(topic.OrderStatusUpdated, s.Notification.OrderStatusUpdated),
			On(topic.PaymentSucceeded, s.Notification.PaymentSucceeded),
			On(topic.PaymentFailed, s.Notification.PaymentFailed),
			On(topic.PaymentPending, s.Notification.PaymentPending),
			On(topic.ShippingStatus, s.Notification.ShippingStatus),
			Also(topic.PaymentRefunded, s.Notification.PaymentRefunded),
			Also(topic.PaymentRefundFailed, s.Notification.PaymentRefundFailed),
			Says(topic.NotificationSent),
		),
		Service("analytics",
			Every(s.Analytics.Count),
		),
	}
}
