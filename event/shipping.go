package event

// What the shipping service says.

// ParcelStatus is where a parcel stands.
type ParcelStatus string

// The states of a parcel.
const (
	ParcelPreparing    ParcelStatus = "PREPARING"
	ParcelShipped      ParcelStatus = "SHIPPED"
	ParcelDelivered    ParcelStatus = "DELIVERED"
	ParcelStopped      ParcelStatus = "STOPPED"       // never left
	ParcelReturned     ParcelStatus = "RETURNED"      // left, and is back
	ParcelRefused      ParcelStatus = "REFUSED"       // the carrier does not take it
	ParcelLost         ParcelStatus = "LOST"          // gone; its pieces stay sold
	ParcelRecallFailed ParcelStatus = "RECALL_FAILED" // cannot be called back any more
)

// ShippingStatus says the parcel entered a state.
type ShippingStatus struct {
	OrderID        OrderID      `json:"orderId"`
	Status         ParcelStatus `json:"status"`
	Carrier        string       `json:"carrier,omitempty"`
	TrackingNumber string       `json:"trackingNumber,omitempty"`
}

// Key is the order's id.
func (e ShippingStatus) Key() OrderID { return e.OrderID }
