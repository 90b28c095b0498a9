package orderhttp_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/event"
	"millrace/handlers/order"
	"millrace/handlers/order/orderhttp"
	"millrace/httpapi"
)

// BenchmarkPlace is what POST /orders costs beside the store and the connection.
func BenchmarkPlace(b *testing.B) {
	api := httpapi.New(httpapi.Config{
		Logger:  slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Metrics: prometheus.NewRegistry(),
	})
	service := order.New(taker{}, order.Policy{}, slog.New(slog.DiscardHandler))
	orderhttp.Register(api.Huma, service, nil, func() bool { return false })
	const body = `{"customerId":"c-42","currency":"EUR","paymentMethod":"pm_accepted",
"items":[{"sku":"MUG-RED","quantity":2,"unitPrice":1250},{"sku":"MUG-BLUE","quantity":1,"unitPrice":1250}],
"shippingAddress":{"name":"Ada Byron","street":"1 Mill Lane","city":"Bath","postalCode":"BA1 1AA","country":"GB"},
"contact":{"email":"ada@example.com","phone":"+441225000000","deviceToken":"d-1"}}`
	uuid.EnableRandPool() // as the router does
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/orders", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != http.StatusAccepted {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

// taker takes every order and keeps none.
type taker struct{}

func (taker) Update(_ context.Context, id event.OrderID, change func(*order.Order) ([]event.Event, error)) error {
	_, err := change(&order.Order{ID: id})
	return err
}

func (taker) UpdateExisting(context.Context, event.OrderID, func(*order.Order) ([]event.Event, error)) error {
	return event.ErrUnknownOrder
}

func (taker) Load(context.Context, event.OrderID) (order.Order, bool, error) {
	return order.Order{}, false, nil
}
