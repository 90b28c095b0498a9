package orderhttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/handlers/order/orderhttp"
	"millrace/httpapi"
	"millrace/httpapi/auth"
)

// book keeps orders in memory, for the service and for the reads.
type book struct {
	rows      map[event.OrderID]order.View
	processed map[string]bool
	asked     order.Filter
	page      order.Page
}

func (b *book) Update(ctx context.Context, id event.OrderID, change func(*order.Order) ([]event.Event, error)) error {
	cause := event.CauseFrom(ctx)
	if b.processed[cause.ID] {
		return nil
	}
	view, found := b.rows[id]
	if !found {
		view = order.View{Order: order.Order{ID: id}, CorrelationID: cause.CorrelationID, CreatedAt: cause.Time}
	}
	if _, err := change(&view.Order); err != nil {
		return err
	}
	view.Version += int64(len(view.TakeFacts()))
	view.UpdatedAt = cause.Time
	b.rows[id], b.processed[cause.ID] = view, true
	return nil
}

func (b *book) UpdateExisting(ctx context.Context, id event.OrderID, change func(*order.Order) ([]event.Event, error)) error {
	if _, found := b.rows[id]; !found {
		return event.ErrUnknownOrder
	}
	return b.Update(ctx, id, change)
}

func (b *book) Load(_ context.Context, id event.OrderID) (order.Order, bool, error) {
	view, found := b.rows[id]
	return view.Order, found, nil
}

func (b *book) Order(_ context.Context, id event.OrderID) (order.View, error) {
	view, found := b.rows[id]
	if !found || view.Status == "" {
		return view, fmt.Errorf("read order %s: %w", id, event.ErrUnknownOrder)
	}
	return view, nil
}

func (b *book) History(_ context.Context, id event.OrderID) ([]order.HistoryEntry, error) {
	if _, found := b.rows[id]; !found {
		return nil, event.ErrUnknownOrder
	}
	return []order.HistoryEntry{{
		Version: 1, EventID: "0199c0de-0000-7000-8000-00000000000a", Type: "StockReserved", OccurredAt: time.Unix(1, 0).UTC(),
		CorrelationID: "c-1", CausationID: "0199c0de-0000-7000-8000-00000000000b", Data: json.RawMessage(`{"a":1}`),
	}}, nil
}

func (b *book) List(_ context.Context, f order.Filter) (order.Page, error) {
	b.asked = f
	if f.Cursor == "forged" {
		return order.Page{}, order.ErrBadCursor
	}
	return b.page, nil
}

type shop struct {
	t       *testing.T
	book    *book
	service *order.Service
	handler http.Handler
	full    bool
}

func newShop(t *testing.T, callers auth.Authenticator) *shop {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b := &book{rows: map[event.OrderID]order.View{}, processed: map[string]bool{}}
	s := &shop{t: t, book: b, service: order.New(b, order.Policy{Deadline: time.Minute}, log)}
	api := httpapi.New(httpapi.Config{Logger: log, Auth: callers})
	orderhttp.Register(api.Huma, s.service, b, func() bool { return s.full })
	s.handler = api
	return s
}

// ask sends a request and returns the status, the body read as JSON, and the headers.
func (s *shop) ask(method, path, body string, headers ...string) (int, map[string]any, http.Header) {
	s.t.Helper()
	w := s.raw(method, path, body, headers...)
	var decoded map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &decoded); err != nil {
		s.t.Fatalf("%s %s: %d %s: %v", method, path, w.Code, w.Body, err)
	}
	return w.Code, decoded, w.Header()
}

func (s *shop) raw(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

const mugs = `{ "customerId": "c-42", "currency": "EUR", "paymentMethod": "pm_accepted",
  "items": [ { "sku": "MUG-RED", "quantity": 2, "unitPrice": 1250 } ],
  "shippingAddress": { "name": "Ada Byron", "street": "1 Mill Lane", "city": "Bath", "postalCode": "BA1 1AA", "country": "GB" },
  "contact": { "email": "ada@example.com", "phone": "+441225000000", "deviceToken": "d-1" } }`

func TestPlaceAndShow(t *testing.T) {
	s := newShop(t, nil)
	code, accepted, header := s.ask("POST", "/orders", mugs, "X-Correlation-ID", "corr-1")
	id, _ := accepted["orderId"].(string)
	want := map[string]any{"orderId": id, "status": "PENDING", "correlationId": "corr-1"}
	if diff := cmp.Diff(want, accepted); code != http.StatusAccepted || id == "" || diff != "" {
		t.Fatalf("POST /orders: %d (-want +got)\n%s", code, diff)
	}
	if got := header.Get("Location"); got != "/orders/"+id {
		t.Errorf("Location: %s", got)
	}

	code, shown, _ := s.ask("GET", "/orders/"+id, "")
	for _, at := range []string{"createdAt", "updatedAt"} {
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(shown[at])); err != nil || !strings.HasSuffix(fmt.Sprint(shown[at]), "Z") {
			t.Errorf("%s is %v, want RFC 3339 in UTC", at, shown[at])
		}
		delete(shown, at)
	}
	want = map[string]any{
		"orderId": id, "customerId": "c-42", "status": "PENDING", "paymentMethod": "pm_accepted",
		"items":   []any{map[string]any{"sku": "MUG-RED", "quantity": 2.0, "unitPrice": 1250.0}},
		"total":   map[string]any{"amount": 2500.0, "currency": "EUR"},
		"version": 1.0, "correlationId": "corr-1",
	}
	if diff := cmp.Diff(want, shown); code != http.StatusOK || diff != "" {
		t.Errorf("GET /orders/{id}: %d (-want +got)\n%s", code, diff)
	}
	if o := s.book.rows[event.OrderID(id)]; o.ShippingAddress.City != "Bath" || o.Contact.DeviceToken != "d-1" {
		t.Errorf("address and contact were not kept: %+v %+v", o.ShippingAddress, o.Contact)
	}

	_, status, _ := s.ask("GET", "/orders/"+id+"/status", "")
	if diff := cmp.Diff(map[string]any{"orderId": id, "status": "PENDING", "version": 1.0}, status); diff != "" {
		t.Errorf("status (-want +got)\n%s", diff)
	}
	history := s.raw("GET", "/orders/"+id+"/events", "").Body.String()
	wantHistory := `[{"version":1,"eventId":"0199c0de-0000-7000-8000-00000000000a","type":"StockReserved","occurredAt":"1970-01-01T00:00:01Z","correlationId":"c-1","causationId":"0199c0de-0000-7000-8000-00000000000b","data":{"a":1}}]`
	if strings.TrimSpace(history) != wantHistory {
		t.Errorf("events: %s", history)
	}
}

func TestIdempotencyKey(t *testing.T) {
	s := newShop(t, nil)
	_, first, _ := s.ask("POST", "/orders", mugs, "Idempotency-Key", "k-1", "X-Correlation-ID", "corr-1")
	id := event.OrderID(fmt.Sprint(first["orderId"]))
	reserve := event.WithCause(context.Background(), event.Cause{ID: "e-1"})
	if err := s.service.InventoryReserved(reserve, event.InventoryReserved{OrderID: id}); err != nil {
		t.Fatal(err)
	}
	code, again, _ := s.ask("POST", "/orders", mugs, "Idempotency-Key", "k-1", "X-Correlation-ID", "corr-2")
	want := map[string]any{"orderId": first["orderId"], "status": "AWAITING_PAYMENT", "correlationId": "corr-1"}
	if diff := cmp.Diff(want, again); code != http.StatusAccepted || diff != "" {
		t.Errorf("the same again: %d (-want +got)\n%s", code, diff)
	}
	code, refusal, _ := s.ask("POST", "/orders", strings.Replace(mugs, "1250", "1251", 1), "Idempotency-Key", "k-1")
	if code != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(refusal["errors"]), "header.Idempotency-Key") {
		t.Errorf("another order under the same key: %d %v", code, refusal)
	}
	if _, other, _ := s.ask("POST", "/orders", mugs, "Idempotency-Key", "k-2"); other["orderId"] == first["orderId"] {
		t.Error("another key answered the same order")
	}
	if len(s.book.rows) != 2 {
		t.Errorf("%d orders, want 2", len(s.book.rows))
	}
}

func TestKeysBelongToTheirCaller(t *testing.T) {
	s := newShop(t, callers{"ada": {auth.Shop}, "bob": {auth.Shop}})
	_, ada, _ := s.ask("POST", "/orders", mugs, "X-API-Key", "ada", "Idempotency-Key", "k-1")
	_, bob, _ := s.ask("POST", "/orders", mugs, "X-API-Key", "bob", "Idempotency-Key", "k-1")
	if ada["orderId"] == bob["orderId"] {
		t.Error("two callers with the same key share an order")
	}
}

func TestScopes(t *testing.T) {
	s := newShop(t, callers{"shop": {auth.Shop}, "operator": {auth.Operator}})
	_, accepted, _ := s.ask("POST", "/orders", mugs, "X-API-Key", "shop")
	order := "/orders/" + fmt.Sprint(accepted["orderId"])
	for _, c := range []struct {
		method, path, body, caller string
		want                       int
	}{
		{"POST", "/orders", mugs, "operator", 403},
		{"POST", "/orders", mugs, "", 401},
		{"GET", "/orders", "", "", 401},
		{"GET", order, "", "", 401},
		{"GET", order + "/status", "", "", 401},
		{"GET", order + "/events", "", "", 401},
		{"POST", order + "/cancel", "", "", 401},
		{"GET", order, "", "operator", 200},
		{"GET", order, "", "shop", 200},
		{"POST", order + "/cancel", "", "shop", 202},
		{"POST", order + "/cancel", "", "operator", 202},
	} {
		if got := s.raw(c.method, c.path, c.body, "X-API-Key", c.caller).Code; got != c.want {
			t.Errorf("%s %s as %q: %d, want %d", c.method, c.path, c.caller, got, c.want)
		}
	}
}

// callers is who presents which key, and what for.
type callers map[string][]string

func (c callers) Authenticate(credential string) (auth.Identity, error) {
	scopes, known := c[credential]
	if !known {
		return auth.Identity{}, fmt.Errorf("unknown key")
	}
	return auth.Identity{Name: credential, Scopes: scopes}, nil
}

func TestCancel(t *testing.T) {
	s := newShop(t, nil)
	_, accepted, _ := s.ask("POST", "/orders", mugs)
	id := fmt.Sprint(accepted["orderId"])
	for range 2 {
		code, got, _ := s.ask("POST", "/orders/"+id+"/cancel", "")
		if diff := cmp.Diff(map[string]any{"orderId": id, "status": "CANCELLING", "reason": "CUSTOMER"}, got); code != 202 || diff != "" {
			t.Errorf("%d (-want +got)\n%s", code, diff)
		}
	}
	view := s.book.rows[event.OrderID(id)]
	view.Status = event.OrderShipped
	s.book.rows[event.OrderID(id)] = view
	code, got, _ := s.ask("POST", "/orders/"+id+"/cancel", "")
	if code != http.StatusConflict || !strings.Contains(fmt.Sprint(got["detail"]), "SHIPPED, the parcel has left") {
		t.Errorf("a shipped order: %d %v", code, got)
	}
}

func TestUnknownOrders(t *testing.T) {
	s := newShop(t, nil)
	tombstone := event.OrderID("0199c0de-0000-7000-8000-000000000002")
	s.book.rows[tombstone] = order.View{Order: order.Order{ID: tombstone}}
	for _, id := range []string{"0199c0de-0000-7000-8000-000000000001", "0199C0DE-0000-7000-8000-000000000001", "42", "%20"} {
		for _, path := range []string{"", "/status", "/events", "/cancel"} {
			method := "GET"
			if path == "/cancel" {
				method = "POST"
			}
			if code, _, _ := s.ask(method, "/orders/"+id+path, ""); code != http.StatusNotFound {
				t.Errorf("%s /orders/%s%s: %d, want 404", method, id, path, code)
			}
		}
	}
	if code, _, _ := s.ask("POST", "/orders/"+string(tombstone)+"/cancel", ""); code != http.StatusNotFound {
		t.Errorf("cancel of an order nobody placed: %d, want 404", code)
	}
}

func TestBadOrdersAreRefused(t *testing.T) {
	s := newShop(t, nil)
	for name, c := range map[string]struct {
		old, with, says string
		code            int
	}{
		"unknown field":     {`"currency"`, `"coupon": "x", "currency"`, "body.coupon", 422},
		"unknown currency":  {"EUR", "XXX", "body.currency", 422},
		"no quantity":       {`"quantity": 2`, `"quantity": 0`, "body.items[0].quantity", 422},
		"negative price":    {"1250", "-1", "body.items[0].unitPrice", 422},
		"overflowing price": {"1250", "9223372036854775807", "body.items", 422},
		"beyond 64 bits":    {"1250", "9223372036854775808", "body.items[0].unitPrice", 400},
		"a fraction":        {"1250", "12.5", "body.items[0].unitPrice", 422},
		"a word":            {"1250", `"free"`, "body.items[0].unitPrice", 422},
		"spaces in the sku": {"MUG-RED", "MUG RED", "body.items[0].sku", 422},
		"no e-mail address": {"ada@example.com", "ada", "body.contact.email", 422},
		"not JSON":          {"{", "", "", 400},
		"the sku twice": {`[ {`, `[ { "sku": "MUG-RED", "quantity": 1, "unitPrice": 1 }, {`,
			"body.items[1].sku", 422},
	} {
		t.Run(name, func(t *testing.T) {
			code, got, _ := s.ask("POST", "/orders", strings.Replace(mugs, c.old, c.with, 1))
			if code != c.code || !strings.Contains(fmt.Sprint(got["errors"]), c.says) {
				t.Errorf("%d %v, want %d that names %s", code, got, c.code, c.says)
			}
		})
	}
	if len(s.book.rows) != 0 {
		t.Error("a refused order left a row")
	}
}

func TestAddressAndContactMayBeLeftOut(t *testing.T) {
	s := newShop(t, nil)
	code, got, _ := s.ask("POST", "/orders", `{"customerId":"c","currency":"EUR","paymentMethod":"m","items":[{"sku":"A","quantity":1,"unitPrice":0}]}`)
	if code != http.StatusAccepted {
		t.Errorf("%d %v", code, got)
	}
}

func TestNoOrdersAreTakenWhileTheOutboxIsFull(t *testing.T) {
	s := newShop(t, nil)
	s.full = true
	code, _, header := s.ask("POST", "/orders", mugs)
	if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || len(s.book.rows) != 0 {
		t.Errorf("%d, Retry-After %q, %d orders", code, header.Get("Retry-After"), len(s.book.rows))
	}
}

func TestList(t *testing.T) {
	s := newShop(t, nil)
	if got := s.raw("GET", "/orders?customerId=&status=", "").Body.String(); strings.TrimSpace(got) != `{"orders":[]}` {
		t.Errorf("an empty list: %s", got)
	}
	if s.book.asked != (order.Filter{Limit: 50}) {
		t.Errorf("asked for %+v", s.book.asked)
	}
	s.ask("POST", "/orders", mugs)
	s.book.page = order.Page{Orders: slices.Collect(maps.Values(s.book.rows)), NextCursor: "next"}
	_, got, _ := s.ask("GET", "/orders?customerId=c-42&status=PENDING&limit=2&cursor=abc", "")
	if want := (order.Filter{CustomerID: "c-42", Status: "PENDING", Limit: 2, Cursor: "abc"}); s.book.asked != want {
		t.Errorf("asked for %+v, want %+v", s.book.asked, want)
	}
	if orders, _ := got["orders"].([]any); len(orders) != 1 || got["nextCursor"] != "next" {
		t.Errorf("got %v", got)
	}
	for _, query := range []string{"status=LATE", "limit=0", "limit=201", "limit=x", "customer=c-42", "cursor=forged"} {
		if code, _, _ := s.ask("GET", "/orders?"+query, ""); code != http.StatusUnprocessableEntity {
			t.Errorf("?%s: %d, want 422", query, code)
		}
	}
}
