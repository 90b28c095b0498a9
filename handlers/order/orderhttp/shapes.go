package orderhttp

import (
	"encoding/json"
	"time"

	"millrace/event"
	"millrace/handlers/order"
)

// NewOrder is the body of POST /orders. What the tags say of it is for OpenAPI and for
// early answers; the domain checks all of it again, and more.
type NewOrder struct {
	CustomerID      string   `json:"customerId" minLength:"1" maxLength:"128" example:"c-42"`
	Currency        string   `json:"currency" pattern:"^[A-Z]{3}$" patternDescription:"an ISO 4217 code" example:"EUR"`
	PaymentMethod   string   `json:"paymentMethod" minLength:"1" maxLength:"128" example:"pm_accepted"`
	Items           []Line   `json:"items" minItems:"1" maxItems:"100" doc:"At most one line for a SKU."`
	ShippingAddress *Address `json:"shippingAddress,omitempty" doc:"Left out: collected in the shop."`
	Contact         *Contact `json:"contact,omitempty" doc:"Channels left out are not used."`
}

// Line is one line of an order.
type Line struct {
	SKU       string `json:"sku" minLength:"1" maxLength:"64" example:"MUG-RED"`
	Quantity  int64  `json:"quantity" minimum:"1" maximum:"1000000" example:"2"`
	UnitPrice int64  `json:"unitPrice" minimum:"0" example:"1250" doc:"In minor units, such as cents."`
}

// Address is where a parcel goes.
type Address struct {
	Name       string `json:"name" minLength:"1" maxLength:"200" example:"Ada Byron"`
	Street     string `json:"street" minLength:"1" maxLength:"200" example:"1 Mill Lane"`
	City       string `json:"city" minLength:"1" maxLength:"200" example:"Bath"`
	PostalCode string `json:"postalCode,omitempty" maxLength:"200" example:"BA1 1AA"`
	Country    string `json:"country" pattern:"^[A-Z]{2}$" patternDescription:"an ISO 3166-1 alpha-2 code" example:"GB"`
}

// Contact is how the customer can be told something.
type Contact struct {
	Email       string `json:"email,omitempty" maxLength:"200" example:"ada@example.com"`
	Phone       string `json:"phone,omitempty" maxLength:"16" example:"+441225000000" doc:"As in E.164."`
	DeviceToken string `json:"deviceToken,omitempty" maxLength:"200" example:"d-1"`
}

func (n NewOrder) command() order.PlaceOrder {
	c := order.PlaceOrder{
		CustomerID: n.CustomerID, Currency: n.Currency, PaymentMethod: n.PaymentMethod,
		ShippingAddress: (*event.Address)(n.ShippingAddress), Contact: (*event.Contact)(n.Contact),
	}
	for _, line := range n.Items {
		c.Items = append(c.Items, event.Item(line))
	}
	return c
}

// Accepted answers POST /orders.
type Accepted struct {
	OrderID       event.OrderID     `json:"orderId" format:"uuid"`
	Status        event.OrderStatus `json:"status"`
	CorrelationID string            `json:"correlationId" doc:"On every event and log line of the order."`
}

// Status is where an order stands. Reason is left out unless the order is on its way to
// CANCELLED, or there.
type Status struct {
	OrderID event.OrderID      `json:"orderId" format:"uuid"`
	Status  event.OrderStatus  `json:"status"`
	Reason  event.CancelReason `json:"reason,omitempty"`
	Version int64              `json:"version" doc:"Counts the entries of the order's history."`
}

// Cancellation answers POST /orders/{id}/cancel.
type Cancellation struct {
	OrderID event.OrderID      `json:"orderId" format:"uuid"`
	Status  event.OrderStatus  `json:"status"`
	Reason  event.CancelReason `json:"reason"`
}

// Order answers GET /orders/{id}.
type Order struct {
	OrderID       event.OrderID      `json:"orderId" format:"uuid"`
	CustomerID    string             `json:"customerId"`
	Status        event.OrderStatus  `json:"status"`
	Reason        event.CancelReason `json:"reason,omitempty"`
	Items         []event.Item       `json:"items"`
	Total         event.Money        `json:"total"`
	PaymentMethod string             `json:"paymentMethod"`
	Version       int64              `json:"version" doc:"Counts the entries of the order's history."`
	CorrelationID string             `json:"correlationId"`
	CreatedAt     time.Time          `json:"createdAt"`
	UpdatedAt     time.Time          `json:"updatedAt"`
}

func orderOf(v order.View) Order {
	return Order{
		OrderID: v.ID, CustomerID: v.CustomerID, Status: v.Status, Reason: v.Reason, Items: v.Items, Total: v.Total,
		PaymentMethod: v.PaymentMethod, Version: v.Version, CorrelationID: v.CorrelationID,
		CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt,
	}
}

// Event is an entry of an order's history.
type Event struct {
	Version       int64           `json:"version"`
	EventID       string          `json:"eventId" format:"uuid"`
	Type          string          `json:"type" doc:"What happened: Placed, StockReserved, StatusChanged …"`
	OccurredAt    time.Time       `json:"occurredAt"`
	CorrelationID string          `json:"correlationId"`
	CausationID   string          `json:"causationId" doc:"The event, or the request, that made it happen."`
	Data          json.RawMessage `json:"data"`
}

// List answers GET /orders.
type List struct {
	Orders     []Order `json:"orders"`
	NextCursor string  `json:"nextCursor,omitempty" doc:"Ask for the next page with it. Left out on the last one."`
}
