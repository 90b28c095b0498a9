package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/event"
	"millrace/httpapi"
)

type line struct {
	SKU      string `json:"sku" minLength:"1" maxLength:"64"`
	Quantity int64  `json:"quantity" minimum:"1" maximum:"1000000"`
}

type basket struct {
	Name  string `json:"name,omitempty" maxLength:"20"`
	Items []line `json:"items" minItems:"1" maxItems:"3"`
}

type basketInput struct {
	Body basket
}

type basketOutput struct {
	Body basket
}

// newAPI returns an API with one operation that echoes a basket, and what it logs.
func newAPI(t *testing.T, c httpapi.Config) (*httpapi.API, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	api := httpapi.New(c)
	registerBasket(api)
	return api, &log
}

func registerBasket(api *httpapi.API) {
	huma.Register(api.Huma, huma.Operation{
		OperationID: "put-basket", Method: http.MethodPut, Path: "/baskets/{id}", Security: httpapi.Scope(httpapi.ScopeShop),
	}, func(_ context.Context, in *struct {
		ID     string `path:"id"`
		DryRun bool   `query:"dryRun"`
		basketInput
	}) (*basketOutput, error) {
		return &basketOutput{Body: in.Body}, nil
	})
}

// get adds a GET operation that answers with what do returns.
func get(api *httpapi.API, path string, do func(ctx context.Context) (string, error)) {
	huma.Register(api.Huma, huma.Operation{OperationID: "get" + path, Method: http.MethodGet, Path: path, Security: httpapi.Scope(httpapi.ScopeShop)},
		func(ctx context.Context, _ *struct{}) (*struct{ Body string }, error) {
			text, err := do(ctx)
			return &struct{ Body string }{text}, err
		})
}

func send(t *testing.T, h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem checks that the answer is a complete problem, and returns it.
func problem(t *testing.T, w *httptest.ResponseRecorder, status int, instance string) httpapi.Problem {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	var p httpapi.Problem
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("problem: %v", err)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Status != status || p.Detail == "" || p.Instance != instance {
		t.Errorf("incomplete problem: %+v", p)
	}
	if w.Header().Get("X-Correlation-ID") == "" {
		t.Error("a problem without correlation id")
	}
	return p
}

// starting is what Postgres says while it recovers: 57P03.
type starting struct{}

func (starting) Error() string    { return "the database system is starting up" }
func (starting) SQLState() string { return "57P03" }

func TestEveryErrorIsAProblem(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	for path, err := range map[string]error{
		"/unknown":   fmt.Errorf("load: %w", event.ErrUnknownOrder),
		"/no-id":     event.ErrNotAnOrderID,
		"/late":      fmt.Errorf("update: %w", context.DeadlineExceeded),
		"/away":      fmt.Errorf("read: %w", &net.OpError{Op: "dial", Net: "unix", Err: syscall.ECONNREFUSED}),
		"/starting":  fmt.Errorf("read: %w", starting{}),
		"/full":      httpapi.Unavailable("The outbox is full.", 1500*time.Millisecond),
		"/conflict":  huma.Error409Conflict("The parcel has left."),
		"/bug":       errors.New(`pq: syntax error near "hunter2"`),
		"/too-many":  huma.Error429TooManyRequests("Slower, please."),
		"/forbidden": huma.Error403Forbidden("Not yours."),
	} {
		get(api, path, func(context.Context) (string, error) { return "", err })
	}
	get(api, "/panic", func(context.Context) (string, error) { panic("hunter2") })

	for _, test := range []struct {
		method, path string
		status       int
		header       [2]string
	}{
		{"GET", "/nowhere", 404, [2]string{}},
		{"DELETE", "/baskets/1", 405, [2]string{"Allow", "PUT"}},
		{"GET", "/unknown", 404, [2]string{}},
		{"GET", "/no-id", 404, [2]string{}},
		{"GET", "/late", 503, [2]string{"Retry-After", "1"}},
		{"GET", "/away", 503, [2]string{"Retry-After", "1"}},
		{"GET", "/starting", 503, [2]string{"Retry-After", "1"}},
		{"GET", "/full", 503, [2]string{"Retry-After", "2"}},
		{"GET", "/conflict", 409, [2]string{}},
		{"GET", "/too-many", 429, [2]string{}},
		{"GET", "/forbidden", 403, [2]string{}},
		{"GET", "/bug", 500, [2]string{}},
		{"GET", "/panic", 500, [2]string{}},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			w := send(t, api, test.method, test.path, "")
			body := w.Body.String()
			problem(t, w, test.status, test.path)
			if got := w.Header().Get(test.header[0]); got != test.header[1] {
				t.Errorf("%s: %q, want %q", test.header[0], got, test.header[1])
			}
			if strings.Contains(body, "hunter2") || strings.Contains(body, ".go:") {
				t.Errorf("the client is told internals: %s", body)
			}
		})
	}
}

func TestUnexpectedErrorsAreLoggedUnderTheCorrelationID(t *testing.T) {
	api, log := newAPI(t, httpapi.Config{})
	get(api, "/bug", func(context.Context) (string, error) { return "", errors.New("disk on fire") })
	w := send(t, api, "GET", "/bug", "", "X-Correlation-ID", "c-17")
	if p := problem(t, w, 500, "/bug"); !strings.Contains(p.Detail, "c-17") {
		t.Errorf("detail %q does not name the correlation id", p.Detail)
	}
	if got := log.String(); !strings.Contains(got, "disk on fire") || !strings.Contains(got, "correlation_id=c-17") || !strings.Contains(got, "level=ERROR") {
		t.Errorf("log: %s", got)
	}
}

func TestRequestRunsOutOfTime(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{RequestTimeout: time.Millisecond})
	get(api, "/slow", func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() })
	problem(t, send(t, api, "GET", "/slow", ""), 503, "/slow")
}

func TestUnknownQueryParameterIsRefused(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	p := problem(t, send(t, api, "PUT", "/baskets/1?dryrun=true", `{"items":[{"sku":"A","quantity":1}]}`), 422, "/baskets/1")
	if diff := cmp.Diff([]httpapi.FieldError{{Location: "query.dryrun", Message: "unknown query parameter"}}, p.Errors); diff != "" {
		t.Error(diff)
	}
}

func TestTextThatNoColumnHoldsIsRefused(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	for _, target := range []string{"/baskets/%00", "/baskets/%ff", "/baskets/1?dryRun=%00", "/baskets/1?dryRun=%ff", "/baskets/1?%zz"} {
		w := send(t, api, "PUT", target, `{"items":[{"sku":"A","quantity":1}]}`)
		if w.Code != 400 {
			t.Errorf("%s: status %d", target, w.Code)
		}
	}
}

func TestWebPagesOfOtherOriginsChangeNothing(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	problem(t, send(t, api, "PUT", "/baskets/1", `{"items":[{"sku":"A","quantity":1}]}`, "Sec-Fetch-Site", "cross-site"), 403, "/baskets/1")
}

func TestOpenAPIIsServed(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{Title: "Order", Version: "1.2.3"})
	w := send(t, api, "GET", "/openapi.json", "")
	var doc struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct{ Security []map[string][]string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title != "Order" || doc.Info.Version != "1.2.3" {
		t.Errorf("document %+v", doc)
	}
	if diff := cmp.Diff(httpapi.Scope("shop"), doc.Paths["/baskets/{id}"]["put"].Security); diff != "" {
		t.Error(diff)
	}
	if got := send(t, api, "GET", "/openapi.yaml", "").Body.String(); !strings.Contains(got, "openapi: 3.1") {
		t.Errorf("yaml: %.80s", got)
	}
	if w := send(t, api, "HEAD", "/openapi.json", ""); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestRequestsAreMeasuredByRoute(t *testing.T) {
	registry := prometheus.NewRegistry()
	api, _ := newAPI(t, httpapi.Config{Metrics: registry})
	other, _ := newAPI(t, httpapi.Config{Metrics: registry}) // a second port shares the registry
	for i, h := range []http.Handler{api, api, other} {
		send(t, h, "PUT", fmt.Sprintf("/baskets/%d", i), `{"items":[{"sku":"A","quantity":1}]}`)
	}
	send(t, api, "BREW", "/nowhere", "")
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	got := map[string]uint64{}
	for _, m := range families[0].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetName()+"="+l.GetValue())
		}
		got[strings.Join(labels, " ")] = m.GetHistogram().GetSampleCount()
	}
	want := map[string]uint64{"code=200 method=PUT route=/baskets/{id}": 3, "code=405 method=other route=": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTooManyRequestsAtOnce(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	const limit = 1024
	inside, release := make(chan struct{}, limit), make(chan struct{})
	get(api, "/busy", func(context.Context) (string, error) { inside <- struct{}{}; <-release; return "", nil })
	done := make(chan struct{}, limit)
	for range limit {
		go func() {
			api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/busy", nil))
			done <- struct{}{}
		}()
	}
	for range limit {
		<-inside
	}
	w := send(t, api, "GET", "/busy", "")
	problem(t, w, 503, "/busy")
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(release)
	for range limit {
		<-done
	}
}
