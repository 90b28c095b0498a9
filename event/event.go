// Package event holds what the services say to each other: plain structs, one
// per Kafka topic, and the few words every module needs to speak of them (an
// order's id, what caused a change, what a row waits for).
//
// Fields are only ever added. The JSON in testdata is the wire contract; a test
// compares it with these types byte for byte.
//
// It imports the standard library alone, because the domain packages may lean
// on nothing else.
package event

import (
	"errors"
	"fmt"
	"math"
)

// Event is a fact about one order.
type Event interface {
	// Key is the order the fact is about, and the Kafka key it travels under, so
	// that Kafka keeps an order's facts in order within one topic.
	Key() OrderID
}

// OrderID is a UUID in its canonical text form: 36 characters, lower case.
// The zero value is no order.
type OrderID string

// ErrNotAnOrderID is what ParseOrderID returns for anything but a canonical UUID.
var ErrNotAnOrderID = errors.New("not an order id (a UUID such as 0199c0de-0000-7000-8000-000000000001)")

// ParseOrderID accepts the canonical form only. Another spelling of the same
// UUID would be another Kafka key, and so land in another partition.
func ParseOrderID(s string) (OrderID, error) {
	const length = 36
	if len(s) != length {
		return "", ErrNotAnOrderID
	}
	for i := range length {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return "", ErrNotAnOrderID
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return "", ErrNotAnOrderID
			}
		}
	}
	return OrderID(s), nil
}

// Money is an amount in minor units (cents) of one ISO 4217 currency.
type Money struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// Item is one line of an order. UnitPrice is in minor units of the order's currency.
type Item struct {
	SKU       string `json:"sku"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unitPrice"`
}

// ErrOverflow is returned by Total when a sum does not fit into an int64.
var ErrOverflow = errors.New("the total does not fit into 64 bits")

// Total adds up price times quantity over all items. Quantities and prices must
// not be negative; callers check that first, with better messages.
func Total(items []Item, currency string) (Money, error) {
	var sum int64
	for i, it := range items {
		if it.Quantity < 0 || it.UnitPrice < 0 {
			return Money{}, fmt.Errorf("item %d: negative quantity or price", i)
		}
		if it.Quantity > 0 && it.UnitPrice > (math.MaxInt64-sum)/it.Quantity {
			return Money{}, ErrOverflow
		}
		sum += it.Quantity * it.UnitPrice
	}
	return Money{Amount: sum, Currency: currency}, nil
}

// Address is where a parcel goes. Country is ISO 3166-1 alpha-2.
type Address struct {
	Name       string `json:"name"`
	Street     string `json:"street"`
	City       string `json:"city"`
	PostalCode string `json:"postalCode"`
	Country    string `json:"country"`
}

// Contact is how a customer can be told something. A channel whose field is
// empty is skipped.
type Contact struct {
	Email       string `json:"email,omitempty"`
	Phone       string `json:"phone,omitempty"`
	DeviceToken string `json:"deviceToken,omitempty"`
}

// ErrUnknownOrder is returned for a command or an answer on an order nobody has
// heard of; such a change creates nothing.
var ErrUnknownOrder = errors.New("unknown order")
