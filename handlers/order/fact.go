package order

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"millrace/event"
)

// Fact is something that happened to an order: what it heard, or a status it
// entered. The set is closed; the history stores each under its type's name.
type Fact interface {
	// isNew says whether the fact adds to what the order knows. What has been
	// heard already, and what contradicts the first word of a service that speaks
	// only once, does not.
	isNew(o *Order) bool
	apply(o *Order)
}

// Placed is the order as the shop sent it.
type Placed struct {
	CustomerID      string         `json:"customerId"`
	Items           []event.Item   `json:"items"`
	Total           event.Money    `json:"total"`
	PaymentMethod   string         `json:"paymentMethod"`
	ShippingAddress *event.Address `json:"shippingAddress,omitempty"`
	Contact         *event.Contact `json:"contact,omitempty"`
}

// StockReserved is inventory's InventoryReserved.
type StockReserved struct{}

// StockRejected is inventory's InventoryRejected.
type StockRejected struct {
	Short []event.Shortage `json:"short"`
}

// StockReleased is inventory's InventoryReleased.
type StockReleased struct {
	Cause event.ReleaseCause `json:"cause"`
}

// PaymentPending is payment's event of that name.
type PaymentPending struct {
	ProviderRef string `json:"providerRef"`
}

// PaymentSucceeded is payment's event of that name.
type PaymentSucceeded struct {
	ProviderRef string `json:"providerRef"`
}

// PaymentFailed is payment's event of that name.
type PaymentFailed struct {
	Reason        event.FailureReason `json:"reason"`
	Message       string              `json:"message"`
	RefundFollows bool                `json:"refundFollows"`
}

// PaymentRefunded is payment's event of that name.
type PaymentRefunded struct {
	ProviderRef  string `json:"providerRef"`
	AfterSuccess bool   `json:"afterSuccess"`
}

// PaymentRefundFailed is payment's event of that name.
type PaymentRefundFailed struct {
	Message string `json:"message"`
}

// ParcelMoved is shipping's ShippingStatus.
type ParcelMoved struct {
	Status         event.ParcelStatus `json:"status"`
	Carrier        string             `json:"carrier,omitempty"`
	TrackingNumber string             `json:"trackingNumber,omitempty"`
}

// StatusChanged is the order entering a status after PENDING.
type StatusChanged struct {
	Status   event.OrderStatus  `json:"status"`
	Previous event.OrderStatus  `json:"previous"`
	Reason   event.CancelReason `json:"reason,omitempty"`
}

// factTypes are the names the history knows the facts by. They are stored: a
// type may be renamed in Go, its name here may not.
var factTypes = map[string]reflect.Type{
	"Placed":              reflect.TypeFor[Placed](),
	"StockReserved":       reflect.TypeFor[StockReserved](),
	"StockRejected":       reflect.TypeFor[StockRejected](),
	"StockReleased":       reflect.TypeFor[StockReleased](),
	"PaymentPending":      reflect.TypeFor[PaymentPending](),
	"PaymentSucceeded":    reflect.TypeFor[PaymentSucceeded](),
	"PaymentFailed":       reflect.TypeFor[PaymentFailed](),
	"PaymentRefunded":     reflect.TypeFor[PaymentRefunded](),
	"PaymentRefundFailed": reflect.TypeFor[PaymentRefundFailed](),
	"ParcelMoved":         reflect.TypeFor[ParcelMoved](),
	"StatusChanged":       reflect.TypeFor[StatusChanged](),
}

var factNames = func() map[reflect.Type]string {
	names := make(map[reflect.Type]string, len(factTypes))
	for name, typ := range factTypes {
		names[typ] = name
	}
	return names
}()

// EncodeFact returns the name the history keeps the fact under, and its JSON.
func EncodeFact(fact Fact) (name string, data []byte, err error) {
	name, known := factNames[reflect.TypeOf(fact)]
	if !known {
		return "", nil, fmt.Errorf("encode fact: %T has no name in the history", fact)
	}
	data, err = json.Marshal(fact)
	if err != nil {
		return "", nil, fmt.Errorf("encode fact %s: %w", name, err)
	}
	return name, data, nil
}

// DecodeFact is the inverse of EncodeFact. A name it does not know is an error: a
// history must not be replayed with a part left out.
func DecodeFact(name string, data []byte) (Fact, error) {
	typ, known := factTypes[name]
	if !known {
		return nil, fmt.Errorf("decode fact: unknown type %q", name)
	}
	value := reflect.New(typ)
	if err := json.Unmarshal(data, value.Interface()); err != nil {
		return nil, fmt.Errorf("decode fact %s: %w", name, err)
	}
	return value.Elem().Interface().(Fact), nil
}

// Replay rebuilds an order from its history.
func Replay(id event.OrderID, history []Fact) Order {
	o := Order{ID: id}
	for _, fact := range history {
		o.Apply(fact)
	}
	return o
}

// Apply changes the order by one fact. It decides nothing, and refuses nothing:
// what is in the history has happened.
func (o *Order) Apply(fact Fact) { fact.apply(o) }

func (f Placed) isNew(o *Order) bool              { return o.Status == "" }
func (f StockReserved) isNew(o *Order) bool       { return !o.Stock.Reserved && !o.Stock.Rejected }
func (f StockRejected) isNew(o *Order) bool       { return !o.Stock.Reserved && !o.Stock.Rejected }
func (f StockReleased) isNew(o *Order) bool       { return !o.Stock.Released }
func (f PaymentPending) isNew(o *Order) bool      { return !o.Payment.Pending }
func (f PaymentSucceeded) isNew(o *Order) bool    { return !o.Payment.Succeeded }
func (f PaymentFailed) isNew(o *Order) bool       { return o.Payment.Failed == "" }
func (f PaymentRefunded) isNew(o *Order) bool     { return !o.Payment.Refunded }
func (f PaymentRefundFailed) isNew(o *Order) bool { return !o.Payment.RefundFailed }
func (f StatusChanged) isNew(o *Order) bool       { return f.Status != o.Status }

// A parcel whose way has ended goes no further, so a later SHIPPED is not one
// to catch up with.
func (f ParcelMoved) isNew(o *Order) bool {
	travels := f.Status == event.ParcelPreparing || f.Status == event.ParcelShipped || f.Status == event.ParcelDelivered
	ended := o.parcelWas(event.ParcelStopped, event.ParcelReturned, event.ParcelRefused, event.ParcelLost)
	return !o.parcelWas(f.Status) && !(travels && ended)
}

func (f Placed) apply(o *Order) {
	o.Status = event.OrderPending
	o.CustomerID, o.PaymentMethod = f.CustomerID, f.PaymentMethod
	o.Items, o.Total = f.Items, f.Total
	o.ShippingAddress, o.Contact = f.ShippingAddress, f.Contact
}

func (f StockReserved) apply(o *Order)    { o.Stock.Reserved = true }
func (f StockRejected) apply(o *Order)    { o.Stock.Rejected = true }
func (f StockReleased) apply(o *Order)    { o.Stock.Released = true }
func (f PaymentPending) apply(o *Order)   { o.Payment.Pending = true }
func (f PaymentSucceeded) apply(o *Order) { o.Payment.Succeeded = true }

func (f PaymentFailed) apply(o *Order) {
	o.Payment.Failed, o.Payment.RefundFollows = f.Reason, f.RefundFollows
}

func (f PaymentRefunded) apply(o *Order)     { o.Payment.Refunded = true }
func (f PaymentRefundFailed) apply(o *Order) { o.Payment.RefundFailed = true }

// The list is clipped because copies of an order share its array.
func (f ParcelMoved) apply(o *Order) { o.Parcel = append(slices.Clip(o.Parcel), f.Status) }

func (f StatusChanged) apply(o *Order) { o.Status, o.Reason = f.Status, f.Reason }
