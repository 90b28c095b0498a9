package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"millrace/event"
)

// shop is a router as the demo meets one, in memory, and in as many ways a bad one as
// there are fields to set. An order's life is a list of what happens when.
type shop struct {
	mux *http.ServeMux

	mu     sync.Mutex
	orders map[event.OrderID]*shopOrder
	byKey  map[string]event.OrderID
	served map[string]int // requests, by method and the first part of the path
	stock  []levelBody

	// before is asked first; false: it has answered.
	before func(w http.ResponseWriter, r *http.Request) bool
	// lose makes the answer to a request vanish after it took effect.
	lose       func(r *http.Request) bool
	life       func(o *shopOrder) []moment
	payment    func(o *shopOrder, p *paymentBody)
	forgetful  bool // Idempotency-Key means nothing
	noOperator bool
	unlisted   event.OrderID
	// fast parcels are delivered before they hear of a cancellation.
	fast bool
}

type moment struct {
	at     time.Duration // since it was placed
	status event.OrderStatus
	reason event.CancelReason
}

type shopOrder struct {
	id     event.OrderID
	body   orderBody
	placed time.Time
	life   []moment
	// refused and gone are what an operator has to resolve: the refund, the parcel.
	refused, gone bool
}

func newShop() *shop {
	s := &shop{
		mux: http.NewServeMux(), orders: map[event.OrderID]*shopOrder{}, byKey: map[string]event.OrderID{}, served: map[string]int{},
		stock: []levelBody{
			{SKU: "MUG-BLUE", Initial: 90_000, Restocked: 10_000, Available: 99_000, Reserved: 200, Sold: 800},
			{SKU: "MUG-RED", Initial: 100_000, Available: 100_000},
			{SKU: "NO-MUG"},
		},
		life: ordinaryLife,
	}
	s.mux.HandleFunc("GET /openapi.json", s.document)
	s.mux.HandleFunc("GET /inventory", s.inventory)
	s.mux.HandleFunc("PUT /inventory/{sku}", s.restock)
	s.mux.HandleFunc("POST /orders", s.place)
	s.mux.HandleFunc("GET /orders", s.list)
	s.mux.HandleFunc("GET /orders/{id}/status", s.one(func(o *shopOrder) any { return o.now() }))
	s.mux.HandleFunc("GET /orders/{id}/events", s.one(func(o *shopOrder) any { return o.history() }))
	s.mux.HandleFunc("POST /orders/{id}/cancel", s.cancel)
	s.mux.HandleFunc("POST /payments/{id}/refund", s.resolve)
	s.mux.HandleFunc("POST /shipments/{id}/resolve", s.resolve)
	s.mux.HandleFunc("GET /payments/{id}", s.showPayment)
	s.mux.HandleFunc("GET /shipments/{id}", s.one(func(o *shopOrder) any {
		if o.gone {
			return shipmentBody{Status: "RECALL_FAILED"}
		}
		return shipmentBody{Status: "STOPPED"}
	}))
	s.mux.HandleFunc("GET /reservations/{id}", s.one(func(o *shopOrder) any { return reservationBody{"SOLD", o.body.Items} }))
	s.mux.HandleFunc("GET /notifications", s.notifications)
	return s
}

// RoundTrip answers without a network, so that a test can run on time that only it passes.
func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, r)
	if s.lose != nil && s.lose(r) {
		return nil, errors.New("connection reset by peer")
	}
	return recorder.Result(), r.Context().Err()
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	part, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.served[r.Method+" "+part]++
	s.mu.Unlock()
	if s.before == nil || s.before(w, r) {
		s.mux.ServeHTTP(w, r)
	}
}

func ordinaryLife(o *shopOrder) []moment {
	at := func(ms int, status event.OrderStatus, reason event.CancelReason) moment {
		return moment{time.Duration(ms) * time.Millisecond, status, reason}
	}
	placed, awaiting := at(0, event.OrderPending, ""), at(10, event.OrderAwaiting, "")
	undecided := []moment{placed, awaiting, at(50, event.OrderPaymentPending, "")}
	paid := []moment{placed, awaiting, at(50, event.OrderPaid, "")}
	if slices.ContainsFunc(o.body.Items, func(i event.Item) bool { return strings.HasSuffix(i.SKU, "-NONE") }) {
		return []moment{placed, at(10, event.OrderIsCancelled, event.ReasonOutOfStock)}
	}
	switch o.body.PaymentMethod {
	case "pm_declined":
		return []moment{placed, awaiting, at(50, event.OrderPaymentFailed, event.ReasonPaymentFailed), at(80, event.OrderIsCancelled, event.ReasonPaymentFailed)}
	case "pm_pending_declined":
		return append(undecided, at(1100, event.OrderIsCancelled, event.ReasonPaymentFailed))
	case "pm_pending_forever":
		return append(undecided, at(30_000, event.OrderIsCancelled, event.ReasonDeadline))
	case "pm_pending_accepted":
		paid = append(undecided, at(1100, event.OrderPaid, ""))
	}
	postal := ""
	if o.body.ShippingAddress != nil {
		postal = o.body.ShippingAddress.PostalCode
	}
	switch postal {
	case postalRefused:
		return append(paid, at(2000, event.OrderCancelling, event.ReasonShipmentFailed), at(2100, event.OrderIsCancelled, event.ReasonShipmentFailed))
	case postalLost:
		return append(paid, at(2000, event.OrderShipped, ""), at(3000, event.OrderIsCancelled, event.ReasonShipmentFailed))
	case postalSlow:
		return append(paid, at(5000, event.OrderShipped, ""), at(10_000, event.OrderDelivered, ""))
	}
	return append(paid, at(2000, event.OrderShipped, ""), at(3000, event.OrderDelivered, ""))
}

// happened is the part of an order's life that has been.
func (o *shopOrder) happened() []moment {
	age := time.Since(o.placed)
	n := slices.IndexFunc(o.life, func(m moment) bool { return m.at > age })
	if n < 0 {
		n = len(o.life)
	}
	return o.life[:n]
}

func (o *shopOrder) now() statusBody {
	past := o.happened()
	last := past[len(past)-1]
	return statusBody{OrderID: o.id, Status: last.status, Reason: last.reason, Version: int64(len(past))}
}

func (o *shopOrder) was(status event.OrderStatus) bool {
	return slices.ContainsFunc(o.happened(), func(m moment) bool { return m.status == status })
}

func (o *shopOrder) history() []historyEntry {
	var history []historyEntry
	for i, m := range o.happened() {
		e := historyEntry{Version: int64(i + 1), EventID: fmt.Sprintf("%s-%d", o.id, i), Type: "StatusChanged",
			OccurredAt: o.placed.Add(m.at), CorrelationID: "c-" + string(o.id), CausationID: "cause"}
		if i == 0 {
			e.Type = "Placed"
		}
		e.Data, _ = json.Marshal(map[string]any{"status": m.status, "reason": m.reason})
		history = append(history, e)
	}
	return history
}

func (o *shopOrder) total() (sum int64) {
	for _, i := range o.body.Items {
		sum += i.Quantity * i.UnitPrice
	}
	return sum
}

func answer(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, detail string) {
	answer(w, status, map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

func (s *shop) document(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"paths": map[string]any{"/payments/{orderId}": 1}})
}

func (s *shop) inventory(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer(w, http.StatusOK, inventoryBody{Inventory: s.stock})
}

func (s *shop) restock(w http.ResponseWriter, r *http.Request) {
	var body restockBody
	_ = json.NewDecoder(r.Body).Decode(&body)
	s.mu.Lock()
	defer s.mu.Unlock()
	level := levelBody{SKU: r.PathValue("sku"), Name: body.Name, Initial: body.Add, Available: body.Add}
	s.stock = append(s.stock, level)
	answer(w, http.StatusOK, level)
}

func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	o := &shopOrder{placed: time.Now()}
	_ = json.NewDecoder(r.Body).Decode(&o.body)
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	defer s.mu.Unlock()
	id, known := s.byKey[key]
	if !known || s.forgetful {
		id = event.OrderID(fmt.Sprintf("00000000-0000-0000-0000-%012d", len(s.orders)+1))
		o.id, s.byKey[key] = id, id
		o.life = s.life(o)
		s.orders[id] = o
	}
	answer(w, http.StatusAccepted, acceptedBody{OrderID: id})
}

func (s *shop) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	var ids []event.OrderID
	for id, o := range s.orders {
		if id != s.unlisted && o.body.CustomerID == r.URL.Query().Get("customerId") && string(id) > r.URL.Query().Get("cursor") {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var page ordersBody
	if len(ids) > limit {
		ids = ids[:limit]
		page.NextCursor = string(ids[limit-1])
	}
	for _, id := range ids {
		page.Orders = append(page.Orders, s.orders[id].now())
	}
	answer(w, http.StatusOK, page)
}

func (s *shop) find(r *http.Request) *shopOrder {
	return s.orders[event.OrderID(r.PathValue("id"))]
}

func (s *shop) one(show func(*shopOrder) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o := s.find(r); o != nil {
			answer(w, http.StatusOK, show(o))
			return
		}
		refuse(w, http.StatusNotFound, "There is no order with this id.")
	}
}

func (s *shop) cancel(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(r)
	if o.was(event.OrderShipped) {
		refuse(w, http.StatusConflict, "the parcel has left")
		return
	}
	age := time.Since(o.placed)
	if past := o.now(); past.Reason != "" { // the first reason stays
		answer(w, http.StatusAccepted, past)
		return
	}
	o.refused = o.body.PaymentMethod == pmRefundRefused
	o.gone = s.fast || o.body.ShippingAddress.PostalCode == postalNoRecall
	end := moment{age + 50*time.Millisecond, event.OrderIsCancelled, event.ReasonCustomer}
	if o.refused || o.gone {
		end.status = event.OrderNeedsAttention
	}
	o.life = append(slices.Clone(o.happened()), moment{age, event.OrderCancelling, event.ReasonCustomer}, end)
	answer(w, http.StatusAccepted, o.now())
}

func (s *shop) resolve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noOperator {
		refuse(w, http.StatusForbidden, "for operators")
		return
	}
	o := s.find(r)
	what := &o.gone
	if strings.HasPrefix(r.URL.Path, "/payments/") {
		what = &o.refused
	}
	if !*what {
		refuse(w, http.StatusConflict, "nothing to resolve")
		return
	}
	if *what = false; !o.refused && !o.gone {
		o.life = append(o.life, moment{time.Since(o.placed), event.OrderIsCancelled, event.ReasonCustomer})
	}
	answer(w, http.StatusAccepted, struct{}{})
}

func (s *shop) showPayment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.find(r)
	p := paymentBody{Status: "FAILED", Amount: o.total(), Currency: o.body.Currency, ProviderRef: "ch_1"}
	switch {
	case o.was(event.OrderPaid) && o.refused:
		p.Status = "REFUND_FAILED"
	case o.was(event.OrderPaid) && (o.was(event.OrderIsCancelled) || o.was(event.OrderNeedsAttention)):
		p.Status = "REFUNDED"
	case o.was(event.OrderPaid):
		p.Status = "SUCCEEDED"
	case !o.was(event.OrderAwaiting):
		refuse(w, http.StatusNotFound, "There is no order with this id.")
		return
	}
	if s.payment != nil {
		s.payment(o, &p)
	}
	answer(w, http.StatusOK, p)
}

func (s *shop) notifications(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.orders[event.OrderID(r.URL.Query().Get("orderId"))]
	answer(w, http.StatusOK, map[string]any{"notifications": []map[string]any{
		{"notificationId": "n-1", "kind": "placed", "channel": "email", "status": "SENT", "sentAt": o.placed.Add(5 * time.Millisecond)},
		{"notificationId": "n-2", "kind": "placed", "channel": "sms", "status": "SKIPPED", "sentAt": nil},
	}})
}
