// Package orderhttp is the order service's routes.
package orderhttp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/httpapi"
)

// Commands are what a shop can tell the order service; *order.Service takes them.
type Commands interface {
	Place(ctx context.Context, id event.OrderID, command order.PlaceOrder) (created bool, err error)
	Cancel(ctx context.Context, id event.OrderID) (order.Order, error)
}

// Reads are what a shop can ask; *orderpg.Reads answers. On an order nobody placed
// they return an error that is event.ErrUnknownOrder.
type Reads interface {
	Order(ctx context.Context, id event.OrderID) (order.View, error)
	History(ctx context.Context, id event.OrderID) ([]order.HistoryEntry, error)
	List(ctx context.Context, f order.Filter) (order.Page, error)
}

// retryWhenFull is how long a shop is told to wait when no more orders are taken: the
// relay empties thousands of events a second once the broker is back.
const retryWhenFull = 5 * time.Second

type routes struct {
	commands Commands
	reads    Reads
	full     func() bool
}

// Register adds the routes to api. While full says so, no order is taken: its
// events would pile up in the outbox.
func Register(api huma.API, commands Commands, reads Reads, full func() bool) {
	r := &routes{commands, reads, full}
	shop, anyone := httpapi.Scope(httpapi.ScopeShop), httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator)
	tags := []string{"order"}
	huma.Register(api, huma.Operation{
		OperationID: "place-order", Method: http.MethodPost, Path: "/orders", DefaultStatus: http.StatusAccepted,
		Summary: "Place an order", Security: shop, Tags: tags,
		Errors: []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, r.place)
	huma.Register(api, huma.Operation{
		OperationID: "list-orders", Method: http.MethodGet, Path: "/orders",
		Summary: "List orders, the newest first", Security: anyone, Tags: tags,
		Errors: []int{http.StatusUnprocessableEntity},
	}, r.list)
	huma.Register(api, huma.Operation{
		OperationID: "get-order", Method: http.MethodGet, Path: "/orders/{id}",
		Summary: "Show an order", Security: anyone, Tags: tags, Errors: []int{http.StatusNotFound},
	}, r.order)
	huma.Register(api, huma.Operation{
		OperationID: "get-order-status", Method: http.MethodGet, Path: "/orders/{id}/status",
		Summary: "Show where an order stands", Security: anyone, Tags: tags, Errors: []int{http.StatusNotFound},
	}, r.status)
	huma.Register(api, huma.Operation{
		OperationID: "get-order-events", Method: http.MethodGet, Path: "/orders/{id}/events",
		Summary: "Show an order's history", Security: anyone, Tags: tags, Errors: []int{http.StatusNotFound},
	}, r.events)
	huma.Register(api, huma.Operation{
		OperationID: "cancel-order", Method: http.MethodPost, Path: "/orders/{id}/cancel", DefaultStatus: http.StatusAccepted,
		Summary: "Cancel an order", Security: anyone, Tags: tags,
		Description: "Stock and money go back; a parcel is stopped or called back. Too late once it has left: 409.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict},
	}, r.cancel)
}

// byID is the path parameter of all routes on one order.
type byID struct {
	ID string `path:"id" doc:"The order's id, a UUID in lower case."`
}

type answer[T any] struct{ Body T }

type placeInput struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"The same key and body answer the same order; the same key with another body is refused. Keys belong to the caller."`
	Body           NewOrder
}

type placeOutput struct {
	Location string `header:"Location"`
	Body     Accepted
}

func (r *routes) place(ctx context.Context, in *placeInput) (*placeOutput, error) {
	if r.full() {
		return nil, httpapi.Unavailable("No orders are taken at the moment: too many events wait to be sent.", retryWhenFull)
	}
	id := orderID(httpapi.Caller(ctx), in.IdempotencyKey)
	// The order's id is the request's id too, so that a repeated request is known as such.
	cause := event.CauseFrom(ctx)
	cause.ID = string(id)
	created, err := r.commands.Place(event.WithCause(ctx, cause), id, in.Body.command())
	if err != nil {
		return nil, problem(err)
	}
	accepted := Accepted{OrderID: id, Status: event.OrderPending, CorrelationID: cause.CorrelationID}
	if !created {
		view, err := r.reads.Order(ctx, id)
		if err != nil {
			return nil, err
		}
		accepted.Status, accepted.CorrelationID = view.Status, view.CorrelationID
	}
	return &placeOutput{Location: "/orders/" + string(id), Body: accepted}, nil
}

// idempotencyKeys is the UUID namespace in which a caller's key becomes an order's id.
var idempotencyKeys = uuid.MustParse("7c1d3a5e-0f0e-4c0b-9d44-5a1f3b6e2c90")

// orderID is a new id, or always the same one for a caller's key. The line break keeps
// caller and key apart: a key has none.
func orderID(caller, key string) event.OrderID {
	if key == "" {
		return event.OrderID(uuid.Must(uuid.NewV7()).String()) // crypto/rand does not fail
	}
	return event.OrderID(uuid.NewSHA1(idempotencyKeys, []byte(caller+"\n"+key)).String())
}

func (r *routes) cancel(ctx context.Context, in *byID) (*answer[Cancellation], error) {
	id, err := event.ParseOrderID(in.ID)
	if err != nil {
		return nil, err
	}
	after, err := r.commands.Cancel(ctx, id)
	if err != nil {
		return nil, problem(err)
	}
	return &answer[Cancellation]{Cancellation{OrderID: id, Status: after.Status, Reason: after.Reason}}, nil
}

// problem gives the domain's refusals their status; everything else goes on as it is.
func problem(err error) error {
	var (
		invalid *order.InvalidError
		tooLate *order.TooLateError
	)
	switch {
	case errors.As(err, &invalid):
		var fields []error
		for _, f := range invalid.Fields {
			fields = append(fields, &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Message})
		}
		return huma.Error422UnprocessableEntity("The order is not valid.", fields...)
	case errors.Is(err, order.ErrDifferentOrder):
		return huma.Error422UnprocessableEntity("This Idempotency-Key was used for another order.",
			&huma.ErrorDetail{Location: "header." + httpapi.IdempotencyKeyHeader, Message: "belongs to an order with another content"})
	case errors.As(err, &tooLate):
		return huma.Error409Conflict(tooLate.Error())
	}
	return err
}
