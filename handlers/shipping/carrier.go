package shipping

import (
	"context"
	"time"

	"millrace/event"
)

// Carrier takes parcels. Every call has the idempotency key Parcel.Key: the same
// key again does nothing a second time and reports the parcel as it stands. An
// error means that the outcome is unknown; the call is made again with the same
// key. Whatever a carrier decides for good, a refusal included, is a Report.
type Carrier interface {
	// Book asks the carrier to take the parcel: Booked or Refused, or any later state.
	Book(ctx context.Context, p Parcel) (Report, error)
	// Track reports where a booked parcel is.
	Track(ctx context.Context, p Parcel) (Report, error)
	// Stop keeps the parcel from leaving. After Stopped the carrier takes no parcel of this
	// order any more, not even by a booking that is still on its way. A parcel that
	// has left is reported as it stands: InTransit, Delivered, Lost.
	Stop(ctx context.Context, p Parcel) (Report, error)
	// Recall brings back a parcel that has left: Returned once it is back, NotRecalled if
	// the carrier will not do it, or Delivered or Lost. InTransit: not back yet, ask again.
	Recall(ctx context.Context, p Parcel) (Report, error)
}

// Parcel is what a carrier is told.
type Parcel struct {
	// Key is the idempotency key, "order/step".
	Key     string
	OrderID event.OrderID
	Items   []event.Item
	Address event.Address
	// TrackingNumber and BookedAt are as Book reported them and when; zero before.
	TrackingNumber string
	BookedAt       time.Time
}

// State is where a carrier says a parcel is.
type State string

// The states a carrier reports.
const (
	Booked      State = "BOOKED"       // the carrier will take it
	Refused     State = "REFUSED"      // the carrier does not take it
	Stopped     State = "STOPPED"      // the carrier will not take it any more, as asked
	InTransit   State = "SHIPPED"      // it has left
	Delivered   State = "DELIVERED"    // the customer has it
	Returned    State = "RETURNED"     // it is back
	Lost        State = "LOST"         // nobody has it
	NotRecalled State = "NOT_RECALLED" // the carrier will not bring it back
)

// Report is what a carrier says about a parcel. Carrier and TrackingNumber may be
// empty where nothing is new about them.
type Report struct {
	State          State
	Carrier        string
	TrackingNumber string
}
