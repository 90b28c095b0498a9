// Package paymenthttp is the payment service's routes: a look at a payment, the
// provider's signed callback, and the operator's word on a refused refund.
package paymenthttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/handlers/payment"
	"millrace/httpapi"
)

// Commands are what the outside can tell the payment service; *payment.Service takes them.
type Commands interface {
	Callback(ctx context.Context, c payment.Callback) error
	Resolve(ctx context.Context, id event.OrderID, action payment.RefundAction, note string) error
}

// Reads are what can be asked; *paymentpg.Reads answers. On an order that payment
// was never asked for, the error is event.ErrUnknownOrder.
type Reads interface {
	Payment(ctx context.Context, id event.OrderID) (payment.View, error)
}

type routes struct {
	commands Commands
	reads    Reads
}

// Register adds the routes to api. The secret is the one the provider signs its
// callbacks with; with an empty one every callback is refused.
func Register(api huma.API, commands Commands, reads Reads, secret []byte) {
	r := &routes{commands, reads}
	tags := []string{"payment"}
	huma.Register(api, huma.Operation{
		OperationID: "get-payment", Method: http.MethodGet, Path: "/payments/{orderId}",
		Summary: "Show the payment of an order", Tags: tags,
		Security: httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator),
		Errors:   []int{http.StatusNotFound},
	}, r.payment)
	huma.Register(api, huma.Operation{
		OperationID: "payment-callback", Method: http.MethodPost, Path: "/payments/callback",
		Summary: "Take the provider's word on a charge", Tags: tags,
		Description: "For the payment provider. The same eventId again changes nothing.",
		Security:    httpapi.Public(), Middlewares: huma.Middlewares{httpapi.Signed(api, secret)},
		Parameters: []*huma.Param{httpapi.SignatureParameter()},
		Errors:     []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity},
	}, r.callback)
	huma.Register(api, huma.Operation{
		OperationID: "resolve-refund", Method: http.MethodPost, Path: "/payments/{orderId}/refund", DefaultStatus: http.StatusAccepted,
		Summary: "Resolve a refund that was refused for good", Tags: tags,
		Description: "Try again with a new key, or note that the money went back another way.",
		Security:    httpapi.Scope(httpapi.ScopeOperator),
		Errors:      []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, r.resolve)
}

type answer struct{ Body Payment }

type paymentInput struct {
	OrderID string `path:"orderId" doc:"The order's id, a UUID in lower case."`
}

func (r *routes) payment(ctx context.Context, in *paymentInput) (*answer, error) {
	id, err := event.ParseOrderID(in.OrderID)
	if err != nil {
		return nil, err
	}
	return r.show(ctx, id)
}

func (r *routes) show(ctx context.Context, id event.OrderID) (*answer, error) {
	view, err := r.reads.Payment(ctx, id)
	if err != nil {
		return nil, err
	}
	return &answer{shape(view)}, nil
}

type callbackInput struct{ Body Callback }

// providerEvents is the UUID namespace in which a provider's event becomes the id of a command.
var providerEvents = uuid.MustParse("0d5f4c0a-6c5b-4f3c-8d0e-2f9a7b1c3e64")

func (r *routes) callback(ctx context.Context, in *callbackInput) (*struct{}, error) {
	id, err := event.ParseOrderID(in.Body.OrderID)
	if err != nil {
		return nil, err
	}
	// The same event of the provider is the same command, however often it is sent.
	ctx = commandOn(ctx, uuid.NewSHA1(providerEvents, []byte(string(id)+"\n"+in.Body.EventID)).String())
	return nil, r.commands.Callback(ctx, payment.Callback{
		OrderID: id, Outcome: payment.Outcome(in.Body.Status), ProviderRef: in.Body.ProviderRef,
	})
}

type resolveInput struct {
	OrderID string `path:"orderId" doc:"The order's id, a UUID in lower case."`
	Body    Resolution
}

func (r *routes) resolve(ctx context.Context, in *resolveInput) (*answer, error) {
	id, err := event.ParseOrderID(in.OrderID)
	if err != nil {
		return nil, err
	}
	ctx = commandOn(ctx, event.CauseFrom(ctx).ID)
	err = r.commands.Resolve(ctx, id, payment.RefundAction(in.Body.Action), in.Body.Note)
	if errors.Is(err, payment.ErrNoRefusedRefund) {
		return nil, huma.Error409Conflict("There is no refused refund to resolve.", err)
	}
	if err != nil {
		return nil, err
	}
	return r.show(ctx, id)
}

// commandOn names the cause of a command on an order that is there already. It has
// no correlation id of its own: what follows belongs to the order's story, and the
// store puts the order's id on it.
func commandOn(ctx context.Context, id string) context.Context {
	cause := event.CauseFrom(ctx)
	cause.ID, cause.CorrelationID, cause.Command = id, "", true
	return event.WithCause(ctx, cause)
}
