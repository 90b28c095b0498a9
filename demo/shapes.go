package demo

import (
	"encoding/json"
	"time"

	"millrace/event"
)

// The bodies of the REST interface, as far as the demo needs them.

type orderBody struct {
	CustomerID      string         `json:"customerId"`
	Currency        string         `json:"currency"`
	PaymentMethod   string         `json:"paymentMethod"`
	Items           []event.Item   `json:"items"`
	ShippingAddress *event.Address `json:"shippingAddress,omitempty"`
	Contact         *event.Contact `json:"contact,omitempty"`
}

type acceptedBody struct {
	OrderID       event.OrderID `json:"orderId"`
	CorrelationID string        `json:"correlationId"`
}

// statusBody is a part of what GET /orders/{id} answers, too.
type statusBody struct {
	OrderID event.OrderID      `json:"orderId"`
	Status  event.OrderStatus  `json:"status"`
	Reason  event.CancelReason `json:"reason"`
	Version int64              `json:"version"`
}

type ordersBody struct {
	Orders     []statusBody `json:"orders"`
	NextCursor string       `json:"nextCursor"`
}

type historyEntry struct {
	Version       int64           `json:"version"`
	EventID       string          `json:"eventId"`
	Type          string          `json:"type"`
	OccurredAt    time.Time       `json:"occurredAt"`
	CorrelationID string          `json:"correlationId"`
	CausationID   string          `json:"causationId"`
	Data          json.RawMessage `json:"data"`
}

type levelBody struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Initial   int64  `json:"initial"`
	Restocked int64  `json:"restocked"`
	Available int64  `json:"available"`
	Reserved  int64  `json:"reserved"`
	Sold      int64  `json:"sold"`
}

type inventoryBody struct {
	Inventory []levelBody `json:"inventory"`
}

type restockBody struct {
	Name string `json:"name"`
	Add  int64  `json:"add"`
}

type resolveBody struct {
	Action string `json:"action"`
	Note   string `json:"note"`
}

type paymentBody struct {
	Status      string `json:"status"`
	Amount      int64  `json:"amount"`
	Currency    string `json:"currency"`
	Attempts    int    `json:"attempts"`
	ProviderRef string `json:"providerRef"`
	Refund      *struct {
		ProviderRef string `json:"providerRef"`
	} `json:"refund"`
}

type shipmentBody struct {
	Status         string `json:"status"`
	Carrier        string `json:"carrier"`
	TrackingNumber string `json:"trackingNumber"`
	History        []struct {
		Status string    `json:"status"`
		At     time.Time `json:"at"`
		Note   string    `json:"note"`
	} `json:"history"`
}

type reservationBody struct {
	Status string       `json:"status"`
	Items  []event.Item `json:"items"`
}

type notificationsBody struct {
	Notifications []struct {
		NotificationID string    `json:"notificationId"`
		Kind           string    `json:"kind"`
		Channel        string    `json:"channel"`
		Status         string    `json:"status"`
		SentAt         time.Time `json:"sentAt"`
	} `json:"notifications"`
}
