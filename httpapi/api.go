// Package httpapi is the frame all services' routes hang in: OpenAPI, problems,
// correlation, callers and their scopes, limits, access log and metrics. It knows no
// route itself.
//
// A service registers its operations on API.Huma, with a Security each
// (Scope or Public). A handler finds the request's event.Cause in its context, and its
// Caller; it returns errors as they come, or with a status by huma.Error409Conflict and the like.
package httpapi

import (
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/httpapi/auth"
)

const (
	// DefaultRequestTimeout is how long a request may take when Config does not say:
	// longer than the database needs to fail over, shorter than callers wait.
	DefaultRequestTimeout = 15 * time.Second
	// MaxRequestTimeout is the longest that can be configured; connections are cut some time after.
	MaxRequestTimeout = time.Minute
)

// Config is what an API needs. Its zero value works, and asks nobody who they are.
type Config struct {
	// Title and Version go into the OpenAPI document.
	Title, Version string
	// Auth knows the callers; nil lets everyone do everything.
	Auth auth.Authenticator
	// Metrics takes http_request_duration_seconds; nil measures nothing. Several APIs may share one.
	Metrics prometheus.Registerer
	// Logger writes the access log; nil means slog.Default().
	Logger *slog.Logger
	// RequestTimeout bounds one request; 0 means DefaultRequestTimeout, and more than
	// MaxRequestTimeout means that.
	RequestTimeout time.Duration
}

// API is one tree of routes. It can be served on any number of listeners.
type API struct {
	// Huma is where operations are registered.
	Huma huma.API
	// Router takes what is no operation. Its routes have correlation, log and limits, but
	// no check of scopes.
	Router chi.Router

	auth           auth.Authenticator
	log            *slog.Logger
	duration       *prometheus.HistogramVec
	requestTimeout time.Duration
	inFlight       chan struct{}
}

// New returns an API without routes, but for /openapi.json and /openapi.yaml.
// Operations are registered before it serves the first request.
func New(c Config) *API {
	a := &API{auth: c.Auth, log: c.Logger, requestTimeout: c.RequestTimeout, inFlight: make(chan struct{}, maxInFlight)}
	if a.log == nil {
		a.log = slog.Default()
	}
	if a.requestTimeout <= 0 {
		a.requestTimeout = DefaultRequestTimeout
	}
	a.requestTimeout = min(a.requestTimeout, MaxRequestTimeout)
	if c.Metrics != nil {
		a.duration = newDuration(c.Metrics)
	}

	a.Router = chi.NewRouter()
	a.Router.Use(a.observe, cause, a.recoverer, a.limitInFlight, secure, checkText, middleware.GetHead)
	a.Router.NotFound(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, newProblem(http.StatusNotFound, "There is nothing here. /openapi.json lists what there is."))
	})
	a.Router.MethodNotAllowed(a.methodNotAllowed)

	a.Huma = humachi.New(a.Router, openAPI(c))
	a.Huma.UseMiddleware(a.authorize, a.limitTime, a.checkBody)
	a.serveDocument()
	return a
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.Router.ServeHTTP(w, r) }

// secure refuses what a foreign web page makes a browser send, since AUTH=none on
// loopback trusts whoever can reach the port.
func secure(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, newProblem(http.StatusForbidden, "Web pages of another origin may not change anything here."))
	}))
	next = protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if a.Router.Match(chi.NewRouteContext(), m, r.URL.Path) {
			allowed = append(allowed, m)
		}
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	writeProblem(w, r, newProblem(http.StatusMethodNotAllowed, "This path answers to "+list+"."))
}

func openAPI(c Config) huma.Config {
	if c.Title == "" {
		c.Title = "Millrace"
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	const refs = "#/components/schemas/"
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: c.Title, Version: c.Version},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry(refs, schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					apiKeyScheme: {Type: "apiKey", In: "header", Name: "X-API-Key"},
					bearerScheme: {Type: "http", Scheme: "bearer", Description: "An API key, or a JWT with the scopes in its scope claim."},
				},
			},
			// What an operation that names no scope asks for.
			Security:       Scope(ScopeOperator),
			OnAddOperation: []huma.AddOpFunc{strict},
		},
		Formats:       map[string]huma.Format{jsonMediaType: jsonFormat(), "json": jsonFormat()}, // "json" stands for +json
		DefaultFormat: jsonMediaType,
		Transformers:  []huma.Transformer{instance},
	}
}

// strict makes every operation refuse unknown query parameters: a misspelt filter
// would answer with everything. Size and time of bodies were limited by checkBody already.
func strict(_ *huma.OpenAPI, op *huma.Operation) {
	op.RejectUnknownQueryParameters = true
	op.MaxBodyBytes = -1
	// Takes checkBody's deadline away again: one that passes while the operation runs
	// would cancel its context.
	op.BodyReadTimeout = -1
}

// schemaName tells types of one name in different services apart: order's and
// payment's "view" become OrderView and PaymentView. Other packages' types, such
// as event.Money, keep their names.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	service, of := strings.CutSuffix(path.Base(t.PkgPath()), "http")
	if !of || service == "" || t.Name() == "" {
		return name
	}
	if prefix := strings.ToUpper(service[:1]) + service[1:]; !strings.HasPrefix(name, prefix) {
		return prefix + name
	}
	return name
}

// serveDocument serves OpenAPI, written once when it is first asked for, because
// operations are added until then.
func (a *API) serveDocument() {
	serve := func(pattern, mediaType string, write func() ([]byte, error)) {
		document := sync.OnceValues(write)
		a.Router.Get(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := document()
			if err != nil {
				p, _ := problemOf(r.Context(), err)
				writeProblem(w, r, p)
				return
			}
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(body) // a client that is gone is no error of ours
		})
	}
	serve("/openapi.json", jsonMediaType, func() ([]byte, error) { return a.Huma.OpenAPI().MarshalJSON() })
	serve("/openapi.yaml", "application/yaml", func() ([]byte, error) { return a.Huma.OpenAPI().YAML() })
}
