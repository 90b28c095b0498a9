package analyticshttp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"millrace/event"
	"millrace/httpapi"
)

// quick is a pace that tests have the patience for.
var quick = pace{look: 10 * time.Millisecond, heartbeat: 50 * time.Millisecond, patience: 5 * time.Second}

// client reads a stream line by line.
type client struct {
	t     *testing.T
	lines chan string // closed when the stream ends
	leave context.CancelFunc
}

// follow connects and reads until the test is over.
func follow(t *testing.T, base string) *client {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/analytics/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s, %s", response.Status, response.Header.Get("Content-Type"))
	}
	c := &client{t: t, lines: make(chan string, 1000), leave: leave}
	go func() {
		defer close(c.lines)
		defer response.Body.Close()
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			c.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		leave()
		for range c.lines { // until the reader has ended
		}
		transport.CloseIdleConnections()
	})
	return c
}

// next returns the next line that begins with prefix; "" when the stream ends first.
func (c *client) next(prefix string) string {
	c.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case line, open := <-c.lines:
			if !open {
				return ""
			}
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-limit:
			c.t.Fatalf("no line %q within ten seconds", prefix)
		}
	}
}

// placed waits for the next summary and returns how many orders it counts.
func (c *client) placed() int64 {
	c.t.Helper()
	if line := c.next("event:"); line != "event: summary" {
		c.t.Fatalf("got %q", line)
	}
	var s Summary
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.next("data:"), "data: ")), &s); err != nil {
		c.t.Fatal(err)
	}
	if s.AsOf.IsZero() {
		c.t.Error("a summary without its time")
	}
	return s.Orders.Placed
}

func TestTheStreamTellsChangesAndOtherwiseStaysAwake(t *testing.T) {
	r := &reads{}
	r.place(1)
	server := httptest.NewServer(newAPI(r, quick))
	t.Cleanup(server.Close) // after the clients have left, which it waits for
	c := follow(t, server.URL)
	if got := c.placed(); got != 1 {
		t.Fatalf("first summary: %d placed, want 1", got)
	}
	// Nothing changes: two comment lines, and no summary before them.
	for range 2 {
		limit := time.After(10 * time.Second)
		for line := ""; line != ": still here"; {
			select {
			case line = <-c.lines:
			case <-limit:
				t.Fatal("no heartbeat")
			}
			if strings.HasPrefix(line, "event:") {
				t.Fatal("a summary was told again, though nothing had changed")
			}
		}
	}
	r.place(2)
	if got := c.placed(); got != 2 {
		t.Errorf("after a change: %d placed, want 2", got)
	}
}

func TestTheStreamOutlivesADatabaseThatIsAway(t *testing.T) {
	r := &reads{}
	r.fail(errors.New("the database is away"))
	server := httptest.NewServer(newAPI(r, quick))
	t.Cleanup(server.Close)
	c := follow(t, server.URL)
	c.next(": still here")
	r.place(3)
	r.fail(nil)
	if got := c.placed(); got != 3 {
		t.Errorf("%d placed, want 3", got)
	}
}

// The server's limits are made for requests that end.
func TestTheStreamOutlivesTheServersTimeouts(t *testing.T) {
	const limit = 300 * time.Millisecond
	server := httptest.NewUnstartedServer(newAPI(&reads{}, quick))
	server.Config.ReadTimeout, server.Config.WriteTimeout = limit, limit
	server.Start()
	t.Cleanup(server.Close)
	c := follow(t, server.URL)
	for began := time.Now(); time.Since(began) < 5*limit; {
		if c.next(":") == "" {
			t.Fatal("the stream was cut")
		}
	}
}

func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	r := &reads{}
	// As much text as fills the buffers on the way within some events.
	r.summary.CancelledBy = map[event.CancelReason]int64{event.CancelReason(strings.Repeat("x", 1<<20)): 1}
	var orders int64
	r.grow = func() { orders++; r.summary.Orders.Placed = orders }
	closed := make(chan struct{})
	impatient := quick
	impatient.patience = 50 * time.Millisecond
	server := httptest.NewUnstartedServer(newAPI(r, impatient))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write([]byte("GET /analytics/stream HTTP/1.1\r\nHost: test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("the stream waits for its client for ever")
	}
}

func TestManyClientsAskTheDatabaseOnce(t *testing.T) {
	r := &reads{}
	server := httptest.NewServer(newAPI(r, pace{look: time.Hour, heartbeat: time.Hour, patience: time.Hour}))
	t.Cleanup(server.Close)
	for range 20 {
		follow(t, server.URL).placed()
	}
	if r.mu.Lock(); r.asked != 1 {
		t.Errorf("the database was asked %d times", r.asked)
	}
	r.mu.Unlock()
}

func TestStreamsAreLimitedAndPlacesComeFree(t *testing.T) {
	server := httptest.NewServer(newAPI(&reads{}, quick))
	t.Cleanup(server.Close)
	clients := make([]*client, maxStreams)
	for i := range clients {
		clients[i] = follow(t, server.URL)
	}
	status := func() int {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/analytics/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK && response.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return response.StatusCode
	}
	if got := status(); got != http.StatusServiceUnavailable {
		t.Fatalf("one too many: %d, want 503", got)
	}
	clients[0].leave()
	for deadline := time.Now().Add(10 * time.Second); status() != http.StatusOK; {
		if time.Now().After(deadline) {
			t.Fatal("the place of a client that left never comes free")
		}
	}
}

func TestStreamsEndWhenTheServerDrains(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- httpapi.Serve(ctx, 5*time.Second, httpapi.Server{Listener: listener, Handler: newAPI(&reads{}, quick)})
	}()
	c := follow(t, "http://"+listener.Addr().String())
	c.placed()
	stop()
	for c.next("") != "" { // drain empty and other lines alike
	}
	for range c.lines {
	}
	if err := <-ended; err != nil {
		t.Errorf("the server did not end in peace: %v", err)
	}
}

func TestHeadIsAnsweredAtOnce(t *testing.T) {
	w := httptest.NewRecorder()
	newAPI(&reads{}, streamPace).ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/analytics/stream", nil))
	if w.Code != http.StatusOK || w.Body.Len() > 0 {
		t.Errorf("%d: %q", w.Code, w.Body)
	}
}
