package event

import "time"

// What the payment service says. Of {InventoryUpdate, ShippingInitiate} and
// PaymentFailed it says exactly one per order, ever.

// PaymentSucceeded says the money was captured.
type PaymentSucceeded struct {
	OrderID     OrderID `json:"orderId"`
	Total       Money   `json:"total"`
	ProviderRef string  `json:"providerRef"`
}

// FailureReason is why no money was, or will be, kept.
type FailureReason string

// The reasons a payment can fail for.
const (
	FailedDeclined  FailureReason = "DECLINED"
	FailedExpired   FailureReason = "EXPIRED"
	FailedCancelled FailureReason = "CANCELLED"
)

// PaymentFailed says the order will not be paid. With RefundFollows the money had
// been captured all the same, and PaymentRefunded or PaymentRefundFailed is to come.
type PaymentFailed struct {
	OrderID       OrderID       `json:"orderId"`
	Reason        FailureReason `json:"reason"`
	Message       string        `json:"message"`
	RefundFollows bool          `json:"refundFollows"`
}

// PaymentPending says the provider has not decided yet.
type PaymentPending struct {
	OrderID     OrderID   `json:"orderId"`
	ProviderRef string    `json:"providerRef"`
	ExpiresAt   time.Time `json:"expiresAt"`
}

// PaymentRefunded says captured money went back. AfterSuccess tells whether
// PaymentSucceeded had been said before.
type PaymentRefunded struct {
	OrderID      OrderID `json:"orderId"`
	Total        Money   `json:"total"`
	ProviderRef  string  `json:"providerRef"`
	AfterSuccess bool    `json:"afterSuccess"`
}

// PaymentRefundFailed says the provider refused a refund for good.
type PaymentRefundFailed struct {
	OrderID OrderID `json:"orderId"`
	Total   Money   `json:"total"`
	Message string  `json:"message"`
}

// InventoryUpdate tells inventory that reserved stock is sold: a command in
// event clothing, the name is the specification's.
type InventoryUpdate struct {
	OrderID OrderID `json:"orderId"`
	Items   []Item  `json:"items"`
}

// ShippingInitiate tells shipping to send the parcel: a command in event
// clothing, the name is the specification's. Without an address the order is
// collected in the shop: same statuses, no carrier.
type ShippingInitiate struct {
	OrderID         OrderID  `json:"orderId"`
	Items           []Item   `json:"items"`
	ShippingAddress *Address `json:"shippingAddress,omitempty"`
}

// Key is the order's id.
func (e PaymentSucceeded) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e PaymentFailed) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e PaymentPending) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e PaymentRefunded) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e PaymentRefundFailed) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e InventoryUpdate) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e ShippingInitiate) Key() OrderID { return e.OrderID }
