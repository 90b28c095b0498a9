package orderhttp

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"millrace/event"
	"millrace/handlers/order"
)

func (r *routes) order(ctx context.Context, in *byID) (*answer[Order], error) {
	view, err := r.view(ctx, in)
	if err != nil {
		return nil, err
	}
	return &answer[Order]{orderOf(view)}, nil
}

func (r *routes) status(ctx context.Context, in *byID) (*answer[Status], error) {
	view, err := r.view(ctx, in)
	if err != nil {
		return nil, err
	}
	return &answer[Status]{Status{OrderID: view.ID, Status: view.Status, Reason: view.Reason, Version: view.Version}}, nil
}

func (r *routes) view(ctx context.Context, in *byID) (order.View, error) {
	id, err := event.ParseOrderID(in.ID)
	if err != nil {
		return order.View{}, err
	}
	return r.reads.Order(ctx, id)
}

func (r *routes) events(ctx context.Context, in *byID) (*answer[[]Event], error) {
	id, err := event.ParseOrderID(in.ID)
	if err != nil {
		return nil, err
	}
	history, err := r.reads.History(ctx, id)
	if err != nil {
		return nil, err
	}
	events := make([]Event, len(history))
	for i, e := range history {
		events[i] = Event(e)
	}
	return &answer[[]Event]{events}, nil
}

// listInput has few fields and a bounded page, so that a list costs little whatever is asked.
type listInput struct {
	CustomerID string `query:"customerId" maxLength:"128"`
	Status     string `query:"status" enum:"PENDING,AWAITING_PAYMENT,PAYMENT_PENDING,PAYMENT_FAILED,PAID,SHIPPED,DELIVERED,CANCELLING,CANCELLED,NEEDS_ATTENTION"`
	Limit      int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor     string `query:"cursor" maxLength:"128" doc:"The nextCursor of the page before."`
}

func (r *routes) list(ctx context.Context, in *listInput) (*answer[List], error) {
	page, err := r.reads.List(ctx, order.Filter{
		CustomerID: in.CustomerID, Status: event.OrderStatus(in.Status), Limit: in.Limit, Cursor: in.Cursor,
	})
	if errors.Is(err, order.ErrBadCursor) {
		return nil, huma.Error422UnprocessableEntity("The cursor is not valid.",
			&huma.ErrorDetail{Location: "query.cursor", Message: "must be the nextCursor of a page before"})
	}
	if err != nil {
		return nil, err
	}
	list := List{Orders: make([]Order, len(page.Orders)), NextCursor: page.NextCursor}
	for i, view := range page.Orders {
		list.Orders[i] = orderOf(view)
	}
	return &answer[List]{list}, nil
}
