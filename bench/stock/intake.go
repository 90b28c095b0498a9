package stock

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/go-chi/chi/v5/middleware"

	"millrace/event"
	"millrace/handlers/inventory/inventoryhttp"
	"millrace/handlers/inventory/inventorypg"
	"millrace/handlers/order/orderhttp"
	"millrace/handlers/order/orderpg"
	"millrace/handlers/payment"
	"millrace/handlers/payment/paymenthttp"
	"millrace/httpapi"
)

// serve answers on the routes of order, payment and inventory, Millrace's own, on this shop's
// rows, until ctx ends. POST /orders is one transaction. GET /readyz tells when all subscriptions
// have their partitions; /debug/pprof has profiles.
func (s *shop) serve(ctx context.Context, c Config, listener net.Listener) error {
	api := httpapi.New(httpapi.Config{Title: "The shop on stock Watermill", Logger: c.Logger})
	orderhttp.Register(api.Huma, s.order, orderpg.NewReads(s.db.DB), func() bool { return false })
	paymenthttp.Register(api.Huma, s.payment, s.reads, s.secret)
	inventoryhttp.Register(api.Huma, s.inventory, inventorypg.NewReader(s.db.DB))
	api.Router.Get("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "some subscriptions have no partitions yet", http.StatusServiceUnavailable)
		}
	})
	api.Router.Mount("/debug", middleware.Profiler())
	return httpapi.Serve(ctx, closeTimeout, httpapi.Server{Listener: listener, Handler: api})
}

// reads answers GET /payments/{orderId}.
type reads struct{ payments *rows[payment.Payment] }

// Payment is paymenthttp's.
func (r reads) Payment(ctx context.Context, id event.OrderID) (payment.View, error) {
	row, _, err := r.payments.Load(ctx, id)
	if err == nil && !row.Heard() {
		err = fmt.Errorf("read the payment of order %s: %w", id, event.ErrUnknownOrder)
	}
	return payment.View{Payment: row}, err
}
