// Package inventory is the inventory service's domain: it sets stock aside for an
// order, all lines or none, sells it once it is paid for, and takes it back when
// money or parcel fall through.
//
// Two kinds of row: a Reservation per order, and a Level per SKU that many orders
// share. Of what it says per order there is at most one InventoryReserved or
// InventoryRejected, and at most one InventoryReleased.
//
// Topics have no order among each other, so an event may come before the one it
// builds on. It is then remembered in the row and takes effect when its turn comes.
package inventory

import (
	"context"

	"millrace/event"
)

// Reservations keeps the rows, one per order, and the levels they share.
type Reservations interface {
	// Update creates the row if it is missing, lets change decide on copies, and commits
	// the row, the levels and the returned events, together or not at all. The cause
	// in ctx a second time changes nothing and does not run change. keys names the
	// SKUs that change needs, asked with the locked row; stock holds exactly those of
	// them that exist. An error of change keeps nothing and is returned unchanged. keys
	// and change may run more than once.
	Update(ctx context.Context, id event.OrderID, keys func(*Reservation) []string,
		change func(r *Reservation, stock map[string]*Level) ([]event.Event, error)) error
	// UpdateSide changes levels without an order. A missing one is created as a zero
	// Level that has its SKU; otherwise as Update.
	UpdateSide(ctx context.Context, keys []string, change func(stock map[string]*Level) error) error
}

// Service reacts to events and takes commands. It may be used by many goroutines.
type Service struct {
	reservations Reservations
}

// New returns a service that keeps its rows in r.
func New(r Reservations) *Service { return &Service{reservations: r} }

// Reserve sets every line of a new order aside, or none. A malformed order, one
// whose quantities are not positive or do not add up, is a permanent error.
func (s *Service) Reserve(ctx context.Context, e event.OrderCreated) error {
	wanted, err := bySKU(e.Items)
	if err != nil {
		return err
	}
	return s.reservations.Update(ctx, e.OrderID,
		func(r *Reservation) []string {
			if r.settled() {
				return nil
			}
			return wanted.skus()
		},
		func(r *Reservation, stock map[string]*Level) ([]event.Event, error) {
			return r.reserve(e.Items, wanted, stock)
		})
}

// Release gives back what was set aside for an order that will not be paid.
func (s *Service) Release(ctx context.Context, e event.PaymentFailed) error {
	return s.reservations.Update(ctx, e.OrderID, (*Reservation).skus, (*Reservation).release)
}

// Commit sells what was set aside.
func (s *Service) Commit(ctx context.Context, e event.InventoryUpdate) error {
	return s.reservations.Update(ctx, e.OrderID, (*Reservation).skus, (*Reservation).commit)
}

// TakeBack puts sold pieces back whose parcel was stopped or has returned. Every
// other status leaves stock where it is, and does not reach the store.
func (s *Service) TakeBack(ctx context.Context, e event.ShippingStatus) error {
	var cause event.ReleaseCause
	switch e.Status {
	case event.ParcelStopped:
		cause = event.ReleasedStopped
	case event.ParcelReturned:
		cause = event.ReleasedReturned
	default:
		return nil
	}
	return s.reservations.Update(ctx, e.OrderID, (*Reservation).skus,
		func(r *Reservation, stock map[string]*Level) ([]event.Event, error) {
			return r.takeBack(cause, stock)
		})
}
