package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// logEntry gathers what the access log says about a request while it is answered.
type logEntry struct {
	correlationID string
	caller        string
	err           error // why it was answered with 500
}

type entryKey struct{}

func entryFrom(ctx context.Context) *logEntry {
	entry, _ := ctx.Value(entryKey{}).(*logEntry)
	return entry
}

// observe writes the access log and the metrics. Refusals are informative, our own
// failures are errors, and what went well is for debugging only, because there are
// thousands of it a second.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		entry := &logEntry{caller: Anonymous}
		r = r.WithContext(context.WithValue(r.Context(), entryKey{}, entry))
		answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			status := answer.Status()
			if status == 0 {
				status = http.StatusOK
			}
			took := time.Since(began)
			route := chi.RouteContext(r.Context()).RoutePattern()
			if a.duration != nil {
				a.duration.WithLabelValues(route, method(r.Method), strconv.Itoa(status)).Observe(took.Seconds())
			}
			level := slog.LevelDebug
			switch {
			case status >= http.StatusInternalServerError:
				level = slog.LevelError
			case status >= http.StatusBadRequest:
				level = slog.LevelInfo
			}
			if !a.log.Enabled(r.Context(), level) {
				return
			}
			attrs := []slog.Attr{
				slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", status),
				slog.Duration("duration", took), slog.Int("bytes", answer.BytesWritten()),
				slog.String("remote", r.RemoteAddr), slog.String("caller", entry.caller), slog.String("correlation_id", entry.correlationID),
			}
			if entry.err != nil {
				attrs = append(attrs, slog.Any("error", entry.err))
			}
			a.log.LogAttrs(r.Context(), level, "request", attrs...)
		}()
		next.ServeHTTP(answer, r)
	})
}

// method keeps the number of time series bounded: a client may invent methods.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// durationBuckets reach from one group commit on an idle machine to the request time-out.
var durationBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newDuration(to prometheus.Registerer) *prometheus.HistogramVec {
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "http_request_duration_seconds",
		Help:    "Time from a request's arrival to the end of its answer, by route pattern (empty: no such route), method and status.",
		Buckets: durationBuckets,
	}, []string{"route", "method", "code"})
	// Several listeners share one registry, and so one histogram.
	var there prometheus.AlreadyRegisteredError
	if err := to.Register(duration); errors.As(err, &there) {
		if shared, ok := there.ExistingCollector.(*prometheus.HistogramVec); ok {
			return shared
		}
	}
	return duration
}

// recoverer turns a panic into 500. The stack goes to the log, never to the client.
func (a *API) recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				panic(cause)
			}
			a.log.LogAttrs(r.Context(), slog.LevelError, "request panicked", slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
			if answer, ok := w.(middleware.WrapResponseWriter); ok && answer.Status() != 0 {
				// Half an answer is out; the client must not take it for a whole one.
				panic(http.ErrAbortHandler)
			}
			p, _ := problemOf(r.Context(), fmt.Errorf("panic: %v", cause))
			writeProblem(w, r, p)
		}()
		next.ServeHTTP(w, r)
	})
}

// maxInFlight bounds memory: that many bodies of MaxBody at most. A thousand is
// more than the store needs to fill its batches.
const maxInFlight = 1024

// retryAfterOverload is what callers are told when maxInFlight is reached.
const retryAfterOverload = time.Second

func (a *API) limitInFlight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case a.inFlight <- struct{}{}:
			defer func() { <-a.inFlight }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", seconds(retryAfterOverload))
			writeProblem(w, r, newProblem(http.StatusServiceUnavailable, "Too many requests are being answered already."))
		}
	})
}

type streamingKey struct{}

// Streaming is the Metadata of an operation whose answer goes on until the client
// leaves: it has no time-out, and ends when the server begins to drain.
func Streaming() map[string]any {
	return map[string]any{"streaming": true}
}

// limitTime gives a request its time, or ties a stream to the life of the server.
func (a *API) limitTime(ctx huma.Context, next func(huma.Context)) {
	var limited context.Context
	var cancel context.CancelFunc
	if ctx.Operation().Metadata["streaming"] == true {
		limited, cancel = context.WithCancel(ctx.Context())
		// The server's own time-outs are for answers that end. Writers of httptest have none.
		_, w := humachi.Unwrap(ctx)
		connection := http.NewResponseController(w)
		_ = errors.Join(connection.SetReadDeadline(time.Time{}), connection.SetWriteDeadline(time.Time{}))
		if draining, ok := ctx.Context().Value(streamingKey{}).(context.Context); ok {
			defer context.AfterFunc(draining, cancel)()
		}
	} else {
		limited, cancel = context.WithTimeout(ctx.Context(), a.requestTimeout)
	}
	defer cancel()
	next(huma.WithContext(ctx, limited))
}
