// Package shippinghttp is the shipping service's routes: what a shop can ask about
// a parcel, what a carrier reports about it, and the operator's way out.
package shippinghttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/handlers/shipping"
	"millrace/httpapi"
)

// Commands are what can be asked of the shipping service; *shipping.Service takes them.
type Commands interface {
	Callback(ctx context.Context, id event.OrderID, r shipping.Report) error
	Resolve(ctx context.Context, id event.OrderID, as shipping.Resolution, note string) error
}

// Reads answer from committed rows; *shippingpg.Reader does. Where there is nothing to
// show the error is event.ErrUnknownOrder.
type Reads interface {
	Shipment(ctx context.Context, id event.OrderID) (shipping.Shipment, error)
}

type routes struct {
	commands Commands
	reads    Reads
}

// Register adds the routes to api. Callbacks must be signed with secret; an empty one
// refuses them all.
func Register(api huma.API, commands Commands, reads Reads, secret []byte) {
	r := &routes{commands, reads}
	tags := []string{"shipping"}
	huma.Register(api, huma.Operation{
		OperationID: "get-shipment", Method: http.MethodGet, Path: "/shipments/{orderId}",
		Summary: "Show an order's parcel", Tags: tags, Errors: []int{http.StatusNotFound},
		Security: httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator),
	}, r.shipment)
	huma.Register(api, huma.Operation{
		OperationID: "report-shipment", Method: http.MethodPost, Path: "/shipments/{orderId}/status",
		Summary: "Take a carrier's report", Tags: tags,
		Description: "For carriers. Signed with X-Signature; older than 5 minutes or wrong: 401. A report that is out of date is taken and ignored.",
		Security:    httpapi.Public(), Middlewares: huma.Middlewares{httpapi.Signed(api, secret)},
		Parameters: []*huma.Param{httpapi.SignatureParameter()},
		Errors:     []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity},
	}, r.report)
	huma.Register(api, huma.Operation{
		OperationID: "resolve-shipment", Method: http.MethodPost, Path: "/shipments/{orderId}/resolve",
		Summary: "Settle a parcel that could not be called back", Tags: tags,
		Description: "Only from RECALL_FAILED. The order ends CANCELLED.",
		Security:    httpapi.Scope(httpapi.ScopeOperator),
		Errors:      []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, r.resolve)
}

type answer[T any] struct{ Body T }

// Shipment answers GET /shipments/{orderId}.
type Shipment struct {
	OrderID        event.OrderID      `json:"orderId" format:"uuid"`
	Status         event.ParcelStatus `json:"status"`
	Carrier        string             `json:"carrier" doc:"Empty until the carrier has taken the booking, and for orders collected in the shop."`
	TrackingNumber string             `json:"trackingNumber"`
	History        []Entry            `json:"history"`
}

// Entry is one status the parcel entered.
type Entry struct {
	Status event.ParcelStatus `json:"status"`
	At     time.Time          `json:"at"`
	Note   string             `json:"note,omitempty" doc:"The operator's."`
}

func (r *routes) shipment(ctx context.Context, in *struct {
	OrderID string `path:"orderId" doc:"The order's id, a UUID in lower case."`
}) (*answer[Shipment], error) {
	id, err := event.ParseOrderID(in.OrderID)
	if err != nil {
		return nil, err
	}
	return r.show(ctx, id)
}

func (r *routes) show(ctx context.Context, id event.OrderID) (*answer[Shipment], error) {
	row, err := r.reads.Shipment(ctx, id)
	if err != nil {
		return nil, err
	}
	view := Shipment{
		OrderID: row.ID, Status: row.Status, Carrier: row.Carrier, TrackingNumber: row.TrackingNumber,
		History: make([]Entry, len(row.History)),
	}
	for i, entry := range row.History {
		view.History[i] = Entry(entry)
	}
	return &answer[Shipment]{view}, nil
}

// Report is the body of a carrier's callback. It names the order although the path does:
// only the body is signed.
type Report struct {
	OrderID        string `json:"orderId" format:"uuid" doc:"The same as in the path."`
	EventID        string `json:"eventId" minLength:"1" maxLength:"128" doc:"The carrier's id of this report. The same one twice counts once."`
	Status         string `json:"status" enum:"SHIPPED,DELIVERED,RETURNED,LOST,REFUSED"`
	Carrier        string `json:"carrier,omitempty" maxLength:"128"`
	TrackingNumber string `json:"trackingNumber,omitempty" maxLength:"128"`
}

// Taken answers a carrier's callback.
type Taken struct {
	OrderID event.OrderID      `json:"orderId" format:"uuid"`
	Status  event.ParcelStatus `json:"status" doc:"Where the parcel stands now."`
	Applied bool               `json:"applied" doc:"False: the report was out of date or impossible, and is ignored."`
	Detail  string             `json:"detail,omitempty" doc:"Why it is ignored."`
}

type reportInput struct {
	OrderID   string `path:"orderId"`
	Signature string `header:"X-Signature" doc:"t=<unix seconds>,v1=<hex of HMAC-SHA256 over the time, a dot and the body>"`
	Body      Report
}

// callbacks is the UUID namespace in which a carrier's report becomes a command's id.
var callbacks = uuid.MustParse("b0c8c1f6-9a56-4a0e-8f0a-3f3f5d1f5c02")

func (r *routes) report(ctx context.Context, in *reportInput) (*answer[Taken], error) {
	id, err := event.ParseOrderID(in.OrderID)
	if err != nil {
		return nil, err
	}
	if in.Body.OrderID != in.OrderID {
		return nil, huma.Error422UnprocessableEntity("The report is not valid.",
			&huma.ErrorDetail{Location: "body.orderId", Message: "must be the order of the path"})
	}
	report := shipping.Report{
		State: shipping.State(in.Body.Status), Carrier: in.Body.Carrier, TrackingNumber: in.Body.TrackingNumber,
	}
	err = r.commands.Callback(command(ctx, uuid.NewSHA1(callbacks, []byte(in.Body.EventID)).String()), id, report)
	var stale *shipping.StaleReport
	if errors.As(err, &stale) {
		// 200 all the same: a carrier sends again whatever it is refused.
		return &answer[Taken]{Taken{OrderID: id, Status: stale.Status, Detail: stale.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	row, err := r.reads.Shipment(ctx, id)
	if err != nil {
		return nil, err
	}
	return &answer[Taken]{Taken{OrderID: id, Status: row.Status, Applied: true}}, nil
}

// Resolution is the body of POST /shipments/{orderId}/resolve.
type Resolution struct {
	Action string `json:"action" enum:"returned,written-off" doc:"returned: it came back, its pieces can be sold again. written-off: it is gone."`
	Note   string `json:"note" minLength:"1" maxLength:"2000" doc:"What was found out. Kept in the history."`
}

type resolveInput struct {
	OrderID        string `path:"orderId"`
	IdempotencyKey string `header:"Idempotency-Key" doc:"The same key for the same order counts once. Keys belong to the caller."`
	Body           Resolution
}

// resolutions is the UUID namespace in which an operator's key becomes a command's id.
var resolutions = uuid.MustParse("4a8a2d0e-31c1-4a55-8d1b-c39e9d3f7a6d")

func (r *routes) resolve(ctx context.Context, in *resolveInput) (*answer[Shipment], error) {
	id, err := event.ParseOrderID(in.OrderID)
	if err != nil {
		return nil, err
	}
	commandID := event.CauseFrom(ctx).ID
	if in.IdempotencyKey != "" {
		commandID = uuid.NewSHA1(resolutions, []byte(httpapi.Caller(ctx)+"\n"+in.IdempotencyKey)).String()
	}
	err = r.commands.Resolve(command(ctx, commandID), id, shipping.Resolution(in.Body.Action), in.Body.Note)
	switch {
	case errors.Is(err, shipping.ErrNothingToResolve):
		return nil, huma.Error409Conflict(err.Error())
	case err != nil:
		return nil, err
	}
	slog.InfoContext(ctx, "shipment resolved", "order_id", id, "action", in.Body.Action, "caller", httpapi.Caller(ctx))
	return r.show(ctx, id)
}

// command is the cause of a change to a shipment that exists: it has an id of its own,
// and the correlation id of the order, which the store fills in.
func command(ctx context.Context, id string) context.Context {
	cause := event.CauseFrom(ctx)
	cause.ID, cause.CorrelationID = id, ""
	return event.WithCause(ctx, cause)
}
