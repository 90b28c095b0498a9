// Package admin is the listener for operators: /livez, /readyz, /metrics, /topology
// and pprof. It asks nobody who they are, so it belongs on loopback or in a
// network of its own.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"millrace/httpapi"
)

// Config is what the endpoints show.
type Config struct {
	// Metrics is what /metrics gathers.
	Metrics prometheus.Gatherer
	// Topology returns what /topology shows, as JSON. It is called for each request.
	Topology func() any
	// Checks decide what /readyz says, by name. See Check.
	Checks map[string]Check
	// Notes are told by /readyz?verbose and decide nothing, by name. They are called for each request.
	Notes map[string]func() string
}

// Handler returns the endpoints:
//
//	/livez           200 while the process can answer at all
//	/readyz          200 if every check passes, else 503; ?verbose lists them
//	/metrics         Prometheus
//	/topology        who says what and who hears it
//	/debug/pprof/    profiles
func Handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok\n") })
	mux.Handle("GET /readyz", newReadiness(c.Checks, c.Notes))
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	mux.HandleFunc("GET /topology", func(w http.ResponseWriter, _ *http.Request) {
		body, err := json.MarshalIndent(c.Topology(), "", "  ")
		if err != nil {
			http.Error(w, "the topology cannot be written: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // a client that is gone is no error of ours
	})
	// Not by importing pprof for its side effect: that puts it on http.DefaultServeMux.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// Listen opens addr, or, if that is taken, a free port on the same host: a second
// process on the machine must not fail for want of a place to be watched. It says so in
// the log, and warns where anyone but this machine can reach it.
func Listen(ctx context.Context, log *slog.Logger, addr string) (net.Listener, error) {
	const setting = "ADMIN_ADDR"
	l, err := httpapi.Listen(ctx, setting, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, splitErr := net.SplitHostPort(addr)
		if splitErr != nil {
			return nil, fmt.Errorf("%s: %q is not host:port: %w", setting, addr, splitErr)
		}
		if l, err = httpapi.Listen(ctx, setting, net.JoinHostPort(host, "0")); err == nil {
			log.WarnContext(ctx, "the admin address is taken, using a free port", "wanted", addr, "address", l.Addr().String())
		}
	}
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		log.WarnContext(ctx, "the admin address can be reached from other machines, and asks nobody who they are", "address", l.Addr().String())
	}
	return l, nil
}
