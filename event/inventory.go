package event

// What the inventory service says: per order at most one of Reserved and
// Rejected, and at most one Released.

// InventoryReserved says every line of the order is set aside.
type InventoryReserved struct {
	OrderID OrderID `json:"orderId"`
	Items   []Item  `json:"items"`
}

// Shortage is one line that could not be set aside. An unknown SKU has 0 available.
type Shortage struct {
	SKU       string `json:"sku"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

// InventoryRejected says nothing was set aside, because of the lines in Short.
type InventoryRejected struct {
	OrderID OrderID    `json:"orderId"`
	Items   []Item     `json:"items"`
	Short   []Shortage `json:"short"`
}

// ReleaseCause is why stock went back.
type ReleaseCause string

// What stock can be released on: money that will not come, a parcel stopped
// before it left, a parcel that came back.
const (
	ReleasedPaymentFailed ReleaseCause = "PAYMENT_FAILED"
	ReleasedStopped       ReleaseCause = "STOPPED"
	ReleasedReturned      ReleaseCause = "RETURNED"
)

// InventoryReleased says the order holds no stock any more. Items may be empty:
// nothing had been set aside yet.
type InventoryReleased struct {
	OrderID OrderID      `json:"orderId"`
	Items   []Item       `json:"items"`
	Cause   ReleaseCause `json:"cause"`
}

// Key is the order's id.
func (e InventoryReserved) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e InventoryRejected) Key() OrderID { return e.OrderID }

// Key is the order's id.
func (e InventoryReleased) Key() OrderID { return e.OrderID }
