// Package notificationhttp is the notification service's route.
package notificationhttp

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"millrace/event"
	"millrace/handlers/notification"
	"millrace/httpapi"
)

// Reads answer from committed rows; *notificationpg.Reader does.
type Reads interface {
	// OfOrder returns the row of an order, or nothing.
	OfOrder(ctx context.Context, id event.OrderID) ([]notification.Order, error)
	// OfCustomer returns the newest orders of a customer, limit at most.
	OfCustomer(ctx context.Context, customerID string, limit int) ([]notification.Order, error)
}

// maxOrders bounds an answer about a customer; an order has thirty notices at most.
const maxOrders = 100

// Register adds the route to api.
func Register(api huma.API, reads Reads) {
	huma.Register(api, huma.Operation{
		OperationID: "list-notifications", Method: http.MethodGet, Path: "/notifications",
		Summary: "List what a customer was, and will be, told",
		Description: "Of one order, or of the latest 100 orders of a customer, the newest order first; " +
			"of each order in the sequence in which the notices go out.",
		Security: httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator),
		Tags:     []string{"notification"},
		Errors:   []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *input) (*output, error) { return list(ctx, reads, in) })
}

type input struct {
	OrderID    string `query:"orderId" maxLength:"36" doc:"Only notices of this order."`
	CustomerID string `query:"customerId" maxLength:"128" doc:"Only notices of this customer's orders."`
}

type output struct{ Body List }

// List is the answer.
type List struct {
	Notifications []Notification `json:"notifications"`
}

// Notification is one notice on one channel.
type Notification struct {
	NotificationID string     `json:"notificationId" format:"uuid"`
	OrderID        string     `json:"orderId" format:"uuid"`
	Kind           string     `json:"kind" example:"shipped"`
	Channel        string     `json:"channel" enum:"email,sms,push"`
	Status         string     `json:"status" enum:"WAITING,SENT,FAILED,SKIPPED" doc:"FAILED: the provider refused it for good. SKIPPED: no address for the channel."`
	SentAt         *time.Time `json:"sentAt" doc:"null unless SENT."`
}

func list(ctx context.Context, reads Reads, in *input) (*output, error) {
	orders, err := find(ctx, reads, in)
	if err != nil {
		return nil, err
	}
	out := &output{Body: List{Notifications: []Notification{}}} // [] where there are none
	for _, o := range orders {
		if in.CustomerID != "" && o.CustomerID != in.CustomerID {
			continue
		}
		for _, n := range o.Notices {
			view := Notification{
				NotificationID: notification.ID(o.ID, n.Kind, n.Channel),
				OrderID:        string(o.ID), Kind: string(n.Kind), Channel: string(n.Channel), Status: string(n.Status),
			}
			if !n.SentAt.IsZero() {
				view.SentAt = &n.SentAt
			}
			out.Body.Notifications = append(out.Body.Notifications, view)
		}
	}
	return out, nil
}

func find(ctx context.Context, reads Reads, in *input) ([]notification.Order, error) {
	if in.OrderID != "" {
		id, err := event.ParseOrderID(in.OrderID)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("The order id is not valid.",
				&huma.ErrorDetail{Location: "query.orderId", Message: err.Error()})
		}
		return reads.OfOrder(ctx, id)
	}
	if in.CustomerID == "" {
		return nil, huma.Error422UnprocessableEntity("Say whose notices: give orderId, customerId or both.",
			&huma.ErrorDetail{Location: "query.orderId", Message: "missing, and so is customerId"})
	}
	return reads.OfCustomer(ctx, in.CustomerID, maxOrders)
}
