// Package inventoryhttp is the inventory service's routes.
package inventoryhttp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"millrace/event"
	"millrace/handlers/inventory"
	"millrace/httpapi"
)

// Commands are what can be asked of the inventory service; *inventory.Service takes them.
type Commands interface {
	Restock(ctx context.Context, sku, name string, add int64) error
}

// Reads answer from committed rows; *inventorypg.Reader does.
type Reads interface {
	Level(ctx context.Context, sku string) (inventory.Level, bool, error)
	Levels(ctx context.Context, after string, limit int) ([]inventory.Level, error)
	// Reservation's error is event.ErrUnknownOrder where there is none to show.
	Reservation(ctx context.Context, id event.OrderID) (inventory.Reservation, error)
}

type routes struct {
	commands Commands
	reads    Reads
}

// Register adds the routes to api.
func Register(api huma.API, commands Commands, reads Reads) {
	r := &routes{commands, reads}
	anyone, tags := httpapi.Scope(httpapi.ScopeShop, httpapi.ScopeOperator), []string{"inventory"}
	huma.Register(api, huma.Operation{
		OperationID: "list-inventory", Method: http.MethodGet, Path: "/inventory",
		Summary: "List the stock, by SKU", Security: anyone, Tags: tags,
		Errors: []int{http.StatusUnprocessableEntity},
	}, r.list)
	huma.Register(api, huma.Operation{
		OperationID: "get-inventory", Method: http.MethodGet, Path: "/inventory/{sku}",
		Summary: "Show the stock of one SKU", Security: anyone, Tags: tags, Errors: []int{http.StatusNotFound},
	}, r.level)
	huma.Register(api, huma.Operation{
		OperationID: "restock", Method: http.MethodPut, Path: "/inventory/{sku}",
		Summary: "Create or restock a SKU", Security: anyone, Tags: tags,
		Description: "Adds pieces, or takes available ones away. A SKU that does not exist is created.",
		Errors:      []int{http.StatusConflict, http.StatusUnprocessableEntity},
	}, r.restock)
	huma.Register(api, huma.Operation{
		OperationID: "get-reservation", Method: http.MethodGet, Path: "/reservations/{orderId}",
		Summary: "Show what is held for an order", Security: anyone, Tags: tags, Errors: []int{http.StatusNotFound},
	}, r.reservation)
}

type answer[T any] struct{ Body T }

// List is a page of the stock.
type List struct {
	Inventory  []inventory.Level `json:"inventory"`
	NextCursor string            `json:"nextCursor,omitempty" doc:"Ask for the next page with it. Left out on the last one."`
}

type listInput struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"128" doc:"The nextCursor of the page before."`
}

func (r *routes) list(ctx context.Context, in *listInput) (*answer[List], error) {
	after, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil || (in.Cursor != "" && inventory.CheckSKU(string(after)) != nil) {
		return nil, huma.Error422UnprocessableEntity("The cursor is not valid.",
			&huma.ErrorDetail{Location: "query.cursor", Message: "must be the nextCursor of a page before"})
	}
	levels, err := r.reads.Levels(ctx, string(after), in.Limit+1) // one more tells whether there is more
	if err != nil {
		return nil, err
	}
	list := List{Inventory: append([]inventory.Level{}, levels[:min(len(levels), in.Limit)]...)} // [] where there are none
	if len(levels) > in.Limit {
		list.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(levels[in.Limit-1].SKU))
	}
	return &answer[List]{list}, nil
}

func (r *routes) level(ctx context.Context, in *struct {
	SKU string `path:"sku"`
}) (*answer[inventory.Level], error) {
	level, known, err := r.reads.Level(ctx, in.SKU)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, huma.Error404NotFound("There is no such SKU.")
	}
	return &answer[inventory.Level]{level}, nil
}

// Restock is the body of PUT /inventory/{sku}.
type Restock struct {
	Name string `json:"name,omitempty" maxLength:"200" example:"Mug, red" doc:"Left out: the name stays as it is."`
	Add  int64  `json:"add" minimum:"-9007199254740991" maximum:"9007199254740991" example:"100" doc:"Pieces to add; negative to take available ones away."`
}

type restockInput struct {
	SKU            string `path:"sku" doc:"1 to 64 printable ASCII characters, no spaces." example:"MUG-RED"`
	IdempotencyKey string `header:"Idempotency-Key" doc:"The same key and body for the same SKU count once, for ever. Keys belong to the caller."`
	Body           Restock
}

// idempotencyKeys is the UUID namespace in which a keyed restock becomes its id.
var idempotencyKeys = uuid.MustParse("2f6f1c53-6f0b-4bb4-9f3e-0d0d3b1c7a11")

func (r *routes) restock(ctx context.Context, in *restockInput) (*answer[inventory.Level], error) {
	if in.IdempotencyKey != "" {
		// The body is part of the id, because the ledger keeps what a restock led to, not what
		// was asked: another body under the same key is another restock, never lost.
		cause := event.CauseFrom(ctx)
		cause.ID = uuid.NewSHA1(idempotencyKeys, fmt.Appendf(nil, "%q %q %q %q %d",
			httpapi.Caller(ctx), in.IdempotencyKey, in.SKU, in.Body.Name, in.Body.Add)).String()
		ctx = event.WithCause(ctx, cause)
	}
	if err := r.commands.Restock(ctx, in.SKU, in.Body.Name, in.Body.Add); err != nil {
		return nil, problem(err)
	}
	level, known, err := r.reads.Level(ctx, in.SKU)
	if err == nil && !known {
		err = fmt.Errorf("SKU %s was restocked, and cannot be read", in.SKU)
	}
	if err != nil {
		return nil, err
	}
	return &answer[inventory.Level]{level}, nil
}

// problem gives the domain's refusals their status; everything else goes on as it is.
func problem(err error) error {
	at := func(location string) error { return &huma.ErrorDetail{Location: location, Message: err.Error()} }
	switch {
	case errors.Is(err, inventory.ErrNotAvailable):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, inventory.ErrTooMany):
		return huma.Error422UnprocessableEntity("The restock is not valid.", at("body.add"))
	case errors.Is(err, inventory.ErrBadName):
		return huma.Error422UnprocessableEntity("The restock is not valid.", at("body.name"))
	case errors.Is(err, inventory.ErrBadSKU):
		return huma.Error422UnprocessableEntity("The restock is not valid.", at("path.sku"))
	}
	return err
}

// Reservation answers GET /reservations/{orderId}.
type Reservation struct {
	OrderID event.OrderID    `json:"orderId" format:"uuid"`
	Status  inventory.Status `json:"status" enum:"RESERVED,REJECTED,SOLD,RELEASED,RETURNED"`
	Items   []event.Item     `json:"items"`
}

func (r *routes) reservation(ctx context.Context, in *struct {
	OrderID string `path:"orderId" doc:"The order's id, a UUID in lower case."`
}) (*answer[Reservation], error) {
	id, err := event.ParseOrderID(in.OrderID)
	if err != nil {
		return nil, err
	}
	row, err := r.reads.Reservation(ctx, id)
	if err != nil {
		return nil, err
	}
	return &answer[Reservation]{Reservation{OrderID: row.ID, Status: row.Status, Items: row.Items}}, nil
}
