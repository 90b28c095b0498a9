package verify

import "slices"

// The checker has a table of its own of who says and hears what: a slip in the router's must show
// here. A test compares the two.

// service is one of the six.
type service uint8

const (
	orders service = iota
	payments
	inventory
	shipping
	notification
	analytics
	services // how many there are

	stranger = service(0xff) // says something under a name we do not know
)

var serviceNames = [services]string{"order", "payment", "inventory", "shipping", "notification", "analytics"}

func (s service) String() string {
	if s >= services {
		return "a stranger"
	}
	return serviceNames[s]
}

// group is the service's consumer group.
func (s service) group() string { return s.String() + "-service" }

// letterTopic is where copies of the service's dead letters are.
func (s service) letterTopic() string { return "dlq." + s.group() }

func serviceNamed(name string) service {
	if i := slices.Index(serviceNames[:], name); i >= 0 {
		return service(i)
	}
	return stranger
}

// kind is an event's, and so its topic's.
type kind uint8

const (
	orderCreated kind = iota
	paymentInitiated
	paymentSucceeded
	paymentFailed
	paymentPending
	orderStatusUpdated
	inventoryUpdate
	shippingInitiate
	shippingStatus
	inventoryReserved
	inventoryRejected
	inventoryReleased
	orderCancelled
	paymentRefunded
	paymentRefundFailed
	notificationSent
	kinds // how many there are
)

// line is one topic: its name, its event, who says it and who hears it. Analytics hears all.
type line struct {
	topic, event string
	publisher    service
	consumers    []service
}

var flow = [kinds]line{
	orderCreated:        {"ecommerce.orders.created", "OrderCreated", orders, []service{notification, inventory, analytics}},
	paymentInitiated:    {"ecommerce.order.payment.initiated", "PaymentInitiated", orders, []service{payments, analytics}},
	paymentSucceeded:    {"ecommerce.payment.success", "PaymentSucceeded", payments, []service{orders, notification, analytics}},
	paymentFailed:       {"ecommerce.payment.failed", "PaymentFailed", payments, []service{orders, notification, inventory, analytics}},
	paymentPending:      {"ecommerce.payment.pending", "PaymentPending", payments, []service{orders, notification, analytics}},
	orderStatusUpdated:  {"ecommerce.order.status.updated", "OrderStatusUpdated", orders, []service{notification, analytics}},
	inventoryUpdate:     {"ecommerce.inventory.update", "InventoryUpdate", payments, []service{inventory, analytics}},
	shippingInitiate:    {"ecommerce.shipping.initiate", "ShippingInitiate", payments, []service{shipping, analytics}},
	shippingStatus:      {"ecommerce.shipping.status", "ShippingStatus", shipping, []service{notification, orders, inventory, analytics}},
	inventoryReserved:   {"ecommerce.inventory.reserved", "InventoryReserved", inventory, []service{orders, analytics}},
	inventoryRejected:   {"ecommerce.inventory.rejected", "InventoryRejected", inventory, []service{orders, analytics}},
	inventoryReleased:   {"ecommerce.inventory.released", "InventoryReleased", inventory, []service{orders, analytics}},
	orderCancelled:      {"ecommerce.order.cancelled", "OrderCancelled", orders, []service{payments, shipping, analytics}},
	paymentRefunded:     {"ecommerce.payment.refunded", "PaymentRefunded", payments, []service{orders, notification, analytics}},
	paymentRefundFailed: {"ecommerce.payment.refund.failed", "PaymentRefundFailed", payments, []service{orders, notification, analytics}},
	notificationSent:    {"ecommerce.notification.sent", "NotificationSent", notification, []service{analytics}},
}

// knownSchemaVersion is the newest version of every event's body: a newer one becomes a letter.
const knownSchemaVersion = 1

func kindOf(topic string) (kind, bool) {
	i := slices.IndexFunc(flow[:], func(l line) bool { return l.topic == topic })
	return kind(max(i, 0)), i >= 0
}

// The statuses the rules are about.
const (
	statusPending        = "PENDING"
	statusAwaiting       = "AWAITING_PAYMENT"
	statusPaymentPending = "PAYMENT_PENDING"
	statusPaymentFailed  = "PAYMENT_FAILED"
	statusPaid           = "PAID"
	statusShipped        = "SHIPPED"
	statusDelivered      = "DELIVERED"
	statusCancelling     = "CANCELLING"
	statusCancelled      = "CANCELLED"
	statusNeedsAttention = "NEEDS_ATTENTION"

	parcelPreparing = "PREPARING"
	parcelShipped   = "SHIPPED"
	parcelDelivered = "DELIVERED"
	parcelStopped   = "STOPPED"
	parcelReturned  = "RETURNED"
	parcelLost      = "LOST"

	moneyFailed       = "FAILED"
	moneySucceeded    = "SUCCEEDED"
	moneyRefunded     = "REFUNDED"
	moneyRefundFailed = "REFUND_FAILED"

	stockReserved = "RESERVED"
	stockSold     = "SOLD"

	failedDeclined = "DECLINED"
	failedExpired  = "EXPIRED"
)

// leavesTrace tells whether a service that has heard an event shows it: by the event's id in its
// row, or by a letter. Some events are nothing to some services, which then do not touch their row.
// What cannot be read is a letter everywhere.
func leavesTrace(s service, r *record) bool {
	if !r.Readable {
		return true
	}
	switch s {
	case inventory: // stock comes back on two statuses; the others do not concern it
		return r.Kind != shippingStatus || r.Status == parcelStopped || r.Status == parcelReturned
	case notification: // as docs/flow.md says what the customer hears
		switch r.Kind {
		case paymentFailed:
			return r.Reason == failedDeclined || r.Reason == failedExpired
		case shippingStatus:
			return r.Status == parcelPreparing || r.Status == parcelShipped || r.Status == parcelDelivered
		case orderStatusUpdated:
			return r.Status == statusCancelled || r.Status == statusNeedsAttention
		case paymentRefundFailed:
			return false
		}
		return true
	case analytics:
		return counted(r)
	}
	return true
}

// counted tells whether an event changes a sum of analytics.
func counted(r *record) bool {
	switch r.Kind {
	case orderCreated, paymentSucceeded, paymentRefunded, paymentRefundFailed:
		return true
	case orderStatusUpdated:
		return slices.Contains([]string{statusPaid, statusShipped, statusDelivered, statusCancelled}, r.Status)
	}
	return false
}
