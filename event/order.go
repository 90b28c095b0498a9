package event

// What the order service says.

// OrderCreated opens an order; stock is reserved on it.
type OrderCreated struct {
	OrderID         OrderID  `json:"orderId"`
	CustomerID      string   `json:"customerId"`
	Items           []Item   `json:"items"`
	Total           Money    `json:"total"`
	PaymentMethod   string   `json:"paymentMethod"`
	ShippingAddress *Address `json:"shippingAddress,omitempty"`
	Contact         *Contact `json:"contact,omitempty"`
}

// PaymentInitiated asks payment to charge. It carries the items and the address
// because payment passes them on to inventory and shipping.
type PaymentInitiated struct {
	OrderID         OrderID  `json:"orderId"`
	CustomerID      string   `json:"customerId"`
	Items           []Item   `json:"items"`
	Total           Money    `json:"total"`
	PaymentMethod   string   `json:"paymentMethod"`
	ShippingAddress *Address `json:"shippingAddress,omitempty"`
}

// OrderStatus is where an order stands.
type OrderStatus string

// The states of an order. The empty status is a row that knows nothing yet.
const (
	OrderPending        OrderStatus = "PENDING" // stock is being reserved
	OrderAwaiting       OrderStatus = "AWAITING_PAYMENT"
	OrderPaymentPending OrderStatus = "PAYMENT_PENDING"
	OrderPaymentFailed  OrderStatus = "PAYMENT_FAILED" // stock is being released
	OrderPaid           OrderStatus = "PAID"
	OrderShipped        OrderStatus = "SHIPPED"
	OrderDelivered      OrderStatus = "DELIVERED"
	OrderCancelling     OrderStatus = "CANCELLING" // compensation under way
	OrderIsCancelled    OrderStatus = "CANCELLED"
	OrderNeedsAttention OrderStatus = "NEEDS_ATTENTION" // a compensation was refused for good
)

// CancelReason is why an order is cancelled. The first reason stays.
type CancelReason string

// The reasons an order can be cancelled for.
const (
	ReasonOutOfStock     CancelReason = "OUT_OF_STOCK"
	ReasonPaymentFailed  CancelReason = "PAYMENT_FAILED"
	ReasonCustomer       CancelReason = "CUSTOMER"
	ReasonDeadline       CancelReason = "DEADLINE"
	ReasonShipmentFailed CancelReason = "SHIPMENT_FAILED"
)

// OrderStatusUpdated is said for each status entered after PENDING; an order
// that catches up says each one it passes.
type OrderStatusUpdated struct {
	OrderID  OrderID      `json:"orderId"`
	Status   OrderStatus  `json:"status"`
	Previous OrderStatus  `json:"previous"`
	Reason   CancelReason `json:"reason,omitempty"`
}

// OrderCancelled tells payment and shipping to undo what they did. It is said
// only on entering CANCELLING.
type OrderCancelled struct {
	OrderID OrderID      `json:"orderId"`
	Reason  CancelReason `json:"reason"`
}

// Key is the order's id.
func (e OrderCreated) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e PaymentInitiated) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e OrderStatusUpdated) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e OrderCancelled) Key() OrderID { return e.OrderID }
