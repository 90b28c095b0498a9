package admin_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"millrace/httpapi/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func handler(checks map[string]admin.Check) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "orders"}, func() float64 { return 7 }))
	return admin.Handler(admin.Config{Metrics: registry, Topology: func() any { return []string{"order"} }, Checks: checks})
}

func TestEndpoints(t *testing.T) {
	h := handler(nil)
	for path, want := range map[string]string{
		"/livez": "ok\n", "/readyz": "ready\n", "/metrics": "orders 7", "/topology": `"order"`,
		"/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile", "/debug/pprof/cmdline": "test",
	} {
		if status, body := ask(h, path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.80s", path, status, body)
		}
	}
	if status, _ := ask(h, "/orders"); status != 404 {
		t.Errorf("/orders: %d", status)
	}
}

func TestReadiness(t *testing.T) {
	h := handler(map[string]admin.Check{
		"postgres": func(context.Context) error { return nil },
		"kafka":    func(context.Context) error { return errors.New("no broker answers") },
		"odd":      func(context.Context) error { panic("oops") },
	})
	if status, body := ask(h, "/readyz"); status != 503 || body != "not ready: kafka, odd\n" {
		t.Errorf("%d %s", status, body)
	}
	const want = "[-] kafka: no broker answers\n[-] odd: the check panicked: oops\n[+] postgres: ok\nnot ready: kafka, odd\n"
	if status, body := ask(h, "/readyz?verbose"); status != 503 || body != want {
		t.Errorf("%d %s", status, body)
	}
}

func TestChecksAreCachedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		release := make(chan struct{})
		h := handler(map[string]admin.Check{
			"counted": func(context.Context) error { runs.Add(1); return nil },
			// It does not even look at its context.
			"stuck": func(context.Context) error { <-release; return nil },
		})
		for range 3 {
			began := time.Now()
			status, body := ask(h, "/readyz?verbose")
			if status != 503 || !strings.Contains(body, "[-] stuck: no answer within 800ms") || time.Since(began) > time.Second {
				t.Errorf("%d after %s: %s", status, time.Since(began), body)
			}
		}
		// 0 s, 0.8 s, 1.6 s: the second is within the cache's second.
		if n := runs.Load(); n != 2 {
			t.Errorf("the check ran %d times", n)
		}
		close(release)
		synctest.Wait()
		if status, body := ask(h, "/readyz"); status != 200 {
			t.Errorf("after it came free: %d %s", status, body)
		}
	})
}

// Whoever asks while a process starts hears at once that it is ready.
func TestAFailureIsNotKeptForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := false
		h := handler(map[string]admin.Check{"handlers": func(context.Context) error {
			if !up {
				return errors.New("not yet")
			}
			return nil
		}})
		if status, _ := ask(h, "/readyz"); status != 503 {
			t.Errorf("%d before", status)
		}
		up = true
		time.Sleep(100 * time.Millisecond)
		if status, _ := ask(h, "/readyz"); status != 200 {
			t.Errorf("%d after", status)
		}
	})
}

func TestTakenAddressFallsBackToAFreePort(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	first, err := admin.Listen(t.Context(), logger, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
	second, err := admin.Listen(t.Context(), logger, first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if !strings.Contains(log.String(), first.Addr().String()) || !strings.Contains(log.String(), second.Addr().String()) {
		t.Errorf("log: %s", &log)
	}
}

func TestAddressesOthersReachAreWarnedOf(t *testing.T) {
	var log bytes.Buffer
	l, err := admin.Listen(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("log: %s", &log)
	}
}
