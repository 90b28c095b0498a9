package router_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/event"
	"millrace/httpapi"
	"millrace/outbox"
	"millrace/router"
	"millrace/signature"
	"millrace/transport"
)

const (
	// fuzzedOrder is there from the start.
	fuzzedOrder = "0199c0de-0000-7000-8000-000000000001"
	// shopLife is how many inputs a shop takes before it is made anew: it keeps everything in memory.
	shopLife = 5000
	// largestAnswer is beyond what any answer to one request has: lists are empty here.
	largestAnswer = 64 << 10
)

// fuzzedRoute is one operation of the API.
type fuzzedRoute struct{ method, path string }

// routesOf lists every operation but the stream, which does not end.
func routesOf(s *memoryShop) (list []fuzzedRoute) {
	paths := s.api.Huma.OpenAPI().Paths
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path]
		for method, operation := range map[string]bool{
			http.MethodGet: item.Get != nil, http.MethodPost: item.Post != nil, http.MethodPut: item.Put != nil, http.MethodPatch: item.Patch != nil, http.MethodDelete: item.Delete != nil,
		} {
			if operation && path != "/analytics/stream" {
				list = append(list, fuzzedRoute{method, path})
			}
		}
	}
	slices.SortFunc(list, func(a, b fuzzedRoute) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return list
}

var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

const fuzzedOrderBody = `{"customerId":"c","currency":"EUR","paymentMethod":"pm_accepted","items":[{"sku":"MUG","quantity":2,"unitPrice":5}],` +
	`"shippingAddress":{"name":"A","street":"B","city":"C","postalCode":"D","country":"GB"},"contact":{"email":"a@b.example"}}`

// FuzzRoutes: whatever is sent to any route, in its path, its query, its key or its body, is answered, as JSON, and never
// with a fault of ours; who comes next is served.
func FuzzRoutes(f *testing.F) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a refused callback is a warning
	routes := routesOf(newMemoryShop(f))
	for n := range routes {
		for _, body := range []string{
			"", "null", fuzzedOrderBody, `{"add":9007199254740991,"name":"\u0000"}`, `{"action":"retry","note":"x"}`, `{"action":"returned","note":""}`,
			`{"orderId":"` + fuzzedOrder + `","eventId":"e","status":"captured","providerRef":"r"}`, `{"orderId":"` + fuzzedOrder + `","eventId":"e","status":"SHIPPED"}`,
		} {
			f.Add(n, fuzzedOrder, "limit=1&cursor=MQ&status=PAID&orderId="+fuzzedOrder, "", []byte(body))
		}
	}
	f.Add(0, "a b/../\xff", "%zz", "\x7f", []byte(`{"items":[{"quantity":-1e308}]}`))
	var shop *memoryShop
	inputs := 0
	f.Fuzz(func(t *testing.T, n int, parameter, query, key string, body []byte) {
		if inputs%shopLife == 0 {
			if shop != nil {
				shop.stop()
			}
			shop = newMemoryShop(t)
			ask(t, shop, http.MethodPost, "/orders", "", fuzzedOrder, []byte(fuzzedOrderBody))
		}
		inputs++
		route := routes[uint(n)%uint(len(routes))]
		path := pathParameter.ReplaceAllLiteralString(route.path, url.PathEscape(parameter))
		answer := ask(t, shop, route.method, path, query, key, body)
		if answer.Code >= http.StatusInternalServerError {
			t.Fatalf("%s %s: %d %s", route.method, path, answer.Code, answer.Body)
		}
		text := answer.Body.Bytes()
		if len(text) > largestAnswer+2*len(parameter) || answer.Code != http.StatusNoContent && len(text) > 0 && isJSON(answer) && !json.Valid(text) {
			t.Fatalf("%s %s: %d with %d bytes, which are no answer: %.200q", route.method, path, answer.Code, len(text), text)
		}
	})
}

func isJSON(answer *httptest.ResponseRecorder) bool {
	return strings.Contains(answer.Header().Get("Content-Type"), "json")
}

// ask sends a request as clients, the provider and the carrier do: signed.
func ask(t *testing.T, s *memoryShop, method, path, query, key string, body []byte) *httptest.ResponseRecorder {
	t.Helper()
	r, err := http.NewRequest(method, "http://shop.example"+path, bytes.NewReader(body))
	if err != nil { // no client could send it
		t.Skip(err)
	}
	r.URL.RawQuery = query
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(httpapi.IdempotencyKeyHeader, key)
	r.Header.Set(signature.Header, signature.Sign(fuzzSecret, body, time.Now()))
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return w
}

// arrow is one line of the flow: a service hears a topic.
type arrow struct{ service, topic string }

// FuzzDeliver: whatever lies in a topic under whatever key, with whatever headers, a service takes it or refuses it for good.
// Nothing it does keeps the service from the next message.
func FuzzDeliver(f *testing.F) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	var arrows []arrow
	for _, s := range router.Flow(router.Services{}) {
		for _, topic := range s.Topics() {
			arrows = append(arrows, arrow{s.Name, topic})
		}
	}
	bodies, err := filepath.Glob("../event/testdata/*.json")
	if err != nil || len(bodies) == 0 {
		f.Fatal("no golden files in ../event/testdata", err)
	}
	for i, file := range bodies {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for n := range arrows {
			if (n+i)%len(bodies) == 0 { // the fuzzer brings them together otherwise
				f.Add(n, []byte(fuzzedOrder), body, "ce_id", fuzzedOrder)
			}
		}
	}
	f.Add(0, []byte(nil), []byte("{}"), "ce_dataschemaversion", "2")
	f.Add(1, []byte("\xff"), []byte(`{"orderId":"`+fuzzedOrder+`"}`), "ce_type", "\x00")
	f.Add(2, []byte(fuzzedOrder), []byte(`{"orderId":"`+fuzzedOrder+`","status":"?","reason":"?"}`), "ce_time", "9999-12-31T23:59:59.999999999Z")
	var shop *memoryShop
	inputs := 0
	f.Fuzz(func(t *testing.T, n int, key, body []byte, header, value string) {
		if inputs%shopLife == 0 {
			if shop != nil {
				shop.stop()
			}
			shop = newMemoryShop(t)
		}
		inputs++
		to := arrows[uint(n)%uint(len(arrows))]
		r := transport.LogRecord{Record: transport.Record{Topic: to.topic, Key: key, Value: body, Headers: []transport.Header{{Key: header, Value: []byte(value)}}}, Offset: int64(inputs), Time: time.Now()}
		msg := transport.Decode(r.Topic, 0, r.Offset, r.Value, r.Headers)
		msg.SetContext(transport.WithDelivery(t.Context(), transport.Delivery{Topic: r.Topic, Offset: r.Offset, Key: key, Attempt: 1, Time: r.Time}))
		err := shop.flow.Deliver(to.service, to.topic, msg)
		var permanent interface{ Permanent() bool }
		if err != nil && !(errors.As(err, &permanent) && permanent.Permanent()) {
			t.Fatalf("%s does not refuse %q for good: %v", to, body, err)
		}
		if outbox.IsTransient(err) {
			t.Fatalf("%s would try %q for ever: %v", to, body, err)
		}
		letter, _ := shop.flow.Parkable(to.service, "test", r)
		if letter.ID == "" || letter.OrderID != "" && letter.OrderID != string(key) {
			t.Fatalf("%s: the letter of %q under %q is %+v", to, body, key, letter)
		}
		if _, err := event.ParseOrderID(letter.OrderID); letter.OrderID != "" && err != nil {
			t.Fatalf("%s: the letter of %q is about order %q", to, body, letter.OrderID)
		}
	})
}
