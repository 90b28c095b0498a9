package topic

import "millrace/event"

// THE TABLE: one line per Kafka topic binds a name, an event and an intent. The
// first nine are the specification's, name by name; the other seven make the
// saga whole. Who says and who hears them stands in router/flow.go.
var (
	OrderCreated        = declare[event.OrderCreated]("ecommerce.orders.created", "Notify user of new order; reserve stock")
	PaymentInitiated    = declare[event.PaymentInitiated]("ecommerce.order.payment.initiated", "Trigger payment processing")
	PaymentSucceeded    = declare[event.PaymentSucceeded]("ecommerce.payment.success", "Update order status and notify on success")
	PaymentFailed       = declare[event.PaymentFailed]("ecommerce.payment.failed", "Update order status and notify on failure; release stock")
	PaymentPending      = declare[event.PaymentPending]("ecommerce.payment.pending", "Notify user of pending status")
	OrderStatusUpdated  = declare[event.OrderStatusUpdated]("ecommerce.order.status.updated", "Notify user on status changes like SHIPPED")
	InventoryUpdate     = declare[event.InventoryUpdate]("ecommerce.inventory.update", "Commit the reservation after payment")
	ShippingInitiate    = declare[event.ShippingInitiate]("ecommerce.shipping.initiate", "Initiate shipment after payment")
	ShippingStatus      = declare[event.ShippingStatus]("ecommerce.shipping.status", "Notify user of shipping updates; stock of stopped or returned parcels")
	InventoryReserved   = declare[event.InventoryReserved]("ecommerce.inventory.reserved", "Stock is set aside: payment may begin")
	InventoryRejected   = declare[event.InventoryRejected]("ecommerce.inventory.rejected", "Out of stock: the order is cancelled")
	InventoryReleased   = declare[event.InventoryReleased]("ecommerce.inventory.released", "Stock is back: a cancelled order holds none")
	OrderCancelled      = declare[event.OrderCancelled]("ecommerce.order.cancelled", "Undo payment and shipment")
	PaymentRefunded     = declare[event.PaymentRefunded]("ecommerce.payment.refunded", "The money went back")
	PaymentRefundFailed = declare[event.PaymentRefundFailed]("ecommerce.payment.refund.failed", "A refund was refused for good: an operator is needed")
	NotificationSent    = declare[event.NotificationSent]("ecommerce.notification.sent", "Record what the customer was told")
)
