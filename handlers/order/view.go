package order

import (
	"encoding/json"
	"errors"
	"time"

	"millrace/event"
)

// View is an order as it is shown to the outside.
type View struct {
	Order
	// Version counts the facts in the order's history.
	Version       int64
	CorrelationID string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// HistoryEntry is a fact of an order's history, as it is shown to the outside.
type HistoryEntry struct {
	Version       int64
	EventID       string
	Type          string
	OccurredAt    time.Time
	CorrelationID string
	// CausationID is the event, or the request, that made it happen.
	CausationID string
	Data        json.RawMessage
}

// Filter chooses orders for a list, the newest first. Empty fields choose all.
type Filter struct {
	CustomerID string
	Status     event.OrderStatus
	// Limit is how many orders a page has at most.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

// Page is a part of a list.
type Page struct {
	Orders []View
	// NextCursor is empty on the last page.
	NextCursor string
}

// ErrBadCursor refuses a cursor that no page ended with.
var ErrBadCursor = errors.New("this cursor is not one that a list answered with")
