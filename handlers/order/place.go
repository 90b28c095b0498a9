package order

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"millrace/event"
)

// PlaceOrder is what a shop sends. The shop's back end is trusted with the prices.
type PlaceOrder struct {
	CustomerID      string
	Currency        string // ISO 4217
	PaymentMethod   string
	Items           []event.Item
	ShippingAddress *event.Address // nil: collected in the shop
	Contact         *event.Contact // nil: nobody is told anything
}

// ErrDifferentOrder refuses an order under an id that another order already has:
// an idempotency key was used again for something else.
var ErrDifferentOrder = errors.New("another order was placed under this id")

// Place opens an order under an id the caller chose, and says whether it did so
// just now. Placing the same order again changes nothing; another one under the
// same id is ErrDifferentOrder. What is wrong with the order comes as an *InvalidError.
//
// The cause in ctx must be the same each time the same id is placed.
func (s *Service) Place(ctx context.Context, id event.OrderID, command PlaceOrder) (created bool, err error) {
	placed, err := command.check()
	if err != nil {
		return false, err
	}
	// Not the results: a caller who gave up waiting returns while the store may still decide.
	var decided, isNew bool
	err = s.orders.Update(ctx, id, func(o *Order) ([]event.Event, error) {
		decided, isNew = true, o.Status == ""
		if !isNew {
			return nil, o.mustBe(placed)
		}
		return o.record(o.decide(placed)), nil
	})
	if err != nil {
		return false, fmt.Errorf("place order %s: %w", id, err)
	}
	if decided {
		return isNew, nil
	}
	// The store has met this cause before and did not ask us.
	stored, err := s.load(ctx, id)
	if err != nil {
		return false, err
	}
	return false, stored.mustBe(placed)
}

// mustBe compares what was placed with what is asked for now.
func (o *Order) mustBe(p Placed) error {
	was := Placed{
		CustomerID: o.CustomerID, Items: o.Items, Total: o.Total, PaymentMethod: o.PaymentMethod,
		ShippingAddress: o.ShippingAddress, Contact: o.Contact,
	}
	if !reflect.DeepEqual(was, p) {
		return fmt.Errorf("order %s: %w", o.ID, ErrDifferentOrder)
	}
	return nil
}
