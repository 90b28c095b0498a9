package demo

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quick(t *testing.T, url string) Options {
	t.Helper()
	return Options{URL: url, Orders: 200, Rate: 400, Mix: mix(t, "declined"), Wait: 10 * time.Second}
}

func TestConnectionsAreKept(t *testing.T) {
	s := newShop()
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	o := quick(t, server.URL+"/")
	o.APIKey, o.Token = "key", "token"
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-API-Key") != "key" || r.Header.Get("Authorization") != "Bearer token" {
			refuse(w, http.StatusUnauthorized, "")
			return false
		}
		return true
	}
	r, err := Run(t.Context(), o)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	requests := 0
	for _, n := range s.served {
		requests += n
	}
	// One for each request under way at once would be maxReading and a few for the POSTs.
	if most := int64(requests / 2); opened.Load() > most {
		t.Errorf("%d connections for %d requests", opened.Load(), requests)
	}
}

func TestWhyThereIsNothingToDo(t *testing.T) {
	answers := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, "") }))
		t.Cleanup(server.Close)
		return server.URL
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, test := range map[string]struct {
		url, want string
	}{
		"nobody there":   {closed.URL, "no router answers at " + closed.URL + ": start one with router serve (make run), or give --url"},
		"who are you":    {answers(http.StatusUnauthorized), "set API_KEY or API_TOKEN"},
		"another server": {answers(http.StatusNotFound), "give --url the port that has the routes of all services"},
		"not now":        {answers(http.StatusServiceUnavailable), "cannot serve now"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Run(t.Context(), quick(t, test.url)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q, got %v", test.want, err)
			}
		})
	}
	t.Run("interrupted before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Run(ctx, quick(t, closed.URL)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWrongOptions(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--orders 0":       func(o *Options) { o.Orders = 0 },
		"--orders 1000001": func(o *Options) { o.Orders = MaxOrders + 1 },
		"--rate 0":         func(o *Options) { o.Rate = 0 },
		"--rate NaN":       func(o *Options) { o.Rate = math.NaN() },
		"--rate +Inf":      func(o *Options) { o.Rate = math.Inf(1) },
		"--wait 1ms":       func(o *Options) { o.Wait = time.Millisecond },
		"--mix":            func(o *Options) { o.Mix = Mix{} },
		`--url "shop"`:     func(o *Options) { o.URL = "shop" },
		"--url":            func(o *Options) { o.URL = "http://a b" },
	} {
		o := quick(t, "http://127.0.0.1:1")
		change(&o)
		if _, err := Run(t.Context(), o); !errors.As(err, &UsageError{}) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-1": 0, "86400": longestRetryAfter, "soon": 0,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}); got != want {
			t.Errorf("%q: want %s, got %s", text, want, got)
		}
	}
	soon := time.Now().Add(10 * time.Second).UTC().Format(http.TimeFormat)
	if got := retryAfter(http.Header{"Retry-After": {soon}}); got < 8*time.Second || got > 10*time.Second {
		t.Errorf("%q: got %s", soon, got)
	}
}

func TestTextFitsATerminal(t *testing.T) {
	s := newShop()
	var text strings.Builder
	r := play(t, s, nil)
	r.Problems = append(r.Problems, make([]string, 3*maxListed+1)...)
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(text.String(), "\n") {
		if width := utf8.RuneCountInString(line); width > 80 && !strings.HasPrefix(line, "problem: ") {
			t.Errorf("%d characters: %s", width, line)
		}
	}
	for _, want := range []string{
		"accepted              52  DELIVERED", "409 on cancel", "all                  100", "money: captured",
		"… and 41 more; --output json lists all",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("there is no %q in\n%s", want, text.String())
		}
	}
}
